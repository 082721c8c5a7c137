// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What people ask of the control plane of a host: snapshots, tags, forks, rollbacks, names that
// come and go. A reply is a promise, and is noted as one; what failed may have happened or not.

import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives
import VolumeMap

extension Simulation {
    /// One call of the control plane on a host, and what it leaves behind.
    func operate(on machine: Machine) throws(SimulationFailure) {
        try operate(on: machine) { process in try ask(process, on: machine) }
    }

    func operate(
        on machine: Machine, _ call: (Machine.Process) throws -> Void
    ) throws(SimulationFailure) {
        guard !machine.isBusy else { return }
        let outer = node
        machine.isBusy = true
        depth += 1
        defer {
            depth -= 1
            machine.isBusy = false
            node = outer
        }
        if machine.process == nil { try bringUp(machine) }
        if let process = machine.process {
            asking = machine.number
            var refusal: UserError?
            do { try call(process) } catch {
                if let failure = error as? SimulationFailure { throw failure }
                refusal = error as? UserError
            }
            if let nestedFailure { throw nestedFailure }
            if let refusal {
                tell("refused: \(refusal)")
                try judge(refusal, on: machine)
            }
        }
        try learnNames()
        noteUnfinished()
        if machine.isDead {
            try die(machine.armedDeath.death, by: machine.armedDeath.fault, of: machine)
        } else {
            try bringUp(machine)
        }
    }

    /// Something is missing or damaged only where that was brought about.
    private func judge(_ refusal: UserError, on machine: Machine) throws(SimulationFailure) {
        guard refusal.kind == .failed else { return }
        // A volume whose disk failed once is refused until somebody opens it by force.
        guard
            machine.isStoreFaulty || machine.hasEverFailed || machine.isDiskFull || machine.isDead
                || !machine.spoiled.isEmpty
        else { throw failure("host \(machine.number) failed: \(refusal)") }
    }

    private func noteUnfinished() {
        for name in Self.exportNames where names.unfinished[name] != nil {
            if let ref = try? newestExport(name), ref.state == .creating {
                report.transitions.note(.creationLeft)
            }
        }
    }

    func draw<Element>(_ elements: [Element]) -> Element? {
        elements.isEmpty ? nil : elements[Int(random.next(below: UInt64(elements.count)))]
    }

    private func ask(_ process: Machine.Process, on machine: Machine) throws {
        let plane = process.plane
        if let idle = draw(tracks.filter(isIdle)), chance(6_000) {
            return try attach(idle, plane, machine)
        }
        guard let track = draw(tracks) else { return try create(plane, machine) }
        let isArmed = chance(1_500) && armCollectors(of: machine)
        defer { if isArmed { machine.store.gate.body = nil } }
        switch random.next(below: 36) {
        case 0..<8: try takeSnapshot(of: track, plane, machine)
        case 8..<12: try deleteSnapshot(plane)
        case 12..<15: try moveTag(to: track, plane)
        case 15..<20: try fork(track, plane, machine)
        case 20..<23: try rollBack(track, plane, machine)
        case 23: try detach(track, plane, machine)
        case 24: try replace(track, plane, machine)
        case 25:
            try purge(draw(Array(tracks.dropFirst(chance(9_000) ? 1 : 0))) ?? track, plane, machine)
        case 26: try create(plane, machine)
        case 27..<29: try grow(track, plane, machine)
        case 29..<31: try compact(track, plane, machine)
        case 31..<33: try overtake(track, plane, machine)
        default: try view(plane, process, machine)
        }
    }

    /// Nobody runs it, and somebody could.
    private func isIdle(_ track: Track) -> Bool {
        !track.chain.isEnded && (track.state == .live || track.state == .detached)
            && !track.nodes.contains { $0.isStarted }
    }

    func told(_ action: Action, _ text: @autoclosure () -> String) {
        report.actions.note(action)
        tell("host \(asking) asks: \(action.rawValue) \(text())")
    }

    // MARK: Snapshots and tags

    private func takeSnapshot(of track: Track, _ plane: SimulatedPlane, _ machine: Machine) throws {
        told(.snapshot, track.name)
        let node = track.nodes[machine.number]
        let serves = node.host != nil && !node.isFenced
        let (covers, flushed) = (node.history.acknowledged, node.history.flushed)
        let removals = names.removals
        let tag = chance(2_000) ? draw(Self.tagNames) : nil
        let info = try plane.snapshot(track.name, tag: tag)
        let pointer = CommitPointer(
            volume: info.volume, sequence: info.sequence, token: info.token,
            labelSeconds: info.labelSeconds)
        try followChain(of: track)
        // Another host may have given the name to a volume that this one never served.
        if serves, info.volume == track.volume, let content = contents[info.token] {
            if content.index < covers, track.chain.generation == node.generation {
                try judge(pointer, covers, node)
            }
            if covers > flushed { report.transitions.note(.snapshotUnflushed) }
        }
        report.transitions.note(.snapshotTaken)
        // A tag holds whatever becomes of the snapshot.
        if let tag { try promise(tag, pointer) }
        guard names.removals == removals, names.removalsUnderWay == 0 else { return }
        names.promise(NameBook.Snapshot(name: track.name, commit: pointer))
    }

    /// What came after the commit's last request changed nothing, or else it is missing.
    private func judge(
        _ pointer: CommitPointer, _ covers: UInt64, _ node: Node
    ) throws(SimulationFailure) {
        guard let commit = try commit(at: pointer) else { return }
        try checkStore(Root(commit: commit), holds: covers...node.history.count, of: node.history)
    }

    private func deleteSnapshot(_ plane: SimulatedPlane) throws {
        // What somebody reads is left to its pin alone.
        let read = Set(names.views.map(\.commit))
        let held = names.snapshots.filter { read.contains($0.commit) }
        guard let snapshot = draw(held.isEmpty || chance(5_000) ? names.snapshots : held) else {
            return
        }
        told(.deleteSnapshot, "\(snapshot.name)@\(snapshot.commit.sequence)")
        names.withdraw { $0 == snapshot }
        names.removalsUnderWay += 1
        defer { names.removalsUnderWay -= 1 }
        try plane.deleteSnapshot(snapshot.name, sequence: snapshot.commit.sequence.rawValue)
    }

    private func moveTag(to track: Track, _ plane: SimulatedPlane) throws {
        guard let tag = draw(Self.tagNames) else { return }
        told(.tag, "\(tag) to \(track.name)")
        let info = try plane.tag(track.name, tag: tag)
        try promise(
            tag,
            CommitPointer(
                volume: info.volume, sequence: info.sequence, token: info.token,
                labelSeconds: info.labelSeconds))
    }

    private func promise(_ tag: String, _ commit: CommitPointer) throws {
        guard let key = store.keys(prefix: "refs/tags/\(tag)/").first,
            let name = RefName(tag), let number = RefSeries.tag(name).number(of: key),
            let bytes = store.object(key), let ref = try? TagRef(decoding: bytes)
        else { throw failure("tag \(tag) was answered, and is not there") }
        // Another host may have moved it since.
        guard ref.commit == commit else { return }
        if let before = names.tags[tag], before.commit != commit {
            report.transitions.note(.tagMoved)
        }
        names.tags[tag] = NameBook.Tag(number: number, commit: commit)
    }

    // MARK: New volumes

    private func create(_ plane: SimulatedPlane, _ machine: Machine) throws {
        guard let name = freeName() else { return }
        told(.create, name)
        let sectors = 64 + random.next(below: 256)
        try put(
            name,
            PutRequest(
                size: ByteCount(sectors * UInt64(Limits.sectorBytes)),
                blockBytes: options.blockBytes), plane, machine)
    }

    private func fork(_ track: Track, _ plane: SimulatedPlane, _ machine: Machine) throws {
        guard let name = freeName() else { return }
        var source = "export:\(track.name)"
        var transition = Transition.forkedExport
        let kind = random.next(below: 3)
        if chance(2_000), let old = draw(try commits(of: track)) {
            source = "snapshot:\(track.name)@\(old)"
            transition = .forkedCommit
        } else if kind == 1, let snapshot = draw(names.snapshots) {
            source = "snapshot:\(snapshot.name)@\(snapshot.commit.sequence)"
            transition = .forkedSnapshot
        } else if kind == 2, let tag = draw(Self.tagNames.filter({ names.tags[$0] != nil })) {
            source = "tag:\(tag)"
            transition = .forkedTag
        }
        told(.fork, "\(name) from \(source)")
        if try put(name, PutRequest(source: ForkSource(from: source)), plane, machine) {
            report.transitions.note(transition)
        }
    }

    func fork(
        _ track: Track, at sequence: CommitSequence, _ plane: SimulatedPlane, _ machine: Machine
    ) throws {
        guard let name = freeName() else { return }
        let source = "snapshot:\(track.name)@\(sequence)"
        told(.fork, "\(name) from \(source)")
        try put(name, PutRequest(source: ForkSource(from: source)), plane, machine)
    }

    private func freeName() -> String? {
        let taken = Set(tracks.map(\.name))
        return draw(Self.exportNames.filter { !taken.contains($0) })
    }

    /// True if the reply says that the volume is new.
    @discardableResult
    private func put(
        _ name: String, _ request: PutRequest, _ plane: SimulatedPlane, _ machine: Machine
    ) throws -> Bool {
        var request = request
        if let left = names.unfinished[name], chance(7_000) { request = left }
        names.unfinished[name] = request
        let before = interludes
        let reply = try plane.put(name, request)
        names.unfinished[name] = nil
        try learnNames()
        guard let track = tracks.first(where: { $0.volume == reply.export.volume }) else {
            let isKnown = reply.export.origin.map { contents[$0.commit.token] != nil } ?? true
            guard before != interludes || !isKnown else {
                throw failure("\(name) was made, and has no name")
            }
            return false
        }
        if let source = reply.export.origin?.commit, reply.outcome == .created {
            let head = try storedFirst(of: track, source)
            // Another host may have asked for its end meanwhile, and died behind that.
            if head.state != .deleted {
                try examine(head, "\(name), made from \(source.sequence)")
            }
        }
        if !track.nodes.contains(where: { $0.isStarted }) {
            track.nodes[machine.number].isStarted = true
        }
        if reply.outcome == .created, track.chain.head.sequence > CommitSequence(2) {
            report.transitions.note(.nameReused)
        }
        return reply.outcome == .created
    }

    /// The first commit of a fork has what its source has.
    private func storedFirst(
        of track: Track, _ source: CommitPointer
    ) throws(SimulationFailure) -> Commit {
        let head = try storedHead(of: track)
        guard let content = contents[source.token] else {
            throw failure("\(track.name) was made from a commit that never landed")
        }
        if head.parentToken == .zero, contents[head.token]?.index != content.index {
            throw failure("\(track.name) has not what its source has")
        }
        return head
    }

    // MARK: Volumes that are there

    private func rollBack(_ track: Track, _ plane: SimulatedPlane, _ machine: Machine) throws {
        let node = track.nodes[machine.number]
        guard node.host != nil, !node.isFenced,
            let target = drawTarget(of: track)
        else { return }
        told(.rollback, "\(track.name) to \(target.commit.sequence)")
        try quieten(node)
        let removals = names.removals
        if chance(3_000) { armRollback(of: node) }
        let reply = try plane.rollback(
            track.name, toSequence: target.commit.sequence.rawValue)
        guard let kept = reply.keptSnapshot, names.removals == removals,
            names.removalsUnderWay == 0,
            let name = RefName(track.name),
            let bytes = store.object(RefKey.snapshot(name, kept).text),
            let ref = try? SnapshotRef(decoding: bytes)
        else { return }
        names.promise(NameBook.Snapshot(name: track.name, commit: ref.commit))
    }

    /// Now and then one of an earlier volume of the name that was larger: where there is one, it is
    /// to be refused, for a volume does not shrink and nothing of it may be cut off.
    private func drawTarget(of track: Track) -> NameBook.Snapshot? {
        let targets = names.snapshots.filter { $0.name == track.name }
        let larger = targets.filter { (sectors(of: $0) ?? 0) > track.sectors }
        return draw(larger.isEmpty || chance(3_000) ? targets : larger)
    }

    private func sectors(of snapshot: NameBook.Snapshot) -> Int? {
        contents[snapshot.commit.token]?.history.sectors
    }

    private func compact(_ track: Track, _ plane: SimulatedPlane, _ machine: Machine) throws {
        guard track.nodes[machine.number].host != nil else { return }
        told(.compact, track.name)
        _ = try plane.compact(track.name)
    }

    /// The guest sends nothing more, and waits for what it sent.
    func quieten(_ node: Node) throws(SimulationFailure) {
        let outer = self.node
        self.node = node
        node.isHeld = true
        defer {
            node.isHeld = false
            self.node = outer
        }
        for _ in 0..<60 {
            guard let host = node.host, !node.flights.isEmpty, !node.machine.isDead else { return }
            try turnTheWheel(host)
        }
    }

    private func detach(_ track: Track, _ plane: SimulatedPlane, _ machine: Machine) throws {
        told(.detach, track.name)
        let before = interludes
        let race = chance(6_000) ? armOvertaking(of: track, on: machine) : nil
        defer { race?.disarm() }
        let wasLive = try newestExport(track.name)?.state == .live
        try plane.delete(track.name, purge: false)
        try learnNames()
        try checkOff(track.name, machine)
        // Somebody else may have attached it behind the end.
        if race?.isWon == true, interludes == before + 1 {
            try checkLastLook(at: track.name, machine)
        }
        guard before == interludes else { return }
        switch try newestExport(track.name)?.state {
        case .detached:
            report.transitions.note(.detached)
            if wasLive { try checkClosed(track) }
        // Who asked for its end may have got no answer; to take off what is gone is success.
        case .deleted: break
        // An attach without an answer arrived behind it.
        case .live where !wasLive: break
        default: throw failure("\(track.name) is still attached")
        }
    }

    private func attach(_ track: Track, _ plane: SimulatedPlane, _ machine: Machine) throws {
        told(.attach, track.name)
        let wasDetached = track.state == .detached
        if wasDetached && chance(5_000) {
            _ = try plane.put(track.name, PutRequest())
        } else {
            _ = try plane.open(track.name, force: chance(5_000))
        }
        try learnNames()
        guard track.isOpen else { return }
        track.nodes[machine.number].isStarted = true
        if wasDetached { report.transitions.note(.attached) }
    }

    /// Back in time without a rollback: off, and the name anew from one of its own snapshots.
    func replace(_ track: Track, _ plane: SimulatedPlane, _ machine: Machine) throws {
        let targets = names.snapshots.filter { $0.name == track.name }
        let smaller = targets.filter { (sectors(of: $0) ?? .max) < track.sectors }
        guard let target = draw(smaller.isEmpty || chance(5_000) ? targets : smaller) else {
            return
        }
        told(.replace, "\(track.name) by \(target.commit.sequence)")
        try plane.delete(track.name, purge: false)
        try learnNames()
        let source = "snapshot:\(track.name)@\(target.commit.sequence)"
        let request = PutRequest(source: try ForkSource(from: source))
        guard try put(track.name, request, plane, machine) else { return }
        report.transitions.note(.replaced)
        // It was the wrong one: to one that the volume before had, and was perhaps larger.
        guard chance(3_000) else { return }
        try bringUp(machine)
        guard let plane = machine.process?.plane, !machine.isDead,
            let new = tracks.first(where: { $0.name == track.name })
        else { return }
        try rollBack(new, plane, machine)
    }

    private func purge(_ track: Track, _ plane: SimulatedPlane, _ machine: Machine) throws {
        told(.purge, track.name)
        names.withdraw { $0.name == track.name }
        names.removalsUnderWay += 1
        defer { names.removalsUnderWay -= 1 }
        names.unfinished[track.name] = nil
        let before = interludes
        try plane.delete(track.name, purge: true)
        try learnNames()
        try checkOff(track.name, machine)
        guard before == interludes else { return }
        // The name is gone, whichever volume had it when this was asked.
        guard try newestExport(track.name)?.state == .deleted else {
            throw failure("\(track.name) was purged, and is there")
        }
        report.transitions.note(.purged)
    }

    private func grow(_ track: Track, _ plane: SimulatedPlane, _ machine: Machine) throws {
        guard track.nodes[machine.number].host != nil else { return }
        told(.grow, track.name)
        let sectors = track.sectors + 1 + Int(random.next(below: 64))
        let size = ByteCount(UInt64(sectors * Limits.sectorBytes))
        _ = try plane.put(track.name, PutRequest(size: size))
    }

    // MARK: Views

    /// Attaches an old commit, or reads and lets go of one that is attached.
    private func view(
        _ plane: SimulatedPlane, _ process: Machine.Process, _ machine: Machine
    ) throws {
        if let view = draw(names.views.filter({ $0.machine == machine.number })), chance(5_000) {
            told(.view, "end of \(view.commit.sequence)")
            if let commit = try commit(at: view.commit) {
                names.needs[commit.token] = nil
                try examine(commit, "a view of \(commit.sequence)")
                report.transitions.note(.viewed)
            }
            names.views.removeAll { $0.machine == view.machine && $0.served == view.served }
            return plane.release(view.served)
        }
        guard let snapshot = draw(names.snapshots) else { return }
        told(.view, "\(snapshot.name)@\(snapshot.commit.sequence)")
        let served = try plane.attach("\(snapshot.name)@\(snapshot.commit.sequence)").served
        guard let commit = process.volumes.views[served],
            commit.token == snapshot.commit.token
        else { throw failure("a view of \(snapshot.commit.sequence) shows another commit") }
        if !names.views.contains(where: { $0.machine == machine.number && $0.served == served }) {
            names.views.append(
                NameBook.View(machine: machine.number, served: served, commit: snapshot.commit))
        }
    }
}
