// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Block status: holes, zeros and data, from memtables and map nodes alone.

import BlockDevice
import CleanCache
import Committer
import Formats
import Glibc
import HostIO
import Journal
import ObjectStore
import Primitives
import Testing
import VolumeEngine
import VolumeMap

@Suite("Extents")
struct ExtentTests {
    private func extents(_ rig: EngineRig, _ offset: UInt64, _ count: UInt64, limit: Int = 64)
        -> [String]
    {
        let ticket = rig.submit(.extents(offset, count, limit: limit))
        rig.run()
        #expect(ticket.state == .done)
        return ticket.extents.map { "\($0.kind == .data ? "data" : "hole") \($0.length)" }
    }

    @Test("an empty volume is one hole")
    func empty() throws {
        let rig = try EngineRig()
        #expect(extents(rig, 0, 8 << 20) == ["hole 8388608"])
        #expect(extents(rig, 512, 1000) == ["hole 1000"])
        #expect(rig.submit(.extents(0, 0)).state == .failed(.outOfRange))
        #expect(rig.submit(.extents(8 << 20, 1)).state == .failed(.outOfRange))
    }

    @Test("written grains are data, zeroed ones are holes, and neighbours are joined")
    func memtables() throws {
        let rig = try EngineRig()
        rig.write(8192, noise(300 << 10, 1))
        rig.submit(.zero(16384, 8192))
        rig.run()
        let all = ["hole 8192", "data 8192", "hole 8192", "data 290816", "hole 8073216"]
        #expect(extents(rig, 0, 8 << 20) == all)
        #expect(extents(rig, 0, 8 << 20, limit: 2) == Array(all[..<2]))
        #expect(extents(rig, 0, 8 << 20, limit: 1) == ["hole 8192"])
        #expect(extents(rig, 9000, 8000) == ["data 7384", "hole 616"])
        // In the frozen memtable it is the same.
        _ = rig.askCommit()
        rig.run(holding: [.commit])
        let ticket = rig.submit(.extents(0, 8 << 20))
        let covered = ticket.extents.reduce(0 as UInt64) { $0 + $1.length.rawValue }
        #expect(covered == 8 << 20)
        #expect(ticket.extents.count == 5)
    }

    @Test("the map knows blocks: data in one is all of it")
    func committed() throws {
        let rig = try EngineRig()
        rig.write(1 << 20, noise(4096, 1))
        try rig.commit()
        let all = ["hole 1048576", "data 131072", "hole 7208960"]
        #expect(extents(rig, 0, 8 << 20) == all)
        try rig.restart()
        // The node is not at hand: fetched once, no data with it.
        let before = rig.store.counts.gets
        #expect(extents(rig, 0, 8 << 20) == all)
        #expect(rig.store.counts.gets - before == 1)
        #expect(rig.report.counters.reads == 0)
    }

    @Test("an unknown map parks the question, and what is known before it is answered first")
    func unknown() throws {
        var shape = EngineShape()
        shape.size = 512 << 20
        let rig = try EngineRig(shape)
        rig.write(128 << 20, noise(4096, 1))
        try rig.commit()
        try rig.restart()
        let ticket = rig.submit(.extents(128 << 20, 1 << 20))
        #expect(ticket.state == .parked)
        let known = rig.submit(.extents(0, 512 << 20))
        #expect(known.state == .done)
        #expect(known.extents == [Extent(length: ByteCount(128 << 20), kind: .hole)])
        rig.run()
        #expect(ticket.state == .done && ticket.tries == 2)
        let lengths: [UInt64] = [128 << 10, (1 << 20) - (128 << 10)]
        #expect(ticket.extents.map { $0.length.rawValue } == lengths)
    }

    @Test("a question about 16 TB costs what is known of it, not its length")
    func huge() throws {
        var shape = EngineShape()
        shape.size = Limits.volumeBytesMax / (128 << 10) * (128 << 10)
        let rig = try EngineRig(shape)
        let whole = [Extent(length: ByteCount(shape.size), kind: .hole)]
        #expect(rig.submit(.extents(0, shape.size)).extents == whole)
        // Data here and there, in the map and in the journal, and terabytes of zeros.
        let spots = [1, 5, 900, 70_000] as [UInt64]
        for spot in spots { rig.write(spot << 27, noise(4096, spot)) }
        try rig.commit()
        rig.write(2 << 40, noise(4096, 1))
        rig.submit(.zero(3 << 40, 1 << 40))
        rig.run()
        let before = rig.host.cache.statistics
        let ticket = rig.submit(.extents(0, shape.size))
        #expect(ticket.state == .done && ticket.extents.count == 11)
        let data = ticket.extents.filter { $0.kind == .data }.map(\.length.rawValue)
        #expect(data == [131_072, 131_072, 131_072, 4096, 131_072])
        #expect(ticket.extents.reduce(0) { $0 + $1.length.rawValue } == shape.size)
        let after = rig.host.cache.statistics
        #expect(after.hits + after.misses - before.hits - before.misses < 60)
    }

    @Test("a long journal bounds how far one question looks")
    func window() throws {
        var shape = EngineShape()
        shape.size = 1 << 40
        let rig = try EngineRig(shape)
        for block in 0..<9_000 as Range<UInt64> {
            rig.submit(.zero(block << 18, 131_072))
            if block.isMultiple(of: 50) { rig.run() }
        }
        rig.run()
        let ticket = rig.submit(.extents(0, 1 << 40))
        #expect(ticket.extents == [Extent(length: ByteCount(4096 << 17), kind: .hole)])
        rig.write(1 << 39, noise(4096, 1))
        let behind = rig.submit(.extents(1 << 39, 1 << 32, limit: 2))
        #expect(behind.extents.map(\.length.rawValue) == [4096, 1 << 31 - 4096])
    }

    @Test(
        "journal and map mixed: holes read as zeros, data is not hidden",
        arguments: 1...6 as ClosedRange<UInt64>)
    func mixed(seed: UInt64) throws {
        var shape = EngineShape()
        shape.size = 40 << 20
        shape.blockBytes = seed.isMultiple(of: 2) ? 4096 : 16 << 10
        let rig = try EngineRig(shape, seed: seed)
        var random = SplitMix64(seed: seed)
        for round in 0..<8 {
            for _ in 0..<12 {
                let grain = random.next(below: 10_000)
                let grains = 1 + random.next(below: random.next(below: 4) == 0 ? 3_000 : 20)
                let count = min(grains, 10_240 - grain) * 4096
                if random.next(below: 2) == 0 {
                    rig.submit(.zero(grain * 4096, count))
                } else {
                    rig.submit(.write(grain * 4096, noise(Int(min(count, 400_000)), grain)))
                }
                rig.run()
            }
            if round == 3 || round == 5 { try rig.commit() }
        }
        // The last ones are in the active memtable, those before in the frozen one.
        _ = rig.askCommit()
        rig.run(holding: [.commit])
        rig.submit(.zero(4096 * random.next(below: 5_000), 4_000 * 4096))
        rig.submit(.write(4096 * random.next(below: 10_000), noise(4096, 1)))
        rig.run(holding: [.commit])
        let content = rig.read(0, 40 << 20, holding: [.commit])
        var kinds: [Extent.Kind] = []
        while kinds.count < 10_240 {
            let ticket = rig.submit(
                .extents(UInt64(kinds.count) * 4096, 40 << 20 - UInt64(kinds.count) * 4096))
            rig.run(holding: [.commit])
            #expect(ticket.state == .done)
            for extent in ticket.extents {
                kinds += [Extent.Kind](
                    repeating: extent.kind, count: Int(extent.length.rawValue / 4096))
            }
        }
        for (grain, kind) in kinds.enumerated() {
            let piece = content[(grain * 4096)..<((grain + 1) * 4096)]
            if kind == .hole { #expect(piece.allSatisfy { $0 == 0 }, "grain \(grain)") }
            let alone = rig.submit(.extents(UInt64(grain) * 4096, 4096))
            #expect(alone.extents.first?.kind == kind, "grain \(grain)")
        }
    }
}
