// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The collectors: they act between any two requests of others, others act between any two of
// theirs, they die, meet, and have wrong clocks. What they delete is judged at the moment of each
// DELETE by what the world knows is needed; at the end, what is needed is all there is.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import Maintenance
import ObjectStore
import Primitives

/// One collector, and its way to the store. Confined to its simulation.
final class CollectorSlot {
    typealias Run = Collector<NodeStore, SkewedClock>

    let store: NodeStore
    let skew = ClockSkew()
    var run: Run?
    var isBusy = false
    /// The store may have answered with faults since the run began.
    var isFaulty = false

    init(store: NodeStore) { self.store = store }
}

extension Simulation {
    // MARK: In front of each other

    /// Called before every request of anybody: now and then others go on first.
    func interlude() {
        guard depth > 0, depth < 3, nestedFailure == nil, !isStalled, !isJudging, chance(600)
        else { return }
        interludes += 1
        depth += 1
        let outer = node
        defer {
            depth -= 1
            node = outer
        }
        do throws(SimulationFailure) {
            switch random.next(below: 6) {
            case 0..<2:
                // Now and then so many runs that what nobody holds is gone behind them.
                for _ in 0...(chance(2_000) ? random.next(below: 8) : 0) {
                    try collect(Int(random.next(below: UInt64(collectors.count))))
                }
            case 2:
                if let machine = machines.first(where: { !$0.isBusy }) {
                    try operate(on: machine)
                }
            default: try liveBetween()
            }
        } catch { nestedFailure = error }
    }

    private func liveBetween() throws(SimulationFailure) {
        guard chooseNode() else { return }
        let machine = node.machine
        machine.isBusy = true
        defer { machine.isBusy = false }
        for _ in 0...Int(random.next(below: 6)) where node.host != nil && node.isStarted {
            try live()
        }
    }

    // MARK: Steps

    func collect(_ index: Int) throws(SimulationFailure) {
        let slot = collectors[index]
        guard !slot.isBusy else { return }
        slot.isBusy = true
        depth += 1
        defer {
            depth -= 1
            slot.isBusy = false
            slot.store.gate.isDead = false
            slot.store.gate.body = nil
        }
        var run = slot.run ?? newRun(slot)
        slot.run = nil
        if chance(300), !options.without.contains(.collectorDies) {
            slot.store.gate.requestsLeft = 1 + Int(random.next(below: 8))
            slot.store.gate.body = { slot.store.gate.isDead = true }
        }
        for _ in 0...random.next(below: 12) {
            var isOver = false
            do throws(UserError) { isOver = try run.step() } catch {
                if let nestedFailure { throw nestedFailure }
                tell("collector \(index) stops: \(error)")
                if slot.store.gate.isDead { return report.faults.note(.collectorDies) }
                return try judge(error, slot)
            }
            if let nestedFailure { throw nestedFailure }
            if isOver { return note(run.report) }
        }
        slot.run = run
    }

    private func newRun(_ slot: CollectorSlot) -> CollectorSlot.Run {
        slot.isFaulty = hasStoreFaults
        slot.skew.seconds = 0
        if chance(1_000), !options.without.contains(.clockJump) {
            report.faults.note(.clockJump)
            slot.skew.seconds = chance(5_000) ? 315_360_000 : -315_360_000
        }
        var options = CollectorOptions(
            node: "collector", gracePeriodSeconds: chance(8_000) ? 0 : 20,
            deletesMax: chance(2_000) ? 3 : .max, isDryRun: chance(1_000))
        if chance(3_000), let rules = try? Retention(parsing: "1m:1h,10m:1d") {
            options.retention = rules
        }
        report.actions.note(options.isDryRun ? .collectDry : .collect)
        if chance(1_000) { abandonSomething(slot) }
        return CollectorSlot.Run(
            store: slot.store, clock: SkewedClock(base: clock, skew: slot.skew), options: options)
    }

    private func note(_ outcome: CollectionReport) {
        tell("collection \(outcome.run): \(outcome.outcome.rawValue)")
        report.note(outcome.run << 8 | 0x6C)
        if outcome.outcome == .overtaken { report.transitions.note(.collectionOvertaken) }
        if outcome.isResumed { report.transitions.note(.collectionResumed) }
        guard outcome.outcome == .done else { return }
        if outcome.condemned.packs > 0 { report.transitions.note(.condemned) }
        if outcome.deleted.packs > 0 { report.transitions.note(.packsDeleted) }
        if outcome.deleted.commits > 0 { report.transitions.note(.commitsDeleted) }
    }

    /// It stops at what it cannot read or understand: then something must have been done to that.
    private func judge(_ error: UserError, _ slot: CollectorSlot) throws(SimulationFailure) {
        guard error.kind == .failed, !slot.isFaulty, !hasStoreFaults else { return }
        // A ref whose pin was refused, and whose host had no way to undo it.
        guard try !hasStrayRefs() else { return }
        throw failure("a collector stops at a store where nothing is wrong: \(error)")
    }

    /// Names that nobody was promised.
    private func hasStrayRefs() throws(SimulationFailure) -> Bool {
        guard straySnapshots().isEmpty else { return true }
        guard try strayTags().isEmpty else { return true }
        return Self.exportNames.contains { names.unfinished[$0] != nil }
    }

    private func straySnapshots() -> [String] {
        let promised = Set(
            names.snapshots.compactMap { snapshot in
                RefName(snapshot.name).map { RefKey.snapshot($0, snapshot.commit.sequence).text }
            })
        return store.keys(prefix: RefKey.snapshotsPrefix).filter { !promised.contains($0) }
    }

    /// Tags whose newest number came without an answer.
    private func strayTags() throws(SimulationFailure) -> [String] {
        var found: [String] = []
        for tag in Self.tagNames {
            guard let (_, ref) = try newest("refs/tags/\(tag)/", as: TagRef.self) else { continue }
            if ref.number != names.tags[tag]?.number { found.append(tag) }
        }
        return found
    }

    /// An operator gives up an export whose creation nobody finished.
    private func abandonSomething(_ slot: CollectorSlot) {
        for name in Self.exportNames {
            guard let ref = try? newestExport(name), ref.state == .creating else { continue }
            var random = SplitMix64(seed: self.random.next())
            tell("abandons \(name)")
            report.actions.note(.abandon)
            names.unfinished[name] = nil
            _ = try? CollectorSlot.Run.abandon(
                ref.volume.description, in: slot.store,
                clock: SkewedClock(base: clock, skew: slot.skew), random: &random)
            return
        }
    }

    // MARK: What may go

    /// Called before a collector deletes.
    func judgeDeletion(_ keys: [String]) {
        let doomed = keys.filter { $0.hasPrefix("packs/") || $0.hasPrefix("volumes/") }
        guard !doomed.isEmpty, nestedFailure == nil else { return }
        do throws(SimulationFailure) {
            try wantDoomed(doomed)
            let needed = try needs()
            for key in doomed {
                if let holder = needed[key] {
                    throw failure("\(key) is deleted, and \(holder) needs it")
                }
            }
        } catch { nestedFailure = error }
        names.deletions += doomed.count
        // Of two collectors the later one deletes what is gone already.
        for key in doomed where key.hasPrefix("volumes/") {
            if let bytes = store.object(key) { buried[key] = bytes }
        }
    }

    /// Now and then somebody asks by its number for what is about to be deleted.
    private func wantDoomed(_ keys: [String]) throws(SimulationFailure) {
        guard depth < 3, !isStalled, !isJudging, chance(1_500),
            let key = draw(keys.compactMap { try? CommitKey(key: $0) }),
            let track = tracks.first(where: { $0.volume == key.volume }),
            let machine = machines.first(where: { !$0.isBusy })
        else { return }
        let outer = node
        interludes += 1
        depth += 1
        defer {
            depth -= 1
            node = outer
        }
        try operate(on: machine) { process in
            try fork(track, at: key.sequence, process.plane, machine)
        }
    }

    /// Who needs what of the store now. Found out anew when a promise or the store has changed;
    /// what a collector deletes changes nothing of it, or is a failure.
    private func needs() throws(SimulationFailure) -> [String: String] {
        let moment = NameBook.Moment(promises: names.changes, creations: store.creations)
        if let known = names.needed, known.moment == moment { return known.holders }
        var holders: [String: String] = [:]
        for (holder, commit) in try roots() {
            for key in try examine(commit, holder) { holders[key] = holder }
        }
        names.needed = (moment, holders)
        return holders
    }

    // MARK: The end

    /// Everybody has recovered: nothing that is needed goes, and everything else does.
    func collectAll() throws(SimulationFailure) {
        // Twice: a rollback that was pending keeps its pin through the first start.
        for _ in 0..<2 {
            for machine in machines {
                machine.disk.kill()
                _ = machine.disk.reboot()
                endProcess(of: machine)
                do { try startProcess(of: machine) } catch {
                    throw failure("host \(machine.number) does not start at the end: \(error)")
                }
            }
        }
        let slot = collectors[0]
        slot.skew.seconds = 0
        try giveUpStrays(slot)
        var isAtRest = false
        for _ in 0..<10 where !isAtRest {
            var run = CollectorSlot.Run(
                store: slot.store, clock: SkewedClock(base: clock, skew: slot.skew),
                options: CollectorOptions(node: "last", gracePeriodSeconds: 0))
            do throws(UserError) { isAtRest = try run.run().outcome == .nothing } catch {
                if let nestedFailure { throw nestedFailure }
                throw failure("the last collection fails: \(error)")
            }
            if let nestedFailure { throw nestedFailure }
        }
        guard isAtRest else { throw failure("the collector does not come to rest") }
        try checkNames()
        try account()
    }

    /// What nobody was promised, nobody misses.
    private func giveUpStrays(_ slot: CollectorSlot) throws(SimulationFailure) {
        for name in Self.exportNames {
            if try newestExport(name)?.state == .creating { abandonSomething(slot) }
        }
        var strays = straySnapshots() + store.keys(prefix: RefKey.readersPrefix)
        for tag in try strayTags() {
            strays += store.keys(prefix: "refs/tags/\(tag)/")
            names.tags[tag] = nil
        }
        for key in strays {
            do throws(ObjectStoreError) { try store.delete([key]) } catch {
                throw failure("\(key) cannot be deleted: \(error)")
            }
        }
    }

    /// The bytes of packs and commits are those that are needed, but for heads and fences, and for
    /// packs that are newer than their volume's head.
    private func account() throws(SimulationFailure) {
        var needed: Set<String> = []
        for (holder, commit) in try roots() { needed.formUnion(try examine(commit, holder)) }
        var (wanted, spare) = (0, 0)
        var example = ""
        for key in store.keys(prefix: "packs/") + store.keys(prefix: "volumes/") {
            let bytes = store.byteCount(of: key) ?? 0
            if needed.contains(key) {
                wanted += bytes
            } else if try !isKept(key) {
                spare += bytes
                example = key
            }
        }
        tell("\(wanted) bytes are needed, \(spare) are there for nothing")
        guard spare <= wanted / 10 else {
            throw failure(
                "\(spare) bytes are left that nothing needs, as \(example), beside \(wanted)")
        }
    }

    func isKept(_ key: String) throws(SimulationFailure) -> Bool {
        let volume: VolumeID
        var pack: PackID?
        var place: CommitKey?
        do throws(FormatError) {
            if key.hasPrefix("packs/") {
                pack = try PackID(key: key)
            } else {
                place = try CommitKey(key: key)
            }
        } catch { throw failure("\(key) is no key: \(error)") }
        volume = pack?.volume ?? place?.volume ?? .zero
        guard let newest = store.keys(prefix: CommitKey.prefix(of: volume)).first,
            let bytes = store.object(newest)
        else { return true }
        let head = try decode(bytes, newest)
        if let pack { return (pack.epoch, pack.sequence) > (head.epoch, head.sequence) }
        guard let place else { return false }
        if place.sequence == head.sequence { return true }
        if try isFence(place) { return true }
        return try isFence(CommitKey(volume: volume, sequence: place.sequence.next))
    }

    private func isFence(_ place: CommitKey) throws(SimulationFailure) -> Bool {
        guard let bytes = store.object(place.key) else { return false }
        return try decode(bytes, place.key).isFence
    }
}
