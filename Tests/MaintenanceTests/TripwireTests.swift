// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Hosts that object to a collector which is wrong, and those that do not object to one that is
// right. The wrong one is a set that is put into the store by hand.

import ControlPlane
import Documents
import Formats
import Maintenance
import ObjectStore
import Primitives
import Testing

@Suite("Tripwire")
struct TripwireTests {
    private let world = World()
    private let node: Node
    private let volume: VolumeID
    private let tripwire: Tripwire<ActorStore>

    init() throws {
        node = try Node("a", world)
        volume = try node.make("prod", writes: [1, 2])
        tripwire = Tripwire(store: ActorStore(world.store), node: "host-a")
    }

    private func packs() throws -> [PackID] {
        try world.keys("packs/").map { try PackID(key: $0) }
    }

    private var prod: ReadSubject {
        ReadSubject(export: RefName("prod"), volume: volume, sequence: nil)
    }

    private func read(_ packs: [PackID]) { for pack in packs { tripwire.note(pack.key) } }

    private func look(_ subjects: ReadSubject...) throws -> CollectionStop? {
        var random = SplitMix64(seed: 5)
        return try tripwire.look(
            reading: { subjects.isEmpty ? [prod] : subjects }, random: &random)
    }

    private func condemn(_ packs: [PackID], run: UInt64) throws {
        let set = CondemnedSet(
            run: run,
            groups: [CondemnedSet.Group(labelSeconds: 1, keys: CollectedKeys(packs: packs))])
        _ = try world.store.putIfAbsent(RefSeries.collection.key(run), set.encoded)
    }

    private func collect() throws -> CollectionReport {
        var collector = world.collector()
        return try collector.run()
    }

    private func abandon(_ stop: CollectionStop) throws {
        var random = SplitMix64(seed: 1)
        let given = try TestCollector.abandon(
            stop.id.description, in: ActorStore(world.store), clock: world.clock, random: &random)
        #expect(given == .stop(stop))
    }

    @Test("a pack that is needed for longer than the set is old stops the collector")
    func wrongCollector() throws {
        let needed = try packs()
        read(needed)
        #expect(try look() == nil)
        try condemn(needed, run: 1)
        read(needed)
        let stop = try #require(try look())
        #expect(stop.node == "host-a" && stop.run == 1 && needed.contains(stop.pack))
        #expect(stop.commit.volume == volume)
        let before = world.store.objects
        let error = try failure { _ = try collect() }
        #expect(error.kind == .conflict && error.why.contains("host-a"))
        #expect(error.why.contains(stop.pack.key) && error.remedy.contains(stop.id.description))
        #expect(world.store.objects == before)
        // A dry run tells of it.
        var dry = world.collector(isDryRun: true)
        #expect(try dry.run().stops == [stop])
        try abandon(stop)
        #expect(try collect().deleted == ObjectTally())
        try world.expectWhole()
        #expect(try packs() == needed)
    }

    @Test("a set that was there before the need means nothing, whatever it lists")
    func olderSet() throws {
        let needed = try packs()
        try condemn(needed, run: 1)
        for _ in 0..<3 {
            read(needed)
            #expect(try look() == nil)
        }
        #expect(world.keys("gc-stops/") == [])
    }

    @Test("what was read once and is needed no more may be condemned")
    func overwritten() throws {
        let old = try packs()
        read(old)
        #expect(try look() == nil)
        try node.write("prod", [3, 4])
        #expect(try collect().condemned.packs > 0)
        read(old)
        #expect(try look() == nil)
        #expect(world.keys("gc-stops/") == [])
        try world.collectAll()
        try world.expectWhole()
    }

    @Test("the collector runs for years beside hosts that read, and nobody objects")
    func years() throws {
        for seed in UInt64(10)..<30 {
            read(try packs())
            #expect(try look() == nil)
            try node.write("prod", [seed], at: seed % 5)
            if seed.isMultiple(of: 7) { _ = try node.plane.snapshot("prod", tag: nil) }
            _ = try collect()
            read(try packs())
            #expect(try look() == nil)
        }
        try world.expectWhole()
    }

    @Test("where nothing was read the store is asked nothing")
    func idle() throws {
        let before = world.store.counts
        #expect(try look() == nil)
        tripwire.note("volumes/what-is-no-pack")
        #expect(try look() == nil)
        #expect(world.store.counts == before)
        read(try packs())
        #expect(try look() == nil)
        let after = world.store.counts
        // No set: one LIST.
        #expect(after.lists == before.lists + 1 && after.gets == before.gets)
        #expect(try look() == nil)
        #expect(world.store.counts == after)
    }

    @Test("a view objects for what it pins, and not when its pin was taken away")
    func view() throws {
        let taken = try node.plane.snapshot("prod", tag: nil).sequence
        let view = ReadSubject(export: nil, volume: volume, sequence: taken)
        _ = try node.plane.attach("prod@\(taken)")
        try node.write("prod", [7, 8])
        let old = try packs()
        read(old)
        #expect(try look(view) == nil)
        try condemn(old, run: 1)
        read(old)
        let stop = try #require(try look(view))
        #expect(stop.commit.sequence == taken)
        try abandon(stop)
        // The pin goes: whoever reads on does so at its own risk.
        try world.store.delete(world.keys("refs/readers/"))
        read(old)
        #expect(try look(view) == nil)
        try condemn(old, run: 2)
        read(old)
        #expect(try look(view) == nil)
    }

    @Test("a stop that comes while a run deletes ends it there, and the next run goes on")
    func meanwhile() throws {
        for seed in UInt64(3)..<9 { try node.write("prod", [seed]) }
        #expect(try collect().condemned.packs > 3)
        var collector = world.collector()
        let full = world.keys("packs/").count + world.keys("volumes/").count
        while world.keys("packs/").count + world.keys("volumes/").count == full {
            #expect(try !collector.step())
        }
        let left = world.keys("packs/")
        let stop = CollectionStop(
            id: Token(low: 1, high: 1), node: "b", pack: try #require(try packs().last), run: 1,
            commit: CommitPointer(
                volume: volume, sequence: CommitSequence(1), token: Token(low: 1, high: 2),
                labelSeconds: 1))
        _ = try world.store.putIfAbsent(RefKey.stop(stop.id).text, stop.encoded)
        let error = try failure { while try !collector.step() {} }
        #expect(error.kind == .conflict && world.keys("packs/") == left)
        try abandon(stop)
        #expect(try collect().isResumed)
        try world.collectAll()
        try world.expectWhole()
        #expect(try world.account().garbage == [])
    }

    @Test("a stop that cannot be read is a stop")
    func unreadable() throws {
        for key in ["gc-stops/what", RefKey.stop(Token(low: 3, high: 3)).text] {
            _ = try world.store.putIfAbsent(key, [1])
            _ = try failure { _ = try collect() }
            try world.store.delete([key])
        }
        #expect(try collect().outcome == .nothing)
    }
}
