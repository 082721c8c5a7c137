// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Repairs that are broken off, meet collectors, other repairs and stores that fail: nothing is
// ever worse than before.

import Documents
import Formats
import ObjectStore
import Primitives
import RepositorySupport
import Synchronization
import Testing

@testable import Maintenance

@Suite("Repairs beside everything else")
struct RepairSafetyTests {
    /// A pack that several disks need, and the offset of a byte in its first frame.
    private func shared(_ repository: SmallRepository) throws -> (key: String, place: Int) {
        let (key, index) = try #require(
            try repository.packs.first { $0.1.members.count { $0.kind == .frame } > 6 })
        return (key, Int(index.members[0].extent.end) - 1)
    }

    @Test("verification alone, and a repair of what is whole, write nothing")
    func silent() throws {
        let repository = try SmallRepository.built()
        let (key, place) = try shared(repository)
        let puts = repository.store.counts.puts
        #expect(try repository.repair(from: [repository.replica]).outcomes.isEmpty)
        repository.store.rot(key, at: place)
        #expect(try !repository.verify().isWhole)
        #expect(try !repository.repair(from: []).isWhole)
        #expect(repository.store.counts.puts == puts)
    }

    @Test("broken off at any request there are old bytes or whole ones, and another run finishes")
    func interrupted() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        let whole = repository.store.objects
        let (key, place) = try shared(repository)
        let commit = try #require(try repository.commits.last)
        var damaged = whole
        damaged[key]?[place] ^= 0xFF
        damaged[commit.key]?[70] ^= 0xFF
        for effect in [StoreFault.Effect.away, .replyLost] {
            var skipping = 0
            var isOver = false
            while !isOver {
                for key in [key, commit.key] { try repository.replace(key, damaged[key]) }
                repository.store.inject(StoreFault(effect, skipping: skipping))
                isOver = (try? repository.repair(from: [replica])) != nil
                repository.store.heal()
                for (key, bytes) in repository.store.objects {
                    #expect(bytes == whole[key] || bytes == damaged[key], "\(key)")
                }
                #expect(try repository.repair(from: [replica]).isWhole)
                #expect(repository.store.objects == whole)
                skipping += effect == .away ? 3 : 1
            }
            #expect(skipping > 1)
        }
    }

    @Test("what a collector has condemned or planned is left alone")
    func condemned() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        let (key, place) = try shared(repository)
        let bytes = try #require(repository.store.objects[key])
        var flipped = bytes
        flipped[place] ^= 0xFF
        let keys = CollectedKeys(commits: [], packs: [try PackID(key: key)])
        let set = CondemnedSet(
            run: 1, groups: [CondemnedSet.Group(labelSeconds: 5, keys: keys)])
        let setKey = RefSeries.collection.key(1)
        _ = try repository.store.putIfAbsent(setKey, set.encoded)
        try repository.expectLeft(key, flipped, from: [replica], "about to delete", "condemned")
        try repository.expectLeft(key, nil, from: [replica], "about to delete", "condemned, gone")
        try repository.replace(setKey, CondemnedSet(run: 1, groups: []).encoded)
        let plan = CollectionPlan(run: 2, node: "n", labelSeconds: 5, keys: keys)
        let planKey = RefSeries.collectionPlan.key(2)
        _ = try repository.store.putIfAbsent(planKey, plan.encoded)
        try repository.expectLeft(key, flipped, from: [replica], "about to delete", "planned")
        try repository.replace(planKey, nil)
        try repository.expectRepaired(key, flipped, from: [replica], "free")
        // A set that cannot be read.
        try repository.replace(setKey, [1, 2, 3])
        try repository.expectLeft(key, flipped, from: [replica], "nobody can tell", "unreadable")
    }

    @Test("where a collector runs, what no name needs is not put back")
    func unnamed() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        _ = try repository.store.putIfAbsent(
            RefSeries.collection.key(1), CondemnedSet(run: 1, groups: []).encoded)
        var left = 0
        for key in repository.packKeys {
            let bytes = repository.store.objects[key]
            try repository.replace(key, nil)
            let isFault = try !repository.verify().isWhole
            let report = try repository.repair(from: [replica])
            #expect(report.isWhole)
            let isBack = repository.store.objects[key] == bytes
            #expect(isBack == isFault)
            left += isBack ? 0 : 1
            try repository.replace(key, bytes)
        }
        #expect(left > 0)
    }

    @Test("an object that another repair or a collector was faster with is not spoiled")
    func raced() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        let (key, place) = try shared(repository)
        let whole = repository.store.objects
        var requests = 0
        repository.store.rot(key, at: place)
        repository.store.record(true)
        _ = try repository.repair(from: [replica])
        requests = repository.store.requests.count
        repository.store.record(false)
        for (name, bytes) in [("repaired", whole[key]), ("deleted", nil)] {
            for step in stride(from: 0, to: requests, by: 4) {
                try repository.replace(key, whole[key])
                repository.store.rot(key, at: place)
                let actor = ActorStore(repository.store)
                let left = Countdown(step)
                actor.interrupt { [store = repository.store] _, _ in
                    guard left.isNow else { return false }
                    try? store.delete([key])
                    if let bytes { _ = try? store.putIfAbsent(key, bytes) }
                    return false
                }
                var repairer = Repairer(
                    store: actor, options: VerifyOptions(), sources: [StoreRepairSource(replica)]
                ) { Verifier(store: actor, options: $0, random: SplitMix64(seed: 1)) }
                _ = try repairer.run()
                let found = repository.store.objects[key]
                #expect(found == whole[key] || found == nil, "\(name) at \(step)")
            }
        }
    }

    @Test("a source that does not answer is named, and the others are asked")
    func awaySource() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        let (key, place) = try shared(repository)
        let bytes = try #require(repository.store.objects[key])
        var flipped = bytes
        flipped[place] ^= 0xFF
        let away = MemoryStore(url: "away:")
        away.setAway(true)
        try repository.expectLeft(key, flipped, from: [away], "away:: the store is away", "away")
        try repository.expectRepaired(key, flipped, from: [away, replica], "the second")
    }

    @Test("a store that forbids writing keeps its damage, and the report says why")
    func forbidden() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        let (key, place) = try shared(repository)
        repository.store.rot(key, at: place)
        repository.store.inject(StoreFault(.forbidden, operation: .put, times: 100))
        let report = try repository.repair(from: [replica])
        #expect(!report.isWhole)
        #expect(report.outcomes.first?.detail.contains("cannot be written") == true)
    }
}

/// True once, after so many questions. Any thread.
final class Countdown: Sendable {
    private let left: Lock<Int>

    init(_ count: Int) { left = Lock(count) }

    var isNow: Bool {
        left.withLock { left in
            left -= 1
            return left == -1
        }
    }

    /// It was now, once.
    var isOver: Bool { left.withLock { $0 < 0 } }
}
