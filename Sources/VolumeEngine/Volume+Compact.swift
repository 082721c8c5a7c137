// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// When a volume looks for something to compact, and when what was gathered is committed.

import Committer
import Formats
import Journal
import Primitives
import VolumeMap

extension Volume {
    /// Stores the whole volume again, as one whole frame for each block, in block order: everything
    /// acknowledged so far is published first, then as many commits follow as it takes. Answers
    /// with the last of them. Who asks while one runs joins it, if nothing was written since it
    /// began; otherwise another one follows.
    public mutating func requestCompaction(_ request: ControlRequest) {
        guard canPublish(request) else { return }
        guard closing == nil else {
            effects.append(.answer(request, .failed(.closing)))
            return
        }
        appendStaged()
        let cut = isDirty ? journal.lastAppended : root.commit.cut
        if let job = compaction.job {
            if let begun = job.begun, begun < cut {
                compaction.job?.late.append(request)
            } else {
                compaction.job?.requests.append(request)
                if let awaited = compaction.awaited { compaction.awaited = max(awaited, cut) }
            }
            return
        }
        // A round of our own would do what the job does anyway.
        dropCompaction()
        compaction.job = Compaction.Job(requests: [request])
        compaction.awaited = cut
        startCommitIfDue()
        startSyncIfNeeded()
        considerCompaction()
    }

    /// What became of the last request; nil: there was none since the volume was opened here.
    var compactionRequestState: CompactionRequestState? {
        guard compaction.job != nil else { return compaction.ended }
        return .running(
            blocksDone: min(compaction.round?.next.rawValue ?? 0, root.blockCount),
            blocksTotal: root.blockCount)
    }

    private mutating func endJob() {
        guard let job = compaction.job.take() else { return }
        compaction.ended = .done(root.commit.sequence, root.commit.token)
        for request in job.requests { effects.append(.answer(request, .committed(root))) }
        guard !job.late.isEmpty else { return }
        compaction.job = Compaction.Job(requests: job.late)
        compaction.awaited = isDirty ? journal.lastAppended : root.commit.cut
        startCommitIfDue()
        startSyncIfNeeded()
    }

    private mutating func failJob(_ failure: VolumeFailure, _ reason: String) {
        guard let job = compaction.job.take() else { return }
        compaction.awaited = nil
        compaction.ended = .failed(reason)
        for request in job.requests + job.late {
            effects.append(.answer(request, .failed(failure)))
        }
    }

    /// True if only time brings compaction on.
    var compactionWantsTicks: Bool {
        guard case .open = gate else { return false }
        return options.compaction != nil || compaction.job != nil
    }

    private var mayCompact: Bool {
        guard case .open = gate, closing == nil, !isResolving else { return false }
        return options.compaction != nil || compaction.job != nil
    }

    // MARK: Gathering

    /// Orders the next look or step if one is due. With each tick.
    mutating func considerCompaction() {
        guard mayCompact, compaction.isResting, storeAwaySince == nil, compaction.restUntil <= now
        else { return }
        if let cut = compaction.awaited {
            guard root.commit.cut >= cut || !isDirty else { return }
            compaction.awaited = nil
            let begun = root.commit.cut
            compaction.job?.begun = begun
            compaction.round = CompactionRound(freshBaseAfter: root.commit.sequence)
        }
        if let round = compaction.round {
            order(.step(round))
        } else if let options = options.compaction, compaction.nextLook <= now {
            look(options)
        }
    }

    private mutating func look(_ options: CompactionOptions) {
        compaction.nextLook = now.advanced(bySeconds: options.lookSeconds)
        let isQuiet =
            !isDirty
            && now.nanoseconds(since: compaction.lastChange) / 1_000_000_000
                >= options.quietSeconds
        if let idle = compaction.idle, idle.sequence == root.commit.sequence,
            idle.isQuiet == isQuiet, now < idle.until
        {
            return
        }
        compaction.idle = (
            root.commit.sequence, isQuiet, now.advanced(bySeconds: options.idleLookSeconds)
        )
        compaction.counters.looks &+= 1
        order(.look(options.rules(isQuiet: isQuiet), spent: compaction.spent))
    }

    private mutating func order(_ task: GatherOrder.Task) {
        let stop = StopMark()
        compaction.phase = .gathering(stop)
        effects.append(.gather(GatherOrder(task: task, stop: stop, root: root)))
    }

    mutating func gatherEnded(_ order: GatherOrder, _ outcome: GatherOutcome) {
        // One that was dropped may end late.
        guard case .gathering(let stop) = compaction.phase, stop === order.stop else { return }
        compaction.phase = .resting
        switch outcome {
        case .gathered(let step): take(step, of: order)
        case .nothing, .stopped: break
        case .crowded:
            // Whoever looks again at once is not idle.
            compaction.idle = nil
        case .failed(let failure):
            compaction.counters.failures &+= 1
            if failure.isRetryable { compaction.idle = nil }
            compaction.restUntil = now.advanced(bySeconds: Compaction.failureSeconds)
            lastError = "compaction: \(failure)"
            failCompaction(failure)
        }
    }

    private mutating func take(_ step: CompactionStep, of order: GatherOrder) {
        if case .look = order.task {
            compaction.counters.rounds &+= 1
            compaction.tries = compaction.tries.filter {
                $0.value >= Compaction.triesMax || step.victims.contains($0.key)
            }
            for pack in step.victims { compaction.tries[pack, default: 0] += 1 }
            compaction.idle = nil
        }
        compaction.counters.steps &+= 1
        compaction.round = step.rest
        guard step.relocation.isEmpty else {
            compaction.phase = .holding(step.relocation)
            compaction.passed = 0
            return
        }
        endRoundIfDone()
        if compaction.job != nil { considerCompaction() }
    }

    /// A store that is away is asked again; what is damaged ends a request, and a round.
    private mutating func failCompaction(_ failure: FetchError) {
        guard !failure.isRetryable else { return }
        compaction.round = nil
        failJob(.refused("compaction: \(failure)"), "\(failure)")
    }

    private mutating func endRoundIfDone() {
        guard compaction.isResting, compaction.round == nil, compaction.awaited == nil else {
            return
        }
        endJob()
    }

    // MARK: Committing

    /// Starts a commit for what was gathered, if nothing else wants one.
    mutating func startCompactionCommitIfPossible() {
        guard compaction.isHolding, case .idle = phase, frozen == nil, commitWaiters.isEmpty,
            closing == nil, compaction.courtesyUntil <= now
        else { return }
        guard case .holding(let relocation) = compaction.phase, case .open = gate else { return }
        let nothing = Memtable(blockBytes: blockBytes)
        nothing.freeze()
        compaction.phase = .committing
        let run = makeRun(
            content: .frozen(nothing, journal.frozen()), cut: root.commit.cut,
            size: root.commit.size, relocation: relocation)
        phase = .running
        effects.append(.commit(run))
    }

    /// What was gathered, for an ordinary commit that takes it along: where commits follow one
    /// another without a pause, and nobody waits for this one.
    mutating func relocationToRide() -> Relocation? {
        guard case .holding(let relocation) = compaction.phase else { return nil }
        guard commitWaiters.isEmpty, closing == nil else { return nil }
        compaction.passed += 1
        guard compaction.passed > Compaction.passedMax else { return nil }
        compaction.phase = .committing
        return relocation
    }

    /// A commit that took gathered blocks has ended, one way or the other.
    mutating func compactionCommitEnded(_ run: CommitRun<Storage>, isPublished: Bool) {
        guard compaction.isCommitting, let relocation = run.relocation else { return }
        compaction.phase = .resting
        if isPublished {
            compaction.counters.commits &+= 1
            compaction.counters.blocks &+= UInt64(relocation.blockCount)
            compaction.counters.bytes &+= UInt64(relocation.grainBytes)
        }
        let deferred = compaction.deferred
        compaction.deferred.removeAll()
        for request in deferred {
            switch request {
            case .rollback(let request, let source): requestRollback(request, to: source)
            case .acknowledge(let request): requestAcknowledge(request)
            }
        }
        endRoundIfDone()
        // Whoever asked for a fresh base waits for it; else the next tick is soon enough.
        if compaction.job != nil { considerCompaction() }
    }

    /// Forgets rounds and what was gathered. What a commit has taken is the commit's.
    mutating func dropCompaction() {
        if case .gathering(let stop) = compaction.phase { stop.set() }
        if !compaction.isCommitting { compaction.phase = .resting }
        compaction.round = nil
        // A request begins anew, with whatever the root is then.
        if compaction.job != nil, compaction.awaited == nil { compaction.awaited = root.commit.cut }
        compaction.job?.begun = nil
    }

    /// The volume publishes no more, or is being closed.
    mutating func endCompaction(_ failure: VolumeFailure) {
        dropCompaction()
        failJob(failure, failure.reason)
        for deferred in compaction.deferred {
            switch deferred {
            case .rollback(let request, _), .acknowledge(let request):
                effects.append(.answer(request, .failed(failure)))
            }
        }
        compaction.deferred.removeAll()
    }
}
