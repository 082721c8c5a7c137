// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// An open file of a `VolatileDisk`. It dies with the crash after which it was not opened: from then
// on every call throws ESHUTDOWN, though mappings stay readable.

public import Glibc
import Primitives
import Synchronization

/// A file of the twin. A mapped file must not grow beyond what is mapped.
public final class VolatileFile: BlockFile {
    private let disk: VolatileDisk
    let content: VolatileContent
    private let generation: Int
    let path: String
    private let isWritable: Bool
    private let holdsLock: Bool

    /// Takes over one count of `content.handles`.
    init(
        disk: VolatileDisk, content: VolatileContent, generation: Int, path: String,
        isWritable: Bool, holdsLock: Bool = false
    ) {
        self.disk = disk
        self.content = content
        self.generation = generation
        self.path = path
        self.isWritable = isWritable
        self.holdsLock = holdsLock
    }

    deinit {
        let content = content
        disk.state.withLock { state in
            if state.power != .off && state.generation == generation {
                state.closed(content, holdsLock: holdsLock)
            }
        }
    }

    func perform<Result: Sendable>(
        _ kind: VolatileDisk.Kind, _ operation: HostIOError.Operation, offset: UInt64 = 0,
        count: UInt64 = 0,
        _ body: (inout VolatileState, _ isCut: Bool) throws(HostIOError) -> Result
    ) throws(HostIOError) -> Result {
        let call = VolatileCall(
            kind: kind, operation: operation, path: path, offset: offset, count: count,
            generation: generation)
        return try disk.perform(call, body)
    }

    public func read(
        at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(HostIOError) -> Int {
        try perform(.read, .read, offset: offset, count: UInt64(buffer.count)) { _, _ in
            content.read(at: offset, into: buffer)
        }
    }

    public func readIfCached(
        at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(HostIOError) -> Int? {
        try read(at: offset, into: buffer)
    }

    public func write(
        at offset: UInt64, pieces: UnsafeMutableBufferPointer<iovec>
    ) throws(HostIOError) {
        precondition(isWritable, "\(path) was opened for reading")
        let total = pieces.reduce(0) { $0 + $1.iov_len }
        try perform(.write, .write, offset: offset, count: UInt64(total)) {
            (state, isCut) throws(HostIOError) in
            var left = total
            // A killed write ends between two pages of the cache.
            if isCut {
                left = min(left, Int(state.random.next(below: UInt64(total / 4096 + 2))) * 4096)
            }
            let room = state.sizeLimit(of: content)
            let isFull = offset + UInt64(left) > max(room, UInt64(content.size))
            if isFull { left = Int(max(room, offset) - offset) }
            guard state.charge(content, newSize: max(content.size, Int(offset) + left)) else {
                throw HostIOError(.write, path: path, code: ENOSPC)
            }
            var place = Int(offset)
            for piece in pieces where left > 0 {
                let bytes = UnsafeRawBufferPointer(
                    start: piece.iov_base, count: min(left, piece.iov_len))
                state.fingerprint = XXH3.hash(bytes, seed: state.fingerprint)
                content.write(at: place, bytes, random: &state.random)
                place += bytes.count
                left -= bytes.count
            }
            if isFull { throw HostIOError(.write, path: path, code: ENOSPC) }
        }
    }

    public func sync() throws(HostIOError) {
        let call = VolatileCall(
            kind: .sync, operation: .sync, path: path, offset: 0, count: 0, generation: generation)
        try disk.perform(call, onFailure: { content.failSync() }) { _, isCut in
            if !isCut { content.sync() }
        }
    }

    public func startWriteback(at offset: UInt64, count: UInt64) {}

    public func allocate(_ count: UInt64) throws(HostIOError) {
        precondition(isWritable, "\(path) was opened for reading")
        try perform(.allocate, .allocate, count: count) { (state, _) throws(HostIOError) in
            guard state.charge(content, newSize: Int(count)) else {
                throw HostIOError(.allocate, path: path, code: ENOSPC)
            }
            content.resize(Int(count), random: &state.random)
        }
    }

    /// Charged like written bytes: the twin does not know holes.
    public func resize(_ size: UInt64) throws(HostIOError) { try allocate(size) }

    public func size() throws(HostIOError) -> UInt64 {
        try perform(.stat, .stat) { _, _ in UInt64(content.size) }
    }

    public func mapping(count: Int) throws(HostIOError) -> UnsafeRawBufferPointer {
        precondition(count > 0)
        let address = try perform(.map, .map, count: UInt64(count)) { _, _ in
            UInt(bitPattern: content.map(count).baseAddress)
        }
        return UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: count)
    }
}

/// What identifies a call on the twin.
struct VolatileCall {
    let kind: VolatileDisk.Kind
    let operation: HostIOError.Operation
    let path: String
    let offset: UInt64
    let count: UInt64
    let generation: Int

    func error(_ code: Int32) -> HostIOError { HostIOError(operation, path: path, code: code) }
}

extension VolatileDisk {
    /// Runs a call under the lock. During a cut the body runs once more or less completely, as it
    /// sees fit, and the call throws.
    func perform<Result: Sendable>(
        _ call: VolatileCall, onFailure: () -> Void = {},
        _ body: (inout VolatileState, _ isCut: Bool) throws(HostIOError) -> Result
    ) throws(HostIOError) -> Result {
        try state.withLock { (state) throws(HostIOError) -> Result in
            guard state.power == .running && state.generation == call.generation else {
                throw call.error(ESHUTDOWN)
            }
            let verdict = state.begin(
                call.kind, path: call.path, offset: call.offset, count: call.count)
            switch verdict {
            case .proceed: return try body(&state, false)
            case .fail(let code):
                onFailure()
                throw call.error(code)
            case .cut:
                _ = try? body(&state, true)
                state.power = .cut
                throw call.error(ESHUTDOWN)
            }
        }
    }
}
