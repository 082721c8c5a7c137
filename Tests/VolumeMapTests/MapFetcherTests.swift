// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How many requests a fetch makes, what it does about damage, and several fetches at once.

import CleanCache
import Formats
import ObjectStore
import Primitives
import TestSupport
import Testing

@testable import VolumeMap

@Suite("Fetching")
struct MapFetcherTests {
    /// Brings the map first, so that only frames are counted.
    private func frames(_ client: MapClient, _ wanted: [UInt64]) throws -> UInt64 {
        try client.fetcher.bringMap(for: blocks(wanted), of: client.root)
        return try client.gets { try $0.bring(blocks(wanted), of: client.root) }
    }

    @Test("neighbours in a pack come with one request, in whatever order they are asked for")
    func neighbours() throws {
        var bench = MapBench()
        for block in 0..<20 as Range<UInt64> { bench.put(block) }
        let root = try bench.seal(blocks: 1024)
        let client = MapClient(store: bench.store, root: root)
        #expect(try frames(client, [7, 3, 4, 6, 5]) == 1)
        for block in 3...7 as ClosedRange<UInt64> {
            #expect(client.isCached(block, bench.content(block)))
        }
        // 8 to 19 lie together; 0 to 2 before them are apart by what is cached: less than the gap.
        #expect(try frames(client, Array(0..<20)) == 2)
    }

    @Test("a gap is read over if it is small, and left out if it is not")
    func gaps() throws {
        for (gap, requests) in [(48 << 10, 1), (64 << 10, 2)] {
            var bench = MapBench()
            bench.put(0)
            bench.gap(gap)
            bench.put(1)
            let root = try bench.seal(blocks: 1024)
            let client = MapClient(store: bench.store, root: root)
            // Each frame has a header on top of its block.
            #expect(try frames(client, [0, 1]) == requests)
        }
    }

    @Test("a range is bounded, and two packs are two requests")
    func bounded() throws {
        var bench = MapBench(blockBytes: 1 << 20, packs: 2)
        for block in 0..<20 as Range<UInt64> { bench.put(block, pack: block < 18 ? 0 : 1) }
        let root = try bench.seal(blocks: 1024)
        let client = MapClient(store: bench.store, root: root)
        client.store.record(true)
        _ = try frames(client, Array(0..<20))
        let counts = client.store.requests.map(\.bytes)
        #expect(counts.allSatisfy { $0 <= Int(FetchLimits.rangeBytesMax) })
        let perRange = Int(FetchLimits.rangeBytesMax) / (1 << 20 + 200)
        #expect(counts.count == 1 + (18 + perRange - 1) / perRange + 1)
    }

    @Test("equal blocks are fetched once")
    func equalBlocks() throws {
        var bench = MapBench()
        bench.put(0)
        bench.put(1)
        let root = try bench.seal(blocks: 1024)
        let client = MapClient(store: bench.store, root: root)
        _ = try frames(client, [0])
        // A block of another volume with the same content is in the cache already.
        let other = MapClient(store: bench.store, root: root)
        _ = try frames(other, [0, 1])
        #expect(try client.gets { try $0.bring(blocks([0, 0, 0]), of: root) } == 0)
    }

    @Test("a damaged frame is an error, never cached, and its neighbours come all the same")
    func damaged() throws {
        var bench = MapBench()
        for block in 0..<4 as Range<UInt64> { bench.put(block) }
        let root = try bench.seal(blocks: 1024)
        let client = MapClient(store: bench.store, root: root)
        try client.fetcher.bringMap(for: blocks([0]), of: root)
        bench.store.rot(bench.firstPack, at: 20 << 10)
        let error = #expect(throws: FetchError.self) {
            try client.fetcher.bring(blocks(0..<4), of: root)
        }
        #expect(error?.isRetryable == false)
        for block in [0, 2, 3] as [UInt64] {
            #expect(client.isCached(block, bench.content(block)))
        }
        #expect(!client.isCached(1, bench.content(1)))
        bench.store.rot(bench.firstPack, at: 20 << 10)
        try client.fetcher.bring(blocks([1]), of: root)
        #expect(client.isCached(1, bench.content(1)))
    }

    @Test("what was harmed on its way is asked for again: nodes, and of frames only those")
    func harmedOnTheWay() throws {
        var bench = MapBench()
        for block in 0..<4 as Range<UInt64> { bench.put(block) }
        let root = try bench.seal(blocks: 1024)
        let client = MapClient(store: bench.store, root: root)
        bench.store.inject(StoreFault(.flipped, operation: .get, times: 3))
        let map = try client.gets { try $0.bringMap(for: blocks([0]), of: root) }
        bench.store.heal()
        #expect(map == 4)
        bench.store.inject(StoreFault(.flipped, operation: .get, times: 3))
        #expect(try client.gets { try $0.bring(blocks(0..<4), of: root) } == 4)
        for block in 0..<4 as Range<UInt64> {
            #expect(client.isCached(block, bench.content(block)))
        }
    }

    @Test("a store that goes away between two requests loses nothing that came")
    func away() throws {
        var bench = MapBench(packs: 2)
        bench.put(0, pack: 0)
        bench.put(1, pack: 1)
        let root = try bench.seal(blocks: 1024)
        let client = MapClient(store: bench.store, root: root)
        try client.fetcher.bringMap(for: blocks([0]), of: root)
        bench.store.inject(StoreFault(.away, operation: .get, skipping: 1))
        let error = #expect(throws: FetchError.self) {
            try client.fetcher.bring(blocks([0, 1]), of: root)
        }
        #expect(error?.isRetryable == true)
        try client.fetcher.bring(blocks([0, 1]), of: root)
        for block in [0, 1] as [UInt64] { #expect(client.isCached(block, bench.content(block))) }
    }

    @Test("a pack that is gone, and a slot that nobody knows, are named")
    func missing() throws {
        var bench = MapBench(packs: 2)
        bench.put(0, pack: 1)
        let root = try bench.seal(blocks: 1024)
        let client = MapClient(store: bench.store, root: root)
        let key = try #require(bench.store.objects.keys.sorted().last)
        try bench.store.delete([key])
        let error = #expect(throws: FetchError.self) {
            try client.fetcher.bring(blocks([0]), of: root)
        }
        #expect(error == .missingObject(key: key))
    }

    @Test("threads that fetch the same and other blocks at once all see the right bytes")
    func threads() throws {
        var bench = MapBench()
        for block in 0..<256 as Range<UInt64> { bench.put(block * 5) }
        let root = try bench.seal(blocks: 5 * 1024, packsPages: true)
        let contents = (0..<256).map { bench.content(UInt64($0 * 5)) }
        let client = MapClient(store: bench.store, root: root)
        let wrong = Tally()
        let threads = try RacingThreads(count: 6) { index in
            let fetcher = client.fetcher
            for round in 0..<64 {
                let block = (index * 40 + round) % 256
                let wanted = blocks([UInt64(block * 5), UInt64((block + 1) % 256 * 5)])
                try fetcher.bring(wanted.sorted(), of: root)
                let found = try fetcher.content(of: BlockIndex(UInt64(block * 5)), in: root)
                if found?.bytes.elementsEqual(contents[block]) != true { wrong.add() }
            }
        }
        try threads.join()
        #expect(wrong.count == 0)
    }

    @Test("a cache too small for one request serves it all the same")
    func tinyCache() throws {
        var bench = MapBench(blockBytes: 1 << 20)
        for block in 0..<8 as Range<UInt64> { bench.put(block) }
        let root = try bench.seal(blocks: 1024)
        let cache = CleanCache(capacityBytes: 2 << 20)
        let fetcher = MapFetcher(store: bench.store, cache: cache)
        try fetcher.bring(blocks(0..<8), of: root)
        for block in 0..<8 as Range<UInt64> {
            let content = try #require(try fetcher.content(of: BlockIndex(block), in: root))
            let isEqual = content.bytes.elementsEqual(bench.content(block))
            #expect(isEqual)
        }
    }
}
