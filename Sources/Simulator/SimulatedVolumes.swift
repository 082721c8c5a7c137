// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The volumes of a host as its control plane reaches them: a call asks the volume, and lets its
// effects, events and guest go on until it answers, as the daemon's shards do.

import Committer
import ControlPlane
import Formats
import HostIO
import Primitives
import VolumeEngine
import VolumeMap

final class SimulatedVolumes: VolumeHost, @unchecked Sendable {
    // Confined: to its simulation.
    typealias Storage = VolatileDirectory

    private unowned let simulation: Simulation
    private unowned let machine: Machine
    /// Views of commits, which touch nothing here.
    private(set) var views: [ServedVolume: Commit] = [:]

    init(simulation: Simulation, machine: Machine) {
        self.simulation = simulation
        self.machine = machine
    }

    private static func failure(_ kind: UserError.Kind, _ why: String) -> UserError {
        UserError(kind, what: "cannot serve", why: why, remedy: "look at the trace")
    }

    private func node(_ volume: VolumeID) -> Node? {
        // One that has lost its name runs on until it is taken off.
        let track = (simulation.tracks + simulation.leaving).first { $0.volume == volume }
        return track?.nodes[machine.number]
    }

    /// Failures of the simulation itself go around the product.
    private func nested<Value>(_ body: () throws -> Value) throws(UserError) -> Value {
        do { return try body() } catch {
            if let failure = error as? SimulationFailure { simulation.nestedFailure = failure }
            if let failure = error as? UserError { throw failure }
            throw Self.failure(.conflict, "\(error)")
        }
    }

    func attach(_ claim: VolumeClaim<Storage>) throws(UserError) {
        guard let writer = claim.writer else {
            views[claim.served] = claim.root.commit
            return
        }
        try nested {
            guard let node = try simulation.knownNode(of: claim, on: machine) else {
                throw Self.failure(.conflict, "nobody attaches what has no name")
            }
            guard node.host == nil else {
                throw simulation.failure("\(claim.name) runs already, and would run twice")
            }
            try simulation.serve(claim.root.commit, writer, on: node)
        }
    }

    /// Nil: the time was over.
    private func ask(
        _ volume: VolumeID, isPatient: Bool,
        _ body: (inout Volume<Storage>, ControlRequest) -> Void
    ) throws(UserError) -> ControlAnswer {
        guard let node = node(volume), let host = node.host else {
            throw Self.failure(.conflict, "it does not run here")
        }
        let answer = try nested {
            try simulation.converse(with: host, of: node, isPatient: isPatient, body)
        }
        switch answer {
        case .failed(.fenced(let why)): throw Self.failure(.fenced, why)
        case .failed(let failure): throw Self.failure(.conflict, failure.reason)
        case nil: throw Self.failure(.storeAway, "no answer in time")
        case let answer?: return answer
        }
    }

    private func summary(_ answer: ControlAnswer) throws(UserError) -> CommitSummary {
        guard case .committed(let root) = answer else {
            throw Self.failure(.failed, "the volume answered something else")
        }
        return CommitSummary(
            sequence: root.commit.sequence, token: root.commit.token,
            labelSeconds: root.commit.labelSeconds)
    }

    func commitAll(
        _ volume: VolumeID, reason: CommitReason, deadline: Instant?
    ) throws(UserError) -> CommitSummary {
        try summary(ask(volume, isPatient: false) { $0.requestCommit($1) })
    }

    @discardableResult
    func detach(
        _ served: ServedVolume, clean: Bool, deadline: Instant?
    ) throws(UserError) -> CommitSummary? {
        if served.snapshot != nil {
            views[served] = nil
            return nil
        }
        guard let node = node(served.volume), let host = node.host else { return nil }
        var left: CommitSummary?
        if clean {
            _ = try commitAll(served.volume, reason: .detach, deadline: deadline)
            host.isClosing = true
            // Once closed for writes it stays so: there is no way back but through the store.
            left = try summary(ask(served.volume, isPatient: true) { $0.requestClose($1) })
        }
        try nested { try simulation.takeOff(host, of: node) }
        if clean { node.isStarted = false }
        return left
    }

    func resize(_ volume: VolumeID, to size: ByteCount) throws(UserError) {
        _ = try ask(volume, isPatient: true) { $0.requestResize($1, to: size) }
    }

    func rollback(_ volume: VolumeID, to target: LocalRoot) throws(UserError) -> CommitSummary {
        guard let node = node(volume) else { throw Self.failure(.conflict, "it does not run") }
        guard node.flights.isEmpty else { throw Self.failure(.conflict, "a guest writes") }
        node.isHeld = true
        defer { node.isHeld = false }
        _ = try commitAll(volume, reason: .rollback, deadline: nil)
        // A fresh base that somebody asked for before may become one of what the disk goes back to.
        if let host = node.host { host.controls = host.controls.mapValues { _ in 0 } }
        node.rollback = target.commit.token
        let source = Root(commit: target.commit)
        let answer = try ask(volume, isPatient: true) { $0.requestRollback($1, to: source) }
        try nested { try simulation.wentBack(node) }
        return try summary(answer)
    }

    func acknowledge(_ volume: VolumeID) throws(UserError) -> CommitSummary {
        try summary(ask(volume, isPatient: true) { $0.requestAcknowledge($1) })
    }

    /// Waits for the end, unlike the daemon: what it is answered with is judged.
    func compact(_ volume: VolumeID) throws(UserError) {
        _ = try ask(volume, isPatient: false) { $0.requestCompaction($1) }
    }

    func status(_ served: ServedVolume) -> VolumeStatus? {
        if let view = views[served] {
            return VolumeStatus(
                volume: served.volume, size: view.size, blockBytes: view.blockBytes,
                isReadOnly: true, state: .readOnly)
        }
        guard served.snapshot == nil, let host = node(served.volume)?.host else { return nil }
        let report = host.volume.report()
        let root = host.volume.root
        return VolumeStatus(
            volume: served.volume, size: host.volume.size, blockBytes: root.blockBytes,
            isReadOnly: false, state: OperationState(rawValue: report.operationState) ?? .serving,
            sequence: root.commit.sequence, epoch: root.commit.epoch)
    }

    func clientCounts(_ served: ServedVolume) -> ClientCounts {
        let writers = served.snapshot == nil ? node(served.volume)?.flights.count ?? 0 : 0
        return ClientCounts(readers: 0, writers: min(writers, 1))
    }

    func disconnect(_ served: ServedVolume) {}
}

extension Simulation {
    /// Asks a volume and lets its host go on until it answers. Nil if it did not within its time,
    /// or if the process died; with `isPatient` everything heals before the time is over.
    func converse(
        with host: SimulatedHost, of node: Node, isPatient: Bool,
        _ body: (inout Volume<Storage>, ControlRequest) -> Void
    ) throws(SimulationFailure) -> ControlAnswer? {
        let outer = self.node
        self.node = node
        defer { self.node = outer }
        // What is asked of a volume in the call that opened it is asked of what was found then.
        if node.isUnjudged, !node.machine.isDead { try judgeOpened() }
        guard node.host === host else { return nil }
        let request = ControlRequest(number: host.nextControl)
        host.nextControl += 1
        host.controls[request] = isPatient ? 0 : node.history.acknowledged
        host.awaited[request] = .some(nil)
        body(&host.volume, request)
        try settle()
        for round in 0..<(isPatient ? 2_000 : 60) {
            if let answer = host.awaited[request] ?? nil {
                host.awaited[request] = nil
                return answer
            }
            guard !node.machine.isDead, node.host === host else { return nil }
            if round > 60, round % 50 == 0 { heal() }
            if !node.isHeld, !host.isClosing, chance(3_000) { try submitSomething() }
            try turnTheWheel(host)
        }
        host.awaited[request] = nil
        guard !isPatient else {
            throw failure("a volume never answered: \(host.volume.report())")
        }
        return nil
    }

    /// Ends what runs of a volume, after what is under way. What was not committed stays in the
    /// journal.
    func takeOff(_ host: SimulatedHost, of node: Node) throws(SimulationFailure) {
        let outer = self.node
        self.node = node
        defer { self.node = outer }
        for _ in 0..<100 where !node.machine.isDead {
            try settle()
            if host.effects.isEmpty && host.events.isEmpty { break }
            try turnTheWheel(host)
        }
        // Nothing will judge it here again, and others may make forks of what it left.
        try followChain(of: node.track)
        node.drop()
    }

    /// The volume answered that it went back.
    func wentBack(_ node: Node) throws(SimulationFailure) {
        try followChain(of: node.track, .none)
        guard let host = node.host, let claimed = node.claimed else { return }
        let root = host.volume.root.commit
        // To what it was already: then it is a commit like others.
        if let target = node.rollback, claimed.token != root.token,
            contents[root.token]?.index == contents[target]?.index || node.track.chain.head == root
        {
            node.rollback = nil
            return
        }
        guard claimed.token == root.token, claimed.generation > node.generation else {
            let head = node.track.chain.head.sequence
            throw failure(
                "a rollback was answered by commit \(root.sequence) at \(root.cut), and the store "
                    + "has \(head), base \(claimed.generation) of \(node.generation)")
        }
        let last = host.volume.report().lastRecord
        begin(node, from: claimed, cuts: claimed.cut...max(claimed.cut, last))
    }
}
