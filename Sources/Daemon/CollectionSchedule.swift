// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The collector on the daemon's own schedule, for those who have no timer elsewhere. Any number of
// daemons may do it: a run that another one made is found, and finished or left alone. The first
// run comes after a random part of the interval, so that hosts that start together do not collect
// together.

import HostIO
import Logging
import Maintenance
import ObjectStore
import Primitives
import Shard
import Synchronization

final class CollectionSchedule: Sendable {
    /// Since the start.
    struct Tally: Equatable, Sendable {
        var runs: UInt64 = 0
        var failures: UInt64 = 0
        var deletedObjects: UInt64 = 0
        var deletedBytes: UInt64 = 0
        /// When a run ended well, in seconds since 1970; nil: none did.
        var lastSuccessSeconds: UInt64?
    }

    private struct State {
        var dueAt: Instant
        var isRunning = false
        var tally = Tally()
    }

    private let order: CollectionOrder
    private let everySeconds: UInt64
    private let node: String
    private let store: DaemonStore
    private let clock: SystemClock
    private let stop: StopFlag
    private let logger: Logger
    private let state: Lock<State>
    private let thread = WorkerPool(threads: 1, name: "collector", capacity: 1)

    /// Nil if `gc.every_secs` is 0.
    init?(
        _ configuration: Configuration, parts: HostParts, stop: StopFlag, logger: Logger
    ) throws(UserError) {
        guard configuration.gc.everySecs > 0 else { return nil }
        order = try CollectionOrder(configuration)
        everySeconds = UInt64(configuration.gc.everySecs)
        node = parts.facts.hostName
        store = parts.store
        clock = parts.clock
        self.stop = stop
        self.logger = logger
        var random = SystemRandom()
        let first = random.next(below: everySeconds * 1_000_000_000)
        state = Lock(
            State(dueAt: Instant(nanoseconds: parts.clock.now.nanoseconds + first)))
    }

    var tally: Tally { state.withLock { $0.tally } }

    /// Begins a run if one is due. Called every second or so; returns at once.
    func turn() {
        let now = clock.now
        let isDue = state.withLock { state in
            guard !state.isRunning, now >= state.dueAt else { return false }
            state.isRunning = true
            return true
        }
        guard isDue else { return }
        thread.submit { [self] in
            collect()
            let next = clock.now.advanced(bySeconds: everySeconds)
            state.withLock { state in
                state.isRunning = false
                state.dueAt = next
            }
        }
    }

    /// Waits for the run; the flag is set before. What it left undone the next run finishes.
    func join() { thread.stop() }

    private func collect() {
        do throws(UserError) {
            let result = try GarbageCollection.collect(
                order, node: node, in: store, clock: clock, isStopping: { stop.isSet })
            guard result.isOver else { return }
            let deleted = result.report.deleted
            state.withLock { state in
                state.tally.runs += 1
                state.tally.deletedObjects += UInt64(deleted.packs + deleted.commits)
                state.tally.deletedBytes += deleted.bytes
                state.tally.lastSuccessSeconds = clock.wallSeconds
            }
            logger.info(
                "garbage collected",
                metadata: [
                    "run": "\(result.report.run)", "outcome": "\(result.report.outcome.rawValue)",
                    "deleted_packs": "\(deleted.packs)", "deleted_commits": "\(deleted.commits)",
                    "deleted_bytes": "\(deleted.bytes)",
                    "expired_snapshots": "\(result.expiry?.expired.count ?? 0)",
                ])
        } catch {
            state.withLock { state in
                state.tally.runs += 1
                state.tally.failures += 1
            }
            logger.error("garbage was not collected", metadata: ["why": "\(error)"])
        }
    }
}
