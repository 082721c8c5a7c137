// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What memory alone tells of a map: blocks, holes and runs.

import CleanCache
import Formats
import ObjectStore
import Primitives
import Testing
import VolumeMap

@Suite("Reading a map from memory")
struct MapReaderTests {
    /// Blocks 3, 4, 5, 9 and 1024 + 7 hold data; the volume has 5 chunks.
    private func bench(packsPages: Bool = false) throws -> (MapBench, MapClient) {
        var bench = MapBench()
        for block in [3, 4, 5, 9, 1031] as [UInt64] { bench.put(block) }
        let root = try bench.seal(blocks: 5 * 1024, packsPages: packsPages)
        return (bench, MapClient(store: bench.store, root: root))
    }

    @Test("nothing is known of a chunk before its node came, but that an absent one is a hole")
    func unknown() throws {
        let (_, client) = try bench()
        var reader = client.reader
        #expect(reader.presence(of: BlockIndex(3)) == .unknown)
        guard case .missing = reader.resolve(BlockIndex(0)) else {
            Issue.record("a block of an unknown node")
            return
        }
        #expect(reader.presence(of: BlockIndex(2048)) == .hole)
        guard case .zeros = reader.resolve(BlockIndex(3000)) else {
            Issue.record("an absent chunk is zeros")
            return
        }
        #expect(reader.knownHole(from: BlockIndex(0), limit: 100) == 0)
        #expect(reader.knownData(from: BlockIndex(3), limit: 100) == 0)
        #expect(reader.knownHole(from: BlockIndex(2048), limit: 1 << 30) == 1 << 30)
        #expect(client.store.counts.gets == 0)
    }

    @Test("runs of holes and data end where the other begins, at the limit, or at the unknown")
    func runs() throws {
        let (_, client) = try bench()
        #expect(try client.gets { try $0.bringMap(for: blocks([0, 5]), of: client.root) } == 1)
        var reader = client.reader
        #expect(reader.knownHole(from: BlockIndex(0), limit: 100) == 3)
        #expect(reader.knownHole(from: BlockIndex(0), limit: 2) == 2)
        #expect(reader.knownHole(from: BlockIndex(3), limit: 100) == 0)
        #expect(reader.knownData(from: BlockIndex(3), limit: 100) == 3)
        #expect(reader.knownData(from: BlockIndex(3), limit: 2) == 2)
        #expect(reader.knownData(from: BlockIndex(6), limit: 2) == 0)
        #expect(reader.knownHole(from: BlockIndex(6), limit: 100) == 3)
        // The rest of the chunk is known, the next chunk is not.
        #expect(reader.knownHole(from: BlockIndex(10), limit: 5000) == 1014)
        #expect(reader.presence(of: BlockIndex(4)) == .data)
        #expect(reader.presence(of: BlockIndex(6)) == .hole)
        try client.fetcher.bringMap(for: blocks([1031]), of: client.root)
        reader = client.reader
        #expect(reader.knownHole(from: BlockIndex(10), limit: 5000) == 1021)
        #expect(reader.knownHole(from: BlockIndex(1032), limit: 1 << 30) == 1 << 30)
    }

    @Test("a hole of 16 TB costs steps by pages of the table, not by chunks")
    func hugeHole() throws {
        var bench = MapBench(blockBytes: 128 << 10)
        let last = Limits.volumeBytesMax / (128 << 10)
        bench.put(last)
        let root = try bench.seal(blocks: last + 1)
        let client = MapClient(store: bench.store, root: root)
        try client.fetcher.bringMap(for: blocks([last]), of: root)
        var reader = client.reader
        #expect(reader.knownHole(from: BlockIndex(0), limit: last + 1) == last)
        #expect(reader.knownData(from: BlockIndex(last), limit: 9) == 1)
    }

    @Test("holes between chunks cost a step for each chunk that holds data")
    func sparse() throws {
        var bench = MapBench(blockBytes: 4 << 10)
        // Three chunks in each of four pages of the table, which lie in a pack.
        let spots = (0..<12 as Range<UInt64>).map { number -> UInt64 in
            let page = (number / 3) << 20
            return page + number % 3 * 300 * 1024 + 7
        }
        for spot in spots { bench.put(spot) }
        let count: UInt64 = 4 << 20
        let root = try bench.seal(blocks: count, packsPages: true)
        let client = MapClient(store: bench.store, root: root)
        try client.fetcher.bringMap(for: blocks(spots), of: root)
        var reader = client.reader
        let before = client.cache.statistics
        var found: [UInt64] = []
        var block: UInt64 = 0
        while block < count {
            block += reader.knownHole(from: BlockIndex(block), limit: count - block)
            if block == count { break }
            found.append(block)
            block += reader.knownData(from: BlockIndex(block), limit: count - block)
        }
        #expect(found == spots)
        let after = client.cache.statistics
        #expect(after.hits - before.hits < 12 * 6 && after.misses == before.misses)
        // Whole and nearly whole chunks.
        var full = MapBench(blockBytes: 4 << 10)
        for block in 0..<2000 as Range<UInt64> where block != 1500 { full.put(block) }
        let fullRoot = try full.seal(blocks: 2048)
        let other = MapClient(store: full.store, root: fullRoot)
        try other.fetcher.bringMap(for: blocks([0, 1024]), of: fullRoot)
        var runs = other.reader
        #expect(runs.knownData(from: BlockIndex(0), limit: 1 << 20) == 1024)
        #expect(runs.knownData(from: BlockIndex(1), limit: 5) == 5)
        #expect(runs.knownData(from: BlockIndex(1024), limit: 1 << 20) == 476)
        #expect(runs.knownHole(from: BlockIndex(1500), limit: 9) == 1)
        #expect(runs.knownData(from: BlockIndex(1501), limit: 1 << 20) == 499)
        #expect(runs.knownHole(from: BlockIndex(2000), limit: 9) == 9)
    }

    @Test("tables in packs are fetched once, and found again by their hash")
    func packedPages() throws {
        let (bench, client) = try bench(packsPages: true)
        var reader = client.reader
        #expect(reader.presence(of: BlockIndex(3)) == .unknown)
        // Chunk page, pack page, node; then the frame.
        #expect(try client.gets { try $0.bringMap(for: blocks([3]), of: client.root) } == 3)
        #expect(try client.gets { try $0.bring(blocks([3]), of: client.root) } == 1)
        #expect(client.isCached(3, bench.content(3)))
        #expect(try client.gets { try $0.bring(blocks([3, 3, 100]), of: client.root) } == 0)
    }
}
