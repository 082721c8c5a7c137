// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One collector, one thing at a time: what is kept, what goes, and when.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import Maintenance
import ObjectStore
import Primitives
import Testing

@Suite("Collector")
struct CollectorTests {
    private let world = World()

    @Test("what was overwritten goes with the second run; the head stays")
    func overwritten() throws {
        let node = try Node("a", world)
        try node.make("prod", writes: [1, 2, 3])
        try node.write("prod", [4, 5, 6])
        let packs = world.keys("packs/").count
        var first = world.collector()
        let condemned = try first.run()
        #expect(condemned.outcome == .done && condemned.run == 1)
        #expect(condemned.condemned.packs > 0 && condemned.deleted == ObjectTally())
        #expect(world.keys("packs/").count == packs)
        var second = world.collector()
        let deleted = try second.run()
        #expect(deleted.deleted.packs == condemned.condemned.packs)
        #expect(deleted.deleted.bytes == condemned.condemned.bytes)
        #expect(world.keys("packs/").count == packs - deleted.deleted.packs)
        try world.expectWhole()
        let account = try world.account()
        #expect(account.stored <= account.needed * 11 / 10 && account.garbage == [])
    }

    @Test("packs that compaction emptied go, unless a snapshot needs them")
    func compacted() throws {
        let node = try Node("a", world)
        let volume = try node.make("prod", writes: Array(1...40))
        // Most of the first pack is overwritten, and it stays for the rest.
        for first in stride(from: UInt64(0), to: 36, by: 4) {
            try node.write("prod", (0..<4).map { 100 + first + $0 }, at: first)
        }
        try world.collectAll()
        let first = try #require(world.keys("packs/").first)
        _ = try node.plane.compact("prod")
        let snapshot = try node.plane.snapshot("prod", tag: nil)
        try world.collectAll()
        #expect(!world.keys("packs/").contains(first))
        try world.expectWhole("compacted")
        let kept = Set(world.keys("packs/"))
        _ = try node.plane.compact("prod")
        try world.collectAll()
        #expect(kept.isSubset(of: Set(world.keys("packs/"))), "the snapshot's")
        try node.plane.deleteSnapshot("prod", sequence: snapshot.sequence.rawValue)
        try world.collectAll()
        #expect(kept.isDisjoint(with: world.keys("packs/")))
        try world.expectWhole("twice")
        let account = try world.account()
        #expect(account.garbage == [])
        #expect(try HeadFinder(store: world.store).head(of: volume)?.commit.keepsContent == true)
    }

    @Test("a store without garbage is left as it is, run after run")
    func nothing() throws {
        let node = try Node("a", world)
        try node.make("prod", writes: [1])
        let before = world.store.objects
        var collector = world.collector()
        #expect(try collector.run().outcome == .nothing)
        #expect(world.store.objects == before)
    }

    @Test("a dry run tells what a run would do, and changes nothing")
    func dryRun() throws {
        let node = try Node("a", world)
        try node.make("prod", writes: [1])
        try node.write("prod", [2])
        var real = world.collector()
        let condemned = try real.run().condemned
        let before = world.store.objects
        var dry = world.collector(isDryRun: true)
        let report = try dry.run()
        #expect(report.outcome == .dryRun && report.deleted == condemned)
        #expect(world.store.objects == before)
    }

    @Test("nothing goes before the grace period is over, whatever the clock did before")
    func grace() throws {
        let node = try Node("a", world)
        try node.make("prod", writes: [1])
        try node.write("prod", [2])
        for _ in 0..<3 {
            var collector = world.collector(grace: 100)
            #expect(try collector.run().deleted == ObjectTally())
            world.clock.advance(seconds: 40)
        }
        var collector = world.collector(grace: 100)
        #expect(try collector.run().deleted.packs > 0)
        try world.expectWhole()
    }

    @Test("a set that a clock of the future labelled waits for the grace period, not for the label")
    func future() throws {
        let node = try Node("a", world)
        try node.make("prod", writes: [1])
        try node.write("prod", [2])
        var ahead = Collector(
            store: ActorStore(world.store), clock: ManualClock(wallSeconds: 2_200_000_000),
            options: CollectorOptions(node: "test", gracePeriodSeconds: 100))
        #expect(try ahead.run().condemned.packs > 0)
        var collector = world.collector(grace: 100)
        #expect(try collector.run().deleted == ObjectTally())
        world.clock.advance(seconds: 101)
        collector = world.collector(grace: 100)
        #expect(try collector.run().deleted.packs > 0)
    }

    @Test("a run deletes no more than it may; the rest stays condemned and goes later")
    func limit() throws {
        let node = try Node("a", world)
        try node.make("prod", writes: [1])
        for seed in 2..<8 { try node.write("prod", [UInt64(seed)]) }
        var first = world.collector()
        let total = try first.run().condemned
        #expect(total.packs + total.commits > 4)
        var second = world.collector(deletesMax: 2)
        let report = try second.run()
        #expect(report.deleted.packs + report.deleted.commits == 2)
        #expect(report.waiting.packs + report.waiting.commits == total.packs + total.commits - 2)
        try world.collectAll()
        let account = try world.account()
        #expect(account.stored <= account.needed * 11 / 10 && account.garbage == [])
        try world.expectWhole()
    }

    @Test("snapshots, tags and forks keep what they name, until they go")
    func refs() throws {
        let node = try Node("a", world)
        try node.make("prod", writes: [1, 2])
        let snapshot = try node.plane.snapshot("prod", tag: nil).sequence.rawValue
        try node.write("prod", [3, 4])
        _ = try node.plane.snapshot("prod", tag: "t")
        _ = try node.plane.put("fork", PutRequest(source: try ForkSource(from: "tag:t")))
        try node.write("prod", [5, 6])
        try world.collectAll()
        try world.expectWhole()
        #expect(try world.named().count == 5)
        let before = world.keys("packs/").count
        try node.plane.deleteSnapshot("prod", sequence: snapshot)
        try world.collectAll()
        #expect(world.keys("packs/").count < before)
        try world.expectWhole()
    }

    @Test("a purged volume leaves its fences and nothing else; a fork of it lives on")
    func purge() throws {
        let node = try Node("a", world)
        let volume = try node.make("prod", writes: [1, 2])
        _ = try node.plane.put("fork", PutRequest(source: try ForkSource(from: "export:prod")))
        try node.write("prod", [3, 4])
        try node.plane.delete("prod", purge: true)
        try world.collectAll()
        try world.expectWhole()
        let kept = world.keys(CommitKey.prefix(of: volume))
        let commits = try kept.map { key in
            try HeadFinder(store: world.store).commit(of: volume, CommitKey(key: key).sequence)
                .commit
        }
        for commit in commits where !commit.isFence {
            #expect(commits.contains { $0.isFence && $0.sequence == commit.sequence.next })
        }
        #expect(commits.first?.state == .deleted)
        #expect(world.keys("packs/\(volume)").count == 1)
        try node.plane.delete("fork", purge: true)
        try world.collectAll()
        #expect(world.keys("packs/").isEmpty)
    }

    @Test("packs of a commit that is on its way are never touched")
    func inFlight() throws {
        let node = try Node("a", world)
        let volume = try node.make("prod", writes: [1])
        try node.host.write(2, to: 0, of: volume)
        // The writer dies between its packs and its commit.
        node.store.die(afterMutations: 1)
        #expect(throws: UserError.self) { _ = try node.plane.drain("prod") }
        let head = try #require(try HeadFinder(store: world.store).head(of: volume)).commit
        let waiting = world.keys("packs/\(volume)").filter { key in
            (try? PackID(key: key))?.sequence == head.sequence.next
        }
        #expect(waiting.count == 1)
        try world.collectAll()
        #expect(waiting.allSatisfy { world.store.objects[$0] != nil })
        // It comes back and publishes another commit: now they are garbage.
        try node.restart()
        try node.write("prod", [3])
        try world.collectAll()
        #expect(waiting.allSatisfy { world.store.objects[$0] == nil })
        try world.expectWhole()
    }

    @Test("what cannot be read stops the run, by name, and nothing is deleted")
    func unreadable() throws {
        let node = try Node("a", world)
        let volume = try node.make("prod", writes: [1])
        _ = try node.plane.snapshot("prod", tag: nil)
        try node.write("prod", [2])
        var first = world.collector()
        _ = try first.run()
        let before = world.store.objects
        let damaged =
            world.keys("refs/") + world.keys(CommitKey.prefix(of: volume)) + world.keys("gc/")
        for key in damaged where !key.hasPrefix("refs/exports/prod/ffffffffffffffff") {
            let copy = World()
            for (other, bytes) in before { _ = try copy.store.putIfAbsent(other, bytes) }
            copy.store.rot(key, at: 3)
            // Old numbers of a series are read by nobody.
            let isRead =
                copy.keys("refs/exports/").first == key || !key.hasPrefix("refs/exports/")
            guard isRead else { continue }
            var collector = copy.collector()
            #expect(try failure { _ = try collector.run() }.why.contains(key), "\(key)")
            #expect(copy.store.objects.count == before.count)
        }
        let foreign = World()
        for (other, bytes) in before { _ = try foreign.store.putIfAbsent(other, bytes) }
        _ = try foreign.store.putIfAbsent("packs/notes.txt", [1])
        var collector = foreign.collector()
        #expect(try failure { _ = try collector.run() }.why.contains("packs/notes.txt"))
    }

    @Test("a pack that a root needs and nobody has stops the run and names who needs it")
    func missingPack() throws {
        let node = try Node("a", world)
        try node.make("prod", writes: [1])
        _ = try node.plane.snapshot("prod", tag: nil)
        try node.write("prod", [2, 3], at: 8)
        try world.store.delete([try #require(world.keys("packs/").first)])
        var collector = world.collector()
        let error = try failure { _ = try collector.run() }
        #expect(error.why.contains("is not in the store") && error.why.contains("prod"))
    }

    @Test("retention keeps commits that nothing names, and lets go of a late one without packs")
    func retention() throws {
        let node = try Node("a", world)
        let volume = try node.make("prod", writes: [1])
        // Commits of the test are a minute apart.
        for seed in 2..<32 { try node.write("prod", [UInt64(seed)]) }
        let retention = try Retention(parsing: "10m:30d")
        let before = world.store.objects.filter { $0.key.hasPrefix("volumes/") }
        world.clock.advance(seconds: 3600)
        try world.collectAll(retention: retention)
        let kept = world.keys(CommitKey.prefix(of: volume)).count
        // About thirty minutes; the fence and its neighbour stay anyway, and the head.
        #expect((4...8).contains(kept), "\(kept)")
        #expect(world.keys("packs/").count >= 4)
        try world.expectWhole()
        // An old commit comes back as a wandering packet; its packs are gone.
        let late = try #require(before.keys.first { world.store.objects[$0] == nil })
        _ = try world.store.putIfAbsent(late, try #require(before[late]))
        try world.collectAll(retention: try Retention(parsing: "1s:30d"))
        #expect(world.store.objects[late] == nil)
        world.clock.advance(seconds: 40 * 86400)
        try world.collectAll(retention: retention)
        #expect(world.keys("packs/").count == 1)
        try world.expectWhole()
    }

    @Test(
        "a retention that makes no sense is refused",
        arguments: [
            "x", "10m", "1h:10m", "0s:1h", "10m:1h,,1h:1d", "10m:1h:2h",
            "9999999999999999999d:1d",
        ])
    func badRetention(text: String) {
        #expect(throws: UserError.self) { try Retention(parsing: text) }
    }

    /// A view of a commit that nothing else names any more.
    private func makeLoneReader() throws {
        let node = try Node("a", world)
        try node.make("prod", writes: [1])
        let snapshot = try node.plane.snapshot("prod", tag: nil).sequence.rawValue
        _ = try node.plane.attach("prod@\(snapshot)")
        try node.write("prod", [2])
        try node.plane.deleteSnapshot("prod", sequence: snapshot)
    }

    private func abandon(_ reader: ReaderRef) throws -> Abandonment {
        var random = SplitMix64(seed: 1)
        return try TestCollector.abandon(
            reader.id.description, in: ActorStore(world.store), clock: world.clock, random: &random)
    }

    @Test("a reader is listed and holds its commit until it is abandoned")
    func abandonReader() throws {
        try makeLoneReader()
        try world.collectAll()
        let readers = try world.collectAll().last?.readers ?? []
        let reader = try #require(readers.first)
        #expect(readers.count == 1 && world.commit(reader.commit).map(world.isWhole) == true)
        #expect(try abandon(reader) == .reader(reader))
        try world.collectAll()
        #expect(world.commit(reader.commit) == nil)
        let again = try failure { _ = try abandon(reader) }
        #expect(again.kind == .notFound)
    }

    @Test("a reader's commit that is listed and cannot be read stops the collector")
    func hiddenReader() throws {
        try makeLoneReader()
        let reader = try #require(try world.collectAll().last?.readers.first)
        let key = CommitKey.key(reader.commit.volume, reader.commit.sequence)
        world.store.hide(key)
        for _ in 0..<3 {
            let error = try failure { try world.collectAll() }
            #expect(error.kind == .failed && error.why.contains(key), "\(error)")
        }
        world.store.heal()
        try world.collectAll()
        #expect(world.commit(reader.commit).map(world.isWhole) == true)
    }

    @Test("a refused pin that could not be taken back stops no collector, and holds what is left")
    func refusedPin() throws {
        let first = try Node("a", world)
        let volume = try first.make("prod", writes: [1])
        try first.write("prod", [2], at: 1)
        let second = try Node("b", world, seed: 2)
        _ = try second.plane.open("prod", force: true)
        let finder = HeadFinder(store: world.store)
        let fence = try #require(try finder.head(of: volume)?.commit)
        #expect(fence.isFence)
        let packs = try CommitPacks(store: world.store).unseen(of: fence).packs.map(\.key)
        try second.write("prod", [3])
        try world.collectAll()
        let left = packs.filter { world.keys("packs/").contains($0) }
        try #require(!left.isEmpty && left.count < packs.count)
        world.store.inject(StoreFault(.away, operation: .delete, keyPrefix: "refs/readers/"))
        #expect(throws: UserError.self) {
            try second.plane.attach("prod@\(fence.sequence)")
        }
        try second.write("prod", [4], at: 1)
        let reader = try #require(try world.collectAll().last?.readers.first)
        #expect(left.allSatisfy { world.keys("packs/").contains($0) })
        _ = try abandon(reader)
        try world.collectAll()
        #expect(!left.contains { world.keys("packs/").contains($0) })
        try world.expectWhole()
    }

    @Test("an export that nobody finished is listed, abandoned, fenced, and its name is free")
    func abandonCreation() throws {
        let node = try Node("a", world)
        try node.make("prod", writes: [1])
        _ = try node.plane.snapshot("prod", tag: "t")
        // Dies behind the creating ref, the reader, and the volume's first commit.
        node.store.die(afterMutations: 3)
        let request = PutRequest(source: try ForkSource(from: "tag:t"))
        #expect(throws: UserError.self) { _ = try node.plane.put("fork", request) }
        let creating = try #require(try world.collectAll().last?.creating.first)
        #expect(creating.name.text == "fork")
        var random = SplitMix64(seed: 1)
        let given = try TestCollector.abandon(
            creating.volume.description, in: ActorStore(world.store), clock: world.clock,
            random: &random)
        #expect(given == .creation(creating))
        #expect(try world.collectAll().last?.creating.isEmpty == true)
        try node.restart()
        _ = try node.plane.put("fork", request)
        try world.expectWhole()
    }
}
