// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Sending packs while the next one is filled. A commit of a served volume has one pack on its way
// at most, an import a few: a store that is slower than the packing holds them up, and memory stays
// bounded.

internal import Dispatch
internal import Primitives
internal import Synchronization

/// Threads that send packs, and the memory of those that were sent. Without any thread, who builds
/// a commit sends its packs too.
public struct PackUploads: Sendable {
    let start: @Sendable (_ job: @escaping @Sendable () -> Void) -> Bool
    let buffers = PackBuffers()
    /// Packs of one commit that may be on their way at one time.
    let packsMax: Int

    /// `start` runs a job on another thread and returns at once; false if it cannot take it now.
    public init(
        packsMax: Int = 1,
        _ start: @escaping @Sendable (_ job: @escaping @Sendable () -> Void) -> Bool
    ) {
        precondition((1...64).contains(packsMax))
        self.packsMax = packsMax
        self.start = start
    }

    /// Everything on the thread that builds: tests and the simulator, whose runs repeat exactly.
    public static let none = PackUploads { _ in false }

    /// Gives back the memory that no pack has used since the last call. For a clock, every few
    /// seconds.
    public func releaseIdle() { buffers.releaseIdle() }

    /// Bytes of memory that wait for a pack.
    package var spareBytes: Int { buffers.spareBytes }
}

/// The memory of packs that were sent, for those to come: arrays of their size come from the kernel
/// page by page, which costs a commit several times what hashing its blocks does.
final class PackBuffers: Sendable {
    /// Two of each of four commits that run at one time.
    private static let keptMax = 8

    private struct State {
        var spare: [[UInt8]] = []
        /// The least that were spare at any time since the last release.
        var idle = 0
    }

    private let state = Lock(State())

    /// An array that may have memory, or an empty one.
    func take() -> [UInt8] {
        state.withLock { state in
            guard let buffer = state.spare.popLast() else { return [] }
            state.idle = min(state.idle, state.spare.count)
            return buffer
        }
    }

    func give(_ buffer: consuming [UInt8]) {
        let buffer = buffer
        state.withLock { state in
            if state.spare.count < Self.keptMax { state.spare.append(buffer) }
        }
    }

    var spareBytes: Int { state.withLock { $0.spare.reduce(0) { $0 + $1.capacity } } }

    func releaseIdle() {
        state.withLock { state in
            state.spare.removeFirst(state.idle)
            state.idle = state.spare.count
        }
    }
}

/// One pack on its way, between the thread that sends it and the one that waits.
final class PackSending: Sendable {
    private let result = Lock<Result<Void, CommitError>?>(nil)
    private let ended = DispatchSemaphore(value: 0)

    /// Runs the PUT. Called once.
    func end(_ put: () throws(CommitError) -> Void) {
        let result: Result<Void, CommitError>
        do throws(CommitError) {
            result = .success(try put())
        } catch { result = .failure(error) }
        self.result.withLock { $0 = result }
        ended.signal()
    }

    /// Blocks until the PUT has ended. Called once.
    func wait() throws(CommitError) {
        ended.wait()
        guard let result = result.withLock({ $0 }) else {
            preconditionFailure("a signal follows a result")
        }
        try result.get()
    }
}
