// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Snapshots that go because they are old, and the clocks that have to agree first.

import ControlPlane
import Documents
import HostIO
import Maintenance
import ObjectStore
import Primitives
import Testing

@Suite("Snapshots that are too old")
struct SnapshotExpiryTests {
    private let world = World()
    private let day: UInt64 = 24 * 3600

    private func expire(
        olderThan age: UInt64, isDryRun: Bool = false, clock: ManualClock? = nil
    ) throws -> ExpiryReport {
        try TestCollector.expireSnapshots(
            olderThan: age, isDryRun: isDryRun, in: ActorStore(world.store),
            clock: clock ?? world.clock)
    }

    /// The refs of snapshots 1, 2, … of `prod` with these labels, in days from now.
    private func refs(_ days: [Int], of name: String = "prod") throws {
        // Its start makes the repository.
        _ = try Node("a", world)
        let name = try #require(RefName(name))
        for (index, days) in days.enumerated() {
            let label = Int(world.clock.wallSeconds) + days * Int(day)
            let ref = SnapshotRef(
                name: name,
                commit: CommitPointer(
                    volume: VolumeID(low: 1, high: 1), sequence: CommitSequence(UInt64(index) + 1),
                    token: Token(low: 2, high: 2), labelSeconds: UInt64(label)), tag: nil)
            let key = RefKey.snapshot(name, ref.commit.sequence).text
            #expect(try world.store.putIfAbsent(key, ref.encoded) == .created)
        }
    }

    private func left(of name: String = "prod") -> [UInt64] {
        world.keys("refs/snapshots/\(name)/").compactMap { $0.split(separator: "/").last }
            .compactMap { UInt64($0) }
    }

    @Test("real ones that are older than the age go, and the collector takes their packs")
    func old() throws {
        let node = try Node("a", world)
        try node.make("prod")
        let taken = try (1...5).map { (seed: UInt64) in
            try node.write("prod", [seed])
            return try node.plane.snapshot("prod", tag: nil)
        }
        world.clock.advance(seconds: day)
        try world.collectAll()
        let before = world.keys("packs/").count
        let report = try expire(olderThan: world.clock.wallSeconds - taken[3].labelSeconds)
        #expect(report.expired.map(\.sequence) == taken.prefix(3).map(\.sequence.rawValue))
        #expect(report.kept == 2)
        #expect(try node.plane.snapshots("prod") == Array(taken.suffix(2)))
        try world.collectAll()
        #expect(world.keys("packs/").count < before)
        try world.expectWhole()
    }

    @Test("the newest of each name stays, however old it is")
    func newest() throws {
        for name in ["a", "a-b", "a.c"] { try refs([-3000, -2000], of: name) }
        let report = try expire(olderThan: 0)
        #expect(report.expired.map(\.name.text).sorted() == ["a", "a-b", "a.c"])
        #expect(report.kept == 3)
        #expect(try expire(olderThan: 0).expired == [])
        #expect(left(of: "a") == [2] && left(of: "a-b") == [2] && left(of: "a.c") == [2])
    }

    @Test("a dry run tells the same and deletes nothing")
    func dryRun() throws {
        try refs([-3, -2, -1])
        let before = world.store.objects
        let dry = try expire(olderThan: day, isDryRun: true)
        #expect(dry.expired.count == 2 && world.store.objects == before)
        #expect(try expire(olderThan: day) == dry)
    }

    @Test(
        "a clock that is more than five minutes from the store's stops it before anything goes",
        arguments: [301, -301, 10 * 365 * 86400])
    func clocks(difference: Int) throws {
        try refs([-3, -2, -1])
        world.store.setDate(UInt64(Int(world.clock.wallSeconds) - difference))
        let before = world.store.objects
        let error = try failure { _ = try expire(olderThan: 0) }
        #expect(error.why.contains("\(difference.magnitude) s"))
        #expect(error.why.contains(difference > 0 ? "ahead of" : "behind"))
        #expect(world.store.objects == before)
    }

    @Test("five minutes between the clocks are none", arguments: [300, -300, 0])
    func near(difference: Int) throws {
        try refs([-3, -2, -1])
        world.store.setDate(UInt64(Int(world.clock.wallSeconds) + difference))
        #expect(try expire(olderThan: day).expired.map(\.sequence) == [1, 2])
        #expect(left() == [3])
    }

    @Test("a store that does not answer is not taken for one without a date")
    func away() throws {
        try refs([-3, -2, -1])
        world.store.setAway(true)
        #expect(try failure { _ = try expire(olderThan: 0) }.kind == .storeAway)
    }

    @Test("a host whose clock was years behind makes a snapshot no older than the one before it")
    func behind() throws {
        try refs([-3, -3000, -3000, -1])
        #expect(try expire(olderThan: 4 * day) == ExpiryReport(kept: 4))
        #expect(try expire(olderThan: 2 * day).expired.map(\.sequence) == [1, 2, 3])
    }

    @Test("a snapshot from the future stays until its time has come, and makes nobody younger")
    func ahead() throws {
        try refs([-30, 100, -20, 0])
        #expect(try expire(olderThan: 10 * day).expired.map(\.sequence) == [1, 3])
        world.clock.advance(seconds: 120 * day)
        #expect(try expire(olderThan: 10 * day).expired.map(\.sequence) == [2])
        #expect(left() == [4])
    }

    @Test("a key or a document that is not ours stops it before anything goes")
    func foreign() throws {
        try refs([-3, -2, -1])
        _ = try world.store.putIfAbsent("refs/snapshots/prod/latest", [1])
        let before = world.store.objects
        _ = try failure { _ = try expire(olderThan: 0) }
        #expect(world.store.objects == before)
    }
}
