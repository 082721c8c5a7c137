// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Journal segments on their way back to the pool: one effect at a time, because the oldest must be
// gone before the next. What a failing disk keeps stays in this queue, counted and told, and is
// tried again: budget that is not used does not get lost.

import HostIO
import Journal
import Primitives

/// The queue. Confined to its volume's shard.
struct SegmentReturns<Storage: StorageDirectory> {
    /// Seconds between tries after a failure, at most.
    static var backoffSecondsMax: UInt64 { 60 }

    /// Oldest first.
    var waiting: [SegmentFile<Storage>] = []
    /// With a worker.
    var inFlight = 0
    /// The last try failed: when the next is due, and why.
    var retryAt: Instant?
    var failure: HostIOError?
    var backoffSeconds: UInt64 = 0

    /// Segments that a try to give back has left.
    var failed: Int { retryAt == nil ? 0 : waiting.count + inFlight }
}

extension Volume {
    /// Segments of the local disk that the volume answers for: its journal's, and those that it
    /// could not give back yet. None is with a worker once all effects have ended.
    public var segmentsHeld: Int {
        journal.segmentCount + returns.waiting.count + returns.inFlight
    }

    mutating func giveBack(_ segments: [SegmentFile<Storage>]) {
        returns.waiting += segments
        sendReturns()
    }

    mutating func sendReturns() {
        guard returns.inFlight == 0, !returns.waiting.isEmpty else { return }
        if let retryAt = returns.retryAt, retryAt > now { return }
        returns.inFlight = returns.waiting.count
        effects.append(.retire(returns.waiting))
        returns.waiting.removeAll()
    }

    mutating func returnEnded(_ left: [SegmentFile<Storage>], _ failure: HostIOError?) {
        returns.inFlight = 0
        returns.waiting = left + returns.waiting
        returns.failure = failure
        if failure == nil {
            returns.backoffSeconds = 0
            returns.retryAt = nil
            // There is room now that a full pool did not have.
            isPoolResting = false
        } else {
            counters.returnsFailed &+= 1
            returns.backoffSeconds = min(
                max(1, returns.backoffSeconds * 2), SegmentReturns<Storage>.backoffSecondsMax)
            returns.retryAt = now.advanced(bySeconds: returns.backoffSeconds)
        }
        sendReturns()
    }
}
