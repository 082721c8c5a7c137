// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Compaction of a running volume: when it starts, whom it lets go first, and what faults, deaths
// and other requests make of it.

import BlockDevice
import CleanCache
import Committer
import Formats
import HostIO
import Journal
import ObjectStore
import Primitives
import Testing
import VolumeEngine
import VolumeMap

@Suite("Compaction of a volume")
struct VolumeCompactionTests {
    private static let block = 128 << 10

    private func shape(_ change: (inout EngineShape) -> Void = { _ in }) -> EngineShape {
        var shape = EngineShape()
        shape.settings = PackSettings(targetBytes: 512 << 10)
        shape.options.commitBytes = 64 << 20
        var compaction = CompactionOptions()
        compaction.deadBytesMin = 1 << 20
        compaction.lookSeconds = 2
        compaction.quietSeconds = 20
        shape.options.compaction = compaction
        change(&shape)
        return shape
    }

    /// A full volume most of whose blocks were overwritten since, in packs of their own. Its
    /// content.
    private func wasteful(_ rig: EngineRig, seed: UInt64 = 1) throws -> [UInt8] {
        var model = noise(8 << 20, seed)
        for start in stride(from: 0, to: model.count, by: 1 << 20) {
            rig.write(UInt64(start), Array(model[start..<(start + (1 << 20))]))
        }
        try rig.commit()
        for index in 0..<64 where index % 4 != 1 {
            let bytes = noise(Self.block, seed &* 1000 &+ UInt64(index))
            rig.write(UInt64(index * Self.block), bytes)
            model = laid(bytes, at: index * Self.block, over: model)
        }
        try rig.commit()
        return model
    }

    private func run(_ rig: EngineRig, seconds: Int, holding held: Set<EffectKind> = []) {
        for _ in 0..<seconds {
            rig.tick()
            rig.run(holding: held)
        }
    }

    private func expectWhole(_ rig: EngineRig, _ model: [UInt8], _ comment: Comment? = nil) throws {
        rig.expect(0, model, comment)
        // And from the store alone.
        let cache = CleanCache(capacityBytes: 256 << 20)
        try MapFetcher(store: rig.store, cache: cache)
            .bring((0..<64).map { BlockIndex($0) }, of: rig.root)
    }

    /// Bytes of the packs in the head's table.
    private func packBytes(_ rig: EngineRig) throws -> UInt64 {
        try #require(rig.report.storedBytes)
    }

    @Test("a volume with dead packs gets rid of them by itself, and then rests")
    func automatic() throws {
        let rig = try EngineRig(shape())
        let model = try wasteful(rig)
        let before = try packBytes(rig)
        let cut = rig.root.commit.cut
        run(rig, seconds: 60)
        let counters = rig.report.compaction
        #expect(counters.blocks == 16 && counters.rounds >= 1 && counters.failures == 0)
        #expect(rig.root.commit.cut == cut, "no record is needed")
        #expect(rig.root.commit.keepsContent)
        #expect(try packBytes(rig) < before * 6 / 10)
        try expectWhole(rig, model)
        let (commits, gathers) = (rig.performed[.commit], rig.performed[.gather])
        run(rig, seconds: 600)
        #expect(rig.performed[.commit] == commits, "an idle volume rests")
        #expect(rig.performed[.gather] == gathers)
        #expect(rig.report.journalSegments == 0)
    }

    @Test("without settings nothing is compacted unless it is asked for")
    func off() throws {
        let rig = try EngineRig(shape { $0.options.compaction = nil })
        _ = try wasteful(rig)
        run(rig, seconds: 100)
        #expect(rig.performed[.gather] == nil)
        let needsTicks = rig.host.volume.needsTicks
        #expect(!needsTicks)
    }

    @Test("packs that a snapshot keeps are not stored again, until it has gone")
    func pinned() throws {
        let rig = try EngineRig(shape { $0.pinned = CommitSequence(1000) })
        _ = try wasteful(rig)
        run(rig, seconds: 100)
        #expect(rig.report.compaction.looks > 0)
        #expect(rig.report.compaction.blocks == 0)
        let other = try EngineRig(shape())
        _ = try wasteful(other)
        run(other, seconds: 100)
        #expect(other.report.compaction.blocks > 0)
    }

    @Test("a commit that is due goes before what was gathered")
    func yields() throws {
        let rig = try EngineRig(shape())
        var model = try wasteful(rig)
        run(rig, seconds: 6, holding: [.gather])
        #expect(rig.waiting(.gather) == 1)
        let write = noise(4096, 77)
        rig.submit(.write(4096, write))
        rig.run(holding: [.commit, .gather])
        model = laid(write, at: 4096, over: model)
        let drain = rig.askCommit()
        rig.run(holding: [.commit, .gather])
        try rig.perform(.gather)
        #expect(rig.waiting(.commit) == 1)
        try rig.perform(.commit)
        #expect(rig.committed(drain) != nil)
        #expect(!rig.root.commit.keepsContent)
        #expect(rig.report.compaction.blocks == 0)
        #expect(rig.waiting(.commit) == 0, "whoever asked may want more")
        run(rig, seconds: 30)
        #expect(rig.report.compaction.blocks > 0)
        try expectWhole(rig, model)
    }

    @Test("writes and drains go on while a compacting commit runs")
    func beside() throws {
        let rig = try EngineRig(shape())
        var model = try wasteful(rig)
        for _ in 0..<20 where rig.waiting(.commit) == 0 { run(rig, seconds: 1, holding: [.commit]) }
        #expect(rig.waiting(.commit) == 1)
        let write = noise(8192, 78)
        rig.write2(UInt64(Self.block), write)
        model = laid(write, at: Self.block, over: model)
        let drain = rig.askCommit()
        rig.run(holding: [.commit])
        #expect(rig.answers[drain] == nil)
        try rig.perform(.commit)
        #expect(rig.root.commit.keepsContent)
        rig.run(holding: [.commit])
        try rig.perform(.commit)
        #expect(rig.committed(drain)?.commit.cut == rig.root.commit.cut)
        run(rig, seconds: 30)
        try expectWhole(rig, model)
    }

    @Test("where commits never pause, every eighth takes along what was gathered")
    func rides() throws {
        let rig = try EngineRig(
            shape {
                $0.options.commitBytes = 4096
                $0.options.compaction?.lookSeconds = 1
            })
        var model = try wasteful(rig)
        for round in 0..<40 where rig.report.compaction.commits == 0 {
            let bytes = noise(4096, UInt64(round) + 500)
            let offset = (round * 40 % 2000) * 4096
            rig.write2(UInt64(offset), bytes)
            model = laid(bytes, at: offset, over: model)
            rig.tick()
            // The next write comes before the commit has ended.
            rig.run(holding: [.commit])
            let next = noise(4096, UInt64(round) + 900)
            rig.write2(UInt64(offset + 4096), next)
            model = laid(next, at: offset + 4096, over: model)
            while rig.waiting(.commit) > 0 { try rig.perform(.commit) }
        }
        #expect(rig.report.compaction.commits > 0)
        run(rig, seconds: 30)
        try expectWhole(rig, model)
    }

    @Test("a request makes a fresh base of everything acknowledged before it")
    func requested() throws {
        let rig = try EngineRig(shape { $0.options.compaction = nil })
        var model = try wasteful(rig)
        let write = noise(4096, 5)
        rig.write2(8192, write)
        model = laid(write, at: 8192, over: model)
        let before = rig.root.commit.sequence
        let request = rig.control { $0.requestCompaction($1) }
        let again = rig.control { $0.requestCompaction($1) }
        #expect(rig.report.compactionRequest == .running(blocksDone: 0, blocksTotal: 64))
        run(rig, seconds: 10)
        let root = try #require(rig.committed(request))
        #expect(root.commit.sequence == rig.root.commit.sequence)
        #expect(rig.committed(again)?.commit == root.commit)
        #expect(
            rig.report.compactionRequest == .done(root.commit.sequence, root.commit.token))
        let fetcher = MapFetcher(store: rig.store, cache: CleanCache(capacityBytes: 64 << 20))
        let page = try fetcher.packPage(0, of: rig.root)
        for case let entry? in page.entries { #expect(entry.pack.sequence > before) }
        try expectWhole(rig, model)
        run(rig, seconds: 30)
        #expect(rig.root.commit.sequence == root.commit.sequence)
    }

    @Test("a request that comes while one runs, and behind new writes, has a base of its own")
    func joined() throws {
        let rig = try EngineRig(shape { $0.options.compaction = nil })
        let model = try wasteful(rig)
        let first = rig.control { $0.requestCompaction($1) }
        run(rig, seconds: 1, holding: [.gather])
        let late = noise(4096, 5)
        rig.write2(8192, late)
        let last = rig.report.lastRecord
        let second = rig.control { $0.requestCompaction($1) }
        let third = rig.control { $0.requestCompaction($1) }
        run(rig, seconds: 30)
        let old = try #require(rig.committed(first))
        let root = try #require(rig.committed(second))
        #expect(root.commit.cut >= last && root.commit.sequence > old.commit.sequence)
        #expect(rig.committed(third)?.commit == root.commit)
        let fetcher = MapFetcher(store: rig.store, cache: CleanCache(capacityBytes: 64 << 20))
        let page = try fetcher.packPage(0, of: root)
        for case let entry? in page.entries {
            #expect(entry.pack.sequence > old.commit.sequence, "all was stored again")
        }
        rig.die()
        try rig.reopen()
        try expectWhole(rig, laid(late, at: 8192, over: model))
    }

    @Test("a close ends it, whatever it was doing", arguments: [EffectKind.gather, .commit])
    func closed(during kind: EffectKind) throws {
        let rig = try EngineRig(shape())
        let model = try wasteful(rig)
        let request = rig.control { $0.requestCompaction($1) }
        for _ in 0..<20 where rig.waiting(kind) == 0 { run(rig, seconds: 1, holding: [kind]) }
        #expect(rig.waiting(kind) == 1)
        let close = rig.askClose()
        #expect(rig.failure(request) == .closing)
        rig.run()
        #expect(rig.committed(close)?.commit.state == .clean)
        #expect(rig.committed(close)?.commit.keepsContent == false)
        run(rig, seconds: 20)
        #expect(rig.root.commit.state == .clean)
        try rig.restart()
        try expectWhole(rig, model)
    }

    @Test("a rollback waits for a compacting commit instead of being refused")
    func rollback() throws {
        let rig = try EngineRig(shape())
        rig.write(0, noise(1 << 20, 9))
        let old = try rig.commit()
        _ = try wasteful(rig)
        for _ in 0..<20 where rig.waiting(.commit) == 0 { run(rig, seconds: 1, holding: [.commit]) }
        let rollback = rig.control { $0.requestRollback($1, to: old) }
        #expect(rig.answers[rollback] == nil)
        rig.run()
        #expect(rig.committed(rollback)?.commit.digest == old.commit.digest)
        run(rig, seconds: 30)
        try expectWhole(rig, noise(1 << 20, 9) + zeros(7 << 20))
    }

    @Test("wherever the store breaks off, it goes on later", arguments: 0..<24)
    func outage(skipping: Int) throws {
        let rig = try EngineRig(shape(), seed: UInt64(skipping) + 1)
        var model = try wasteful(rig)
        // Whatever is gathered comes from the store.
        try rig.restart()
        rig.run()
        let effects: [StoreFault.Effect] = [.away, .replyLost, .late(afterRequests: 2)]
        let effect = effects[skipping % 3]
        rig.store.inject(
            StoreFault(
                effect, operation: effect == .away ? nil : .put, skipping: skipping / 3, times: 2))
        for round in 0..<40 {
            run(rig, seconds: 2)
            guard round.isMultiple(of: 10) else { continue }
            let bytes = noise(4096, UInt64(round))
            rig.write(UInt64(round) * 8192, bytes)
            model = laid(bytes, at: round * 8192, over: model)
        }
        rig.store.heal()
        run(rig, seconds: 60)
        rig.store.landLate()
        #expect(rig.report.compaction.blocks > 0)
        try expectWhole(rig, model)
    }

    @Test("a death at any step loses nothing", arguments: 1...30)
    func death(after step: Int) throws {
        let rig = try EngineRig(shape(), seed: UInt64(step))
        let model = try wasteful(rig, seed: UInt64(step))
        _ = rig.control { $0.requestCompaction($1) }
        // So many effects are carried out; of the last one the volume never hears.
        var left = step
        while left > 0 {
            rig.turn()
            guard let effect = rig.effects.first else {
                rig.tick()
                if rig.effects.isEmpty, case .done = rig.report.compactionRequest { break }
                continue
            }
            left -= 1
            let event = try rig.carryOut(EffectKind(effect))
            if left > 0 { rig.deliver(event) }
        }
        try rig.restart(keeping: step.isMultiple(of: 2) ? .random(seed: UInt64(step)) : nil)
        rig.run()
        run(rig, seconds: 60)
        try expectWhole(rig, model)
        #expect(rig.report.operationState == "open")
    }

    @Test("with a compacting commit in doubt, a volume serves without the store")
    func inDoubt() throws {
        let rig = try EngineRig(shape())
        let model = try wasteful(rig)
        for _ in 0..<20 where rig.waiting(.commit) == 0 { run(rig, seconds: 1, holding: [.commit]) }
        rig.store.inject(StoreFault(.away, operation: .put, keyPrefix: "volumes/", times: 1000))
        try rig.perform(.commit)
        try rig.restart()
        #expect(rig.waiting(.commit) == 1, "the pending commit")
        let read = rig.submit(.read(0, 4096))
        rig.run(holding: [.commit])
        #expect(read.state == .done && read.bytes == Array(model[..<4096]))
        let write = rig.submit(.write(0, noise(4096, 3)))
        rig.run(holding: [.commit])
        #expect(write.state == .done)
        rig.store.heal()
        run(rig, seconds: 60)
        try expectWhole(rig, laid(noise(4096, 3), at: 0, over: model))
    }

    @Test("a fence in the middle ends it with everything else")
    func fenced() throws {
        let rig = try EngineRig(shape())
        _ = try wasteful(rig)
        let request = rig.control { $0.requestCompaction($1) }
        for _ in 0..<20 where rig.waiting(.commit) == 0 { run(rig, seconds: 1, holding: [.commit]) }
        try rig.takeOver()
        rig.run()
        guard case .fenced = rig.failure(request) else {
            Issue.record("\(rig.report)")
            return
        }
        run(rig, seconds: 60)
        #expect(rig.report.operationState == "fenced")
        #expect(rig.waiting(.gather) == 0)
    }

    @Test("no more volumes gather than there are places")
    func places() {
        let places = CompactionPlaces(2)
        var first = places.take()
        let second = places.take()
        #expect(first != nil && second != nil)
        #expect(places.take() == nil)
        first = nil
        #expect(places.take() != nil)
        withExtendedLifetime((first, second)) {}
    }
}
