// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Who waits for what. A parked request is known by its tag alone; the transport holds the rest and
// submits it again. Confined to the volume's shard. Parking is the slow path: it may allocate.

import BlockDevice

/// Requests that wait for fetches, or for room in the journal.
struct ParkTable {
    private struct Wait {
        /// Tells this wait from an earlier one under the same tag.
        let generation: UInt64
        /// Zero: it waits for room.
        var fetchesLeft: Int
    }

    private var waits: [RequestTag: Wait] = [:]
    private var byFetch: [FetchNumber: [(tag: RequestTag, generation: UInt64)]] = [:]
    private var forRoom: [(tag: RequestTag, generation: UInt64)] = []
    /// Of `forRoom`, those that were not cancelled.
    private var roomCount = 0
    private var generation: UInt64 = 0

    var count: Int { waits.count }
    var isAnyWaitingForRoom: Bool { roomCount > 0 }

    /// Parks `tag` until all of `fetches` have ended.
    mutating func park(_ tag: RequestTag, on fetches: some Collection<FetchNumber>) {
        precondition(!fetches.isEmpty)
        forget(tag)
        generation += 1
        waits[tag] = Wait(generation: generation, fetchesLeft: fetches.count)
        for fetch in fetches { byFetch[fetch, default: []].append((tag, generation)) }
    }

    /// Parks `tag` until `roomMade`.
    mutating func parkForRoom(_ tag: RequestTag) {
        forget(tag)
        generation += 1
        roomCount += 1
        waits[tag] = Wait(generation: generation, fetchesLeft: 0)
        forRoom.append((tag, generation))
    }

    /// The tags whose last fetch this was, in the order they were parked.
    mutating func fetchEnded(_ fetch: FetchNumber) -> [RequestTag] {
        var ready: [RequestTag] = []
        for (tag, generation) in byFetch.removeValue(forKey: fetch) ?? [] {
            guard var wait = waits[tag], wait.generation == generation else { continue }
            wait.fetchesLeft -= 1
            if wait.fetchesLeft == 0 {
                waits[tag] = nil
                ready.append(tag)
            } else {
                waits[tag] = wait
            }
        }
        return ready
    }

    /// The tags that waited on a fetch that failed; their other fetches no longer matter.
    mutating func fetchFailed(_ fetch: FetchNumber) -> [RequestTag] {
        var failed: [RequestTag] = []
        for (tag, generation) in byFetch.removeValue(forKey: fetch) ?? []
        where waits[tag]?.generation == generation {
            waits[tag] = nil
            failed.append(tag)
        }
        return failed
    }

    /// Everyone who waited for room, oldest first.
    mutating func roomMade() -> [RequestTag] {
        var ready: [RequestTag] = []
        for (tag, generation) in forRoom where waits[tag]?.generation == generation {
            waits[tag] = nil
            ready.append(tag)
        }
        forRoom.removeAll(keepingCapacity: true)
        roomCount = 0
        return ready
    }

    mutating func cancel(_ tag: RequestTag) { forget(tag) }

    private mutating func forget(_ tag: RequestTag) {
        guard let wait = waits.removeValue(forKey: tag), wait.fetchesLeft == 0 else { return }
        roomCount -= 1
        if roomCount == 0 { forRoom.removeAll(keepingCapacity: true) }
    }
}
