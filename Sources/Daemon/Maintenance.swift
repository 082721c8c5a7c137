// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the daemon does by itself as time passes: it says what it serves, looks for a store that was
// away, and forces commits when the journals' disk budget runs out. One thread of its own.

import ControlPlane
import HostIO
import Journal
import Logging
import Primitives
import Shard
import VolumeEngine

final class Maintenance: Sendable {
    private static let turnNanoseconds: UInt64 = 1_000_000_000
    private static let beatTurns = 60
    private static let refreshTurns = 5
    /// Journal segments kept ready, so that a writer that rolls over waits for one rename.
    private static let stockSegments = 4
    /// Volumes whose commit is forced at one time.
    private static let forcedMax = 4

    private let control: DaemonControl
    private let host: ShardHost
    private let health: Health
    private let stop: StopFlag
    private let reopening: Reopening
    private let logger: Logger
    private let thread = WorkerPool(threads: 1, name: "maintenance", capacity: 1)

    init(
        control: DaemonControl, host: ShardHost, health: Health, stop: StopFlag,
        reopening: Reopening, logger: Logger
    ) {
        self.control = control
        self.host = host
        self.health = health
        self.stop = stop
        self.reopening = reopening
        self.logger = logger
    }

    /// `isStoreKnown`: the exports of the store were learned at the start.
    func start(isStoreKnown: Bool) {
        thread.submit { [self] in run(isStoreKnown) }
    }

    /// Waits for the thread; the flag is set before.
    func join() { thread.stop() }

    private func run(_ wasStoreKnown: Bool) {
        var isStoreKnown = wasStoreKnown
        var turn = 0
        keepStock()
        while stop.pause(nanoseconds: Self.turnNanoseconds, clock: host.parts.clock) {
            turn += 1
            keepStock()
            if !isStoreKnown, turn.isMultiple(of: Self.refreshTurns) { isStoreKnown = refresh() }
            if isStoreKnown, turn.isMultiple(of: Self.refreshTurns) { reopening.retry() }
            if isStoreKnown, turn % Self.beatTurns == 1 { beat() }
            watchSpace()
        }
    }

    private func keepStock() {
        // A disk that is full says so when a journal wants the segment.
        try? host.parts.pool.stock(Self.stockSegments)
    }

    private func refresh() -> Bool {
        do throws(UserError) {
            _ = try control.refresh { host.parts.hands.runAll($0) }
            health.set(.store, nil)
            logger.info("the store is back")
            return true
        } catch {
            health.set(.store, error.description)
            return false
        }
    }

    private func beat() {
        do throws(UserError) {
            try control.beat()
            health.set(.store, nil)
        } catch {
            if error.kind == .storeAway { health.set(.store, error.description) }
            logger.warning("no beat", metadata: ["why": "\(error)"])
        }
    }

    /// From 90 % of the budget on the volumes with most journal commit, whatever their age.
    private func watchSpace() {
        let usage = host.parts.pool.usage
        let percent = usage.usedBytes * 100 / max(1, usage.budgetBytes)
        guard usage.level >= .warning else { return health.set(.disk, nil) }
        if usage.level == .full {
            health.set(.disk, "the journals' disk budget is used up")
        } else {
            health.set(.disk, nil)
        }
        logger.warning("the journals' disk budget is short", metadata: ["percent": "\(percent)"])
        guard usage.level >= .commit else { return }
        let host = self.host
        let writers = host.running.filter { $0.served.snapshot == nil }
            .compactMap { entry in host.report(entry.served).map { (entry.served, $0) } }
            .sorted { $0.1.volume.journalBytes > $1.1.volume.journalBytes }
        let deadline = host.parts.clock.now.advanced(bySeconds: 10)
        host.parts.hands.runAll(
            writers.prefix(Self.forcedMax).map { served, _ in
                {
                    _ = try? host.commitAll(served.volume, reason: .drain, deadline: deadline)
                }
            })
    }
}
