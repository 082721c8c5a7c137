// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A cache directory that is put back to an older copy of it, as from a backup or a snapshot of its
// machine: consistent, of a moment when no daemon ran, or of a power cut.
//
// In another directory than it was made in it is known for a copy. Nothing is served before the
// store was asked; what the store has beyond it stands, and whoever goes on from it says that
// acknowledged writes may be missing. In its own place nobody can tell: the volume is served as the
// copy has it, and only its next commit meets what the store has beyond it. The guests' own time
// has gone back with it, so the model's does. The history in the store never does.

import Committer
import Formats
import HostIO
import ObjectStore
import Primitives
import VolumeEngine

/// What lies in a cupboard.
struct DirectoryCopy {
    /// What the guest of a volume had been promised then.
    struct Moment {
        let history: GuestHistory
        let indexByCut: [RecordSequence: UInt64]
        let claimed: Node.Claimed?
        let generation: Int
        let rollback: Token?
        let worstDeath: Simulation.Death
    }

    let disk: VolatileDisk
    let moments: [VolumeID: Moment]
}

/// A volume whose directory was put back.
struct Restored {
    /// Nil: the volume is younger than the copy.
    let moment: DirectoryCopy.Moment?
    let isMoved: Bool
    /// The newest in the store.
    let epoch: Epoch
}

extension Simulation {
    private static let copyRate: UInt64 = 3_000

    /// Of a machine whose process has ended.
    func copyDirectory(of machine: Machine, after death: Death) {
        // An old one is mostly kept, and shows more.
        let rate = machine.copy == nil ? Self.copyRate : Self.copyRate / 4
        guard chance(rate), !machine.hasFailedDisk, machine.spoiled.isEmpty else { return }
        report.transitions.note(death == .power ? .copiedAtPowerCut : .copiedAtRest)
        tell("the cache directory of host \(machine.number) is copied")
        var moments: [VolumeID: DirectoryCopy.Moment] = [:]
        for node in nodes(of: machine) {
            // What nobody has opened since it was put back is what it was put back to.
            if let restored = node.restored {
                moments[node.track.volume] = restored.moment
                continue
            }
            moments[node.track.volume] = DirectoryCopy.Moment(
                history: node.history, indexByCut: node.indexByCut, claimed: node.claimed,
                generation: node.generation, rollback: node.rollback, worstDeath: node.worstDeath)
        }
        machine.copy = DirectoryCopy(
            disk: machine.disk.copy(seed: random.next()), moments: moments)
    }

    /// The machine of this step stops and starts with its copy, if there is one.
    func restoreCopy(by fault: Fault) throws(SimulationFailure) {
        let machine = node.machine
        guard let copy = machine.copy, !machine.isBusy else { return }
        // What the life that ends here sent is judged by what was known in it.
        store.landLate()
        try learnNames()
        for track in tracks { try followChain(of: track, .none) }
        report.faults.note(fault)
        report.note(machine.disk.fingerprint)
        tell("host \(machine.number) is put back by \(fault.rawValue)")
        forgetBranches(of: machine)
        let isMoved = fault == .cacheRestored
        if isMoved { machine.places += 1 }
        machine.disk.kill()
        machine.disk = copy.disk.copy(
            seed: random.next(), place: isMoved ? 1_000_000 + machine.places : nil)
        if chance(5_000) { machine.bootID = BootID.random(from: &random) }
        machine.isDiskFull = false
        machine.spoiled = []
        machine.sealed = []
        for node in nodes(of: machine) {
            node.restored = Restored(
                moment: copy.moments[node.track.volume], isMoved: isMoved,
                epoch: node.track.chain.head.epoch)
        }
        endProcess(of: machine)
        if !options.without.contains(.storeAway), chance(3_000) { injectStoreFault(.storeAway) }
        try bringUp(machine)
    }

    /// What was acknowledged by volumes that ran behind the store goes with their directory.
    func forgetBranches(of machine: Machine) {
        for node in nodes(of: machine) {
            if node.isBehindItself { forgetBranch(of: node) }
            node.rolledBack = nil
        }
    }

    private func forgetBranch(of node: Node) {
        node.history = node.track.chain.history
        node.generation = node.track.chain.generation
    }

    /// A volume is opened, for the first time since its directory was put back: if what the copy
    /// has is served, the guest's history is that of the copy.
    func takeUpCopy(
        _ node: Node, _ opening: VolumeOpening, last: RecordSequence
    ) throws(SimulationFailure) {
        let root = opening.root
        if let epoch = node.rolledBack, root.epoch > epoch {
            // It ran behind a volume that was closed cleanly: its journal is all that knows of it.
            let isSetAside = !opening.adoptsJournal || last == root.cut
            if isSetAside, root.uncleanTakeover == nil { forgetBranch(of: node) }
            node.rolledBack = nil
        }
        guard let restored = node.restored else { return }
        node.restored = nil
        let isFence = root.isFence && root.epoch > restored.epoch
        guard let moment = restored.moment, opening.adoptsJournal else {
            if restored.moment != nil { report.transitions.note(.copySetAside) }
            return
        }
        // An earlier try has set the copy's journal aside, or there was nothing in it.
        if isFence, last == root.cut { return }
        let promised = node.history.prefix(node.history.acknowledged)
        let promisedGeneration = node.generation
        node.history = moment.history
        node.indexByCut = moment.indexByCut
        node.generation = moment.generation
        node.rollback = moment.rollback
        node.worstDeath = moment.worstDeath
        if isFence {
            report.transitions.note(.copyNoted)
            guard let claimed = node.claimed, claimed.token == root.token else {
                throw failure("a copy goes on from a commit that is not its fence")
            }
            if root.uncleanTakeover == nil, claimed.generation == promisedGeneration,
                !claimed.history.looks(like: promised)
            {
                throw failure("a copy lacks what was acknowledged, and does not say so")
            }
            return
        }
        guard !restored.isMoved else {
            throw failure("a copy is served in another place, and the store was not asked")
        }
        let isNewest = [root.token, opening.pending?.commit.token]
            .contains(node.track.chain.head.token)
        report.transitions.note(isNewest ? .copyWentOn : .copyServed)
        // A fence that the copy had pending may be its root by now.
        node.claimed =
            opening.pending.flatMap { node.bases[$0.commit.token] } ?? node.bases[root.token]
            ?? moment.claimed
        node.rolledBack = restored.epoch
    }

    /// An operator opens a volume anew that still serves, or would, what it was put back to.
    func reopenCopy(of track: Track) throws(SimulationFailure) {
        let owner = track.nodes[track.chain.owner ?? 0]
        if owner.isBehindItself || owner.restored != nil { try takeOver(by: owner) }
    }

    /// A commit is about to be sent. Where the collector has been, the past has free numbers: none
    /// of them may be taken by what never was there.
    func judgeSending(_ key: String, _ body: UnsafeRawBufferPointer) {
        guard nestedFailure == nil, store.byteCount(of: key) == nil,
            let commit = try? Commit(decoding: body, key: nil),
            let track = (tracks + leaving).first(where: { $0.volume == commit.volume }),
            commit.sequence <= track.chain.head.sequence, contents[commit.token] == nil,
            // A claim that slept looks again behind its fence, and serves nothing from it.
            !commit.isFence
        else { return }
        nestedFailure = failure(
            "commit \(commit.sequence) of epoch \(commit.epoch) is sent, and the store has "
                + "\(track.chain.head.sequence)")
    }
}
