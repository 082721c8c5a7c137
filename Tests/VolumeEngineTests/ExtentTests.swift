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

    @Test("a question about 16 TB is answered in bounded steps")
    func huge() throws {
        var shape = EngineShape()
        shape.size = Limits.volumeBytesMax
        let rig = try EngineRig(shape)
        let ticket = rig.submit(.extents(0, shape.size))
        #expect(ticket.state == .done)
        #expect(ticket.extents == [Extent(length: ByteCount(8 << 30), kind: .hole)])
    }
}
