// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a volume tells of itself: counts for metrics, and the state that status shows.

public import Formats
import Journal
public import Primitives
import VolumeMap

/// Counts since the volume was opened here.
public struct VolumeCounters: Equatable, Sendable {
    public var reads: UInt64 = 0
    public var readBytes: UInt64 = 0
    public var writes: UInt64 = 0
    public var writtenBytes: UInt64 = 0
    public var zeroes: UInt64 = 0
    public var zeroedBytes: UInt64 = 0
    public var flushes: UInt64 = 0
    public var syncs: UInt64 = 0
    public var fetches: UInt64 = 0
    public var fetchesFailed: UInt64 = 0
    public var commits: UInt64 = 0
    public var commitsPostponed: UInt64 = 0
    /// Tries to give journal segments back that failed.
    public var returnsFailed: UInt64 = 0
    /// Writes whose answer was held back because the disk budget was short, and for how long.
    public var writesHeld: UInt64 = 0
    public var heldNanoseconds: UInt64 = 0
}

/// Why writers wait, or get errors by policy.
public enum StallReason: String, Sendable {
    /// The host's disk budget for journals is used up.
    case budgetUsed = "the disk budget of the cache is used up"
    /// The disk has less room than the budget.
    case diskFull = "the disk below the cache is full: make room there"
    /// Too much was zeroed or trimmed since the last commit that came through.
    case indexFull = "the index of unpublished writes is full"
    /// The oldest unpublished write is older than it may get.
    case unpublished = "the oldest unpublished write is too old"
}

/// A moment's state of a volume.
public struct VolumeReport: Sendable {
    public var id: VolumeID
    public var size: ByteCount
    public var blockBytes: Int
    public var commit: Commit
    /// Bytes of the packs that the commit refers to, if the commit says it.
    public var storedBytes: UInt64?
    public var epoch: Epoch
    /// "open", "closing", "read-only", "fenced" or "failed".
    public var operationState: String
    /// Why it takes no writes.
    public var failure: VolumeFailure?
    public var lastError: String?
    /// Blocks and zeroed ranges that are not in the root.
    public var dirtyEntries: Int
    /// What the memtables weigh: about their bytes.
    public var indexBytes: UInt64
    public var journalBytes: UInt64
    public var journalSegments: Int
    /// Segments that are free and could not be given back: tried again by and by.
    public var unreturnedSegments: Int
    /// Bytes appended since the last cut.
    public var unpublishedBytes: UInt64
    public var unpublishedAgeSeconds: UInt64
    public var isCommitting: Bool
    /// Why no write is taken for now; nil: writes are taken, or the volume takes none for good.
    public var stall: StallReason?
    /// How long commits have not come through; 0 if the last one did.
    public var storeAwaySeconds: UInt64
    public var parkedRequests: Int
    /// How hard writers are slowed: 0 not at all, 1 the disk budget is full.
    public var slowdown: Double
    /// Journaled writes whose answers are held back now.
    public var heldAnswers: Int
    /// The last journal record that was appended.
    public var lastRecord: RecordSequence
    public var counters: VolumeCounters
    public var compaction: CompactionCounters
    /// What became of the last request for a fresh base; nil: there was none.
    public var compactionRequest: CompactionRequestState?

    public var isStalled: Bool { stall != nil }
}

extension Volume {
    private var stall: StallReason? {
        guard case .open = gate else { return nil }
        if isStalled { return .unpublished }
        if isIndexFull { return .indexFull }
        // A segment that could not be had ahead of need keeps nobody waiting yet.
        guard isShortOfDisk, parks.isAnyWaitingForRoom || options.whenFull != .pause else {
            return nil
        }
        return isDiskFull ? .diskFull : .budgetUsed
    }

    public func report() -> VolumeReport {
        var failure: VolumeFailure?
        var state = "open"
        if case .closed(let reason) = gate {
            failure = reason
            switch reason {
            case .readOnly: state = "read-only"
            case .fenced: state = "fenced"
            case .closing: state = "closing"
            default: state = "failed"
            }
        }
        var isCommitting = true
        if case .idle = phase { isCommitting = false }
        let unreturned = returns.failure.map { "journal segments cannot be given back: \($0)" }
        let age = (oldestFrozen ?? oldestActive).map { now.nanoseconds(since: $0) / 1_000_000_000 }
        var slowdown = 0.0
        if case .open = gate, let space { slowdown = space.slowdown }
        return VolumeReport(
            id: id, size: size, blockBytes: blockBytes, commit: root.commit,
            storedBytes: root.packBytes, epoch: epoch,
            operationState: state, failure: failure,
            lastError: lastError ?? unreturned,
            dirtyEntries: active.entryCount + (frozen?.entryCount ?? 0),
            indexBytes: active.weight + (frozen?.weight ?? 0),
            journalBytes: journal.bytes, journalSegments: journal.segmentCount,
            unreturnedSegments: returns.failed,
            unpublishedBytes: uncommittedBytes + frozenBytes, unpublishedAgeSeconds: age ?? 0,
            isCommitting: isCommitting, stall: stall,
            storeAwaySeconds: storeAwaySince.map { now.nanoseconds(since: $0) / 1_000_000_000 }
                ?? 0,
            parkedRequests: parks.count,
            slowdown: slowdown, heldAnswers: pace.held.count, lastRecord: journal.lastAppended,
            counters: counters, compaction: compaction.counters,
            compactionRequest: compactionRequestState)
    }
}
