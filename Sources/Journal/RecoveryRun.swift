// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The walks of one recovery. See JournalRecovery for the order of the steps.

import Formats
import HostIO
import Primitives

struct RecoveryRun<Storage: StorageDirectory> {
    private let segments: [FoundSegment<Storage>]
    private let walk: [WalkSegment<Storage.File>]
    private let unreadable: [UnreadableSegment<Storage.File>]
    private let cut: RecordSequence
    private let bootID: BootID

    /// The first batch that cannot be accepted, and the segment where it should be.
    private var firstBad = BatchNumber(0)
    private var badSegment = 0
    /// Where the headers end: after it only claims are looked for.
    private var endSegment = 0
    private var endPage = 1
    /// What a segment that goes on from there would say of the batch before it.
    private var end: BatchLink?
    /// The highest batch that anything valid says was synced.
    private var highestSynced = BatchNumber(0)
    /// The same, but only of those who say it of records after the cut: a segment that was given
    /// back and overwritten may reappear after a power cut, and what it lost is published.
    private var claimed: BatchNumber?
    /// The last record that was synced, as segments say that are of a later generation than the one
    /// where the headers end.
    private var laterSynced = RecordSequence(0)
    /// From this batch on payloads may be torn by a kill: the last batch, and those of the last
    /// unit.
    private var verifyFrom = BatchNumber(0)

    /// Nil if nothing after the cut was accepted.
    private(set) var accepted: AcceptedEnd?
    private(set) var rotted: JournalError?
    /// Where the first batch of this boot begins that nothing says was synced.
    private(set) var unsynced: UnsyncedTail?

    init(survey: SegmentSurvey<Storage>, cut: RecordSequence, bootID: BootID) {
        segments = survey.live
        walk = survey.live.map(\.walk)
        unreadable = survey.unreadable
        self.cut = cut
        self.bootID = bootID
        for segment in segments {
            note(segment.header.syncedTo, upTo: segment.header.syncedSequence)
        }
    }

    private mutating func note(_ syncedTo: BatchNumber, upTo sequence: RecordSequence) {
        highestSynced = max(highestSynced, syncedTo)
        if sequence > cut { claimed = max(claimed ?? syncedTo, syncedTo) }
    }

    /// Records between the cut and the oldest segment are missing.
    private var isBeginningMissing: Bool {
        segments.first.map { $0.header.firstSequence > cut.next } ?? false
    }

    /// Walks the headers to their end.
    mutating func measure() throws(HostIOError) {
        guard let first = segments.first else { return }
        if isBeginningMissing {
            firstBad = BatchNumber(first.header.firstBatch.rawValue - 1)
            endPage = 1
            return
        }
        var walker = BatchWalker(walk, from: 0)
        var unitBegan: BatchNumber?
        var lastUnit = walker.expected
        while let batch = try walker.next() {
            note(batch.syncedTo, upTo: batch.syncedSequence)
            if walker.isNewGeneration { unitBegan = nil }
            for record in walker.records {
                if unitBegan == nil { unitBegan = batch.number }
                if !record.continues {
                    lastUnit = unitBegan ?? batch.number
                    unitBegan = nil
                }
            }
        }
        firstBad = walker.expected
        badSegment = walker.index
        endSegment = walker.index
        endPage = walker.page
        end = BatchLink(batch: walker.expected, chainBefore: walker.chain)
        let lastBatch = walker.expected.rawValue - 1
        verifyFrom = min(lastUnit, BatchNumber(lastBatch))
    }

    /// Hands out the whole units after the cut, up to the first payload that does not match.
    mutating func replay(_ apply: (RecoveredUnit) -> Void) throws(HostIOError) {
        guard !segments.isEmpty, !isBeginningMissing else { return }
        var walker = BatchWalker(walk, from: 0)
        let verifier = PayloadVerifier()
        var unit = RecoveredUnit(records: [])
        var lastSequences = segments.map { _ in RecordSequence(0) }
        while let batch = try walker.next() {
            guard try hasItsPayloads(batch, walker, verifier) else {
                firstBad = batch.number
                badSegment = walker.index
                return
            }
            // What another boot wrote was read from the disk itself.
            if unsynced == nil, batch.bootID == bootID, batch.number > highestSynced {
                unsynced = UnsyncedTail(segment: walker.index, header: walker.headerPage)
            }
            if walker.isNewGeneration { unit.records.removeAll() }
            var endsUnit = false
            for record in walker.records where record.sequence > cut {
                let page = JournalPage(slot: walker.index, page: Int(record.firstPage))
                unit.records.append(RecoveredRecord(record: record, page: page))
                if record.continues { continue }
                apply(unit)
                // Also in segments that hold only the beginning of a unit.
                for item in unit.records { lastSequences[item.page.slot] = item.record.sequence }
                unit.records.removeAll(keepingCapacity: true)
                endsUnit = true
            }
            if endsUnit {
                accepted = AcceptedEnd(
                    batch: batch.number, chain: walker.chain, sequence: walker.lastWhole,
                    segment: walker.index, page: walker.page, lastSequences: lastSequences)
            }
        }
    }

    /// Payloads are looked at if they may differ from what the header says: written in another
    /// boot, not known to be synced, or among the last that a kill may have torn.
    private func hasItsPayloads(
        _ batch: BatchHeader, _ walker: borrowing BatchWalker<Storage.File>,
        _ verifier: borrowing PayloadVerifier
    ) throws(HostIOError) -> Bool {
        guard
            batch.bootID != bootID || batch.number > highestSynced || batch.number >= verifyFrom
        else { return true }
        let segment = walk[walker.index]
        for record in walker.records where record.sequence > cut {
            let matches = try verifier.matches(
                record, in: segment.file, seed: segment.header.nonce)
            if !matches { return false }
        }
        return true
    }

    /// Decides whether the first bad batch was ever promised.
    mutating func judge() throws(HostIOError) {
        try judgeUnreadable()
        guard !segments.isEmpty, rotted == nil else { return }
        for index in endSegment..<segments.count {
            try noteClaims(in: walk[index], from: index == endSegment ? endPage : 1)
        }
        // Where the first segment of a generation is lost, batches that it had cut off are there
        // again, under the numbers of its own. What the others of it say was synced tells.
        if laterSynced > accepted?.sequence ?? cut {
            rotted = .rotted(
                segment: walk[badSegment].name, batch: firstBad, claimed: highestSynced)
            return
        }
        // Where the beginning is missing, the record after the cut is gone, and every claim is of
        // that one too: how far the batches went that are missing is not known.
        if let claimed, isBeginningMissing || claimed >= firstBad {
            rotted = .rotted(
                segment: walk[badSegment].name, batch: firstBad, claimed: claimed)
        }
    }

    /// A batch and its segment's superblock are synced by one call. So where a segment that belongs
    /// here says of one of its own batches that it was synced, its superblock was there and rotted;
    /// where it does not, the power may have gone before the superblock was written.
    private mutating func judgeUnreadable() throws(HostIOError) {
        for segment in unreadable {
            guard let found = try segment.read(), belongsHere(found),
                let claimed = found.promised(after: cut)
            else { continue }
            rotted = .rotted(segment: segment.name, batch: found.link.batch, claimed: claimed)
        }
    }

    /// It goes on where the headers end, or where an earlier recovery sealed; or nothing else is
    /// left and it goes on from the cut.
    private func belongsHere(_ found: UnreadableSegment<Storage.File>.Content) -> Bool {
        guard !segments.isEmpty else { return found.firstSequence <= cut.next }
        return found.link == end
            || found.link == accepted.map { BatchLink(batch: $0.batch.next, chainBefore: $0.chain) }
    }

    /// Looks at every page for headers of this use of the segment, wherever the chain broke.
    private mutating func noteClaims(
        in segment: WalkSegment<Storage.File>, from firstPage: Int
    ) throws(HostIOError) {
        let isLater = segment.header.generation > segments[endSegment].header.generation
        if isLater { laterSynced = max(laterSynced, segment.header.syncedSequence) }
        let window = UnsafeMutableRawBufferPointer.allocate(
            byteCount: 1 << 20, alignment: Limits.grainBytes)
        defer { window.deallocate() }
        var records: [JournalRecord] = []
        var page = firstPage
        while page < segment.header.pages {
            let offset = UInt64(page * Limits.grainBytes)
            let count = try segment.file.read(at: offset, into: window)
            let whole = count / Limits.grainBytes
            if whole == 0 { break }
            for index in 0..<min(whole, segment.header.pages - page) {
                let start = index * Limits.grainBytes
                let bytes = UnsafeRawBufferPointer(
                    rebasing: window[start..<(start + Limits.grainBytes)])
                guard BatchHeader.mayBegin(bytes),
                    let header = try? BatchHeader.decode(
                        bytes, seed: segment.header.nonce, index: page + index,
                        segmentPages: segment.header.pages, records: &records)
                else { continue }
                note(header.syncedTo, upTo: header.syncedSequence)
                if isLater { laterSynced = max(laterSynced, header.syncedSequence) }
            }
            page += whole
        }
    }
}
