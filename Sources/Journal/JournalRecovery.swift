// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a journal holds after a kill or a power cut: the longest run of whole units that can be
// proved. Reads only; nothing may be served before the result is sealed. Steps:
//
//   1. survey    superblocks: which segments exist, where to start
//   2. measure   walk the headers to the first bad one; the highest synced-to; the last whole unit
//   3. replay    walk again; verify payloads that may be torn; hand out whole units after the cut
//   4. judge     if anything later claims that the first bad batch was synced, flushed data rotted:
//                the journal is quarantined. Otherwise the tail was never answered as flushed
//
// docs/formats/journal.md has the rules and why each is safe.

public import Formats
public import HostIO
public import Primitives

/// A record of a recovered unit, and where its payload lies.
public struct RecoveredRecord: Sendable {
    public let record: JournalRecord
    /// For a write: the first page of its payload.
    public let page: JournalPage
}

/// A guest request, or a mark, as it was journaled: whole.
public struct RecoveredUnit: Sendable {
    public internal(set) var records: [RecoveredRecord]
}

/// Recovery of one volume's journal. Blocking; for a worker.
public enum JournalRecovery<Storage: StorageDirectory> {
    /// Reads the journal in `directory` and calls `apply` with every whole unit after `cut`, in
    /// order. Throws `rotted` if flushed data is lost; what was applied is then to be thrown away.
    /// The same journal gives the same result every time, however often recovery is interrupted.
    public static func recover(
        directory: Storage, volume: VolumeID, cut: RecordSequence, bootID: BootID,
        apply: (RecoveredUnit) -> Void
    ) throws(JournalError) -> RecoveredJournal<Storage> {
        let survey: SegmentSurvey<Storage>
        var run: RecoveryRun<Storage>
        do throws(HostIOError) {
            survey = try SegmentSurvey(directory: directory, volume: volume, cut: cut)
            run = RecoveryRun(survey: survey, cut: cut, bootID: bootID)
            try run.measure()
            try run.replay(apply)
            try run.judge()
        } catch {
            throw .io(error)
        }
        if let rotted = run.rotted { throw rotted }
        return RecoveredJournal(
            volume: volume, bootID: bootID, directory: directory, cut: cut, survey: survey,
            accepted: run.accepted, unsynced: run.unsynced)
    }
}

/// Where the batches begin that may never have reached the disk, whatever a later sync says: a sync
/// that failed in an earlier process has dropped them, and the kernel tells of that once.
struct UnsyncedTail: Sendable {
    /// The index of the segment.
    let segment: Int
    /// A page of it; 0 if its superblock is in doubt too.
    let page: Int

    /// `header`: the page of the first such batch.
    init(segment: Int, header: Int) {
        self.segment = segment
        page = header == 1 ? 0 : header
    }
}

/// The end of what recovery accepts.
struct AcceptedEnd: Sendable {
    /// The last batch with the end of an accepted unit.
    var batch: BatchNumber
    var chain: UInt64
    /// The last record of the last accepted unit.
    var sequence: RecordSequence
    /// The index of the segment that holds it.
    var segment: Int
    /// The page after that batch.
    var page: Int
    /// The last accepted record in each segment.
    var lastSequences: [RecordSequence]
}
