// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Names that two hosts deal with at once: one gives the name of what the other one serves to
// another volume, in front of a guest that connects anew, or between two requests of the other's
// own call. Collectors that make whole runs between two requests of a call.

import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives

/// Something that is to happen before one of a host's next requests to the store. Confined to its
/// simulation.
final class Race {
    private let gate: NodeStore.Gate
    /// It happened, and changed what the call is about.
    var isWon = false

    init(_ gate: NodeStore.Gate) { self.gate = gate }

    func disarm() { gate.body = nil }
}

extension Simulation {
    // MARK: A name that is given away

    /// What runs here loses its name on the other host. This one hears of it, and then a guest
    /// connects by the name, or an operator takes the name off.
    func overtake(_ track: Track, _ plane: SimulatedPlane, _ machine: Machine) throws {
        let other = machines[1 - machine.number]
        guard track.nodes[machine.number].host != nil, !other.isBusy else { return }
        told(.overtake, track.name)
        try operate(on: other) { process in try replace(track, process.plane, other) }
        asking = machine.number
        guard machine.process?.plane === plane, !machine.isDead else { return }
        if chance(4_000) {
            try plane.delete(track.name, purge: false)
            try learnNames()
            return try checkOff(track.name, machine)
        }
        let told = try plane.put(track.name, PutRequest()).export.volume
        let served = try plane.attach(track.name).served.volume
        try learnNames()
        // Whatever has the name by now, what lost it does not get it back.
        guard told == track.volume || served != track.volume else {
            throw failure(
                "host \(machine.number) told of \(told) as \(track.name), and serves a guest "
                    + "what had the name before")
        }
        if told != track.volume { report.transitions.note(.connectedAnew) }
    }

    /// Before one of the next requests of a host, which takes a volume off, the other one gives its
    /// name to another volume.
    func armOvertaking(of track: Track, on machine: Machine) -> Race? {
        let gate = machine.store.gate
        let other = machines[1 - machine.number]
        guard gate.body == nil, !other.isBusy,
            names.snapshots.contains(where: { $0.name == track.name })
        else { return nil }
        let race = Race(gate)
        gate.bodyPrefix = "refs/exports/"
        gate.requestsLeft = 1 + Int(random.next(below: 8))
        gate.body = { [unowned self] in
            guard nestedFailure == nil, !isStalled, !other.isBusy else { return }
            let outer = node
            interludes += 1
            do throws(SimulationFailure) {
                // What this call did to the name is not undone.
                if let ref = try newestExport(track.name), ref.state == .live,
                    ref.volume == track.volume
                {
                    try operate(on: other) { process in
                        try replace(track, process.plane, other)
                    }
                    let now = try newestExport(track.name)
                    race.isWon = now?.state == .live && now?.volume != track.volume
                }
            } catch { nestedFailure = error }
            asking = machine.number
            node = outer
        }
        return race
    }

    /// Who looked at a name, and found it given to another volume, does not say that it is off.
    func checkLastLook(at name: String, _ machine: Machine) throws(SimulationFailure) {
        let newest = store.keys(prefix: "refs/exports/\(name)/").first
        let isThere = try newestExport(name)?.state == .live
        guard !isThere || machine.store.gate.lastExport != newest else {
            throw failure("host \(machine.number) took \(name) off, and saw that it is there")
        }
    }

    /// A host that took a name off serves no volume that has it or had it.
    func checkOff(_ name: String, _ machine: Machine) throws(SimulationFailure) {
        guard !machine.isDead else { return }
        for track in tracks + leaving where track.name == name {
            // One that was ended elsewhere may run on until it is fenced.
            guard try storedHead(of: track).state != .deleted else { continue }
            guard track.nodes[machine.number].host == nil else {
                throw failure("host \(machine.number) took \(name) off, and goes on serving it")
            }
        }
    }

    /// A volume that was detached is closed: whoever still has it open publishes nothing more.
    func checkClosed(_ track: Track) throws(SimulationFailure) {
        guard try storedHead(of: track).state != .open else {
            throw failure("\(track.name) was detached, and is open for whoever had it")
        }
    }

    // MARK: Collectors in a call

    /// Before one of the next requests of a host collectors make a few whole runs. False if
    /// something else is to happen there.
    func armCollectors(of machine: Machine) -> Bool {
        let gate = machine.store.gate
        guard gate.body == nil else { return false }
        gate.requestsLeft = 1 + Int(random.next(below: 16))
        var runs = 1 + random.next(below: 3)
        // Its packs are there, and the commit is not.
        if chance(4_000) {
            gate.bodyPrefix = "volumes/"
            gate.requestsLeft = 1 + Int(random.next(below: 4))
            runs = 3
        }
        gate.body = { [unowned self] in
            guard nestedFailure == nil, !isStalled else { return }
            interludes += 1
            do throws(SimulationFailure) {
                for _ in 0..<runs { try collectInHurry() }
            } catch { nestedFailure = error }
        }
        return true
    }

    /// A run of a collector, to its end unless it dies.
    func collectInHurry() throws(SimulationFailure) {
        let slot = collectors[Int(random.next(below: UInt64(collectors.count)))]
        for _ in 0..<20 {
            try collect(slot === collectors[0] ? 0 : 1)
            if slot.run == nil { return }
        }
    }

    // MARK: Old commits

    /// Numbers of what is in the store of a volume, named or not.
    func commits(of track: Track) throws(SimulationFailure) -> [CommitSequence] {
        var found: [CommitSequence] = []
        for key in store.keys(prefix: CommitKey.prefix(of: track.volume)) {
            guard let bytes = store.object(key) else { continue }
            let commit = try decode(bytes, key)
            // What has not been taken in yet is not known, and fences of the end hold nothing.
            if contents[commit.token] != nil, commit.state != .deleted {
                found.append(commit.sequence)
            }
        }
        return found
    }
}
