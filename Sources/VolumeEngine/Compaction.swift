// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Compaction as the shard sees it: what is gathered by workers goes along with a commit of its own,
// when no other is due.
//
//             look due, step due                 gathered
//   resting ─────────────────────▶ gathering ────────────────▶ holding
//      ▲ ▲    nothing, failed, stopped │  (a step without blocks: the next one)  │ nothing else due
//      │ └─────────────────────────────┘                                        ▼
//      └──────────────── published, fenced, failed ───────────────────── committing

import Committer
import Formats
public import Primitives
import VolumeMap

/// What was compacted since the volume was opened.
public struct CompactionCounters: Equatable, Sendable {
    public var looks: UInt64 = 0
    public var rounds: UInt64 = 0
    public var steps: UInt64 = 0
    public var commits: UInt64 = 0
    public var blocks: UInt64 = 0
    public var bytes: UInt64 = 0
    public var failures: UInt64 = 0
}

/// What became of the last request for a fresh base.
public enum CompactionRequestState: Equatable, Sendable {
    case running(blocksDone: UInt64, blocksTotal: UInt64)
    /// The last commit of it.
    case done(CommitSequence, Token)
    case failed(String)
}

/// The state. Confined to its volume's shard.
struct Compaction {
    enum Phase {
        case resting
        case gathering(StopMark)
        /// Waits for its commit.
        case holding(Relocation)
        /// With a commit of its own, or riding on another.
        case committing
    }

    /// A fresh base on its way, and who asked for it.
    struct Job {
        var requests: [ControlRequest]
        /// Its base holds everything up to this record; nil: it waits for a commit, and has not
        /// begun.
        var begun: RecordSequence?
        /// Those who came since, behind writes that it does not store again: the next one is
        /// theirs.
        var late: [ControlRequest] = []
    }

    /// What waits for the end of a compacting commit, because it wants none to run.
    enum Deferred {
        case rollback(ControlRequest, Root)
        case acknowledge(ControlRequest)
    }

    /// Rounds that may choose one pack: what stays after them is not tried again.
    static let triesMax = 3
    /// Commits that go before what was gathered, on a volume that never rests.
    static let passedMax = 7
    /// Seconds without compacting commits after somebody has asked for a commit: what comes next
    /// wants none to run.
    static let courtesySeconds: UInt64 = 5
    /// Seconds without gathering after one that failed.
    static let failureSeconds: UInt64 = 10

    var phase = Phase.resting {
        didSet { if case .holding = phase { isHolding = true } else { isHolding = false } }
    }
    /// What was gathered waits for its commit: asked in every turn.
    private(set) var isHolding = false
    /// The round that goes on with the next step.
    var round: CompactionRound?
    var job: Job?
    /// What was acknowledged up to this record is committed before a job begins.
    var awaited: RecordSequence?
    /// How the last job ended.
    var ended: CompactionRequestState?
    var deferred: [Deferred] = []
    var tries: [PackID: Int] = [:]
    /// Ordinary commits since something was gathered.
    var passed = 0
    var nextLook: Instant
    /// The last look found nothing to do in this commit: with these rules, until then.
    var idle: (sequence: CommitSequence, isQuiet: Bool, until: Instant)?
    /// When the last commit with records of its own was published.
    var lastChange: Instant
    var courtesyUntil: Instant
    /// After a failure nothing is gathered for a while.
    var restUntil: Instant
    var counters = CompactionCounters()

    init(now: Instant, options: CompactionOptions?) {
        // Not before it is written: thousands of volumes may be opened, and idle disks are to cost
        // next to nothing.
        nextLook = now.advanced(bySeconds: options?.idleLookSeconds ?? 0)
        lastChange = now
        courtesyUntil = now
        restUntil = now
    }

    /// A commit with records of its own was published.
    mutating func noteChange(now: Instant, options: CompactionOptions?) {
        lastChange = now
        guard let options else { return }
        nextLook = min(nextLook, now.advanced(bySeconds: options.lookSeconds))
    }

    var isCommitting: Bool {
        if case .committing = phase { true } else { false }
    }

    var isResting: Bool {
        if case .resting = phase { true } else { false }
    }

    var spent: Set<PackID> {
        Set(tries.lazy.filter { $0.value >= Self.triesMax }.map(\.key))
    }
}
