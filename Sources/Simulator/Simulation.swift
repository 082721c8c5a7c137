// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One volume, two hosts that both would write it, a guest on each, in one thread: the real claims,
// engine, journal, committer and recovery over disks that forget what was not synced and a store
// that fails, in an order that the seed decides.
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

    let volumeID: VolumeID
    let store: MemoryStore
    let sent = SentCommits()
    let clock = ManualClock()
    /// The host that the present step is about.
    var node: Node
    let nodes: [Node]
    var chain: Chain
    var nextCookie: UInt64 = 1
    /// The number of the guests' newest request.
    var lastRequest: UInt64 = 0
    /// The store may answer with faults.
    var hasStoreFaults = false
    /// Packs with an inverted byte, and where.
    var damaged: [(key: String, offset: Int)] = []
    /// A host stands still inside a request to the store, and others go on.
    var isStalled = false
    /// What went wrong meanwhile.
    var stalledFailure: SimulationFailure?

    public init(_ options: SimulationOptions) {
        self.options = options
        var random = SplitMix64(seed: options.seed)
        report = SimulationReport(seed: options.seed)
        volumeID = VolumeID.random(from: &random)
        let store = MemoryStore(seed: random.next())
        self.store = store
        var nodes: [Node] = []
        for number in 0..<2 {
            nodes.append(
                Node(
                    number: number, store: store, sent: sent, sectors: options.sectors,
                    random: &random))
        }
        self.nodes = nodes
        node = nodes[0]
        let first = Commit(
            volume: volumeID, sequence: CommitSequence(1), epoch: Epoch(1),
            token: Token.random(from: &random), state: .clean, isFence: true,
            size: ByteCount(UInt64(options.sectors * Limits.sectorBytes)),
            blockBytes: options.blockBytes, cut: RecordSequence(0),
            labelSeconds: clock.wallSeconds)
        chain = Chain(head: first, history: GuestHistory(sectors: options.sectors))
        self.random = random
    }

    /// Runs to the end: creates the volume, lives through the steps, heals everything, drains, and
    /// compares the disk and the store with the model one last time.
    public func run() throws(SimulationFailure) -> SimulationReport {
        try createVolume()
        try openUntilServing()
        while step < options.steps {
            step += 1
            guard !options.isSkipped(step) else { continue }
            seedStep()
            chooseNode()
            try takeStep()
            try followChain()
        }
        step += 1
        seedStep()
        try finish()
        for node in nodes { report.note(node.disk.fingerprint) }
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
        node.host.map { Int($0.volume.size.rawValue) / Limits.sectorBytes } ?? options.sectors
    }

    func failure(_ detail: String) -> SimulationFailure {
        SimulationFailure(seed: options.seed, step: step, detail: detail)
    }

    /// Tells whoever replays the seed.
    func tell(_ what: @autoclosure () -> String) {
        if let trace = options.trace { trace("step \(step): \(what())") }
    }

    func chance(_ rate: UInt64) -> Bool { random.next(below: 10_000) < rate }

    /// Mostly the host that may publish; the other one goes on as if it might.
    private func chooseNode() {
        guard nodes[1].isStarted else { return }
        let owner = chain.owner ?? 0
        node = nodes[chance(6_500) ? owner : 1 - owner]
    }

    private func takeStep() throws(SimulationFailure) {
        if try injectFault() { return }
        try live()
    }

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
        try withHost { host in
            host.volume.tick(clock.now, wallSeconds: clock.wallSeconds)
            report.note(0x71)
        }
        try settle()
    }

    /// Runs `body` on the living host; nothing if there is none.
    func withHost(_ body: (SimulatedHost) -> Void) throws(SimulationFailure) {
        if node.host == nil { try openUntilServing() }
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
        // Everything taken is appended: the last record stands for this moment of the history.
        let last = host.volume.report().lastRecord
        if !node.isUnjudged, node.indexByCut[last] == nil {
            node.indexByCut[last] = node.history.count
        }
    }

    private func performEffect() throws(SimulationFailure) {
        guard let host = node.host, !host.effects.isEmpty else { return }
        let at = Int(random.next(below: UInt64(host.effects.count)))
        let effect = host.effects.remove(at: at)
        report.actions.note(.effect)
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
        if let event = host.worker.perform(effect, labelSeconds: clock.wallSeconds) {
            host.events.append(event)
        }
        if let stalledFailure { throw stalledFailure }
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
