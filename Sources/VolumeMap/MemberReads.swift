// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Reading members of packs, past any cache: several GETs at once, each member checked by whoever
// asked for it on the thread that read it. What comes damaged is asked for again, on its own: it
// may have been harmed on its way, and one member must not take its neighbours along.

package import Formats
package import ObjectStore
internal import Primitives
internal import Synchronization

/// Calls `body` with 0..<count, perhaps several at a time and on other threads, and returns when
/// all calls have returned. Whoever composes the fetcher says how the calls are spread over
/// threads, and so keeps the bound on how many requests the host has under way.
public typealias FetchSpread =
    @Sendable (_ count: Int, _ body: @escaping @Sendable (Int) -> Void) -> Void

/// One after another, on the thread that asks.
public let oneByOne: FetchSpread = { count, body in
    for index in 0..<count { body(index) }
}

/// Refuses bytes that are not the member of that tag, or takes them. Any thread; called again if
/// it refused.
package typealias MemberCheck =
    @Sendable (_ tag: Int, _ bytes: UnsafeRawBufferPointer) throws(FormatError) -> Void

/// Reads through one store. Stateless but for its counters.
package struct MemberReads<Store: ObjectStore>: Sendable {
    package let store: Store
    let meter: FetchMeter
    let spread: FetchSpread

    package init(store: Store, meter: FetchMeter = FetchMeter(), spread: @escaping FetchSpread) {
        self.store = store
        self.meter = meter
        self.spread = spread
    }

    /// The same reads, with `work` done once beside the first that are made: by one of the threads
    /// that they are spread over.
    package func beside(_ work: @escaping @Sendable () -> Void) -> MemberReads {
        let spread = self.spread
        return MemberReads(store: store, meter: meter) { count, body in
            spread(count + 1) { index in if index == 0 { work() } else { body(index - 1) } }
        }
    }

    /// GETs all ranges, as many at once as the spread allows, and holds the bytes of no more than
    /// those. Returns why a member did not come whole, by its tag. Ends at once if the store is
    /// away, and throws that.
    package func read(
        _ ranges: [FetchRange], check: @escaping MemberCheck
    ) throws(FetchError) -> [Int: FetchError] {
        let run = MemberRun(reads: self, ranges: ranges, check: check)
        spread(ranges.count) { run.read($0) }
        return try run.failures()
    }

    /// One member's bytes, once `check` has taken them.
    package func one(
        _ pack: PackID, _ extent: PackExtent,
        check: (UnsafeRawBufferPointer) throws(FormatError) -> Void
    ) throws(FetchError) -> FetchBuffer {
        let buffer = FetchBuffer(byteCount: Int(extent.length))
        try fill(buffer, pack, UInt64(extent.offset), tries: FetchLimits.damagedTriesMax, check)
        return buffer
    }

    /// Reads into `buffer` until `check` takes it, at most `tries` times.
    func fill(
        _ buffer: FetchBuffer, _ pack: PackID, _ offset: UInt64, tries: Int,
        _ check: (UnsafeRawBufferPointer) throws(FormatError) -> Void
    ) throws(FetchError) {
        let key = pack.key
        var failure = FetchError.damaged(key: key, detail: "")
        for _ in 0..<tries {
            do throws(ObjectStoreError) {
                try store.get(key, at: offset, into: buffer.bytes)
            } catch {
                failure = FetchError(error)
                if case .damaged = failure { continue }
                throw failure
            }
            meter.addGet(bytes: buffer.bytes.count)
            do throws(FormatError) {
                try check(UnsafeRawBufferPointer(buffer.bytes))
                return
            } catch {
                failure = .damaged(key: key, detail: "at \(offset): \(error.explanation)")
            }
        }
        throw failure
    }
}

/// The ranges of one call, read side by side.
private final class MemberRun<Store: ObjectStore>: Sendable {
    private let reads: MemberReads<Store>
    private let ranges: [FetchRange]
    private let check: MemberCheck
    /// Why members did not come, by tag; and how the store was found away.
    private let state = Lock<(failures: [Int: FetchError], away: FetchError?)>(([:], nil))

    init(reads: MemberReads<Store>, ranges: [FetchRange], check: @escaping MemberCheck) {
        self.reads = reads
        self.ranges = ranges
        self.check = check
    }

    func failures() throws(FetchError) -> [Int: FetchError] {
        let (failures, away) = state.withLock { $0 }
        if let away { throw away }
        return failures
    }

    private var isAway: Bool { state.withLock { $0.away != nil } }

    private func note(_ error: FetchError, _ member: WantedBytes) {
        state.withLock { state in
            if error.isRetryable {
                state.away = state.away ?? error
            } else {
                state.failures[member.tag] = error
            }
        }
    }

    /// Any thread, once for each range.
    func read(_ index: Int) {
        if isAway { return }
        let range = ranges[index]
        let buffer = FetchBuffer(byteCount: Int(range.length))
        do throws(ObjectStoreError) {
            try reads.store.get(range.pack.key, at: range.offset, into: buffer.bytes)
        } catch {
            let failure = FetchError(error)
            guard case .damaged = failure else {
                for member in range.members { note(failure, member) }
                return
            }
            for member in range.members { readAlone(member) }
            return
        }
        reads.meter.addGet(bytes: range.length)
        for member in range.members {
            let start = Int(member.offset - range.offset)
            let bytes = UnsafeRawBufferPointer(
                rebasing: buffer.bytes[start..<(start + Int(member.length))])
            do throws(FormatError) { try check(member.tag, bytes) } catch { readAlone(member) }
        }
    }

    /// A member that did not come whole with its neighbours.
    private func readAlone(_ member: WantedBytes) {
        if isAway { return }
        let buffer = FetchBuffer(byteCount: Int(member.length))
        do throws(FetchError) {
            try reads.fill(
                buffer, member.pack, member.offset, tries: FetchLimits.damagedTriesMax - 1
            ) { bytes throws(FormatError) in try check(member.tag, bytes) }
        } catch { note(error, member) }
    }
}

/// Memory of one GET, given back when the last who needs it is done.
package final class FetchBuffer: @unchecked Sendable {
    // Confined: written by the thread that GETs, then read by those that it is handed to.
    package let bytes: UnsafeMutableRawBufferPointer

    package init(byteCount: Int) {
        bytes = .allocate(byteCount: byteCount, alignment: 16)
    }

    package init(copying source: UnsafeRawBufferPointer) {
        bytes = .allocate(byteCount: source.count, alignment: 16)
        bytes.copyMemory(from: source)
    }

    deinit { bytes.deallocate() }
}

/// Bytes that were read, by tag. Any thread.
package final class KeptBytes: Sendable {
    private let buffers = Lock<[Int: FetchBuffer]>([:])

    package init() {}

    package func keep(_ tag: Int, _ bytes: UnsafeRawBufferPointer) {
        let copy = FetchBuffer(copying: bytes)
        buffers.withLock { $0[tag] = copy }
    }

    package func take(_ tag: Int) -> FetchBuffer? {
        buffers.withLock { $0.removeValue(forKey: tag) }
    }
}
