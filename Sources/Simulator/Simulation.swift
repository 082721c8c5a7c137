// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One volume, one host, one guest, in one thread: the real engine, journal, committer and recovery
// over a disk that forgets what was not synced and a store that fails, in an order that the seed
// decides.
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
    typealias Store = MemoryStore

    let options: SimulationOptions
    var random: SplitMix64
    var report: SimulationReport
    var step = 0

    let volumeID: VolumeID
    var disk: VolatileDisk
    let store: Store
    let clock = ManualClock()
    var bootID: BootID
    var history: GuestHistory
    /// What the guest's disk was after how many requests, by the cut a commit may carry.
    var indexByCut: [RecordSequence: UInt64] = [:]
    var host: SimulatedHost?
    var flights: [UInt64: Flight] = [:]
    var nextCookie: UInt64 = 1
    /// The worst that happened since the disk was last compared with the history.
    var worstDeath = Death.kill
    /// What the cut is that the disk is armed with.
    var armedDeath = (death: Death.kill, fault: Fault.killInCall)
    /// The store may answer with faults.
    var hasStoreFaults = false
    /// It may have done so since the volume was opened.
    var isStoreFaulty = false
    /// Packs with an inverted byte, and where.
    var damaged: [(key: String, offset: Int)] = []
    /// A call on the journal was told to fail since the last restart: the volume may refuse writes.
    var hasFailedDisk = false
    /// The volume was opened, and it is not known yet how much of the history survived.
    var isUnjudged = false
    /// The disk has next to no room.
    var isDiskFull = false

    public init(_ options: SimulationOptions) {
        self.options = options
        random = SplitMix64(seed: options.seed)
        report = SimulationReport(seed: options.seed)
        volumeID = VolumeID.random(from: &random)
        disk = VolatileDisk(seed: random.next())
        store = MemoryStore(seed: random.next())
        bootID = BootID.random(from: &random)
        history = GuestHistory(sectors: options.sectors)
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
            try takeStep()
        }
        step += 1
        seedStep()
        try finish()
        report.note(disk.fingerprint)
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
        host.map { Int($0.volume.size.rawValue) / Limits.sectorBytes } ?? options.sectors
    }

    func failure(_ detail: String) -> SimulationFailure {
        SimulationFailure(seed: options.seed, step: step, detail: detail)
    }

    /// Tells whoever replays the seed.
    func tell(_ what: @autoclosure () -> String) {
        if let trace = options.trace { trace("step \(step): \(what())") }
    }

    func chance(_ rate: UInt64) -> Bool { random.next(below: 10_000) < rate }

    private func takeStep() throws(SimulationFailure) {
        if try injectFault() { return }
        switch random.next(below: 16) {
        case 0..<6: try submitSomething()
        case 6..<8:
            report.actions.note(.endTurn)
            try endTurn()
            if disk.isOff { report.transitions.note(.diedInAppend) }
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
        if host == nil { try openUntilServing() }
        if let host { body(host) }
    }

    func endTurn() throws(SimulationFailure) {
        try withHost { $0.volume.endTurn() }
        try settle()
    }

    /// After any call into the volume: takes its completions and effects.
    func settle() throws(SimulationFailure) {
        guard let host else { return }
        history.grow(to: max(history.sectors, deviceSectors))
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
        if !isUnjudged, indexByCut[last] == nil { indexByCut[last] = history.count }
    }

    private func performEffect() throws(SimulationFailure) {
        guard let host, !host.effects.isEmpty else { return }
        let at = Int(random.next(below: UInt64(host.effects.count)))
        let effect = host.effects.remove(at: at)
        report.actions.note(.effect)
        report.note(UInt64(at) << 8 | 0xE0)
        tell("effect \(effect.summary)")
        carryOut(effect, on: host)
    }

    /// What a worker does; the process may die in it.
    func carryOut(_ effect: VolumeEffect<VolatileDirectory>, on host: SimulatedHost) {
        report.note(effect.number)
        if case .commit = effect { report.transitions.note(.cut) }
        if let event = host.worker.perform(effect, labelSeconds: clock.wallSeconds) {
            host.events.append(event)
        }
        if disk.isOff, let place = effect.deathPlace { report.transitions.note(place) }
    }

    private func deliverEvent() throws(SimulationFailure) {
        guard let host, !host.events.isEmpty else { return }
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
        host.volume.handle(event)
        try settle()
        guard host.volume.root.commit.sequence != before else { return }
        report.commits += 1
        if host.openedPending == host.volume.root.commit.token {
            report.transitions.note(.publishedPending)
        }
        if !isUnjudged { try notePublished(host.volume.root) }
    }
}

/// A process: the volume, its worker, and what is under way between them.
final class SimulatedHost {
    var volume: Volume<VolatileDirectory>
    let worker: VolumeWorker<VolatileDirectory, MemoryStore>
    var effects: [VolumeEffect<VolatileDirectory>] = []
    var events: [VolumeEvent<VolatileDirectory>] = []
    /// Payloads lent to the volume until its turn ends.
    var lent: [UnsafeMutableRawBufferPointer] = []
    var controls: [ControlRequest: UInt64] = [:]
    var nextControl: UInt64 = 1
    var isClosing = false
    /// The last record that was found at the start.
    var recoveredLast = RecordSequence(0)
    /// Of the commit that was found without an answer at the start.
    var openedPending: Token?

    init(
        volume: consuming Volume<VolatileDirectory>,
        worker: VolumeWorker<VolatileDirectory, MemoryStore>
    ) {
        self.volume = volume
        self.worker = worker
    }

    deinit { returnPayloads() }

    func returnPayloads() {
        for payload in lent { payload.deallocate() }
        lent.removeAll()
    }
}
