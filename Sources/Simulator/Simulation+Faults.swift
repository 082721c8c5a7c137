// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What goes wrong: the daemon is killed, power goes, the cache directory is lost, the store is away
// or loses replies, a sync fails. Nothing is injected that Martlet does not promise to survive
// (docs/ARCHITECTURE.md has the table).

import Glibc
import HostIO
import ObjectStore
import Primitives
import VolumeEngine

extension Simulation {
    /// True if the step was a fault.
    func injectFault() throws(SimulationFailure) -> Bool {
        if chance(options.killRate) {
            report.kills += 1
            try die(.kill)
        } else if chance(options.powerRate) {
            report.powerCuts += 1
            try die(.power)
        } else if chance(options.cacheLossRate) {
            report.cacheLosses += 1
            try die(.cacheLoss)
        } else if chance(options.killRate) {
            // Soon, in the middle of some call.
            disk.crashAt(disk.operationCount + 1 + Int(random.next(below: 40)))
            return false
        } else if chance(options.storeFaultRate) {
            injectStoreFault()
        } else if chance(options.syncFailureRate) {
            report.syncFailures += 1
            hasFailedSync = true
            // A segment keeps the path that it was opened by: in the journal, or in the pool.
            disk.failNext(.sync, code: EIO, pathEnding: ".seg")
            disk.failNext(.sync, code: EIO, pathEnding: ".free")
            return false
        } else {
            return false
        }
        return true
    }

    private func injectStoreFault() {
        report.storeFaults += 1
        switch random.next(below: 6) {
        case 0: store.setAway(true)
        case 1: store.inject(StoreFault(.replyLost, operation: .put))
        case 2:
            store.inject(
                StoreFault(.late(afterRequests: Int(random.next(below: 20))), operation: .put))
        case 3: store.inject(StoreFault(.away, times: 1 + Int(random.next(below: 5))))
        case 4: store.inject(StoreFault(.short, operation: .get))
        default: store.heal()
        }
        isStoreFaulty = true
        tell("a fault of the store")
    }

    func healStore() {
        store.heal()
        isStoreFaulty = false
    }

    /// What a death takes with it, least first.
    enum Death: UInt64, Comparable {
        case kill
        case power
        case cacheLoss

        static func < (left: Death, right: Death) -> Bool { left.rawValue < right.rawValue }
    }

    /// Ends the process and what it had in memory; starts it again; judges what it finds.
    func die(_ death: Death) throws(SimulationFailure) {
        host?.returnPayloads()
        host = nil
        flights.removeAll()
        report.note(0xDEAD << 8 | death.rawValue)
        tell("died by \(death)")
        worstDeath = max(worstDeath, death)
        switch death {
        case .kill: disk.kill()
        case .power: losePower()
        case .cacheLoss:
            disk.crash(keeping: .none)
            disk = VolatileDisk(seed: random.next())
        }
        if death != .cacheLoss { _ = disk.reboot() }
        hasFailedSync = false
        try openUntilServing()
        let promised: UInt64
        switch worstDeath {
        case .kill: promised = history.acknowledged
        case .power: promised = history.flushed
        case .cacheLoss: promised = history.published
        }
        let isCacheLost = worstDeath == .cacheLoss
        worstDeath = .kill
        try checkDisk(promised...history.count, isAfterCacheLoss: isCacheLost)
    }

    /// Unsynced sectors and names survive or not, and the host boots anew.
    func losePower() {
        worstDeath = max(worstDeath, .power)
        disk.crash(keeping: .random(seed: random.next()))
        bootID = BootID.random(from: &random)
    }

    /// The armed cut hit, or a call found the disk dead: the process is gone.
    func restartIfDead() throws(SimulationFailure) {
        guard disk.isOff else { return }
        if chance(5_000) {
            report.kills += 1
            try die(.kill)
        } else {
            report.powerCuts += 1
            try die(.power)
        }
    }
}
