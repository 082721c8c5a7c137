// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the daemon does by itself as time passes: it says what it serves, looks for a store that is
// away, forces commits when the journals' disk budget runs out, starts the collector when it is due
// and looks, where something was read, whether it is wrong. One thread of its own. While the store
// answers, nothing is attached for writing and nothing is read, and no garbage is due to be
// collected, it asks the store for nothing.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import Journal
import Logging
import Maintenance
import ObjectStore
import Primitives
import Shard
import VolumeEngine

final class Housekeeping: Sendable {
    private static let turnNanoseconds: UInt64 = 1_000_000_000
    private static let beatTurns = 60
    private static let refreshTurns = 5
    private static let releaseTurns = 30
    private static let lookTurns = 600
    /// Journal segments kept ready, so that a writer that rolls over waits for one rename.
    private static let stockSegments = 4
    /// Volumes whose commit is forced at one time.
    private static let forcedMax = 4

    private let control: DaemonControl
    private let host: ShardHost
    private let health: Health
    private let stop: StopFlag
    private let reopening: Reopening
    private let collection: CollectionSchedule?
    private let logger: Logger
    private let thread = WorkerPool(threads: 1, name: "maintenance", capacity: 1)

    init(
        control: DaemonControl, host: ShardHost, health: Health, stop: StopFlag,
        reopening: Reopening, collection: CollectionSchedule?, logger: Logger
    ) {
        self.control = control
        self.host = host
        self.health = health
        self.stop = stop
        self.reopening = reopening
        self.collection = collection
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
            watchStore(
                isStoreKnown: isStoreKnown, isProbing: turn.isMultiple(of: Self.refreshTurns))
            watchSpace()
            if isStoreKnown { collection?.turn() }
            if isStoreKnown, turn.isMultiple(of: Self.lookTurns) { watchCollector() }
            if turn.isMultiple(of: Self.releaseTurns) { host.parts.hands.packUploads.releaseIdle() }
        }
    }

    private func keepStock() {
        // A disk that is full says so when a journal wants the segment.
        try? host.parts.pool.stock(Self.stockSegments)
    }

    private func refresh() -> Bool {
        do throws(UserError) {
            _ = try control.refresh { host.parts.hands.runAll($0) }
            return true
        } catch {
            health.set(.exports, error.description)
            return false
        }
    }

    /// Tells of an absent store: since when, why, and what would be lost now. If nobody else asks
    /// it for anything, one small request every few seconds finds out when it is back.
    private func watchStore(isStoreKnown: Bool, isProbing: Bool) {
        let store = host.parts.store.base.base
        if isStoreKnown { health.set(.exports, nil) }
        if isProbing, store.absence != nil { _ = try? store.head(RefKey.repository.text) }
        let found = host.parts.absence.look(
            store.absence.map { "\($0)" }, now: host.parts.clock.now)
        switch found {
        case .present: health.set(.store, nil)
        case .returned(let seconds):
            health.set(.store, nil)
            logger.info("the store is back", metadata: ["away_secs": "\(seconds)"])
        case .left(let why):
            logger.warning("the store is away", metadata: ["why": "\(why)"])
            tellAbsence(0, why)
        case .away(let seconds, let why): tellAbsence(seconds, why)
        }
    }

    private func tellAbsence(_ seconds: UInt64, _ why: String) {
        let reports = host.running.filter { $0.served.snapshot == nil }
            .compactMap { host.report($0.served)?.volume }
        let bytes = reports.reduce(0) { $0 + $1.unpublishedBytes }
        let age = reports.map(\.unpublishedAgeSeconds).max() ?? 0
        let stalled = reports.count { $0.isStalled }
        var reason =
            "the store has been away for \(seconds) s (\(why)): \(bytes) bytes are unpublished, "
            + "the oldest for \(age) s"
        if stalled > 0 { reason += "; writers of \(stalled) volumes wait or are refused" }
        health.set(.store, reason)
    }

    /// Raises a stop if the collector condemned what is needed here.
    func watchCollector() {
        guard !host.parts.store.isReadOnly else { return }
        var random = SystemRandom()
        do throws(UserError) {
            let stop = try host.parts.tripwire.look(
                reading: { [host] in
                    host.running.map { served, location in
                        ReadSubject(
                            export: RefName(location.name), volume: served.volume,
                            sequence: served.snapshot)
                    }
                }, random: &random)
            guard let stop else { return }
            logger.critical(
                "the collector condemned what is needed here, and is stopped",
                metadata: [
                    "pack": "\(stop.pack.key)", "run": "\(stop.run)", "stop": "\(stop.id)",
                ])
        } catch {
            logger.warning("the condemned sets were not looked at", metadata: ["why": "\(error)"])
        }
    }

    private func beat() {
        do throws(UserError) {
            try control.beat()
        } catch {
            logger.warning("no beat", metadata: ["why": "\(error)"])
        }
    }

    /// Tells of a disk that is full. From 90 % of the budget on the volumes with most journal
    /// commit, whatever their age.
    private func watchSpace() {
        let pool = host.parts.pool
        let usage = pool.usage
        let percent = usage.usedBytes * 100 / max(1, usage.budgetBytes)
        let free = (try? pool.directory.space())?.free ?? UInt64.max
        if usage.level == .full {
            health.set(.disk, "the journals' disk budget is used up")
        } else if free < pool.diskReserveBytes && usage.freeSegments == 0 {
            health.set(
                .disk, "the disk below \(pool.directory.path) is full: \(free) bytes are left")
        } else {
            health.set(.disk, nil)
        }
        guard usage.level >= .warning else { return }
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
