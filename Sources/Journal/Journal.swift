// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One volume's journal as its shard writes it: records are staged during a turn, one `append`
// writes them as one batch with one system call, and only then may replies go out. The one thing to
// know: a unit (a guest request of one or several records) must be staged without others in
// between, and only after `room` said that it fits, because a unit once begun must be finished.
//
//   room? ─▶ stage… (batchFull ─▶ append ─▶ stage again) ─▶ append ─▶ reply
//   beginSync ─▶ [worker: perform] ─▶ syncEnded │ syncFailed ─▶ flush replies
//   retire(upTo: published cut) ─▶ [worker: pool.give(back:)]
//
// After a failed append or sync the journal is `failure` for good: it takes nothing more, and its
// files are never trusted beyond what was synced before.

import Formats
import Glibc
public import HostIO
public import Primitives

/// Confined: to its volume's shard. Files are shared with workers through `SegmentFile`.
public struct Journal<Storage: StorageDirectory>: ~Copyable {
    /// What became of a record offered for staging.
    public enum Staged: Equatable, Sendable {
        /// Staged; its payload will lie at this page (for marks: nowhere).
        case at(JournalPage)
        /// The batch takes no more: append, then stage again.
        case batchFull
    }

    /// The newest bytes that are read through mappings.
    static var mappedBytes: Int { 64 << 20 }
    /// Bytes appended between two hints to begin write-back.
    static var writebackBytes: Int { 4 << 20 }

    public let volume: VolumeID
    public let directory: Storage
    let bootID: BootID
    let generation: UInt64
    let segmentPages: Int
    /// Payload pages of a batch, and so of a record, at most: 256, or a quarter of a small segment.
    public let recordPagesMax: Int

    /// The first failed append or sync. Sticky.
    public internal(set) var failure: HostIOError?

    // Segments by slot; `order` lists the slots with batches, oldest first, the last is current.
    var slots: [LiveSegment<Storage>?] = []
    var order: [Int] = []
    var ready: [Int] = []
    var readyFiles: [SegmentFile<Storage>] = []
    var freeSlots: [Int] = []
    var mappedBases: [UnsafeRawPointer?] = []
    var nextSegmentNumber: UInt64

    // The segment that takes the next batch.
    var current: SegmentFile<Storage>?
    var currentSlot = 0
    var nextPage = 0
    var chain: UInt64
    var nextBatch: BatchNumber

    // The batch being staged.
    var workspace: JournalWorkspace?
    var recordCount = 0
    var pieceCount = 0
    var payloadPages = 0
    var headerPage = 0
    var rolls = false
    var stagedSeed: UInt64 = 0
    var stagedSlot = 0

    public internal(set) var lastAppended: RecordSequence
    public internal(set) var lastStaged: RecordSequence
    public internal(set) var appendedBatch: BatchNumber
    public internal(set) var syncedBatch: BatchNumber
    /// The last record known to be durable.
    public internal(set) var syncedSequence: RecordSequence
    /// A sync was begun and has not ended. At most one is.
    public internal(set) var isSyncing = false
    var dirtySlots: [Int] = []
    var isCurrentDirty = false

    var writebackFrom = 0
    var rolledWriteback: (slot: Int, from: Int, to: Int)?

    public init(starting start: JournalStart<Storage>) {
        volume = start.volume
        directory = start.directory
        bootID = start.bootID
        generation = start.generation
        segmentPages = start.segmentPages
        recordPagesMax = min(Limits.batchPayloadPagesMax, start.segmentPages / 4)
        nextSegmentNumber = start.nextSegmentNumber
        chain = start.chainBefore
        nextBatch = start.nextBatch
        appendedBatch = BatchNumber(start.nextBatch.rawValue - 1)
        syncedBatch = appendedBatch
        lastAppended = RecordSequence(start.nextSequence.rawValue - 1)
        lastStaged = lastAppended
        syncedSequence = lastAppended
        for (slot, segment) in start.segments.enumerated() {
            slots.append(segment)
            order.append(slot)
            mappedBases.append(nil)
        }
        if let last = start.segments.last {
            current = last.file
            currentSlot = start.segments.count - 1
            mappedBases[currentSlot] = last.file.mapping?.baseAddress
            nextPage = 1
            writebackFrom = 1
        }
    }

    // MARK: Space

    /// Segments with batches, and those made ready.
    public var segmentCount: Int { order.count + ready.count }

    /// Bytes of local disk that the journal holds.
    public var bytes: UInt64 { UInt64(segmentCount) * segmentBytes }

    public var segmentBytes: UInt64 { UInt64(segmentPages * Limits.grainBytes) }

    /// True if a unit of this size can be staged and appended to its end now. If not, the caller
    /// parks it and asks for `segmentsWanted(forPages:records:)`.
    public func room(forPages pages: Int, records: Int) -> Bool {
        segmentsWanted(forPages: pages, records: records) == 0
    }

    /// Segments missing for a unit of this size.
    public func segmentsWanted(forPages pages: Int, records: Int) -> Int {
        // Each record may need a header page of its own. Every segment but the last may waste a
        // largest batch at its end, because a batch never spans segments.
        let wanted = pages + records
        var left = current == nil ? 0 : segmentPages - nextPage
        var available = ready.count
        if recordCount > 0 {
            left = segmentPages - (headerPage + 1 + payloadPages)
            if rolls { available -= 1 }
        }
        if wanted <= left { return 0 }
        let usable = segmentPages - 1 - (recordPagesMax + 1)
        let needed = wanted <= segmentPages - 1 ? 1 : (wanted + usable - 1) / usable
        return max(0, needed - available)
    }

    /// Segments to fetch ahead of need; 0 for a volume that holds none (it is idle).
    public var segmentsWanted: Int {
        if current == nil { return 0 }
        let target = nextPage * 2 > segmentPages ? 2 : 1
        return max(0, target - ready.count)
    }

    /// The number for the next segment to take from the pool; each call names another.
    public mutating func reserveSegmentNumber() -> UInt64 {
        defer { nextSegmentNumber += 1 }
        return nextSegmentNumber
    }

    /// Adds a segment taken from the pool into `directory`.
    public mutating func offer(_ segment: SegmentFile<Storage>) {
        precondition(segment.pages == segmentPages)
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
        } else {
            slot = slots.count
            slots.append(nil)
            mappedBases.append(nil)
        }
        precondition(slot < JournalPage.slotsMax, "journal has too many segments")
        ready.append(slot)
        readyFiles.append(segment)
        // What a roll appends to must not allocate then.
        order.reserveCapacity(order.count + ready.count + 1)
        dirtySlots.reserveCapacity(order.count + ready.count + 1)
    }

    // MARK: Reading

    /// The page's bytes through the mapping if it is among the newest 64 MiB, else nil: then
    /// `file(of:)` is read as cold storage.
    @inline(__always)
    public func page(_ page: JournalPage) -> UnsafeRawPointer? {
        guard let base = mappedBases[page.slot] else { return nil }
        return base + page.page * Limits.grainBytes
    }

    /// Where a page lies.
    public func file(of page: JournalPage) -> (segment: SegmentFile<Storage>, offset: UInt64) {
        guard let segment = slots[page.slot] else {
            preconditionFailure("page of a retired segment")
        }
        return (segment.file, UInt64(page.page * Limits.grainBytes))
    }

    /// A range that was appended and should begin its way to disk, every 4 MiB; nil if none is due.
    public mutating func writebackDue()
        -> (segment: SegmentFile<Storage>, offset: UInt64, count: UInt64)?
    {
        if let rolled = rolledWriteback {
            rolledWriteback = nil
            if let segment = slots[rolled.slot], rolled.to > rolled.from {
                return Self.range(segment.file, from: rolled.from, to: rolled.to)
            }
        }
        guard let current,
            (nextPage - writebackFrom) * Limits.grainBytes >= Self.writebackBytes
        else { return nil }
        defer { writebackFrom = nextPage }
        return Self.range(current, from: writebackFrom, to: nextPage)
    }

    private static func range(
        _ segment: SegmentFile<Storage>, from: Int, to: Int
    ) -> (segment: SegmentFile<Storage>, offset: UInt64, count: UInt64) {
        (
            segment, UInt64(from * Limits.grainBytes), UInt64((to - from) * Limits.grainBytes)
        )
    }
}
