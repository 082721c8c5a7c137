// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Results of effects, and the journal segments that are ordered ahead of need.

import BlockDevice
import HostIO
import Journal
import Primitives
import VolumeMap

extension Volume {
    /// Takes in what became of an effect. The caller ends the turn afterwards.
    public mutating func handle(_ event: consuming VolumeEvent<Storage>) {
        switch event {
        case .synced(let work, let failure): syncEnded(work, failure: failure)
        case .segmentsTaken(let segments, let isFull, let failure):
            segmentsArrived(segments, isFull: isFull, failure: failure)
        case .fetched(let number, let failure): fetchEnded(number, failure: failure)
        case .warmed(let number, let failure):
            fetches.warmed(number)
            if let failure {
                lastError = "\(failure)"
                for tag in parks.fetchFailed(number) {
                    completions.append(Completion(tag: tag, outcome: .failed(.failed)))
                }
            } else {
                for tag in parks.fetchEnded(number) {
                    completions.append(Completion(tag: tag, outcome: .retry))
                }
            }
        case .retired(let left, let failure): returnEnded(left, failure)
        case .commitEnded(let run, let outcome): commitEnded(run, outcome)
        case .gathered(let order, let outcome): gatherEnded(order, outcome)
        }
    }

    /// A fetch fails for good if what came back is damaged, or if the store has been away for as
    /// long as readers may have to wait; else it is asked again. Of a damaged one the blocks that
    /// did not come are noted and everyone starts over: only requests that need one of those fail.
    private mutating func fetchEnded(_ number: FetchNumber, failure: FetchError?) {
        let isAway = failure?.isRetryable ?? false
        guard let blocks = fetches.end(number, isAway: isAway, now: now) else { return }
        guard let failure, !isAway || isReadOverdue else {
            if let failure { lastError = "\(failure)" }
            for tag in parks.fetchEnded(number) {
                completions.append(Completion(tag: tag, outcome: .retry))
            }
            return
        }
        lastError = "\(failure)"
        counters.fetchesFailed &+= 1
        if !isAway {
            for block in blocks where isMissing(block, mapOnly: false) {
                fetches.noteDamaged(block)
            }
        }
        for tag in parks.fetchFailed(number) {
            completions.append(
                Completion(tag: tag, outcome: isAway ? .failed(.failed) : .retry))
        }
    }

    private var isReadOverdue: Bool {
        guard let limit = options.readDeadlineSeconds, let since = fetches.awaySince else {
            return false
        }
        return now.nanoseconds(since: since) >= limit * 1_000_000_000
    }

    private mutating func segmentsArrived(
        _ segments: [SegmentFile<Storage>], isFull: Bool, failure: HostIOError?
    ) {
        segmentsOrdered = 0
        self.isFull = isFull
        isShortOfDisk = isFull
        isDiskFull = isFull && failure != nil
        wantsSpace = isDiskFull && parks.isAnyWaitingForRoom
        isPoolResting = isFull || failure != nil
        for segment in segments { journal.offer(segment) }
        if let failure {
            lastError = "\(failure)"
        } else if isFull {
            lastError = StallReason.budgetUsed.rawValue
        }
        let waiting = resizesWaiting
        resizesWaiting.removeAll()
        for (request, size) in waiting { requestResize(request, to: size) }
        if !segments.isEmpty || (isFull && options.whenFull != .pause) { wakeStalled() }
        if segments.isEmpty { releaseIfIdle() }
    }

    mutating func wakeRoomWaiters() {
        for tag in parks.roomMade() {
            completions.append(Completion(tag: tag, outcome: .retry))
        }
    }

    /// Orders segments from the pool: the one behind the current ahead of need, and what a parked
    /// request is waiting for. After a full disk it is asked again with the next tick.
    mutating func orderSegmentsIfWanted() {
        guard segmentsOrdered == 0, !isPoolResting else { return }
        switch gate {
        case .open, .closed(.closing): break
        case .closed: return
        }
        var wanted = journal.segmentsWanted
        if parks.isAnyWaitingForRoom && !isStalled {
            wanted = max(wanted, segmentsWanted(pages: pagesWanted))
        }
        if isCommitWaitingForRoom || !resizesWaiting.isEmpty {
            wanted = max(wanted, journal.segmentsWanted(forPages: 0, records: 1))
        }
        guard wanted > 0 else {
            pagesWanted = 0
            return
        }
        segmentsOrdered = wanted
        var numbers: [UInt64] = []
        for _ in 0..<wanted { numbers.append(journal.reserveSegmentNumber()) }
        effects.append(.takeSegments(numbers: numbers))
    }

    /// A commit is due and the cut record finds no place.
    private var isCommitWaitingForRoom: Bool {
        guard case .idle = phase, isDirty, !journal.room(forPages: 0, records: 1) else {
            return false
        }
        return !commitWaiters.isEmpty || closing != nil
    }
}
