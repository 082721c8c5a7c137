// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The life of a simulated process: its start, the volumes that it opens again through the control
// plane, and where their histories go on.

import BlockDevice
import CleanCache
import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import Journal
import ObjectStore
import Primitives
import VolumeEngine
import VolumeMap

extension Simulation {
    static var firstName: String { "disk" }

    /// The first volume is there from the start, as a PUT leaves one.
    func createVolume() throws(SimulationFailure) {
        guard let name = RefName(Self.firstName) else { throw failure("a name that is none") }
        let first = node.track.chain.head
        let ref = ExportRef(
            name: name, number: 1, volume: first.volume, state: .live,
            definition: ExportDefinition(
                size: first.size, blockBytes: first.blockBytes, isReadOnly: false,
                transport: .nbd, source: nil),
            size: first.size, isReadOnly: false, origin: nil, firstSequence: first.sequence)
        do throws(ObjectStoreError) {
            _ = try store.putIfAbsent(first.key.key, first.encode())
            _ = try store.putIfAbsent(RefSeries.export(name).key(1), ref.encoded)
        } catch { throw failure("cannot create the volume: \(error)") }
    }

    func nodes(of machine: Machine) -> [Node] { tracks.map { $0.nodes[machine.number] } }

    /// What the process had in memory is gone.
    func endProcess(of machine: Machine) {
        machine.store.gate.body = nil
        machine.store.gate.isDead = false
        machine.process = nil
        machine.hasFailedDisk = false
        names.views.removeAll { $0.machine == machine.number }
        // A volume that lost its name in this step has died, too.
        for track in tracks + leaving { track.nodes[machine.number].drop() }
    }

    /// Starts the process if none runs, opens what is to run there, dying and starting over as the
    /// armed faults will have it, and judges what the guests find.
    func bringUp(_ machine: Machine, forcing forced: Node? = nil) throws(SimulationFailure) {
        let outer = node
        defer { node = outer }
        try openAll(on: machine, forcing: forced)
        for opened in nodes(of: machine) where opened.host != nil && opened.isUnjudged {
            node = opened
            try judgeOpened()
        }
    }

    private func openAll(on machine: Machine, forcing forced: Node?) throws(SimulationFailure) {
        var insisting: Set<VolumeID> = []
        for attempt in 0..<200 {
            // What was sent long ago may land, and take off what is to be opened.
            try learnNames()
            for node in nodes(of: machine) where node.host == nil {
                let isPurged = try storedHead(of: node.track).state == .deleted
                if !node.track.isOpen || isPurged { node.isStarted = false }
            }
            if chance(2_000), !options.without.contains(.crashInRecovery) {
                machine.disk.crashAt(
                    machine.disk.operationCount + 1 + Int(random.next(below: 60)))
            }
            var last = ""
            do {
                try startProcess(of: machine)
                refresh(machine)
                for opening in nodes(of: machine) where opening.isStarted && opening.host == nil {
                    node = opening
                    let isInsisting = insisting.contains(opening.track.volume)
                    try open(opening, isForced: isInsisting || opening === forced)
                }
            } catch {
                report.note(0x0F)
                last = "\(error)"
                tell("not opened: \(error)")
                if let failure = error as? SimulationFailure { throw failure }
                if let nestedFailure { throw nestedFailure }
                // It says that its journal cannot be trusted: an operator insists.
                if let refusal = error as? UserError, refusal.kind == .failed {
                    insisting.insert(node.track.volume)
                }
            }
            if !machine.isDead, machine.process != nil,
                !nodes(of: machine).contains(where: { $0.isStarted && $0.host == nil })
            {
                machine.disk.crashAt(nil)
                machine.isStoreFaulty = hasStoreFaults
                return
            }
            if attempt == 199 { throw failure("host \(machine.number) never opened: \(last)") }
            guard machine.isDead else {
                // The control plane would wait for the store, or for room; here they heal.
                heal()
                continue
            }
            // Died again, during the recovery.
            report.faults.note(.crashInRecovery)
            if chance(5_000) { machine.disk.kill() } else { losePower(machine) }
            _ = machine.disk.reboot()
            endProcess(of: machine)
        }
    }

    func startProcess(of machine: Machine) throws {
        guard machine.process == nil else { return }
        let root = machine.disk.root
        let segments = try root.directory("segments", create: true)
        try root.sync()
        let pool = SegmentPool(
            directory: segments, segmentPages: options.segmentPages, budgetBytes: 1 << 30,
            random: SplitMix64(seed: random.next()))
        try pool.prepare(bootID: machine.bootID)
        guard let name = RefName("host-\(machine.number)") else { throw failure("no name") }
        let volumes = SimulatedVolumes(simulation: self, machine: machine)
        let plane = SimulatedPlane(
            configuration: ControlPlaneConfiguration(
                node: name, machineID: "machine-\(machine.number)"),
            cacheDirectory: root, store: machine.store, host: volumes,
            clock: machine.clock(clock), random: SplitMix64(seed: random.next()))
        let isStoreKnown = try plane.start().isStoreReachable
        machine.process = Machine.Process(
            plane: plane, volumes: volumes, pool: pool, isStoreKnown: isStoreKnown)
    }

    /// As the daemon does every few seconds, until it succeeds.
    private func refresh(_ machine: Machine) {
        guard let process = machine.process, !process.isStoreKnown, chance(5_000),
            (try? process.plane.refresh()) != nil
        else { return }
        machine.process?.isStoreKnown = true
    }

    private func open(_ node: Node, isForced: Bool) throws {
        guard let plane = node.machine.process?.plane else { throw failure("no process") }
        if isForced {
            _ = try plane.open(node.track.name, force: true)
        } else {
            _ = try plane.attach(node.track.name)
        }
        if let nestedFailure { throw nestedFailure }
        // Meanwhile others may have given the name to another volume.
        guard node.host != nil || !tracks.contains(where: { $0 === node.track }) else {
            throw failure("\(node.track.name) was opened, and another volume runs")
        }
    }

    /// Runs a volume that was claimed.
    func serve(_ root: Commit, _ writer: WriterClaim<Storage>, on node: Node) throws {
        guard let pool = node.machine.process?.pool else { throw failure("no process") }
        try followChain(of: node.track, .none)
        let cache = CleanCache(capacityBytes: Limits.cacheBytesMin)
        let local = try LocalVolume(volume: node.track.volume, directory: writer.directory)
        let opening = VolumeOpening(
            root: root, pending: writer.pending, adoptsJournal: writer.adoptsJournal,
            isHeadConfirmed: writer.isHeadConfirmed, epoch: writer.epoch,
            bootID: node.machine.bootID)
        let seed = try recover(opening, local, pool, on: node)
        var options = VolumeOptions()
        options.commitBytes = (64 << 10) << random.next(below: 6)
        options.commitAgeSeconds = 1 + random.next(below: 4)
        options.compaction = compactionOptions()
        let volume = Volume(seed, cache: cache, options: options, now: clock.now)
        let codecs = [Codec.raw, .raw, .raw, .raw, .lz4, .lz4, .lz4, .zstd]
        let settings = PackSettings(
            targetBytes: 1 << 18, codec: codecs[Int(random.next(below: UInt64(codecs.count)))])
        let worker = VolumeWorker(
            local: local, store: node.store, cache: cache, pool: pool, settings: settings,
            random: SharedRandom(seed: random.next()),
            pinned: pinned(node.track.name, NewestPins(store: node.store)))
        let last = volume.report().lastRecord
        let wasCopy = node.rolledBack != nil
        try takeUpCopy(node, opening, last: last)
        // An earlier try may have set the journal aside, or gone back, and died behind its fence.
        let isAtFence =
            node.claimed?.token == root.token
            && (last == root.cut || node.claimed?.generation != node.generation)
        if !writer.adoptsJournal || isAtFence {
            let rollback = node.rollback
            try startOver(
                node, from: root, adopts: writer.adoptsJournal, wasCopy: wasCopy)
            // It may be pending upon that very fence.
            if opening.pending != nil { node.rollback = rollback }
        }
        tell("host \(node.number) opened \(node.track.name) \(root.sequence), records to \(last)")
        // Records that did not survive will be written again with other content.
        for cut in node.indexByCut.keys where cut > last { node.indexByCut[cut] = nil }
        noteOpened(opening, last: last)
        let host = SimulatedHost(volume: volume, worker: worker, cache: cache)
        host.codec = settings.codec
        host.recoveredLast = last
        host.openedCut = root.cut
        host.isStoreFaulty = hasStoreFaults
        host.openedPending = opening.pending?.commit.token
        node.host = host
        node.machine.spoiled.remove(node.track.volume)
        node.isStarted = true
        node.isUnjudged = true
        let outer = self.node
        self.node = node
        defer { self.node = outer }
        try settle()
    }

    /// Eager, mostly: a run is as long as a minute of a disk.
    private func compactionOptions() -> CompactionOptions? {
        guard chance(8_000) else { return nil }
        var options = CompactionOptions()
        options.lookSeconds = 1 + random.next(below: 4)
        options.idleLookSeconds = 2 + random.next(below: 8)
        options.quietSeconds = 2 + random.next(below: 8)
        options.liveShareMin = 0.25 + 0.125 * Double(random.next(below: 6))
        options.deadBytesMin = 1 << (10 + random.next(below: 7))
        return options
    }

    private func pinned(_ name: String, _ pins: NewestPins<NodeStore>) -> PinnedCommit {
        { volume throws(FetchError) in
            guard let name = RefName(name) else { return nil }
            do throws(UserError) { return try pins.newest(of: volume, named: name) } catch {
                throw .away(key: name.description, detail: error.why)
            }
        }
    }

    /// As the daemon does it: a journal that lost what it had promised is noted as such.
    private func recover(
        _ opening: VolumeOpening, _ local: LocalVolume<Storage>, _ pool: SegmentPool<Storage>,
        on node: Node
    ) throws -> VolumeSeed<Storage> {
        let volume = node.track.volume
        do throws(VolumeOpenError) {
            let seed = try local.open(opening, pool: pool)
            if !node.hasFailedDisk { node.machine.sealed.insert(volume) }
            return seed
        } catch {
            switch error {
            case .journal(.rotted), .journalEndsEarly:
                let isSpoiled = node.machine.spoiled.contains(volume)
                let isWeak = node.machine.hasEverFailed && !node.machine.sealed.contains(volume)
                guard isSpoiled || isWeak else {
                    throw failure("a journal is damaged, and no disk failed: \(error)")
                }
                if isSpoiled { report.transitions.note(.quarantined) }
                local.recordFailure(.journalRotted("\(error)"), labelSeconds: clock.wallSeconds)
                throw UserError(
                    .failed, what: "cannot open", why: "\(error)", remedy: "open it by force")
            default: throw error
            }
        }
    }

    private func noteOpened(_ opening: VolumeOpening, last: RecordSequence) {
        if last > opening.root.cut { report.transitions.note(.replayed) }
        if opening.pending != nil { report.transitions.note(.openedPending) }
        report.transitions.note(
            opening.isHeadConfirmed ? .openedFromStore : .openedFromRoot)
    }

    /// The claim found nothing here that belongs to the head: the guest finds what the store has,
    /// and is told if that may be less than it was promised.
    private func startOver(
        _ node: Node, from root: Commit, adopts: Bool, wasCopy: Bool
    ) throws(SimulationFailure) {
        guard let claimed = node.claimed, claimed.token == root.token else {
            throw failure("host \(node.number) starts from a commit that is not its fence")
        }
        let isRollback = claimed.generation != node.generation
        // What a copy took for published was of its own branch, and the store had gone on.
        guard
            isRollback || wasCopy || claimed.index >= node.history.published
                || claimed.history.looks(like: node.history.prefix(node.history.published))
        else {
            throw failure(
                "the head holds \(claimed.index), and \(node.history.published) were published")
        }
        let isPowerLoss = adopts && node.worstDeath == .power
        let promised = isPowerLoss ? node.history.flushed : node.history.acknowledged
        if !isRollback, promised > claimed.index, root.uncleanTakeover == nil,
            !claimed.history.looks(like: node.history.prefix(promised))
        {
            throw failure("what was acknowledged is gone, and the volume does not say so")
        }
        if node.history.count > 0 { report.transitions.note(.journalSetAside) }
        begin(node, from: claimed, cuts: root.cut...root.cut)
        node.worstDeath = .kill
    }

    /// The guest's disk is what the fence says from now on.
    func begin(
        _ node: Node, from claimed: Node.Claimed, cuts: ClosedRange<RecordSequence>
    ) {
        node.history = claimed.history
        node.indexByCut = [:]
        for cut in cuts.lowerBound.rawValue...cuts.upperBound.rawValue {
            node.indexByCut[RecordSequence(cut)] = claimed.index
        }
        node.generation = claimed.generation
        node.rollback = nil
    }
}
