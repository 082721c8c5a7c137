// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Volumes with names, two hosts that both would write them, a guest on each, and collectors, in one
// thread: the real control plane, engine, journal, committer, recovery and collector over disks
// that forget what was not synced and a store that fails, in an order that the seed decides.
//
// A step is one of: a guest request, the end of a shard's turn, one effect carried out, one event
// delivered, time, or a fault. The process can die between any two of them and inside any effect.

import BlockDevice
import CleanCache
import Committer
import Formats
import HostIO
import Journal
import ObjectStore
import Primitives
import VolumeEngine
import VolumeMap

/// A run. Use once.
public final class Simulation {
    typealias Storage = VolatileDirectory

    let options: SimulationOptions
    var random: SplitMix64
    var report: SimulationReport
    var step = 0

    let store: MemoryStore
    let sent = SentCommits()
    let clock = ManualClock()
    let machines: [Machine]
    /// All volumes that somebody may still open, the first one first.
    var tracks: [Track]
    /// Those that lost their names: in this step, and before.
    var leaving: [Track] = []
    var retired: [Track] = []
    /// The volume and host that the present step is about.
    var node: Node
    /// What each commit that landed holds.
    var contents: [Token: Content]
    var names = NameBook()
    /// Commits that landed, and were collected before anybody looked at them here.
    var buried: [String: [UInt8]] = [:]
    var nextCookie: UInt64 = 1
    /// The number of the guests' newest request.
    var lastRequest: UInt64 = 0
    /// The store may answer with faults.
    var hasStoreFaults = false
    /// Packs with an inverted byte, and where.
    var damaged: [(key: String, offset: Int)] = []
    /// A host stands still inside a request to the store, and others go on.
    var isStalled = false
    /// A disk is being read for its judgement: nobody else acts.
    var isJudging = false
    var collectors: [CollectorSlot]
    /// Calls of the control plane and steps of collectors that are on the stack.
    var depth = 0
    /// The host whose control plane was asked last.
    var asking = 0
    /// How often somebody acted inside of another's call.
    var interludes = 0
    /// What went wrong inside of a call from the product.
    var nestedFailure: SimulationFailure?

    public init(_ options: SimulationOptions) {
        self.options = options
        var random = SplitMix64(seed: options.seed)
        report = SimulationReport(seed: options.seed)
        let volume = VolumeID.random(from: &random)
        let store = MemoryStore(seed: random.next())
        self.store = store
        var machines: [Machine] = []
        for number in 0..<2 {
            machines.append(
                Machine(
                    number: number, store: NodeStore(base: store, node: number, sent: sent),
                    random: &random))
        }
        self.machines = machines
        let first = Commit(
            volume: volume, sequence: CommitSequence(1), epoch: Epoch(1),
            token: Token.random(from: &random), state: .clean, isFence: true,
            size: ByteCount(UInt64(options.sectors * Limits.sectorBytes)),
            blockBytes: options.blockBytes, cut: RecordSequence(0),
            labelSeconds: clock.wallSeconds)
        let content = Content(index: 0, history: GuestHistory(sectors: options.sectors))
        contents = [first.token: content]
        let track = Track(
            name: Self.firstName, first: first, content: content, machines: machines)
        tracks = [track]
        node = track.nodes[0]
        let sent = sent
        collectors = (0..<2).map {
            CollectorSlot(store: NodeStore(base: store, node: 2 + $0, sent: sent))
        }
        self.random = random
        for gate in machines.map(\.store.gate) + collectors.map(\.store.gate) {
            gate.interlude = { [unowned self] in interlude() }
        }
        for machine in machines {
            machine.store.gate.onCommit = { [unowned self] in judgeSending($0, $1) }
        }
        for slot in collectors {
            slot.store.gate.onDelete = { [unowned self] in judgeDeletion($0) }
            if options.isBlind { slot.store.gate.hides = { $0.hasPrefix("refs/snapshots/") } }
        }
    }

    /// Runs to the end: creates the volume, lives through the steps, heals everything, drains, and
    /// compares the disk and the store with the model one last time.
    public func run() throws(SimulationFailure) -> SimulationReport {
        try createVolume()
        node.isStarted = true
        try bringUp(node.machine)
        while step < options.steps {
            step += 1
            guard !options.isSkipped(step) else { continue }
            seedStep()
            if chooseNode() { try takeStep() } else { try operate(on: machines[0]) }
            if let nestedFailure { throw nestedFailure }
            try learnNames()
            try sweep()
            try followChains()
        }
        step += 1
        seedStep()
        try finish()
        for machine in machines { report.note(machine.disk.fingerprint) }
        report.note(store.fingerprint)
        return report
    }

    /// Every step has a stream of chance of its own: what is left of a run that is shrunk does what
    /// it did.
    private func seedStep() {
        random = SplitMix64(
            seed: options.seed &* 0x9E37_79B9_7F4A_7C15 ^ UInt64(step) &* 0xD1B5_4A32_D192_ED03)
    }

    /// Sectors of the device as it is now; a grow that was not durable is lost with the power.
    var deviceSectors: Int {
        node.host.map { Int($0.volume.size.rawValue) / Limits.sectorBytes } ?? node.track.sectors
    }

    func failure(_ detail: String) -> SimulationFailure {
        SimulationFailure(seed: options.seed, step: step, detail: detail)
    }

    /// Tells whoever replays the seed.
    func tell(_ what: @autoclosure () -> String) {
        if let trace = options.trace { trace("step \(step): \(what())") }
    }

    func chance(_ rate: UInt64) -> Bool { random.next(below: 10_000) < rate }

    /// Mostly the first volume, and the host that may publish; the other one goes on as if it
    /// might. False if nothing runs.
    func chooseNode() -> Bool {
        let running = tracks.filter { track in
            track.nodes.contains { $0.isStarted && !$0.machine.isBusy }
        }
        guard let first = running.first else { return false }
        var track = first
        if running.count > 1, chance(4_000) {
            track = running[Int(random.next(below: UInt64(running.count)))]
        }
        let started = track.nodes.filter { $0.isStarted && !$0.machine.isBusy }
        node = started[0]
        guard started.count > 1 else { return true }
        let owner = track.chain.owner ?? 0
        node = started[chance(6_500) ? owner : 1 - owner]
        return true
    }

    private func takeStep() throws(SimulationFailure) {
        if try injectFault() { return }
        let drawn = random.next(below: 10_000)
        if drawn < Self.operationRate { return try operate(on: node.machine) }
        if drawn < Self.operationRate + Self.collectionRate {
            return try collect(Int(random.next(below: UInt64(collectors.count))))
        }
        try live()
    }

    /// Chances of a call of the control plane, and of a few steps of a collector, in 10,000 steps.
    private static let operationRate: UInt64 = 250
    private static let collectionRate: UInt64 = 150

    /// Something that is no fault.
    func live() throws(SimulationFailure) {
        switch random.next(below: 16) {
        case 0..<6: try submitSomething()
        case 6..<8:
            report.actions.note(.endTurn)
            try endTurn()
            if node.disk.isOff { report.transitions.note(.diedInAppend) }
        case 8..<11: try performEffect()
        case 11..<14: try deliverEvent()
        case 14: try tick()
        default: if chance(4_000) { try askControl() } else { try endTurn() }
        }
        try restartIfDead()
    }

    private func tick() throws(SimulationFailure) {
        report.actions.note(.tick)
        clock.advance(nanoseconds: random.next(below: 400_000_000))
        let evicts = chance(1_000)
        try withHost { host in
            passTime(host)
            report.note(0x71)
            // The oracle reads whole disks: commits would find every base at hand.
            if evicts { evict(host) }
        }
        try settle()
    }

    func evict(_ host: SimulatedHost) {
        host.cache.forgetAll()
        report.actions.note(.evict)
    }

    /// Tells a volume the time; it forgets what of the store was damaged.
    func passTime(_ host: SimulatedHost) {
        host.volume.tick(clock.now, wallSeconds: node.machine.clock(clock).wallSeconds)
        if !hasStoreFaults, !host.events.contains(where: \.isFailedFetch) {
            host.isStoreFaulty = false
        }
    }

    /// Runs `body` on the living host; nothing if there is none.
    func withHost(_ body: (SimulatedHost) -> Void) throws(SimulationFailure) {
        if let host = node.host { body(host) }
    }

    func endTurn() throws(SimulationFailure) {
        try withHost { $0.volume.endTurn() }
        try settle()
    }

    /// After any call into the volume: takes its completions and effects.
    func settle() throws(SimulationFailure) {
        guard let host = node.host else { return }
        node.history.grow(to: max(node.history.sectors, deviceSectors))
        // Who is told may ask again at once: a cut that was just made stands for what was before.
        noteMoment(host)
        while let completion = host.volume.nextCompletion() { try complete(completion) }
        while let effect = host.volume.nextEffect() {
            if case .answer(let request, let answer) = effect {
                try answered(request, answer)
            } else {
                host.effects.append(effect)
            }
        }
        guard !host.volume.hasStaged else { return }
        host.returnPayloads()
        noteMoment(host)
    }

    /// If everything taken is appended, the last record stands for this moment of the history.
    private func noteMoment(_ host: SimulatedHost) {
        guard !host.volume.hasStaged, !node.isUnjudged else { return }
        let last = host.volume.report().lastRecord
        if node.indexByCut[last] == nil { node.indexByCut[last] = node.history.count }
    }

    private func performEffect() throws(SimulationFailure) {
        guard let host = node.host, !host.effects.isEmpty else { return }
        let at = Int(random.next(below: UInt64(host.effects.count)))
        let effect = host.effects.remove(at: at)
        report.actions.note(.effect)
        if effect.isCommit, chance(1_500) {
            evict(host)
            if chance(3_000), !options.without.contains(.readsAway) {
                injectStoreFault(.readsAway)
            }
        }
        report.note(UInt64(at) << 8 | 0xE0)
        tell("effect \(effect.summary)")
        try carryOut(effect, on: host)
    }

    /// What a worker does; the process may die in it.
    func carryOut(
        _ effect: VolumeEffect<VolatileDirectory>, on host: SimulatedHost
    ) throws(SimulationFailure) {
        report.note(effect.number)
        if case .commit = effect { report.transitions.note(.cut) }
        let failures = node.disk.failuresLeft
        let event = host.worker.perform(
            effect, labelSeconds: node.machine.clock(clock).wallSeconds)
        if let nestedFailure { throw nestedFailure }
        if case .synced(_, nil) = event, node.disk.failuresLeft < failures {
            throw failure("a sync failed, and the flushes that wait for it are answered")
        }
        // Of a root that was overtaken since, and collected: no grace period protected it.
        if case .fetch(let order) = effect, event?.isFailedFetch ?? false, names.deletions > 0,
            order.root.commit.sequence < node.track.chain.head.sequence
        {
            host.isStoreFaulty = true
        }
        if let event { host.events.append(event) }
        if node.disk.isOff, let place = effect.deathPlace { report.transitions.note(place) }
    }

    private func deliverEvent() throws(SimulationFailure) {
        guard let host = node.host, !host.events.isEmpty else { return }
        let at = Int(random.next(below: UInt64(host.events.count)))
        let event = host.events.remove(at: at)
        report.actions.note(.event)
        report.note(UInt64(at) << 8 | 0xE1)
        tell("event \(event.summary)")
        try deliver(event, to: host)
    }

    func deliver(
        _ event: VolumeEvent<VolatileDirectory>, to host: SimulatedHost
    ) throws(SimulationFailure) {
        report.note(event.number)
        if let transition = event.transition { report.transitions.note(transition) }
        let before = host.volume.root.commit.sequence
        var isFenced = false
        if case .commitEnded(_, .fenced) = event { isFenced = true }
        host.volume.handle(event)
        if isFenced { try judgeFenced(host) }
        try settle()
        guard host.volume.root.commit.sequence != before else { return }
        if host.openedPending == host.volume.root.commit.token {
            report.transitions.note(.publishedPending)
        }
    }
}
