// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The oracles: the whole disk as the guest sees it after a restart, and the end of a run, when
// everything is healed, all requests must finish and the volume must drain.

import BlockDevice
import Formats
import HostIO
import Primitives
import VolumeEngine
import VolumeMap

extension Simulation {
    /// Reads the whole disk through the restarted volume and judges it: a prefix of the history, at
    /// or past `bounds.lowerBound`. The history then continues from there.
    func checkDisk(_ bounds: ClosedRange<UInt64>) throws(SimulationFailure) {
        guard node.host != nil else { throw failure("nobody serves the volume") }
        let stamps = try readWholeDisk(sectors: deviceSectors)
        report.diskChecks += 1
        tell("judging within \(bounds)")
        switch node.history.judge(stamps, bounds: bounds) {
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

    /// Reads in pieces, each until it is answered; a crash on the way starts the disk over.
    private func readWholeDisk(sectors: Int) throws(SimulationFailure) -> [GuestHistory.Stamp] {
        let pieceSectors = 512
        let buffer = UnsafeMutableRawBufferPointer.allocate(
            byteCount: pieceSectors * Limits.sectorBytes, alignment: 8)
        defer { buffer.deallocate() }
        var stamps: [GuestHistory.Stamp] = []
        node.disk.crashAt(nil)
        while stamps.count < sectors {
            let count = min(pieceSectors, sectors - stamps.count)
            let target = UnsafeMutableRawBufferPointer(
                rebasing: buffer[..<(count * Limits.sectorBytes)])
            try readPiece(at: stamps.count, into: target)
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
        at sector: Int, into target: UnsafeMutableRawBufferPointer
    ) throws(SimulationFailure) {
        let tag = RequestTag(session: Self.oracleSession, slot: 0, cookie: 0)
        for round in 0..<10_000 {
            guard let host = node.host else { throw failure("the daemon died during a check") }
            let offset = ByteOffset(UInt64(sector * Limits.sectorBytes))
            switch host.volume.read(at: offset, into: target, tag: tag) {
            case .done: return
            case .parked: break
            case .staged: throw failure("a read was staged")
            case .failed(let error):
                guard node.isStoreFaulty else { throw failure("read failed with \(error)") }
            }
            if round > 100 { heal() }
            try turnTheWheel(host)
        }
        throw failure(
            "a read of sector \(sector) never finished: \(node.host?.volume.report() as Any)")
    }

    /// Carries out everything that is under way, in order.
    private func turnTheWheel(_ host: SimulatedHost) throws(SimulationFailure) {
        host.volume.endTurn()
        try settle()
        let effects = host.effects
        host.effects.removeAll()
        for effect in effects { try carryOut(effect, on: host) }
        let events = host.events
        host.events.removeAll()
        for event in events { try deliver(event, to: host) }
        clock.advance(nanoseconds: 200_000_000)
        host.volume.tick(clock.now, wallSeconds: clock.wallSeconds)
        try settle()
    }

    /// Heals everything and lets time pass: every request finishes, the host that may publish
    /// drains the volume, the other one is fenced; the store holds the whole history, and the disk
    /// too.
    func finish() throws(SimulationFailure) {
        for node in nodes {
            node.disk.crashAt(nil)
            node.store.pause.body = nil
        }
        heal()
        try followChain()
        let owner = chain.owner ?? 0
        node = nodes[1 - owner]
        if node.host != nil { try endRival() }
        node = nodes[owner]
        if node.hasFailedDisk { try die(.power, by: .powerLoss) }
        if node.host == nil { try openUntilServing() }
        guard let host = node.host else { throw failure("nobody serves the volume at the end") }
        try close(host)
        guard host.volume.report().journalSegments == 0 else {
            throw failure("a drained volume holds \(host.volume.report().journalSegments) segments")
        }
        let root = host.volume.root
        guard root.commit.state == .clean else { throw failure("the last commit is not clean") }
        report.transitions.note(.closedClean)
        try followChain()
        guard root.commit.token == chain.head.token else {
            throw failure("commit \(root.commit.sequence) is closed, and not the store's last")
        }
        let history = node.history
        try checkStore(root, holds: history.acknowledged...history.count, of: history)
        let stamps = try readWholeDisk(sectors: deviceSectors)
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
