// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Two hosts and one volume: forced take-overs, a writer that stands still in the middle of a claim
// or a commit while the other takes over, and what a fenced host must do.

import ControlPlane
import Formats
import HostIO
import Primitives
import VolumeEngine
import VolumeMap

extension Simulation {
    /// An operator opens the volume by force on a host, whatever that one believed before.
    func takeOver(by rival: Node) throws(SimulationFailure) {
        let machine = rival.machine
        guard !machine.isBusy else { return }
        report.actions.note(.takeOver)
        report.note(UInt64(rival.number) << 8 | 0xA0)
        node = rival
        tell("host \(machine.number) takes \(rival.track.name) over")
        if machine.process != nil {
            machine.disk.kill()
            _ = machine.disk.reboot()
            endProcess(of: machine)
        }
        rival.isStarted = true
        try bringUp(machine, forcing: rival)
    }

    /// The host of this step stops before one of its next requests to the store; the other one
    /// takes the volume and works; then the first one goes on as if nothing had been.
    func stallWriter() {
        let stalled = node
        let rival = stalled.track.nodes[1 - stalled.number]
        let gate = stalled.store.gate
        gate.requestsLeft = 1 + Int(random.next(below: 12))
        gate.body = { [unowned self] in
            guard !isStalled, nestedFailure == nil, stalled.track.isOpen, !rival.machine.isBusy
            else { return }
            let outer = node
            isStalled = true
            interludes += 1
            report.faults.note(.writerStalls)
            tell("host \(stalled.number) stands still")
            do throws(SimulationFailure) {
                try takeOver(by: rival)
                for _ in 0..<Int(random.next(below: 60)) {
                    try live()
                    try followChains()
                }
            } catch { nestedFailure = error }
            node = outer
            isStalled = false
            tell("host \(stalled.number) goes on")
        }
    }

    /// A host was told that another one has the volume: so it must be, it must say so, and what it
    /// acknowledged and could not publish must still be in its journal.
    func judgeFenced(_ host: SimulatedHost) throws(SimulationFailure) {
        node.isFenced = true
        let status = host.volume.report()
        // The journal of a process that is about to end may have failed first, and nobody sees it.
        guard status.operationState == "fenced" || node.hasFailedDisk || node.machine.isDead else {
            throw failure("a fenced host says that it is \(status.operationState)")
        }
        guard !node.isUnjudged else { return }
        try followChain(of: node.track)
        let chain = node.track.chain
        let isCurrent = try storedHead(of: node.track).token == chain.head.token
        // Fenced by itself: it has been put back to what it was.
        let isOvertaken = node.isBehindItself
        if isOvertaken { report.transitions.note(.copyFenced) }
        guard chain.owner != node.number || chain.isEnded || !isCurrent || isOvertaken else {
            throw failure("host \(node.number) was fenced, and nobody took the volume")
        }
        let inRoot = node.indexByCut[host.volume.root.commit.cut] ?? 0
        guard node.history.acknowledged <= inRoot || status.journalSegments > 0 else {
            throw failure("a fenced host dropped its journal")
        }
    }
}
