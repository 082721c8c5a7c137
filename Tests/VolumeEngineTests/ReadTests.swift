// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Reads over memtables and map while roots change, and what they fetch.

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

@Suite("Reading")
struct ReadTests {
    /// A volume whose content is in the store alone.
    private func cold(_ bytes: [UInt8], _ shape: EngineShape = EngineShape()) throws -> EngineRig {
        let rig = try EngineRig(shape)
        rig.write(0, bytes)
        try rig.commit()
        try rig.restart()
        return rig
    }

    private func gets(_ rig: EngineRig, _ body: () throws -> Void) rethrows -> UInt64 {
        let before = rig.store.counts.gets
        try body()
        return rig.store.counts.gets - before
    }

    @Test("a view is what a read would copy, or there is none")
    func views() throws {
        let rig = try cold(noise(64 << 10, 1))
        let isInMemory = rig.view(0, 64 << 10) != nil
        #expect(!isInMemory, "nothing was read yet")
        rig.expect(0, noise(64 << 10, 1))
        var model = noise(64 << 10, 1)
        for (offset, seed) in [(0, 2), (20_000, 3), (40_000, 4)] as [(Int, UInt64)] {
            rig.write(UInt64(offset), noise(5000, seed))
            model = laid(noise(5000, seed), at: offset, over: model)
        }
        rig.submit(.zero(50_000, 9000))
        rig.run()
        model = laid(zeros(9000), at: 50_000, over: model)
        for (offset, count) in [(0, 65_536), (1, 65_535), (4095, 2), (19_999, 30_002)] {
            let piece = Array(model[offset..<offset + count])
            let isEqual = rig.view(UInt64(offset), count) == piece
            #expect(isEqual, "\(count) bytes at \(offset)")
            rig.expect(UInt64(offset), piece)
        }
        let fits = rig.view(0, 64 << 10, capacity: 3) != nil
        #expect(!fits, "more pieces than there are places")
        #expect(rig.view(rig.host.volume.geometry.size.rawValue, 1) == nil, "past the end")
        #expect(rig.view(0, 0) == nil)
    }

    @Test("the newest of active, frozen and map shows, before, while and after a commit")
    func layers() throws {
        let rig = try cold(noise(64 << 10, 1))
        var model = noise(64 << 10, 1)
        for (offset, seed) in [(0, 2), (20_000, 3), (40_000, 4)] as [(Int, UInt64)] {
            rig.write(UInt64(offset), noise(5000, seed))
            model = laid(noise(5000, seed), at: offset, over: model)
        }
        rig.submit(.zero(8192, 4096))
        rig.submit(.zero(60_000, 3000))
        model = laid(zeros(4096), at: 8192, over: model)
        model = laid(zeros(3000), at: 60_000, over: model)
        let commit = rig.askCommit()
        rig.run(holding: [.commit])
        #expect(rig.waiting(.commit) == 1)
        rig.expectHolding(0, model, [.commit])
        // Over the frozen one: a page on a page, a page on zeros, zeros on a page.
        for (offset, seed) in [(1000, 5), (9000, 6)] as [(Int, UInt64)] {
            rig.submit(.write(UInt64(offset), noise(700, seed)))
            model = laid(noise(700, seed), at: offset, over: model)
        }
        rig.submit(.zero(40_960, 4096))
        model = laid(zeros(4096), at: 40_960, over: model)
        rig.run(holding: [.commit])
        rig.expectHolding(0, model, [.commit])
        rig.run()
        #expect(rig.committed(commit) != nil)
        rig.expect(0, model)
        try rig.commit()
        rig.expect(0, model)
        try rig.restart()
        rig.expect(0, model)
    }

    @Test("a block zeroed whole hides frozen pages and the map")
    func zeroRanges() throws {
        let rig = try cold(noise(512 << 10, 1))
        rig.write(0, noise(4096, 2))
        _ = rig.askCommit()
        rig.run(holding: [.commit])
        rig.submit(.zero(0, 384 << 10))
        rig.run(holding: [.commit])
        let model = zeros(384 << 10) + noise(512 << 10, 1)[(384 << 10)...]
        rig.expectHolding(0, model, [.commit])
        rig.write(4096, noise(4096, 3))
        let next = laid(noise(4096, 3), at: 4096, over: model)
        rig.expect(0, next)
        try rig.commit()
        rig.expect(0, next)
    }

    @Test("a read parked on a fetch starts over when the root changes meanwhile")
    func rootChanges() throws {
        let rig = try cold(noise(128 << 10, 1))
        rig.write(4096, noise(4096, 2))
        let commit = rig.askCommit()
        rig.run(holding: [.commit, .fetch])
        let read = rig.submit(.read(0, 16384))
        rig.turn()
        #expect(rig.waiting(.fetch) == 1)
        let fetched = try rig.carryOut(.fetch)
        rig.run(holding: [.fetch])
        #expect(rig.committed(commit) != nil)
        #expect(read.state == .parked)
        rig.submit(.write(8192, noise(4096, 3)))
        rig.run(holding: [.fetch])
        rig.deliver(fetched)
        rig.run()
        #expect(read.state == .done)
        let model = laid(noise(4096, 2), at: 4096, over: Array(noise(128 << 10, 1)[..<16384]))
        let isEqual = read.bytes == laid(noise(4096, 3), at: 8192, over: model)
        #expect(isEqual)
    }

    @Test("many reads of one cold block are one fetch")
    func singleFlight() throws {
        let rig = try cold(noise(256 << 10, 1))
        let tickets = (0..<20).map { _ in rig.submit(.read(8192, 4096)) }
        rig.turn()
        #expect(rig.waiting(.fetch) == 1)
        let count = gets(rig) { rig.run() }
        // The node, and the frame.
        #expect(count == 2)
        for ticket in tickets {
            #expect(ticket.state == .done && ticket.tries == 2)
            let isEqual = ticket.bytes[...] == noise(256 << 10, 1)[8192..<12_288]
            #expect(isEqual)
        }
    }

    @Test("a damaged frame fails the requests that need it, and no others")
    func damagedFrame() throws {
        let rig = try cold(noise(512 << 10, 1))
        let pack = try #require(rig.store.objects.keys.first { $0.hasPrefix("packs/") })
        // Inside the frame of block 1.
        rig.store.rot(pack, at: 200 << 10)
        let wide = rig.submit(.read(0, 512 << 10))
        let good = [0, 256 << 10, 384 << 10].map { rig.submit(.read(UInt64($0), 4096)) }
        let bad = rig.submit(.read(128 << 10, 4096))
        let merge = rig.submit(.write((128 << 10) | 512, noise(512, 2)))
        let other = rig.submit(.write((256 << 10) | 512, noise(512, 2)))
        rig.run()
        for ticket in good { #expect(ticket.state == .done) }
        for ticket in [wide, bad, merge] { #expect(ticket.state == .failed(.failed)) }
        #expect(other.state == .done)
        #expect(rig.report.counters.fetchesFailed > 0)
        #expect(rig.report.operationState == "open")
        // The store is asked again later, and serves again when it is mended.
        rig.store.rot(pack, at: 200 << 10)
        rig.tick()
        rig.expect(128 << 10, Array(noise(512 << 10, 1)[(128 << 10)..<(256 << 10)]))
    }

    @Test("a store that is away parks reads until it is back")
    func storeAway() throws {
        let rig = try cold(noise(64 << 10, 1))
        rig.store.setAway(true)
        let read = rig.submit(.read(0, 4096))
        rig.turn()
        for _ in 0..<5 { try rig.perform(.fetch) }
        #expect(read.state == .parked)
        rig.store.setAway(false)
        rig.run()
        #expect(read.state == .done)
    }

    @Test("a sequential stream costs at most one GET for 4 MiB")
    func readAhead() throws {
        var shape = EngineShape()
        shape.size = 80 << 20
        shape.segmentPages = Limits.segmentPages
        let rig = try EngineRig(shape)
        let mebibyte = noise(1 << 20, 7)
        for index in 0..<64 {
            // No two blocks equal: those would be stored once.
            let bytes = laid(noise(4096, UInt64(index)), at: 0, over: mebibyte)
            rig.write(
                UInt64(index) << 20,
                laid(noise(1 << 19, UInt64(99 + index)), at: 1 << 19, over: bytes))
        }
        try rig.commit()
        try rig.restart()
        let count = gets(rig) {
            for index in 0..<512 { _ = rig.read(UInt64(index) * (128 << 10), 128 << 10) }
        }
        #expect(count <= 16, "64 MiB")
    }

    @Test("reads at random fetch what they ask for and no more")
    func noReadAhead() throws {
        let rig = try cold(noise(8 << 20, 1))
        let before = rig.store.counts.bytesReceived
        for block in [40, 3, 17, 60, 9, 33] as [UInt64] { _ = rig.read(block * (128 << 10), 4096) }
        let received = rig.store.counts.bytesReceived - before
        #expect(received < 6 * (132 << 10) + (64 << 10))
    }

    @Test("a prefetch brings a range, so that reading it asks for nothing")
    func prefetch() throws {
        let rig = try cold(noise(4 << 20, 1))
        #expect(rig.submit(.prefetch(0, 4 << 20)).state == .done)
        rig.run()
        let count = gets(rig) { rig.expect(0, noise(4 << 20, 1)) }
        #expect(count == 0)
        #expect(rig.submit(.prefetch(8 << 20, 512)).state == .failed(.outOfRange))
    }

    @Test("a prefetch of everything is bounded by what may be in flight")
    func prefetchBound() throws {
        var shape = EngineShape()
        shape.size = Limits.volumeBytesMax
        let rig = try EngineRig(shape)
        #expect(rig.submit(.prefetch(0, shape.size)).state == .done)
        rig.turn()
        #expect(rig.effects.isEmpty, "holes need no fetch")
    }

    @Test("a request larger than may be fetched at once is fetched in parts")
    func largerThanInFlight() throws {
        var shape = EngineShape()
        shape.size = 36 << 20
        shape.blockBytes = 1 << 20
        shape.segmentPages = Limits.segmentPages
        let rig = try EngineRig(shape)
        let piece = noise(1 << 20, 1)
        for index in 0..<36 {
            rig.write(UInt64(index) << 20, laid(noise(64, UInt64(index)), at: 0, over: piece))
        }
        try rig.commit()
        try rig.restart()
        let read = rig.submit(.read(512, 36 << 20 - 512))
        rig.run()
        #expect(read.state == .done)
        let isEqual = read.bytes[((20 << 20) - 512)..<((20 << 20) - 448)] == noise(64, 20)[...]
        #expect(isEqual)
    }

    @Test("2,000 parked requests are cancelled without a trace")
    func cancelled() throws {
        let rig = try cold(noise(64 << 10, 1))
        let tickets = (0..<2000).map { index in
            rig.submit(index % 2 == 0 ? .read(0, 4096) : .write(512, noise(512, 1)))
        }
        #expect(rig.report.parkedRequests == 2000)
        for ticket in tickets { rig.cancel(ticket) }
        #expect(rig.report.parkedRequests == 0)
        rig.run()
        #expect(rig.strays.isEmpty)
        rig.expect(0, Array(noise(64 << 10, 1)[..<4096]))
        #expect(rig.effects.isEmpty)
    }
}

extension EngineRig {
    /// As `expect`, while some effects are held.
    func expectHolding(_ offset: UInt64, _ bytes: [UInt8], _ held: Set<EffectKind>) {
        let ticket = submit(.read(offset, bytes.count))
        run(holding: held)
        let isEqual = ticket.state == .done && ticket.bytes == bytes
        #expect(isEqual)
    }
}
