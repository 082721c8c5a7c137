// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The oracles: the whole disk as the guest sees it after a restart, and the end of a run, when
// everything is healed, all requests must finish and the volume must drain.

import BlockDevice
import Formats
import HostIO
import ObjectStore
import Primitives
import VolumeEngine
import VolumeMap

extension Simulation {
    /// Reads the whole disk through the restarted volume and judges it: a prefix of the history, at
    /// or past `bounds.lowerBound`. The history then continues from there.
    func checkDisk(_ bounds: ClosedRange<UInt64>) throws(SimulationFailure) {
        guard node.host != nil else { throw failure("nobody serves the volume") }
        // A commit that was pending may take its time, and the guest reads at once.
        let rounds = chance(5_000) ? Int(random.next(below: 60)) : 0
        guard let stamps = try readWholeDisk(sectors: deviceSectors, commitsWait: rounds) else {
            return giveUp()
        }
        report.diskChecks += 1
        let bounds = try resolved(bounds)
        tell("judging within \(bounds)")
        switch verdict(of: stamps, bounds) {
        case .prefix(let index):
            report.note(index << 8 | 0xD1)
            node.history.rewind(to: index)
            node.isUnjudged = false
            guard let host = node.host else { return }
            // Marks that were appended since changed nothing.
            let last = host.volume.report().lastRecord
            for record in host.recoveredLast.rawValue...last.rawValue {
                node.indexByCut[RecordSequence(record)] = index
            }
        case let verdict:
            throw failure("after the restart the disk is no prefix: \(verdict), bounds \(bounds)")
        }
    }

    /// If nothing of the journal survived, the disk is as the commit holds it, though later
    /// requests would explain it, too, that left no trace.
    private func verdict(
        of stamps: [GuestHistory.Stamp], _ bounds: ClosedRange<UInt64>
    ) -> GuestHistory.Verdict {
        if let host = node.host, host.recoveredLast == host.openedCut,
            let index = contents[host.volume.root.commit.token]?.index, bounds.contains(index),
            case .prefix(let same) = node.history.judge(stamps, bounds: index...index)
        {
            return .prefix(same)
        }
        return node.history.judge(stamps, bounds: bounds)
    }

    /// The volume is another host's, and what only this one's old commit needs was collected: reads
    /// fail here, and will until somebody opens it anew.
    private func giveUp() {
        report.transitions.note(.leftBehind)
        tell("host \(node.number) cannot read its old commit any more")
        node.drop()
        node.isStarted = false
    }

    /// A rollback that was pending at the opening has been resolved by the first read.
    private func resolved(
        _ bounds: ClosedRange<UInt64>
    ) throws(SimulationFailure) -> ClosedRange<UInt64> {
        guard node.rollback != nil, let host = node.host,
            host.openedPending == host.volume.root.commit.token,
            host.openedCut == host.volume.root.commit.cut
        else { return bounds }
        try followChain(of: node.track, .none, upTo: host.openedPending)
        guard let claimed = node.claimed, claimed.token == host.volume.root.commit.token,
            claimed.generation != node.generation
        else { return bounds }
        let last = host.volume.report().lastRecord
        begin(node, from: claimed, cuts: claimed.cut...max(claimed.cut, last))
        return claimed.index...claimed.index
    }

    /// Reads in pieces, each until it is answered. Nil if it never will be, and may be.
    private func readWholeDisk(
        sectors: Int, commitsWait rounds: Int = 0
    ) throws(SimulationFailure) -> [GuestHistory.Stamp]? {
        var rounds = rounds
        let pieceSectors = 512
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: pieceSectors * Limits.sectorBytes, alignment: 8)
        defer { buffer.deallocate() }
        var stamps: [GuestHistory.Stamp] = []
        node.disk.crashAt(nil)
        node.store.gate.body = nil
        // What it publishes meanwhile cannot be judged before it is: others would build on that.
        let wasJudging = isJudging
        isJudging = true
        defer { isJudging = wasJudging }
        while stamps.count < sectors {
            let count = min(pieceSectors, sectors - stamps.count)
            let target = UnsafeMutableRawBufferPointer(
                rebasing: buffer[..<(count * Limits.sectorBytes)])
            guard try readPiece(at: stamps.count, into: target, commitsWait: &rounds) else {
                return nil
            }
            for index in 0..<count {
                let start = index * Limits.sectorBytes
                let bytes = UnsafeRawBufferPointer(
                    rebasing: UnsafeRawBufferPointer(target)[
                        start..<(start + Limits.sectorBytes)])
                stamps.append(GuestHistory.stamp(of: bytes, sector: stamps.count))
            }
        }
        return stamps
    }

    private func readPiece(
        at sector: Int, into target: UnsafeMutableRawBufferPointer, commitsWait rounds: inout Int
    ) throws(SimulationFailure) -> Bool {
        let tag = RequestTag(session: Self.oracleSession, slot: 0, cookie: 0)
        for round in 0..<10_000 {
            guard let host = node.host else { throw failure("the daemon died during a check") }
            let offset = ByteOffset(UInt64(sector * Limits.sectorBytes))
            switch host.volume.read(at: offset, into: target, tag: tag) {
            case .done: return true
            case .parked: break
            case .staged: throw failure("a read was staged")
            case .failed(let error):
                guard node.isStoreFaulty || isBehind else {
                    throw failure("read failed with \(error)")
                }
            }
            if round > 100 { heal() }
            if round > 400, isBehind { return false }
            try turnTheWheel(host, commitsWait: rounds > 0)
            rounds -= 1
        }
        throw failure(
            "a read of sector \(sector) never finished: \(node.host?.volume.report() as Any)")
    }

    /// Carries out everything that is under way, in order.
    func turnTheWheel(
        _ host: SimulatedHost, commitsWait: Bool = false
    ) throws(SimulationFailure) {
        host.volume.endTurn()
        try settle()
        let effects = host.effects.filter { !commitsWait || !$0.isCommit }
        host.effects.removeAll { !commitsWait || !$0.isCommit }
        for effect in effects { try carryOut(effect, on: host) }
        let events = host.events
        host.events.removeAll()
        for event in events { try deliver(event, to: host) }
        clock.advance(nanoseconds: 200_000_000)
        passTime(host)
        try settle()
    }

    /// Heals everything and lets time pass: every request finishes, the hosts that may publish
    /// drain their volumes, the others are fenced; the store holds the whole histories, and the
    /// disks too; every name has what it is to have; what no name needs is collected.
    func finish() throws(SimulationFailure) {
        for machine in machines {
            machine.disk.crashAt(nil)
            machine.store.gate.body = nil
            machine.store.gate.isDead = false
            machine.skew.seconds = 0
        }
        heal()
        store.landLate()
        try learnNames()
        for machine in machines where machine.hasFailedDisk {
            // Perhaps nothing has a name any more.
            if let any = nodes(of: machine).first { node = any }
            try die(.power, by: .powerLoss, of: machine)
        }
        try learnNames()
        for track in tracks where track.isOpen { try reopenCopy(of: track) }
        let isWorn = chance(Self.wornRate)
        if isWorn { try giveUpOld() }
        for track in tracks where track.isOpen { try finish(track, isWorn: isWorn) }
        try collectAll()
        if isWorn { try checkBytes() }
    }

    private func finish(_ track: Track, isWorn: Bool) throws(SimulationFailure) {
        // What giving up old things has armed by the way.
        for machine in machines { machine.store.gate.body = nil }
        try followChain(of: track)
        let owner = track.chain.owner ?? 0
        node = track.nodes[1 - owner]
        if node.host != nil { try endRival() }
        node = track.nodes[owner]
        node.isStarted = true
        if node.host == nil { try bringUp(node.machine) }
        guard let host = node.host else { throw failure("nobody serves the volume at the end") }
        let commits = isWorn ? try storeAnew(host) : 0
        try close(host)
        guard host.volume.report().journalSegments == 0 else {
            throw failure("a drained volume holds \(host.volume.report().journalSegments) segments")
        }
        let root = host.volume.root
        guard root.commit.state == .clean else { throw failure("the last commit is not clean") }
        report.transitions.note(.closedClean)
        try followChain(of: track)
        guard root.commit.token == track.chain.head.token else {
            throw failure("commit \(root.commit.sequence) is closed, and not the store's last")
        }
        if isWorn { try noteFresh(root, commits: commits, codec: host.codec) }
        let history = node.history
        try checkStore(root, holds: history.acknowledged...history.count, of: history)
        guard let stamps = try readWholeDisk(sectors: deviceSectors) else {
            throw failure("\(track.name) cannot be read at the end")
        }
        report.diskChecks += 1
        let verdict = history.judge(stamps, bounds: history.count...history.count)
        guard case .prefix = verdict else { throw failure("at the end: \(verdict)") }
    }

    /// The host that lost the volume learns it at the latest when it closes.
    private func endRival() throws(SimulationFailure) {
        guard let host = node.host, !node.hasFailedDisk else { return }
        try close(host)
        guard host.volume.report().operationState == "fenced" else {
            throw failure("host \(node.number) lost the volume and was not fenced")
        }
    }

    private func close(_ host: SimulatedHost) throws(SimulationFailure) {
        let request = ControlRequest(number: host.nextControl)
        host.nextControl += 1
        host.controls[request] = node.history.acknowledged
        report.actions.note(.close)
        host.volume.requestClose(request)
        host.isClosing = true
        for _ in 0..<2_000 {
            try settle()
            try turnTheWheel(host)
            if host.controls.isEmpty && node.flights.isEmpty { break }
        }
        guard host.controls.isEmpty else {
            throw failure("the volume never drained: \(host.volume.report())")
        }
        guard node.flights.isEmpty else {
            throw failure("\(node.flights.count) requests never finished")
        }
    }
}
