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
        if chance(1_500) { armSleep(of: rival) }
        try bringUp(machine, forcing: rival)
        machine.store.gate.body = nil
        if chance(1_500) { try leaveBehind(rival) }
    }

    /// In front of one of the claim's requests for commits, the other host publishes, and numbers
    /// that were taken meanwhile are collected.
    private func armSleep(of rival: Node) {
        let gate = rival.machine.store.gate
        let other = rival.track.nodes[1 - rival.number]
        gate.bodyPrefix = CommitKey.prefix(of: rival.track.volume)
        gate.requestsLeft = 1 + Int(random.next(below: 6))
        gate.body = { [unowned self] in
            guard nestedFailure == nil, !isStalled else { return }
            let outer = node
            interludes += 1
            tell("host \(rival.number) sleeps")
            rival.machine.isBusy = true
            do throws(SimulationFailure) { try publishAndCollect(other) } catch {
                nestedFailure = error
            }
            rival.machine.isBusy = false
            node = outer
            tell("host \(rival.number) wakes")
        }
    }

    /// What the fenced host knows as the newest commit is collected before it hears of anything.
    /// Then it does, with its next commit, whatever that needs.
    private func leaveBehind(_ rival: Node) throws(SimulationFailure) {
        guard rival.host != nil, rival.track.isOpen else { return }
        let outer = node
        defer { node = outer }
        try publishAndCollect(rival)
        let fenced = rival.track.nodes[1 - rival.number]
        // One that stands still goes on later.
        guard let host = fenced.host, !isStalled, !host.isClosing, !fenced.machine.isBusy,
            !fenced.machine.isDead, !fenced.hasFailedDisk
        else { return }
        fenced.machine.isBusy = true
        defer { fenced.machine.isBusy = false }
        node = fenced
        evict(host)
        for _ in 0..<6 where node.host != nil { try submitSomething() }
        guard node.host === host else { return }
        _ = try converse(with: host, of: fenced, isPatient: true) { $0.requestCommit($1) }
    }

    private func publishAndCollect(_ writer: Node) throws(SimulationFailure) {
        guard !writer.machine.isBusy else { return }
        for _ in 0..<2 {
            node = writer
            for _ in 0..<6 where node.host != nil { try live() }
            guard writer.track.isOpen, writer.host != nil else { return }
            try operate(on: writer.machine) { process in
                _ = try process.plane.drain(writer.track.name)
            }
        }
        for _ in 0..<3 { try collectInHurry() }
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
