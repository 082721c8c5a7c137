// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What goes wrong, and how often: deaths of the process and the machine, and a disk that fails.
// Nothing is injected that Martlet does not promise to survive (docs/ARCHITECTURE.md has the
// table).

import Formats
import Glibc
import HostIO
import ObjectStore
import Primitives
import VolumeEngine

extension Simulation {
    /// Chances of each in 10,000 steps. A crash inside the recovery has its own chance at each
    /// opening.
    private static let rates: [(fault: Fault, rate: UInt64)] = [
        (.kill, 8), (.killInCall, 6), (.powerLoss, 8), (.powerLossInCall, 6), (.reboot, 3),
        (.cacheLoss, 3), (.cacheRolledBack, 8), (.cacheRestored, 8), (.syncFails, 2),
        (.writeFails, 1), (.readFails, 1), (.diskFull, 4),
        (.storeAway, 10), (.requestsAway, 12), (.replyLost, 12), (.latePut, 12), (.shortRead, 10),
        (.flippedRead, 6), (.packDamaged, 3), (.packMissing, 3), (.writerStalls, 8),
        (.killInRequest, 6), (.clockJump, 4), (.throttled, 6), (.putConflict, 8),
        (.putRepeated, 12), (.commitMissing, 3), (.objectTruncated, 4),
        (.journalRot, 5), (.segmentLost, 5),
    ]
    private static let healRate: UInt64 = 60
    private static let takeOverRate: UInt64 = 8

    /// True if the step was a fault, or the end of some.
    func injectFault() throws(SimulationFailure) -> Bool {
        var drawn = random.next(below: 10_000)
        for (fault, rate) in Self.rates {
            guard drawn >= rate else {
                guard !options.without.contains(fault) else { return false }
                try inject(fault)
                return true
            }
            drawn -= rate
        }
        if drawn < Self.healRate {
            report.actions.note(.heal)
            heal()
            return true
        }
        guard drawn - Self.healRate < Self.takeOverRate, node.track.isOpen else { return false }
        try takeOver(by: node.track.nodes[1 - (node.track.chain.owner ?? 0)])
        return true
    }

    private func inject(_ fault: Fault) throws(SimulationFailure) {
        tell("fault: \(fault.rawValue)")
        report.note(UInt64(fault.rawValue.utf8.count) << 8 | 0xFA)
        switch fault {
        case .kill: try die(.kill, by: fault)
        case .powerLoss: try die(.power, by: fault)
        case .reboot: try die(.kill, by: fault)
        case .cacheLoss: try die(.cacheLoss, by: fault)
        case .cacheRolledBack, .cacheRestored: try restoreCopy(by: fault)
        case .journalRot, .segmentLost: try die(.power, by: .powerLoss, spoilingBy: fault)
        case .killInRequest: armRequest()
        case .clockJump: jump()
        case .killInCall: armCut(.kill, fault)
        case .powerLossInCall: armCut(.power, fault)
        case .crashInRecovery, .collectorDies: break
        case .syncFails, .writeFails, .readFails, .diskFull: injectDiskFault(fault)
        case .storeAway, .requestsAway, .readsAway, .replyLost, .latePut, .throttled, .putConflict,
            .putRepeated, .shortRead, .flippedRead, .packDamaged, .packMissing,
            .commitMissing, .objectTruncated:
            injectStoreFault(fault)
            guard fault == .commitMissing, chance(4_000) else { return }
            for _ in 0..<3 { try collectInHurry() }
        case .writerStalls: stallWriter()
        }
    }

    /// Soon, in the middle of some call. Counted when it comes.
    private func armCut(_ death: Death, _ fault: Fault, within calls: UInt64 = 40) {
        node.machine.armedDeath = (death, fault)
        node.disk.crashAt(node.disk.operationCount + 1 + Int(random.next(below: calls)))
    }

    /// Between two of its next requests to the store. Counted when it comes.
    private func armRequest() {
        let machine = node.machine
        let gate = machine.store.gate
        gate.requestsLeft = 1 + Int(random.next(below: 30))
        gate.body = {
            machine.armedDeath = (.kill, .killInRequest)
            gate.isDead = true
        }
    }

    /// Before one of the next commits of a volume that is to go back: what is found pending then
    /// is another content. Counted when it comes.
    func armRollback(of node: Node) {
        let machine = node.machine
        let gate = machine.store.gate
        guard gate.body == nil, !options.without.contains(.killInRequest) else { return }
        gate.bodyPrefix = CommitKey.prefix(of: node.track.volume)
        gate.requestsLeft = 1 + Int(random.next(below: 6))
        gate.body = {
            machine.armedDeath = (.kill, .killInRequest)
            gate.isDead = true
        }
    }

    /// Ten years, forth or back, or to what it should be.
    private func jump() {
        report.faults.note(.clockJump)
        let years = [-10, 0, 10][Int(random.next(below: 3))]
        node.machine.skew.seconds = Int64(years * 365 * 86_400)
    }

    // MARK: The disk

    private func injectDiskFault(_ fault: Fault) {
        report.faults.note(fault)
        switch fault {
        case .diskFull:
            guard let space = try? node.disk.root.space() else { return }
            // Mostly there is room for what a commit writes here, and none for a segment.
            let left = random.next(below: chance(3_000) ? 4096 : 1 << 20)
            node.disk.setCapacity(bytes: space.total - space.free + left)
            node.machine.isDiskFull = true
        case .syncFails:
            node.hasFailedDisk = true
            failJournal(.sync)
            // Who is killed before it has noted that leaves a journal that seems to be sound.
            if chance(5_000), !options.without.contains(.killInCall) {
                armCut(.kill, .killInCall, within: 12)
            }
        case .writeFails:
            node.hasFailedDisk = true
            failJournal(.write)
        default:
            node.hasFailedDisk = true
            failJournal(.read)
        }
    }

    /// A segment keeps the path that it was opened by: in the journal, or in the pool.
    private func failJournal(_ kind: VolatileDisk.Kind) {
        node.disk.failNext(kind, code: EIO, pathEnding: ".seg")
        node.disk.failNext(kind, code: EIO, pathEnding: ".free")
    }

    /// Ends what ails the store and a full disk; a call that failed stays failed.
    func heal() {
        tell("all is healed")
        healStore()
        for machine in machines {
            machine.disk.setCapacity(bytes: 1 << 50)
            machine.isDiskFull = false
        }
    }

    // MARK: Deaths

    /// What a death takes with it, least first.
    enum Death: UInt64, Comparable {
        case kill
        case power
        case cacheLoss

        static func < (left: Death, right: Death) -> Bool { left.rawValue < right.rawValue }
    }

    /// Ends the process and what it had in memory; starts it again; judges what it finds.
    /// `spoiler`: what else happens to the journal of this step's volume.
    func die(
        _ death: Death, by fault: Fault, of dying: Machine? = nil, spoilingBy spoiler: Fault? = nil
    ) throws(SimulationFailure) {
        let machine = dying ?? node.machine
        report.faults.note(fault)
        report.note(0xDEAD << 8 | death.rawValue)
        tell("host \(machine.number) died by \(fault.rawValue)")
        worsen(death, on: machine)
        switch death {
        case .kill where fault == .reboot:
            // Pages that a failed sync dropped were in memory alone.
            if machine.hasFailedDisk { worsen(.power, on: machine) }
            machine.disk.crash(keeping: .all)
            machine.bootID = BootID.random(from: &random)
        case .kill: machine.disk.kill()
        case .power: losePower(machine)
        case .cacheLoss:
            forgetBranches(of: machine)
            report.note(machine.disk.fingerprint)
            machine.disk.crash(keeping: .none)
            machine.disk = VolatileDisk(seed: random.next())
            machine.isDiskFull = false
            machine.spoiled = []
        }
        if death != .cacheLoss { _ = machine.disk.reboot() }
        if let spoiler { spoilJournal(spoiler) }
        if death != .cacheLoss { copyDirectory(of: machine, after: death) }
        let isBehindFailure = death == .kill && machine.hasFailedDisk
        endProcess(of: machine)
        try bringUp(machine)
        // What was recovered is to be durable, whatever a failed sync had dropped of it.
        if isBehindFailure, chance(5_000), !options.without.contains(.powerLossInCall) {
            machine.armedDeath = (.power, .powerLossInCall)
            machine.disk.crashAt(
                machine.disk.operationCount + 1 + Int(random.next(below: 60)))
        }
    }

    private func worsen(_ death: Death, on machine: Machine) {
        for node in nodes(of: machine) { node.worstDeath = max(node.worstDeath, death) }
    }

    /// After an opening: what the guest finds must be what it was promised.
    func judgeOpened() throws(SimulationFailure) {
        let promised: UInt64
        switch node.worstDeath {
        case .kill: promised = node.history.acknowledged
        case .power: promised = node.history.flushed
        case .cacheLoss: promised = node.history.published
        }
        node.worstDeath = .kill
        try checkDisk(promised...node.history.count)
    }

    /// Unsynced sectors and names survive or not, at random, now and then none; the host boots
    /// anew.
    func losePower(_ machine: Machine) {
        worsen(.power, on: machine)
        machine.disk.crash(keeping: chance(1_000) ? .none : .random(seed: random.next()))
        machine.bootID = BootID.random(from: &random)
    }

    /// The armed cut hit: the process is gone.
    func restartIfDead() throws(SimulationFailure) {
        let machine = node.machine
        guard machine.isDead else { return }
        try die(machine.armedDeath.death, by: machine.armedDeath.fault)
    }
}
