// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Collectors that die, meet and sleep, and pins that outlive what made them: each case once, by
// hand. Tests/MaintenanceTests/CrowdTests.swift looks for those that nobody thought of.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import Maintenance
import ObjectStore
import Primitives
import Synchronization
import Testing

@Suite("Collectors and pins that meet")
struct RaceTests {
    /// A store with garbage, condemned by one run if `isCondemned`.
    private func littered(isCondemned: Bool = true) throws -> (world: World, node: Node) {
        let world = World()
        let node = try Node("a", world)
        try node.make("prod", writes: [1, 2])
        _ = try node.plane.snapshot("prod", tag: "t")
        for seed in 3..<6 { try node.write("prod", [UInt64(seed)]) }
        if isCondemned {
            var first = world.collector()
            _ = try first.run()
        }
        return (world, node)
    }

    private func expectClean(_ world: World, _ comment: String = "") throws {
        try world.collectAll()
        try world.expectWhole(comment)
        #expect(try world.account().garbage == [], "\(comment)")
    }

    /// Collects, and goes on until no set that is kept lists what went.
    private func agedCollection(_ world: World, _ node: Node) throws {
        try world.collectAll()
        for seed in UInt64(20)..<22 {
            try node.write("prod", [seed])
            try world.collectAll()
        }
    }

    @Test("a collector that dies behind any request leaves a run that the next one finishes")
    func crashes() throws {
        var points = 0
        for isCondemned in [false, true] {
            for point in 0..<64 {
                let (world, _) = try littered(isCondemned: isCondemned)
                let store = ActorStore(world.store)
                store.die(afterMutations: point)
                var collector = world.collector(through: store)
                let report = try? collector.run()
                try world.expectWhole("died behind \(point)")
                try expectClean(world, "died behind \(point)")
                if report != nil { break }
                points += 1
            }
        }
        // Plan, two deletions or more, set; plan and set alone.
        #expect(points > 5)
    }

    @Test("an answer that is lost at any request changes nothing", arguments: 0..<12)
    func lostAnswers(point: Int) throws {
        let (world, _) = try littered()
        world.store.inject(StoreFault(.replyLost, keyPrefix: "", skipping: point))
        for _ in 0..<3 {
            var collector = world.collector()
            _ = try? collector.run()
            try world.expectWhole()
        }
        world.store.heal()
        try expectClean(world)
    }

    @Test("two collectors in step delete the same, once")
    func twoAtOnce() throws {
        for lead in 0..<12 {
            let (world, _) = try littered()
            var left = world.collector()
            var right = world.collector()
            var isLeftOver = false
            var isRightOver = false
            for _ in 0..<lead where !isLeftOver { isLeftOver = try left.step() }
            while !isLeftOver || !isRightOver {
                if !isRightOver { isRightOver = try right.step() }
                if !isLeftOver { isLeftOver = try left.step() }
            }
            let outcomes = [left.report.outcome, right.report.outcome]
            #expect(outcomes.contains(.done), "\(outcomes)")
            try expectClean(world, "lead \(lead)")
        }
    }

    @Test("a collector that slept through two runs deletes nothing of what it meant to")
    func slow() throws {
        // The interruption runs on this thread.
        nonisolated(unsafe) let (world, node) = try littered()
        let store = ActorStore(world.store)
        let wake = Lock(false)
        store.interrupt { operation, key in
            let isFirst = wake.withLock { isAwake -> Bool in
                guard !isAwake, operation == .put, key.hasPrefix("gc-runs/") else { return false }
                isAwake = true
                return true
            }
            guard isFirst else { return false }
            for seed in 10..<13 {
                try? node.write("prod", [UInt64(seed)])
                var other = world.collector()
                _ = try? other.run()
            }
            return false
        }
        var sleeper = world.collector(through: store)
        let before = try sleeper.run()
        #expect(before.outcome == .overtaken && before.deleted == ObjectTally())
        try world.expectWhole()
        try expectClean(world)
    }

    @Test("a newest commit that is overtaken and collected before it is read is no damage")
    func headGone() throws {
        // The interruption runs on this thread.
        nonisolated(unsafe) let world = World()
        nonisolated(unsafe) let node = try Node("a", world)
        let volume = try node.make("prod", writes: [1, 2])
        try node.write("prod", [3])
        let finder = HeadFinder(store: world.store)
        let found = try #require(try finder.head(of: volume)).commit
        let other = try Node("b", world, seed: 2)
        let moves = Lock(1)
        other.store.interrupt { operation, key in
            let isTime = moves.withLock { left -> Bool in
                guard left > 0, operation == .get, key == found.key.key else { return false }
                left -= 1
                return true
            }
            guard isTime else { return false }
            for seed in UInt64(4)..<6 { try? node.write("prod", [seed]) }
            _ = try? world.collectAll()
            return false
        }
        let tag = try other.plane.tag("prod", tag: "t")
        #expect(world.store.object(found.key.key) == nil && moves.withLock { $0 } == 0)
        let head = try #require(try finder.head(of: volume)).commit
        #expect(tag.sequence == head.sequence && head.sequence > found.sequence)
    }

    @Test("a rollback whose commit is still to come keeps what it goes back to, through a restart")
    func pendingRollback() throws {
        let world = World()
        let node = try Node("a", world)
        let volume = try node.make("prod", writes: [1, 2])
        let target = try node.plane.snapshot("prod", tag: nil).sequence.rawValue
        try node.write("prod", [3, 4])
        // Behind the reader and the snapshot of the state before; the commit stays pending.
        node.store.die(afterMutations: 2)
        #expect(throws: UserError.self) {
            _ = try node.plane.rollback("prod", toSequence: target)
        }
        try node.restart()
        try node.plane.deleteSnapshot("prod", sequence: target)
        try world.collectAll()
        _ = try node.plane.open("prod", force: false)
        _ = try node.plane.drain("prod")
        let head = try #require(try HeadFinder(store: world.store).head(of: volume)).commit
        #expect(world.book.content(of: head.digest) == [0: 1, 1: 2])
        try world.expectWhole()
        // Nothing is pending now: the next start takes the pin back.
        try node.restart()
        #expect(world.keys("refs/readers/") == [])
    }

    @Test("a fork whose first commit arrives after its source was collected is refused")
    func lateFork() throws {
        let world = World()
        let node = try Node("a", world)
        try node.make("prod", writes: [1, 2])
        let taken = try node.plane.snapshot("prod", tag: nil).sequence
        try node.write("prod", [3, 4])
        world.store.inject(
            StoreFault(.late(afterRequests: 1 << 30), operation: .put, keyPrefix: "volumes/"))
        let source = try ForkSource(from: "snapshot:prod@\(taken)")
        let lost = try failure { _ = try node.plane.put("fork", PutRequest(source: source)) }
        #expect(lost.kind == .storeAway)
        // The pin stays, because the commit may come yet. Somebody gives it up all the same.
        var survey = world.collector(isDryRun: true)
        let report = try survey.run()
        let reader = try #require(report.readers.first)
        var random = SplitMix64(seed: 1)
        _ = try TestCollector.abandon(
            reader.id.description, in: ActorStore(world.store), clock: world.clock,
            random: &random)
        try node.plane.deleteSnapshot("prod", sequence: taken.rawValue)
        try agedCollection(world, node)
        world.store.landLate()
        let refused = try failure { _ = try node.plane.put("fork", PutRequest(source: source)) }
        #expect(refused.kind == .conflict && refused.why.contains("was collected"))
        // The collector stops at what it cannot understand, until it is told.
        var collector = world.collector()
        #expect(try failure { _ = try collector.run() }.why.contains("export fork needs"))
        _ = try TestCollector.abandon(
            try #require(report.creating.first).volume.description,
            in: ActorStore(world.store), clock: world.clock, random: &random)
        try expectClean(world)
    }

    @Test("a snapshot whose commit a slower survey condemned is forked at once, and stays whole")
    func lateSnapshot() throws {
        let world = World()
        let node = try Node("a", world)
        try node.make("prod", writes: [1, 2])
        let taken = try node.plane.snapshot("prod", tag: nil).sequence
        let (key, ref) = try #require(
            world.store.objects.first { $0.key.hasPrefix("refs/snapshots/") })
        try node.plane.deleteSnapshot("prod", sequence: taken.rawValue)
        try node.write("prod", [3, 4])
        var collector = world.collector()
        #expect(try collector.run().condemned.packs > 0)
        // The survey was over when the ref came.
        _ = try world.store.putIfAbsent(key, ref)
        let source = try ForkSource(from: "snapshot:prod@\(taken)")
        let volume = try node.plane.put("fork", PutRequest(source: source)).export.volume
        try node.plane.deleteSnapshot("prod", sequence: taken.rawValue)
        // The run that could have deleted it finds the plan of the pin.
        var next = world.collector()
        let report = try next.run()
        #expect(report.isResumed && report.deleted == ObjectTally())
        let head = try #require(try HeadFinder(store: world.store).head(of: volume)).commit
        #expect(world.book.content(of: head.digest) == [0: 1, 1: 2])
        try expectClean(world)
    }

    @Test("a fence stays when its packs go, and nobody can pin it then")
    func fence() throws {
        let world = World()
        let node = try Node("a", world)
        let volume = try node.make("prod", writes: [1, 2])
        // Off and on again: what the claim publishes holds what was there before.
        try node.plane.delete("prod", purge: false)
        _ = try node.plane.put("prod", PutRequest())
        _ = try node.plane.attach("prod")
        let fence = try node.plane.snapshot("prod", tag: nil).sequence
        let finder = HeadFinder(store: world.store)
        #expect(try finder.commit(of: volume, fence).commit.isFence)
        // A fork of it is begun, and broken off before it pins anything.
        node.store.die(afterMutations: 1)
        let source = try ForkSource(from: "snapshot:prod@\(fence)")
        #expect(throws: UserError.self) {
            _ = try node.plane.put("fork", PutRequest(source: source))
        }
        try node.restart()
        try node.write("prod", [5, 6])
        for snapshot in try node.plane.snapshots("prod") {
            try node.plane.deleteSnapshot("prod", sequence: snapshot.sequence.rawValue)
        }
        try agedCollection(world, node)
        let refused = try failure { _ = try node.plane.put("fork", PutRequest(source: source)) }
        #expect(refused.kind == .conflict && refused.why.contains("was collected"))
        try expectClean(world)
    }
}
