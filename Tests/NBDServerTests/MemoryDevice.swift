// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A block device in memory that keeps the contract of BlockDevice.swift to the letter and is as
// awkward as it allows: writes are applied from the lent payload at the end of the turn, and a
// script says which calls park, fail, or complete late.

import BlockDevice
import Glibc
import Primitives
import Synchronization

/// What a test tells the device, and what it learns of it. Shared between threads.
final class DeviceScript: Sendable {
    struct State: Sendable {
        /// Every n-th call parks first: 0 never.
        var parkEvery = 0
        /// Parked requests stay parked until this is false.
        var holdParked = false
        /// Staged requests complete only when this is false.
        var holdStaged = false
        var failure: BlockError?
        var calls = 0
        var viewCalls = 0
        var viewed = 0
        var parked = 0
        var cancelled = 0
        var prefetched = 0
        var turns = 0
        var largestPayload = 0
        var zeroOptions: [ZeroOptions] = []
        var fuaCount = 0
    }

    private let state = Lock(State())

    func update<Result: Sendable>(_ body: (inout State) -> Result) -> Result {
        state.withLock { body(&$0) }
    }
}

/// Bytes that are spoilt before they are freed, so that whoever reads them too late gets garbage.
private final class OwnedBytes {
    private let bytes: UnsafeMutableRawBufferPointer
    init(_ bytes: UnsafeMutableRawBufferPointer) { self.bytes = bytes }
    deinit {
        bytes.initializeMemory(as: UInt8.self, repeating: 0xDD)
        bytes.deallocate()
    }
}

struct MemoryDevice: BlockDevice, ~Copyable {
    var geometry: DeviceGeometry
    private let script: DeviceScript
    private let bytes: UnsafeMutableRawPointer
    /// One flag per 4 KiB: written, hence data for block status.
    private var isWritten: [Bool]
    private var staged: [(tag: RequestTag, work: Work)] = []
    private var held: [RequestTag] = []
    private var parked: [RequestTag] = []
    private var seen: Set<RequestTag> = []
    private var completions: [Completion] = []
    /// What the last view told of: overwritten when it may no longer be read.
    private var viewed: [OwnedBytes] = []

    private enum Work {
        case write(offset: Int, payload: UnsafeRawBufferPointer)
        case zero(offset: Int, count: Int)
        case flush
    }

    init(size: Int, isReadOnly: Bool = false, script: DeviceScript) {
        geometry = DeviceGeometry(
            size: ByteCount(UInt64(size)), blockBytes: 131_072, isReadOnly: isReadOnly)
        self.script = script
        bytes = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 4096)
        memset(bytes, 0, size)
        isWritten = Array(repeating: false, count: (size + 4095) / 4096)
    }

    deinit { bytes.deallocate() }

    /// What every call does first: nil means "go on".
    private mutating func enter(
        _ offset: ByteOffset, _ count: UInt64, writes: Bool, _ tag: RequestTag
    ) -> Submission? {
        let size = geometry.size.rawValue
        guard offset.rawValue <= size, count <= size - offset.rawValue else {
            return .failed(.outOfRange)
        }
        if writes && geometry.isReadOnly { return .failed(.readOnly) }
        if parked.contains(tag) { preconditionFailure("a parked request came back by itself") }
        let (failure, parks) = script.update { state -> (BlockError?, Bool) in
            if seen.contains(tag) { return (state.failure, false) }
            state.calls += 1
            let parks =
                state.holdParked || state.parkEvery > 0 && state.calls % state.parkEvery == 0
            if parks { state.parked += 1 }
            return (state.failure, parks)
        }
        seen.remove(tag)
        if let failure { return .failed(failure) }
        guard parks else { return nil }
        parked.append(tag)
        return .parked
    }

    mutating func read(
        at offset: ByteOffset, into buffer: UnsafeMutableRawBufferPointer, tag: RequestTag
    ) -> Submission {
        precondition(viewed.isEmpty, "a view was not ended")
        if let early = enter(offset, UInt64(buffer.count), writes: false, tag) { return early }
        // What was staged in this turn is already read: as the journal's memtable does.
        for (_, work) in staged { apply(work) }
        guard let target = buffer.baseAddress else { return .done }
        memcpy(target, bytes + Int(offset.rawValue), buffer.count)
        return .done
    }

    /// Every other large read can be sent from here, in pieces of uneven sizes.
    mutating func view(
        at offset: ByteOffset, count: Int, into pieces: inout MemoryPieces
    ) -> Bool {
        let size = geometry.size.rawValue
        guard offset.rawValue <= size, UInt64(count) <= size - offset.rawValue else { return false }
        let allows = script.update { state -> Bool in
            if state.holdParked || state.failure != nil || state.parkEvery > 0 { return false }
            state.viewCalls += 1
            return state.viewCalls % 2 == 0
        }
        guard allows else { return false }
        for (_, work) in staged { apply(work) }
        precondition(viewed.isEmpty, "a view was not ended")
        var done = 0
        while done < count {
            let part = min(count - done, 5000 + done / 3)
            // Not one behind the other, so that they stay pieces.
            let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: part, alignment: 16)
            copy.baseAddress.map { _ = memcpy($0, bytes + Int(offset.rawValue) + done, part) }
            viewed.append(OwnedBytes(copy))
            guard let base = copy.baseAddress, pieces.append(base, count: part) else {
                viewed.removeAll()
                return false
            }
            done += part
        }
        script.update { $0.viewed += 1 }
        return true
    }

    mutating func endView() { viewed.removeAll() }

    mutating func write(
        at offset: ByteOffset, payload: UnsafeRawBufferPointer, fua: Bool, tag: RequestTag
    ) -> Submission {
        if let early = enter(offset, UInt64(payload.count), writes: true, tag) { return early }
        script.update {
            $0.largestPayload = max($0.largestPayload, payload.count)
            if fua { $0.fuaCount += 1 }
        }
        staged.append((tag, .write(offset: Int(offset.rawValue), payload: payload)))
        return .staged
    }

    mutating func zero(
        at offset: ByteOffset, count: ByteCount, options: ZeroOptions, fua: Bool, tag: RequestTag
    ) -> Submission {
        if let early = enter(offset, count.rawValue, writes: true, tag) { return early }
        let isAligned = (offset.rawValue | count.rawValue).isMultiple(of: 4096)
        if options.contains(.fastOnly) && !isAligned { return .failed(.notSupported) }
        script.update { $0.zeroOptions.append(options) }
        staged.append((tag, .zero(offset: Int(offset.rawValue), count: Int(count.rawValue))))
        return .staged
    }

    mutating func flush(tag: RequestTag) -> Submission {
        if let early = enter(ByteOffset(0), 0, writes: false, tag) { return early }
        staged.append((tag, .flush))
        return .staged
    }

    mutating func prefetch(at offset: ByteOffset, count: ByteCount, tag: RequestTag) -> Submission {
        if let early = enter(offset, count.rawValue, writes: false, tag) { return early }
        script.update { $0.prefetched += Int(count.rawValue) }
        return .done
    }

    mutating func extents(
        at offset: ByteOffset, count: ByteCount, limit: Int, into list: inout [Extent],
        tag: RequestTag
    ) -> Submission {
        if let early = enter(offset, count.rawValue, writes: false, tag) { return early }
        for (_, work) in staged { apply(work) }
        var place = Int(offset.rawValue)
        let end = place + Int(count.rawValue)
        while place < end && list.count < limit {
            let kind: Extent.Kind = isWritten[place / 4096] ? .data : .hole
            var stop = place
            while stop < end && (isWritten[stop / 4096] ? .data : .hole) == kind {
                stop = min(end, (stop / 4096 + 1) * 4096)
            }
            list.append(Extent(length: ByteCount(UInt64(stop - place)), kind: kind))
            place = stop
        }
        return .done
    }

    mutating func cancel(tag: RequestTag) {
        parked.removeAll { $0 == tag }
        seen.remove(tag)
        script.update { $0.cancelled += 1 }
    }

    mutating func endTurn() {
        for (_, work) in staged { apply(work) }
        let (holdStaged, holdParked) = script.update {
            $0.turns += 1
            return ($0.holdStaged, $0.holdParked)
        }
        held += staged.map(\.tag)
        staged.removeAll(keepingCapacity: true)
        if !holdStaged {
            completions += held.map { Completion(tag: $0, outcome: .done) }
            held.removeAll(keepingCapacity: true)
        }
        if !holdParked {
            for tag in parked {
                seen.insert(tag)
                completions.append(Completion(tag: tag, outcome: .retry))
            }
            parked.removeAll(keepingCapacity: true)
        }
        completions.reverse()
    }

    mutating func nextCompletion() -> Completion? { completions.popLast() }

    private mutating func apply(_ work: Work) {
        switch work {
        case .write(let offset, let payload):
            guard let source = payload.baseAddress else { return }
            memcpy(bytes + offset, source, payload.count)
            mark(offset, payload.count, true)
        case .zero(let offset, let count):
            memset(bytes + offset, 0, count)
            if (offset | count).isMultiple(of: 4096) { mark(offset, count, false) }
        case .flush: break
        }
    }

    private mutating func mark(_ offset: Int, _ count: Int, _ written: Bool) {
        guard count > 0 else { return }
        for grain in offset / 4096...(offset + count - 1) / 4096 { isWritten[grain] = written }
    }
}
