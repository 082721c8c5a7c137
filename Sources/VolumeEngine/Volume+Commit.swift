// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Commits as the shard sees them: when one starts, the cut, and what its end changes. The work
// between is a `CommitRun` with a worker.
//
//        due: bytes, age, request, closing
//   idle ────────────────────────────────▶ syncing ──sync covers the cut──▶ running
//    ▲   cut record, freeze (beginCommit)                                   │  │
//    │                                                   postponed          │  │ published:
//    │                            backingOff ◀──────────────────────────────┘  │ root swapped,
//    └───────────────── (tick) ──────┴──▶ running ─────────────────────────────┘ frozen dropped

import Committer
import Formats
import HostIO
import Journal
import Primitives
public import VolumeMap

/// A control request that waits for a commit.
struct CommitWaiter {
    enum Goal {
        /// Everything up to this record is in the root.
        case cut(RecordSequence)
        /// The root was published with this state.
        case state(CommitState)
        /// The root is this commit or a later one.
        case sequence(CommitSequence)
    }

    let request: ControlRequest
    let goal: Goal
}

extension Volume {
    /// Seconds between tries of a commit that was postponed: first and most.
    static var backoffSecondsMax: UInt64 { 16 }

    /// Answers when everything acknowledged so far is published: at once if it is.
    public mutating func requestCommit(_ request: ControlRequest) {
        guard canPublish(request) else { return }
        appendStaged()
        addCommitWaiter(request, .cut(journal.lastAppended))
    }

    /// Takes no more writes, publishes all there is with the state `clean`, and answers.
    /// Irreversible: the volume is to be opened anew afterwards. The caller has detached the
    /// clients.
    public mutating func requestClose(_ request: ControlRequest) {
        guard canPublish(request) else { return }
        appendStaged()
        gate = .closed(.closing)
        wakeRoomWaiters()
        closing = .clean
        endCompaction(.closing)
        addCommitWaiter(request, .state(.clean))
    }

    /// Replaces the content by that of `source`, an older commit of this volume, at the present
    /// size. Answers when the new commit is published. Refused while anything is uncommitted.
    public mutating func requestRollback(_ request: ControlRequest, to source: Root) {
        guard canPublish(request) else { return }
        dropCompaction()
        if compaction.isCommitting, !isDirty, !journal.hasStaged {
            compaction.deferred.append(.rollback(request, source))
            return
        }
        guard case .idle = phase, !isDirty, !journal.hasStaged else {
            let why = VolumeFailure.refused("the volume has uncommitted writes: drain it first")
            effects.append(.answer(request, .failed(why)))
            return
        }
        let run = makeRun(content: .tables(source), cut: root.commit.cut)
        commitWaiters.append(CommitWaiter(request: request, goal: .sequence(run.sequence)))
        phase = .running
        effects.append(.commit(run))
    }

    /// Publishes a commit without the record of an unclean take-over. Refused while a commit runs.
    public mutating func requestAcknowledge(_ request: ControlRequest) {
        guard canPublish(request) else { return }
        if compaction.isCommitting, !isDirty, !journal.hasStaged {
            compaction.deferred.append(.acknowledge(request))
            return
        }
        guard case .idle = phase, !isDirty, !journal.hasStaged else {
            let why = VolumeFailure.refused("the volume has uncommitted writes: drain it first")
            effects.append(.answer(request, .failed(why)))
            return
        }
        let run = makeRun(content: .unchanged, cut: root.commit.cut, keepsTakeover: false)
        commitWaiters.append(CommitWaiter(request: request, goal: .sequence(run.sequence)))
        phase = .running
        effects.append(.commit(run))
    }

    /// False, and answered, if the volume no longer publishes.
    mutating func canPublish(_ request: ControlRequest) -> Bool {
        guard case .closed(let failure) = gate, failure != .closing else { return true }
        effects.append(.answer(request, .failed(failure)))
        return false
    }

    private mutating func addCommitWaiter(_ request: ControlRequest, _ goal: CommitWaiter.Goal) {
        commitWaiters.append(CommitWaiter(request: request, goal: goal))
        compaction.courtesyUntil = now.advanced(bySeconds: Compaction.courtesySeconds)
        answerCommitWaiters()
        startCommitIfDue()
        startSyncIfNeeded()
    }

    /// True if root does not hold all that was acknowledged.
    var isDirty: Bool {
        !active.isEmpty || frozen != nil || size != root.commit.size
    }

    mutating func startCommitIfDue() {
        guard case .idle = phase, frozen == nil else { return }
        switch gate {
        case .open, .closed(.closing): break
        case .closed: return
        }
        let isDue =
            !commitWaiters.isEmpty || closing != nil
            || uncommittedBytes >= options.commitBytes || isOldEnough
            || indexWeight >= options.commitIndexBytes &+ uncommittedBytes / 4
            || wantsSpace || compaction.awaited != nil
        wantsSpace = false
        guard isDue else {
            startCompactionCommitIfPossible()
            return
        }
        if isDirty {
            beginCommit()
        } else if let state = closing, root.commit.state != state {
            let run = makeRun(content: .unchanged, cut: max(root.commit.cut, journal.lastAppended))
            phase = .running
            effects.append(.commit(run))
        } else {
            answerCommitWaiters()
        }
    }

    private var isOldEnough: Bool {
        guard let oldestActive else { return false }
        var age = options.commitAgeSeconds
        // Early enough that writers need not wait for a store that is there.
        if let limit = options.unpublishedSecondsMax { age = min(age, limit / 2) }
        return now.nanoseconds(since: oldestActive) >= age * 1_000_000_000
    }

    /// The cut: one record, then the active memtable is the frozen one. O(1) but for the append.
    private mutating func beginCommit() {
        guard journal.room(forPages: 0, records: 1) else { return }
        guard
            stageMark(.cut, offset: root.commit.sequence.next.rawValue, length: 0, continues: false)
        else { return }
        appendStaged()
        if case .closed(let failure) = gate, failure != .closing { return }
        let cut = journal.lastAppended
        let sealed = active
        sealed.freeze()
        frozen = sealed
        active = Memtable(blockBytes: blockBytes)
        indexWeight = active.weight
        oldestFrozen = oldestActive
        oldestActive = nil
        frozenBytes = uncommittedBytes
        uncommittedBytes = 0
        Failpoint.commitAfterCut.hit()
        let run = makeRun(
            content: .frozen(sealed, journal.frozen()), cut: cut, relocation: relocationToRide())
        phase = .syncing(run, batch: journal.appendedBatch)
    }

    func makeRun(
        content: CommitContent<Storage>, cut: RecordSequence, size: ByteCount? = nil,
        keepsTakeover: Bool = true, relocation: Relocation? = nil
    ) -> CommitRun<Storage> {
        CommitRun(
            parent: root, content: content, epoch: epoch, state: closing ?? .open,
            size: size ?? self.size, cut: cut, labelSeconds: wallSeconds,
            isHeadVerified: isHeadVerified, keepsTakeover: keepsTakeover, relocation: relocation)
    }

    /// A sync ended well: the run whose cut it covers goes to a worker.
    mutating func commitSynced() {
        guard case .syncing(let run, let batch) = phase, journal.syncedBatch >= batch else {
            return
        }
        phase = .running
        effects.append(.commit(run))
    }

    mutating func commitEnded(_ run: CommitRun<Storage>, _ outcome: CommitOutcome) {
        switch outcome {
        case .published(let newRoot):
            if frozen != nil { compaction.noteChange(now: now, options: options.compaction) }
            adopt(newRoot, of: run)
            compactionCommitEnded(run, isPublished: true)
        case .postponed(let detail):
            lastError = "commit \(run.sequence): \(detail)"
            counters.commitsPostponed &+= 1
            storeAwaySince = storeAwaySince ?? now
            backoffSeconds = min(max(1, backoffSeconds * 2), Self.backoffSecondsMax)
            phase = .backingOff(run, until: now.advanced(bySeconds: backoffSeconds))
        case .fenced(let detail):
            phase = .idle
            storeAwaySince = nil
            // What was pending never happened: the root stands.
            isResolving = false
            fail(.fenced(detail))
            compactionCommitEnded(run, isPublished: false)
        case .failed(let failure):
            phase = .idle
            storeAwaySince = nil
            fail(failure)
            compactionCommitEnded(run, isPublished: false)
        }
    }

    /// Swaps the root and drops the frozen memtable in one turn, then gives segments back.
    private mutating func adopt(_ newRoot: Root, of run: CommitRun<Storage>) {
        map = MapReader(root: newRoot, cache: cache)
        fetches.forgetDamaged()
        frozen = nil
        oldestFrozen = nil
        // A commit that was found at the start may have grown the volume: then nothing is older.
        if !isDirty { oldestActive = nil }
        frozenBytes = 0
        phase = .idle
        backoffSeconds = 0
        storeAwaySince = nil
        // What was found half done may have been published long ago, by the original of a copy.
        if !run.isFound { isHeadVerified = true }
        counters.commits &+= 1
        lastError = nil
        isResolving = false
        isPoolResting = false
        giveBack(journal.retire(upTo: newRoot.commit.cut))
        releaseIfIdle()
        wakeStalled()
        answerCommitWaiters()
        if compaction.awaited != nil { considerCompaction() }
        startCommitIfDue()
        startSyncIfNeeded()
    }

    /// A drained volume holds no segment and no arena.
    mutating func releaseIfIdle() {
        guard case .idle = phase, !isDirty, journal.segmentCount > 0 else { return }
        // Requests that wait for room do not hold it back: all volumes of a full disk would wait
        // for one another.
        guard !journal.hasStaged, !isSyncInFlight, flushWaiting.isEmpty, segmentsOrdered == 0
        else { return }
        edges.release()
        giveBack(journal.retire(upTo: root.commit.cut, idle: true))
    }

    private mutating func answerCommitWaiters() {
        var isDrained = !isDirty
        if case .idle = phase {} else { isDrained = false }
        let commit = root.commit
        var waiting: [CommitWaiter] = []
        for waiter in commitWaiters {
            let isReached: Bool
            switch waiter.goal {
            case .cut(let cut): isReached = commit.cut >= cut || isDrained
            case .state(let state): isReached = commit.state == state && isDrained
            case .sequence(let sequence): isReached = commit.sequence >= sequence
            }
            if isReached {
                effects.append(.answer(waiter.request, .committed(root)))
            } else {
                waiting.append(waiter)
            }
        }
        commitWaiters = waiting
    }

    /// True while the oldest unpublished write is older than the operator allows: writers wait.
    var isStalled: Bool {
        guard let limit = options.unpublishedSecondsMax, let oldest = oldestFrozen ?? oldestActive
        else { return false }
        return now.nanoseconds(since: oldest) > limit * 1_000_000_000
    }

    mutating func wakeStalled() {
        guard parks.isAnyWaitingForRoom, !isResolving else { return }
        guard !isStalled || options.whenUnpublished != .pause else { return }
        // As long as nothing is published there is no other index.
        guard !isIndexFull || frozen == nil || options.whenFull != .pause else { return }
        wakeRoomWaiters()
    }
}
