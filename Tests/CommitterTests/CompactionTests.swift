// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Compaction below the engine: looks, steps and the commits that take them, on volumes whose
// content is known to the byte.

import CleanCache
import Committer
import Formats
import HostIO
import ObjectStore
import Primitives
import Testing
import VolumeMap

/// Drives compaction as an engine does, one step and one commit after the other.
struct CompactionDriver {
    let volume: TestVolume
    let makeups = PackMakeups()
    var bounds = CompactionBounds(stepBytes: 1 << 20)
    var pinned: CommitSequence?

    var compactor: Compactor<MemoryStore> {
        Compactor(store: volume.store, cache: volume.cache, bounds: bounds)
    }

    static let busy = CompactionRules(liveShareMin: 0.5, deadBytesMin: 1)
    static let quiet = CompactionRules(
        liveShareMin: 0.9, hiddenShareMax: 0.1, deadBytesMin: 1)

    func look(_ rules: CompactionRules) throws -> CompactionRound? {
        try compactor.look(
            at: volume.root, rules: rules, spent: [], makeups: makeups
        ) { () throws(FetchError) in pinned }
    }

    @discardableResult
    func commit(_ relocation: Relocation) throws -> CommitStatistics {
        var inputs = volume.inputs()
        inputs.relocation = relocation
        let prepared = try volume.build(inputs)
        try volume.publish(prepared.root)
        return prepared.statistics
    }

    /// Runs a round to its end; blocks that were stored again.
    @discardableResult
    func run(_ round: CompactionRound) throws -> Int {
        var next: CompactionRound? = round
        var moved = 0
        while let round = next {
            let step = try #require(try compactor.step(round, of: volume.root))
            if !step.relocation.isEmpty { moved += try commit(step.relocation).blocksMoved }
            next = step.rest
        }
        return moved
    }

    /// Rounds until none is worthwhile; how many there were.
    @discardableResult
    func settle(_ rules: CompactionRules) throws -> Int {
        for count in 0..<20 {
            guard let round = try look(rules) else { return count }
            try run(round)
        }
        Issue.record("it compacts for ever")
        return 20
    }

    func freshBase() throws {
        try run(CompactionRound(freshBaseAfter: volume.root.commit.sequence))
    }

    /// Bytes of the packs that the head needs.
    func neededBytes() throws -> Int {
        var needed = Set(try MapAudit(volume.root, store: volume.store).packs.values.map(\.pack))
        needed.formUnion(volume.root.commit.chunkPages.packs)
        needed.formUnion(volume.root.commit.packPages.packs)
        let objects = volume.store.objects
        return needed.reduce(0) { $0 + (objects[$1.key]?.count ?? 0) }
    }

    /// Scattered writes and zeros, committed now and then, with a cache that forgets.
    func scatter(_ writes: Int, commitEvery: Int = 10) throws {
        let grains = Int(volume.root.size.rawValue) / Limits.grainBytes
        for index in 1...writes {
            let grain = Int(volume.random.next(below: UInt64(grains - 40)))
            switch volume.random.next(below: 8) {
            case 0:
                let count = 1 + Int(volume.random.next(below: 40))
                try volume.zero(grains: grain..<(grain + count))
            case 1: try volume.write(grain: grain / 32 * 32, volume.noise(128 << 10))
            default:
                let count = 1 + Int(volume.random.next(below: 6))
                try volume.write(grain: grain, volume.noise(count * Limits.grainBytes))
            }
            guard index % commitEvery == 0 else { continue }
            if volume.random.next(below: 3) == 0 { volume.forget() }
            try volume.commit()
        }
        try volume.commit()
    }
}

@Suite("Compaction")
struct CompactionTests {
    private func made(
        _ seed: UInt64 = 1, size: Int = 16 << 20, targetBytes: Int = 1 << 20
    ) throws -> CompactionDriver {
        CompactionDriver(
            volume: try TestVolume(
                TestShape(
                    size: size, settings: PackSettings(targetBytes: targetBytes), seed: seed)))
    }

    @Test(
        "whatever was written, compaction keeps the content and the counts",
        arguments: 1...12 as ClosedRange<UInt64>)
    func sameContent(seed: UInt64) throws {
        let driver = try made(seed)
        var moved = 0
        for part in 0..<4 {
            try driver.scatter(60)
            driver.volume.forget()
            if let round = try driver.look(
                part.isMultiple(of: 2) ? CompactionDriver.busy : CompactionDriver.quiet)
            {
                moved += try driver.run(round)
            }
            try driver.volume.expectContent("part \(part)")
            try MapAudit(driver.volume.root, store: driver.volume.store).expectExact()
        }
        #expect(moved > 0)
        try driver.freshBase()
        try driver.volume.expectContent("fresh base")
        try MapAudit(driver.volume.root, store: driver.volume.store).expectExact()
    }

    @Test("packs that are emptied leave the table with their last reference")
    func emptied() throws {
        let driver = try made()
        try driver.volume.write(grain: 0, driver.volume.noise(16 << 20))
        try driver.volume.commit()
        for block in 0..<128 where block % 8 != 3 {
            try driver.volume.write(grain: block * 32, driver.volume.noise(128 << 10))
        }
        try driver.volume.commit()
        driver.volume.forget()
        let round = try #require(try driver.look(CompactionDriver.busy))
        #expect(round.victims.count >= 16)
        let digest = driver.volume.root.commit.digest
        #expect(try driver.run(round) == 16)
        let left = try MapAudit(driver.volume.root, store: driver.volume.store)
        #expect(round.victims.isDisjoint(with: left.packs.values.map(\.pack)))
        #expect(driver.volume.root.commit.digest == digest, "whole frames that move are the same")
        #expect(driver.volume.root.commit.keepsContent)
        try left.expectExact()
        try driver.volume.expectContent()
        #expect(try driver.look(CompactionDriver.busy) == nil)
    }

    @Test("after random overwrites a quiet volume needs at most 1.1 of what a fresh base needs")
    func bound() throws {
        let driver = try made(7, size: 32 << 20)
        try driver.volume.write(grain: 0, driver.volume.noise(32 << 20))
        try driver.volume.commit()
        try driver.scatter(600, commitEvery: 20)
        let before = try driver.neededBytes()
        try driver.settle(CompactionDriver.quiet)
        let after = try driver.neededBytes()
        #expect(try driver.settle(CompactionDriver.quiet) == 0, "an idle volume rests")
        try driver.volume.expectContent()
        try driver.freshBase()
        let fresh = try driver.neededBytes()
        #expect(Double(before) > 1.3 * Double(fresh), "\(before) of \(fresh)")
        #expect(Double(after) <= 1.1 * Double(fresh), "\(after) of \(fresh)")
        try driver.volume.expectContent()
    }

    @Test("packs that a snapshot keeps are left alone, and taken when it has gone")
    func pinned() throws {
        var driver = try made()
        try driver.scatter(200)
        driver.pinned = driver.volume.root.commit.sequence
        #expect(try driver.look(CompactionDriver.quiet) == nil)
        let kept = Set(
            try MapAudit(driver.volume.root, store: driver.volume.store).packs.values.map(\.pack))
        try driver.scatter(200)
        let round = try #require(try driver.look(CompactionDriver.quiet))
        #expect(round.victims.isDisjoint(with: kept))
        try driver.run(round)
        try driver.volume.expectContent()
        driver.pinned = nil
        let later = try #require(try driver.look(CompactionDriver.quiet))
        #expect(!later.victims.isDisjoint(with: kept))
    }

    @Test("a fork copies nothing of its source, unless it wants a base of its own")
    func forked() throws {
        let source = try made()
        try source.scatter(300)
        let fork = CompactionDriver(
            volume: try TestVolume(
                TestShape(settings: PackSettings(targetBytes: 1 << 20), seed: 99),
                fork: source.volume))
        #expect(try fork.look(CompactionDriver.quiet) == nil)
        try fork.scatter(300)
        try fork.settle(CompactionDriver.quiet)
        try fork.volume.expectContent()
        var packs = try MapAudit(fork.volume.root, store: fork.volume.store).packs.values
            .map(\.pack)
        #expect(packs.contains { $0.volume == source.volume.id })
        try fork.freshBase()
        packs = try MapAudit(fork.volume.root, store: fork.volume.store).packs.values.map(\.pack)
        #expect(packs.allSatisfy { $0.volume == fork.volume.id })
        try fork.volume.expectContent()
        try source.volume.expectContent()
    }

    @Test("a fresh base has one whole frame for each block, in block order")
    func freshBase() throws {
        let driver = try made(3)
        try driver.scatter(300)
        try driver.freshBase()
        let audit = try MapAudit(driver.volume.root, store: driver.volume.store)
        try audit.expectExact()
        var places: [(CommitSequence, UInt16, UInt32)] = []
        for node in audit.nodes.sorted(by: { $0.chunk < $1.chunk }) {
            for (_, entry) in node.entries.sorted(by: { $0.key < $1.key }) {
                #expect(entry.frames.count == 1 && entry.frames[0].isFull(grains: 32))
                let pack = try #require(audit.packs[entry.frames[0].slot]?.pack)
                places.append((pack.sequence, pack.number, entry.frames[0].offset))
            }
        }
        #expect(places.count > 50)
        #expect(zip(places, places.dropFirst()).allSatisfy { $0 < $1 })
        try driver.volume.expectContent()
    }

    @Test(
        "what was overwritten since it was gathered is left as it is",
        arguments: 1...8 as ClosedRange<UInt64>)
    func outrun(seed: UInt64) throws {
        let driver = try made(seed)
        try driver.scatter(200)
        driver.volume.forget()
        let round = CompactionRound(freshBaseAfter: driver.volume.root.commit.sequence)
        let step = try #require(try driver.compactor.step(round, of: driver.volume.root))
        #expect(step.relocation.blockCount > 0)
        // Some of it in a commit before, some in the same.
        try driver.scatter(10)
        for block in 0..<6 {
            try driver.volume.write(grain: block * 32 + block, driver.volume.noise(4096))
        }
        driver.volume.forget()
        let statistics = try driver.commit(step.relocation)
        #expect(statistics.blocksMoved + statistics.blocksOutrun <= step.relocation.blockCount)
        #expect(!driver.volume.root.commit.keepsContent)
        try driver.volume.expectContent()
        try MapAudit(driver.volume.root, store: driver.volume.store).expectExact()
    }

    @Test("a stack that got a delta since it was gathered is moved below it")
    func deltaAbove() throws {
        let driver = try made()
        try driver.volume.write(grain: 0, driver.volume.noise(128 << 10))
        try driver.volume.commit()
        let round = CompactionRound(freshBaseAfter: driver.volume.root.commit.sequence)
        let step = try #require(try driver.compactor.step(round, of: driver.volume.root))
        try driver.volume.write(grain: 3, driver.volume.noise(4096))
        driver.volume.forget()
        try driver.volume.commit()
        #expect(try driver.commit(step.relocation).blocksMoved == 1)
        let audit = try MapAudit(driver.volume.root, store: driver.volume.store)
        #expect(audit.nodes.first?[0]?.frames.count == 2)
        let first = try #require(audit.nodes.first?[0]?.frames.last)
        #expect(audit.packs[first.slot]?.pack.sequence == driver.volume.root.commit.sequence)
        try audit.expectExact()
        try driver.volume.expectContent()
    }

    @Test("blocks that are gathered from one history fit into another, or are left out")
    func otherHistory() throws {
        let driver = try made(5)
        try driver.scatter(100)
        let old = driver.volume.root.commit
        let model = driver.volume.model
        try driver.scatter(100)
        let round = CompactionRound(freshBaseAfter: driver.volume.root.commit.sequence)
        let step = try #require(try driver.compactor.step(round, of: driver.volume.root))
        let stamp = CommitDrafts.Stamp(
            epoch: Epoch(1), token: .random(from: &driver.volume.random), state: .open,
            labelSeconds: 3)
        try driver.volume.publish(
            CommitDrafts.rolledBack(to: old, after: driver.volume.root.commit, stamp: stamp))
        driver.volume.model = model
        driver.volume.forget()
        let statistics = try driver.commit(step.relocation)
        #expect(statistics.blocksMoved > 0 && statistics.blocksOutrun > 0)
        try driver.volume.expectContent()
        try MapAudit(driver.volume.root, store: driver.volume.store).expectExact()
    }

    @Test("what the cache held it still holds, and gathering puts nothing in")
    func cache() throws {
        let driver = try made()
        try driver.scatter(100)
        driver.volume.forget()
        let fetcher = MapFetcher(store: driver.volume.store, cache: driver.volume.cache)
        let hot = (0..<8).map { BlockIndex(UInt64($0)) }
        try fetcher.bring(hot, of: driver.volume.root)
        let round = CompactionRound(freshBaseAfter: driver.volume.root.commit.sequence)
        let before = driver.volume.cache.statistics.blocks
        let step = try #require(try driver.compactor.step(round, of: driver.volume.root))
        #expect(driver.volume.cache.statistics.blocks == before)
        try driver.commit(step.relocation)
        var reader = MapReader(root: driver.volume.root, cache: driver.volume.cache)
        for block in hot {
            if case .missing = reader.resolve(block) { Issue.record("\(block) went cold") }
        }
    }

    @Test("a damaged frame is left out, and the rest moves")
    func damaged() throws {
        let driver = try made()
        try driver.volume.write(grain: 0, driver.volume.noise(1 << 20))
        try driver.volume.commit()
        driver.volume.forget()
        let audit = try MapAudit(driver.volume.root, store: driver.volume.store)
        let frame = try #require(audit.nodes.first?[3]?.frames.first)
        let pack = try #require(audit.packs[frame.slot]?.pack)
        driver.volume.store.rot(pack.key, at: Int(frame.offset) + 100)
        let round = CompactionRound(freshBaseAfter: driver.volume.root.commit.sequence)
        #expect(try driver.run(round) == 7)
        let after = try MapAudit(driver.volume.root, store: driver.volume.store)
        #expect(after.nodes.first?[3]?.frames.first == frame)
    }
}
