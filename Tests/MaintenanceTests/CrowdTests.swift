// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A crowd from one seed: two nodes that create, write, fork, snapshot, tag, roll back, detach,
// purge and die, two collectors that die too, each acting in front of any request of the others.
// Whatever was promised to somebody is whole at every moment of rest; when all have recovered, the
// store holds what is named and little more.

import Committer
import ControlPlane
import Documents
import Formats
import Foundation
import HostIO
import ObjectStore
import Primitives
import Testing

@testable import Maintenance

/// A collector that is driven step by step.
protocol Stepping {
    mutating func step() throws(UserError) -> Bool
    var deletedCount: Int { get }
}

extension Collector: Stepping {
    var deletedCount: Int { report.deleted.packs + report.deleted.commits }
}

/// A collector with one fault: it deletes by roots that it read before it published the set.
struct EagerCollector: Stepping {
    private let refs: RefStore<ActorStore>
    private var survey: Survey<ActorStore>?
    private(set) var deletedCount = 0

    init(store: ActorStore) { refs = RefStore(store: store, what: "cannot collect eagerly") }

    mutating func step() throws(UserError) -> Bool {
        if survey == nil {
            survey = Survey(
                refs: refs, retention: Retention(), nowSeconds: 0, condemnedBefore: [])
        }
        guard try survey?.step() == true, let keys = survey?.unreachable else { return false }
        guard !keys.isEmpty else { return true }
        let run = try refs.newestNumber(.collection) + 1
        _ = try refs.append(
            CondemnedSet(
                run: run, groups: [CondemnedSet.Group(labelSeconds: run, keys: keys)]))
        for key in keys.keys { try refs.delete([key]) }
        deletedCount = keys.count
        return true
    }
}

/// Confined to its test's thread, on which everybody acts.
final class Crowd {
    private static let depthMax = 3
    private static let names = ["a", "b", "c"]

    let world: World
    private var random: SplitMix64
    private var nodes: [Node] = []
    private var collectors: [(any Stepping)?] = [nil, nil]
    private let collectorStores: [ActorStore]
    private var busy: Set<Int> = []
    private var depth = 0
    /// Chance in thousand that somebody acts in front of a request.
    private let interruptions: UInt64
    private let faults: Bool
    private var nextSeed: UInt64 = 1
    /// Unexpected failures.
    private(set) var complaints: [String] = []
    private(set) var deleted = 0
    private(set) var runs = 0
    /// True: the collectors are wrong ones.
    private let isPlanted: Bool

    init(seed: UInt64, interruptions: UInt64 = 60, faults: Bool = true, isPlanted: Bool = false)
        throws
    {
        world = World(seed: seed)
        random = SplitMix64(seed: seed)
        self.interruptions = interruptions
        self.faults = faults
        self.isPlanted = isPlanted
        collectorStores = [ActorStore(world.store), ActorStore(world.store)]
        for name in ["n", "m"] { nodes.append(try Node(name, world, seed: seed)) }
        let stores = nodes.map(\.store) + collectorStores
        for (actor, store) in stores.enumerated() {
            // The closure runs on the test's thread only.
            nonisolated(unsafe) unowned let crowd = self
            store.interrupt { _, _ in crowd.request(by: actor) }
        }
    }

    private func chance(_ perMille: UInt64) -> Bool { random.next(below: 1000) < perMille }
    private func pick<Element>(_ elements: [Element]) -> Element? {
        elements.isEmpty ? nil : elements[Int(random.next(below: UInt64(elements.count)))]
    }

    /// True: the one who asks dies here.
    private func request(by actor: Int) -> Bool {
        if depth < Self.depthMax, chance(interruptions) { act() }
        return faults && chance(4)
    }

    // MARK: Acting

    func act() {
        let actor = Int(random.next(below: 4))
        guard busy.insert(actor).inserted else { return }
        depth += 1
        defer {
            depth -= 1
            busy.remove(actor)
        }
        if actor < 2 { use(nodes[actor]) } else { collect(actor - 2) }
    }

    private func collect(_ index: Int) {
        var collector = collectors[index] ?? newCollector(collectorStores[index])
        // A few steps at a time: the rest of the world goes on in between.
        for _ in 0...random.next(below: 12) {
            do {
                guard try collector.step() else { continue }
                runs += 1
                deleted += collector.deletedCount
                collectors[index] = nil
                return
            } catch {
                collectors[index] = nil
                collectorStores[index].die(afterMutations: nil)
                let text = "\(error)"
                if !text.contains("dead") && !text.contains("injected")
                    && !text.contains("reader ")
                {
                    complaints.append("collector: \(text)")
                }
                return
            }
        }
        // Some are never heard of again.
        collectors[index] = chance(30) ? nil : collector
    }

    private func newCollector(_ store: ActorStore) -> any Stepping {
        if isPlanted { return EagerCollector(store: store) }
        return world.collector(
            deletesMax: chance(300) ? 3 : .max, retention: retention, through: store)
    }

    private var retention: Retention { (try? Retention(parsing: "5m:1d")) ?? Retention() }

    private func use(_ node: Node) {
        if faults, chance(100) {
            world.store.inject(
                StoreFault(
                    chance(500) ? .replyLost : .late(afterRequests: Int(random.next(below: 200))),
                    operation: .put,
                    keyPrefix: pick([
                        "volumes/", "packs/", "gc/", "gc-runs/", "refs/readers/", "refs/tags/",
                        "refs/exports/",
                    ]) ?? ""))
        }
        world.clock.advance(seconds: random.next(below: 200))
        do {
            try operate(node)
        } catch let error as UserError {
            if error.kind == .failed { complaints.append("node \(node.name): \(error)") }
        } catch { complaints.append("node \(node.name): \(error)") }
        if node.store.isDead || chance(10) {
            do { try node.restart() } catch { complaints.append("restart: \(error)") }
        }
    }

    private func operate(_ node: Node) throws {
        let name = pick(Self.names) ?? "a"
        let plane = node.plane
        switch random.next(below: 21) {
        case 0...1:
            try node.make(name)
        case 2...7:
            let seeds = (0...random.next(below: 12)).map { _ in
                nextSeed += 1
                return nextSeed
            }
            try node.write(name, seeds, at: random.next(below: 48))
        case 8...9: _ = try plane.snapshot(name, tag: chance(300) ? "t" : nil)
        case 10: _ = try plane.tag(name, tag: "u")
        case 11...12:
            guard let snapshot = pick(try plane.snapshots(name)) else { return }
            try plane.deleteSnapshot(name, sequence: snapshot.sequence.rawValue)
        case 13:
            guard let snapshot = pick(try plane.snapshots(name)) else { return }
            _ = try plane.rollback(name, toSequence: snapshot.sequence.rawValue)
        case 14...15:
            let other = pick(Self.names) ?? "b"
            var source = pick(["export:\(other)", "tag:t", "tag:u"]) ?? "tag:t"
            if chance(500), let snapshot = pick(try plane.snapshots(other)) {
                source = "snapshot:\(other)@\(snapshot.sequence)"
            }
            _ = try plane.put(name, PutRequest(source: try ForkSource(from: source)))
        case 16: try plane.delete(name, purge: chance(400))
        case 17: _ = try plane.open(name, force: chance(700))
        case 18: _ = try plane.compact(name)
        default: try look(node, name)
        }
    }

    /// Attaches an old commit, reads all of it while others go on, and lets it go.
    private func look(_ node: Node, _ name: String) throws {
        guard let snapshot = pick(try node.plane.snapshots(name)) else { return }
        let served = try node.plane.attach("\(name)@\(snapshot.sequence)").served
        guard let commit = node.host.root(of: served) else { return }
        for _ in 0..<3 where depth < Self.depthMax { act() }
        if !world.isWhole(commit) {
            complaints.append("a pinned commit cannot be read: \(commit.key)")
        }
        node.plane.release(served)
    }

    // MARK: The end

    /// Everybody recovers: faults end, the dead are back, what is late has come or never will.
    func heal() throws {
        world.store.heal()
        for store in collectorStores { store.die(afterMutations: nil) }
        for store in nodes.map(\.store) + collectorStores { store.interrupt(nil) }
        world.store.landLate()
        collectors = [nil, nil]
        // Twice: a rollback that was pending keeps its pin through the first start.
        for _ in 0..<2 {
            for node in nodes {
                try node.restart()
                for name in node.plane.exportsOpenHere() { _ = try? node.plane.drain(name) }
            }
        }
    }

    /// Ends exports whose creation nobody finished and readers that nobody removes.
    func abandonAll(_ report: CollectionReport) throws {
        for id in report.readers.map(\.id.description) + report.creating.map(\.volume.description) {
            _ = try TestCollector.abandon(
                id, in: ActorStore(world.store), clock: world.clock, random: &random)
        }
    }
}

@Suite("Collector in a crowd")
struct CrowdTests {
    private static let actions = 400

    /// Seeds beyond the usual ones: MARTLET_CROWD_SEEDS=FIRST:COUNT.
    private static let seeds: Range<UInt64> = {
        let text = ProcessInfo.processInfo.environment["MARTLET_CROWD_SEEDS"] ?? "0:6"
        let parts = text.split(separator: ":").compactMap { UInt64($0) }
        return parts.count == 2 ? parts[0]..<parts[0] + parts[1] : 0..<6
    }()

    @Test("nothing that is named is ever deleted, and what is not named goes", arguments: seeds)
    func crowd(seed: UInt64) throws {
        let crowd = try Crowd(seed: seed)
        for action in 0..<Self.actions {
            crowd.act()
            if action.isMultiple(of: 40) { try crowd.world.expectWhole("seed \(seed)") }
        }
        #expect(crowd.runs > 3 && crowd.deleted > 3, "nothing happened with seed \(seed)")
        try crowd.heal()
        try crowd.world.expectWhole("healed, seed \(seed)")
        #expect(crowd.complaints == [], "seed \(seed)")
        var survey = crowd.world.collector(isDryRun: true)
        try crowd.abandonAll(survey.run())
        try crowd.world.collectAll()
        try crowd.world.expectWhole("collected, seed \(seed)")
        let account = try crowd.world.account()
        #expect(account.garbage == [], "seed \(seed)")
        #expect(account.stored - account.kept <= account.needed * 11 / 10, "seed \(seed)")
    }

    @Test("a collector that reads the roots before it publishes the set is found out")
    func planted() throws {
        for seed in UInt64(0)..<50 {
            let crowd = try Crowd(seed: seed, faults: false, isPlanted: true)
            for _ in 0..<Self.actions { crowd.act() }
            let isBroken = try crowd.world.named().contains { _, commit in
                commit.map(crowd.world.isWhole) != true
            }
            if isBroken || !crowd.complaints.isEmpty { return }
        }
        Issue.record("nobody noticed")
    }
}
