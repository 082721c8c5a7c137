// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The host-wide stock of journal segments in <cache>/segments. A segment is written whole with
// zeros once (not sparse: later appends then allocate nothing), renamed into a journal, and renamed
// back when its records are published; a recycled segment syncs twice as fast as a fresh one, so it
// is never punched or truncated. The pool also keeps the disk budget of all journals.
//
// The one thing to know: after another boot no free segment is used again. A power cut may undo the
// rename that put it here, and then it is still some journal's; its name here is removed, and if
// the file has another name it lives on there.

import Glibc
public import HostIO
public import Primitives
import Synchronization

/// How full the disk budget of the journals is.
public enum SpaceLevel: UInt8, Comparable, Sendable {
    case normal = 0
    /// 80 %: say so.
    case warning
    /// 90 %: commits are forced.
    case commit
    /// 95 %: writers are slowed.
    case slow
    /// No further segment fits.
    case full

    public static func < (left: SpaceLevel, right: SpaceLevel) -> Bool {
        left.rawValue < right.rawValue
    }
}

/// What the journals of the host hold of their disk budget.
public struct SpaceUsage: Equatable, Sendable {
    public var usedBytes: UInt64
    public var budgetBytes: UInt64
    /// Segments in stock, not counted as used.
    public var freeSegments: Int

    public var level: SpaceLevel {
        let percent = budgetBytes == 0 ? 100 : usedBytes * 100 / budgetBytes
        switch percent {
        case ..<80: return .normal
        case ..<90: return .warning
        case ..<95: return .commit
        case ..<100: return .slow
        default: return .full
        }
    }

    /// Between 0 at 95 % and 1 at 100 %: how hard writers are slowed.
    public var slowdown: Double {
        guard budgetBytes > 0 else { return 1 }
        let share = Double(usedBytes) / Double(budgetBytes)
        return min(1, max(0, (share - 0.95) / 0.05))
    }
}

/// Segments that could not be given back, in the order given, and why the first could not.
public struct GiveBackFailure<Storage: StorageDirectory>: Error {
    public let left: [SegmentFile<Storage>]
    public let reason: HostIOError
}

/// The stock of segments. Its calls block and belong on workers; any thread may make them.
public final class SegmentPool<Storage: StorageDirectory>: Sendable {
    /// Free segments kept at most, 1 GiB; more are deleted when they come back. A burst of writes
    /// is as fast as the stock is deep: beyond it segments are made on the way, of pages that the
    /// kernel has yet to find.
    public static var freeSegmentsMax: Int { 64 }
    private static var bootName: String { "boot" }
    private static var zeroBytes: Int { 1 << 20 }

    private struct Free {
        let name: String
        let file: Storage.File
    }

    private struct State {
        var free: [Free] = []
        var nextNumber: UInt64 = 1
        var usedSegments: UInt64 = 0 {
            didSet { gauge.set(usedBytes: usedSegments * segmentBytes) }
        }
        var random: any RandomSource
        let gauge: SpaceGauge
        let segmentBytes: UInt64
    }

    public let directory: Storage
    public let segmentPages: Int
    public let budgetBytes: UInt64
    /// What is used of the budget, without a lock.
    public let gauge: SpaceGauge
    private let freeMax: Int
    private let state: Lock<State>

    /// `directory` is <cache>/segments. Nothing is touched before `prepare`.
    public init(
        directory: Storage, segmentPages: Int = Limits.segmentPages, budgetBytes: UInt64,
        freeSegmentsMax: Int = SegmentPool.freeSegmentsMax, random: some RandomSource
    ) {
        precondition(segmentPages >= 16 && segmentPages <= Limits.segmentPages)
        self.directory = directory
        self.segmentPages = segmentPages
        self.budgetBytes = budgetBytes
        freeMax = freeSegmentsMax
        let segmentBytes = UInt64(segmentPages * Limits.grainBytes)
        let gauge = SpaceGauge(budgetBytes: budgetBytes, segmentBytes: segmentBytes)
        self.gauge = gauge
        state = Lock(
            State(
                random: random, gauge: gauge, segmentBytes: segmentBytes))
    }

    /// With less than that free on the disk no segment is made any more.
    public var diskReserveBytes: UInt64 { 2 * segmentBytes }

    public var segmentBytes: UInt64 { UInt64(segmentPages * Limits.grainBytes) }

    public var usage: SpaceUsage {
        state.withLock {
            SpaceUsage(
                usedBytes: $0.usedSegments * segmentBytes, budgetBytes: budgetBytes,
                freeSegments: $0.free.count)
        }
    }

    public var level: SpaceLevel { usage.level }

    /// Looks at what an earlier process left: free segments of this boot are kept, others
    /// forgotten. Called once, before any journal is recovered.
    public func prepare(bootID: BootID) throws(HostIOError) {
        let written = try directory.readAll(Self.bootName, limit: 4096)
        let isSameBoot = written == Array(bootID.description.utf8)
        var found: [Free] = []
        var highest: UInt64 = 0
        for name in try directory.list() {
            if name.hasSuffix(".free.new") { try directory.remove(name) }
            guard name.hasSuffix(".free") else { continue }
            let number = UInt64(name.dropLast(5))
            highest = max(highest, number ?? 0)
            guard isSameBoot, number != nil, found.count < freeMax else {
                try directory.remove(name)
                continue
            }
            let file = try directory.open(name, writable: true)
            if try file.size() == segmentBytes {
                found.append(Free(name: name, file: file))
            } else {
                try directory.remove(name)
            }
        }
        if !isSameBoot {
            // The removals must not be undone later, when the segments have new owners.
            try directory.sync()
            try directory.replaceDurably(
                Self.bootName, with: Array(bootID.description.utf8))
        }
        state.withLock {
            $0.free = found
            $0.nextNumber = max($0.nextNumber, highest + 1)
        }
    }

    /// Makes free segments until `count` are in stock, so that `take` is one rename.
    public func stock(_ count: Int) throws(HostIOError) {
        while state.withLock({ $0.free.count }) < min(count, freeMax) {
            let made = try makeFree()
            state.withLock { $0.free.append(made) }
        }
    }

    /// Moves a free segment, or a fresh one, into a journal's directory. Its name is durable only
    /// after the first sync of that journal. `beyondBudget` is for the seal of a recovery, without
    /// which a full journal could never be emptied.
    public func take(
        into journal: Storage, number: UInt64, beyondBudget: Bool = false
    ) throws(JournalError) -> SegmentFile<Storage> {
        let budget = budgetBytes
        let bytes = segmentBytes
        let refused = state.withLock { state -> UInt64? in
            let used = state.usedSegments * bytes
            if !beyondBudget, used + bytes > budget { return used }
            state.usedSegments += 1
            return nil
        }
        if let refused {
            throw .budgetExhausted(usedBytes: refused, budgetBytes: budgetBytes)
        }
        do throws(HostIOError) {
            let free = try takeFree()
            let mapping = try free.file.mapping(count: Int(bytes))
            try directory.rename(
                free.name, to: journal, as: SegmentName.text(of: number))
            let nonce = state.withLock { $0.random.next() }
            return SegmentFile(
                file: free.file, number: number, nonce: nonce, pages: segmentPages,
                directory: journal, poolDirectory: directory, nameIsDurable: false,
                mapping: mapping)
        } catch {
            state.withLock { $0.usedSegments -= 1 }
            throw .io(error)
        }
    }

    /// Takes back segments whose records are all published, in the order given: the oldest first,
    /// so that a crash in between leaves the younger ones, which explain themselves. What it cannot
    /// take is in the error, still counted as used: it is to be given back again later.
    public func give(back segments: [SegmentFile<Storage>]) throws(GiveBackFailure<Storage>) {
        for (index, segment) in segments.enumerated() {
            do throws(HostIOError) { try give(back: segment) } catch {
                throw GiveBackFailure(left: Array(segments[index...]), reason: error)
            }
            state.withLock { $0.usedSegments -= 1 }
        }
    }

    private func give(back segment: SegmentFile<Storage>) throws(HostIOError) {
        let isWiped = isWiped(segment.file)
        let hasRoom = state.withLock { $0.free.count < freeMax }
        guard isWiped, hasRoom, segment.pages == segmentPages else {
            try segment.directory.remove(segment.name)
            // As it is it must not come back when the next one has gone.
            if !isWiped { try segment.directory.sync() }
            return
        }
        let name = freeName()
        try segment.directory.rename(segment.name, to: directory, as: name)
        state.withLock { $0.free.append(Free(name: name, file: segment.file)) }
    }

    /// Removes the superblock and the first header, durably: a segment that waits in a journal for
    /// its first batch must not be taken for part of an earlier life of that journal, whose
    /// generations may be higher, nor for a beginning of that journal whose superblock rotted.
    /// False if that failed: a file that did not sync is never trusted again.
    private func isWiped(_ file: Storage.File) -> Bool {
        do throws(HostIOError) {
            try file.write(at: 0, [UInt8](repeating: 0, count: 2 * Limits.grainBytes))
            try file.sync()
            return true
        } catch { return false }
    }

    /// Counts segments that a recovered journal holds, or that left by another way.
    func adopt(_ count: Int) {
        state.withLock { $0.usedSegments += UInt64(count) }
    }

    /// Counts segments no more that stay in the folder of a journal which nobody serves any longer.
    /// Whoever recovers it counts them again.
    public func disown(_ count: Int) {
        state.withLock {
            precondition(count >= 0 && UInt64(count) <= $0.usedSegments)
            $0.usedSegments -= UInt64(count)
        }
    }

    func drawNonce() -> UInt64 { state.withLock { $0.random.next() } }

    private func freeName() -> String {
        let number = state.withLock { state -> UInt64 in
            defer { state.nextNumber += 1 }
            return state.nextNumber
        }
        let digits = String(number)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits + ".free"
    }

    private func takeFree() throws(HostIOError) -> Free {
        // The last one back: its pages are likely still in memory, and copying into them costs a
        // fraction of what fresh pages cost.
        let stocked = state.withLock { $0.free.popLast() }
        if let stocked { return stocked }
        // A writer waits: space is reserved, and the writer fills it. Its first syncs cost more.
        return try makeFree(isWritten: false)
    }

    /// A file under a temporary name, reserved whole, then named free. With `isWritten` filled with
    /// zeros and synced too, so that a sync after an append has no extents to convert: twice as
    /// fast.
    private func makeFree(isWritten: Bool = true) throws(HostIOError) -> Free {
        // The last bytes of a disk are left to commits, whose roots are written beside it: without
        // them no segment would ever come back.
        guard try directory.space().free >= diskReserveBytes else {
            throw HostIOError(.allocate, path: directory.path, code: ENOSPC)
        }
        let name = freeName()
        let temporary = name + ".new"
        try directory.remove(temporary)
        let file = try directory.create(temporary)
        do throws(HostIOError) {
            try file.allocate(segmentBytes)
            if isWritten { try fill(file) }
            try directory.rename(temporary, to: directory, as: name)
        } catch {
            // The disk is likely full: give back what was taken of it.
            _ = try? directory.remove(temporary)
            throw error
        }
        return Free(name: name, file: file)
    }

    private func fill(_ file: Storage.File) throws(HostIOError) {
        let zeros = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Self.zeroBytes, alignment: Limits.grainBytes)
        defer { zeros.deallocate() }
        zeros.initializeMemory(as: UInt8.self, repeating: 0)
        let pieces = UnsafeMutableBufferPointer<iovec>.allocate(capacity: 1)
        defer { pieces.deallocate() }
        var offset: UInt64 = 0
        while offset < segmentBytes {
            let count = min(Self.zeroBytes, Int(segmentBytes - offset))
            pieces.initialize(
                repeating: iovec(iov_base: zeros.baseAddress, iov_len: count))
            try file.write(at: offset, pieces: pieces)
            offset += UInt64(count)
        }
        try file.sync()
    }
}
