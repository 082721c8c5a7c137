// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What recovery accepted, and its sealing: the promise that the next recovery accepts exactly the
// same. Order: 1. write again what is kept and not known to be synced, sync all that is kept; 2. a
// new segment of the next generation whose superblock cuts off everything after the accepted end,
// synced with its name; 3. only then let go of what is cut off. A kill at any point leaves a
// journal that recovers to the same units.

import Formats
import Glibc
public import HostIO
public import Primitives

/// The result of a recovery, to be sealed before anything is served.
public struct RecoveredJournal<Storage: StorageDirectory>: Sendable {
    let volume: VolumeID
    let bootID: BootID
    let directory: Storage
    let cut: RecordSequence
    let survey: SegmentSurvey<Storage>
    let accepted: AcceptedEnd?
    let unsynced: UnsyncedTail?

    /// The last record that was accepted; the cut if there was none after it.
    public var lastSequence: RecordSequence { max(cut, accepted?.sequence ?? cut) }

    /// True if nothing after the cut was accepted: the journal begins anew without any segment.
    public var isEmpty: Bool { accepted == nil }

    /// Makes the result final and durable, and returns what the journal starts with. Blocking.
    /// After a failure recovery must be done again.
    public func seal(pool: SegmentPool<Storage>) throws(JournalError) -> JournalStart<Storage> {
        var kept: [LiveSegment<Storage>] = []
        var dropped = survey.live[...]
        if let accepted {
            for (index, segment) in survey.live[...accepted.segment].enumerated() {
                kept.append(
                    LiveSegment(
                        file: adopted(segment, pool: pool),
                        header: segment.header, lastSequence: accepted.lastSequences[index]))
            }
            dropped = survey.live[(accepted.segment + 1)...]
        }
        do throws(HostIOError) {
            for (index, segment) in kept.enumerated() {
                try writeAgain(segment.file, unsyncedPages(of: index, segment.file.pages))
                try segment.file.file.sync()
            }
            // Also settles what earlier renames left open: a name that is gone stays gone.
            try directory.sync()
        } catch {
            throw .io(error)
        }
        pool.adopt(kept.count)
        var next = survey.highestNumber + 1
        do throws(JournalError) {
            if let accepted {
                kept.append(try sealingSegment(after: accepted, number: next, pool: pool))
                next += 1
            }
            try letGo(of: dropped, pool: pool)
        } catch {
            // The next recovery counts what it finds.
            pool.disown(kept.count)
            throw error
        }
        return start(with: kept, nextSegmentNumber: next, pages: pool.segmentPages)
    }

    /// Pages of a kept segment that a failed sync may have dropped; at most what is accepted.
    private func unsyncedPages(of index: Int, _ pages: Int) -> Range<Int> {
        guard let unsynced, let accepted, index >= unsynced.segment else { return 0..<0 }
        let first = index == unsynced.segment ? unsynced.page : 0
        return first..<max(first, index == accepted.segment ? accepted.page : pages)
    }

    /// Gives the kernel the pages once more. After a failed sync it takes them for clean, so the
    /// next sync would succeed without them.
    private func writeAgain(
        _ segment: SegmentFile<Storage>, _ pages: Range<Int>
    ) throws(HostIOError) {
        if pages.isEmpty { return }
        let window = UnsafeMutableRawBufferPointer.allocate(
            byteCount: 1 << 20, alignment: Limits.grainBytes)
        defer { window.deallocate() }
        var offset = pages.lowerBound * Limits.grainBytes
        let end = pages.upperBound * Limits.grainBytes
        while offset < end {
            let part = UnsafeMutableRawBufferPointer(
                rebasing: window[..<min(window.count, end - offset)])
            let count = try segment.file.read(at: UInt64(offset), into: part)
            if count == 0 { return }
            try segment.file.write(
                at: UInt64(offset), UnsafeRawBufferPointer(rebasing: part[..<count]))
            offset += count
        }
    }

    private var generation: UInt64 {
        (survey.live.last?.header.generation ?? 0) + 1
    }

    private func start(
        with segments: [LiveSegment<Storage>], nextSegmentNumber: UInt64, pages: Int
    ) -> JournalStart<Storage> {
        JournalStart(
            volume: volume, bootID: bootID, directory: directory, segmentPages: pages,
            generation: generation, nextBatch: accepted?.batch.next ?? BatchNumber(1),
            chainBefore: accepted?.chain ?? 0, nextSequence: lastSequence.next,
            nextSegmentNumber: nextSegmentNumber, segments: segments)
    }

    /// Writes the superblock that ends the old generation.
    private func sealingSegment(
        after end: AcceptedEnd, number: UInt64, pool: SegmentPool<Storage>
    ) throws(JournalError) -> LiveSegment<Storage> {
        let file = try pool.take(into: directory, number: number, beyondBudget: true)
        let header = SegmentHeader(
            volume: volume, pages: file.pages, generation: generation, nonce: file.nonce,
            firstBatch: end.batch.next, chainBefore: end.chain, firstSequence: end.sequence.next,
            syncedTo: end.batch, syncedSequence: end.sequence, bootID: bootID)
        let page = UnsafeMutableRawPointer.allocate(
            byteCount: SegmentHeader.byteCount, alignment: Limits.grainBytes)
        defer { page.deallocate() }
        header.encode(into: page)
        do throws(HostIOError) {
            try file.file.write(
                at: 0, UnsafeRawBufferPointer(start: page, count: SegmentHeader.byteCount))
            try file.file.sync()
            try directory.sync()
            try pool.directory.sync()
        } catch {
            pool.disown(1)
            throw .io(error)
        }
        file.markNameDurable()
        return LiveSegment(file: file, header: header, lastSequence: RecordSequence(0))
    }

    /// Removes what does not exist any more. First what later segments have superseded: without
    /// those, batches that an earlier recovery cut off would exist again. Then the dropped ones,
    /// the youngest first, so that a kill in between never leaves one without the one before it.
    private func letGo(
        of dropped: ArraySlice<FoundSegment<Storage>>, pool: SegmentPool<Storage>
    ) throws(JournalError) {
        let gone = survey.superseded + dropped.reversed()
        pool.adopt(gone.count)
        do throws(GiveBackFailure<Storage>) {
            try pool.give(back: gone.map { adopted($0, pool: pool) })
        } catch {
            pool.disown(error.left.count)
            throw .io(error.reason)
        }
        do throws(HostIOError) {
            for name in survey.strangers { try directory.remove(name) }
            if !gone.isEmpty || !survey.strangers.isEmpty { try directory.sync() }
        } catch { throw .io(error) }
    }

    private func adopted(
        _ segment: FoundSegment<Storage>, pool: SegmentPool<Storage>
    ) -> SegmentFile<Storage> {
        SegmentFile(
            file: segment.file, number: segment.number, nonce: segment.header.nonce,
            pages: segment.header.pages, directory: directory, poolDirectory: pool.directory,
            nameIsDurable: true, mapping: nil)
    }
}
