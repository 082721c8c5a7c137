// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Repair from what a host has read, and from the commits that it published.

import CleanCache
import Formats
import ObjectStore
import Primitives
import RepositorySupport
import Testing
import VolumeMap

@testable import Maintenance

extension SmallRepository {
    /// What a host has in its cache that has read everything once.
    func warmCache() throws -> CleanCache {
        let cache = CleanCache(capacityBytes: 256 << 20)
        let fetcher = MapFetcher(store: store, cache: cache)
        for (key, blocks) in contents {
            let root = try #require(roots[key])
            try fetcher.bringMap(
                for: (0..<root.chunkCount).map { ChunkIndex($0).firstBlock }, of: root)
            for block in blocks.keys { _ = try fetcher.content(of: BlockIndex(block), in: root) }
        }
        return cache
    }
}

@Suite("Repair from the cache of a host")
struct CacheRepairTests {
    private func source(
        _ cache: CleanCache, published: [String: [UInt8]] = [:]
    ) -> CacheRepairSource {
        CacheRepairSource(
            name: "cache",
            blocks: { hash throws(ObjectStoreError) in cache.lookup(hash).map { Array($0.bytes) } },
            published: { key throws(ObjectStoreError) in published[key] })
    }

    @Test("every member of every pack that the host has read comes back, single grains too")
    func members() throws {
        let repository = try SmallRepository.built()
        let cache = try repository.warmCache()
        var deltas = 0
        for (key, index) in try repository.packs {
            let bytes = try #require(repository.store.objects[key])
            for member in index.members {
                var flipped = bytes
                flipped[Int(member.extent.end) - 1] ^= 0xFF
                let frame = bytes[Int(member.extent.offset)..<Int(member.extent.end)]
                if member.kind == .frame,
                    try frame.withUnsafeBytes({ try FrameHeader(decoding: $0) }).kind == .delta
                {
                    deltas += 1
                }
                try repository.expectRepaired(
                    key, flipped, by: [source(cache)], "\(key) \(member.kind)")
            }
            // All at once, with header, index and trailer.
            var rotten = bytes
            for member in index.members { rotten[Int(member.extent.offset) + 20] ^= 0xFF }
            rotten[0] ^= 0xFF
            try repository.expectRepaired(key, rotten, by: [source(cache)], "\(key) all")
        }
        #expect(deltas > 3)
    }

    @Test("what a cache gives under a wrong hash is never written")
    func wrong() throws {
        let repository = try SmallRepository.built()
        for (key, index) in try repository.packs {
            var flipped = try #require(repository.store.objects[key])
            let member = index.members[0]
            flipped[Int(member.extent.end) - 1] ^= 0xFF
            for size in [0, 5, 4096, SmallRepository.blockBytes, 1 << 20, 3 << 20] {
                let liar = CacheRepairSource(
                    name: "liar",
                    blocks: { _ throws(ObjectStoreError) in [UInt8](repeating: 7, count: size) },
                    published: { _ throws(ObjectStoreError) in [UInt8](repeating: 7, count: size) })
                try repository.expectLeft(key, flipped, by: [liar], "no source has 1", "\(size)")
            }
        }
    }

    @Test("a commit comes back from the cache directory also if nothing else vouches for it")
    func commits() throws {
        let repository = try SmallRepository.built()
        let empty = CleanCache(capacityBytes: 1 << 20)
        let kept = repository.store.objects.filter { $0.key.hasPrefix("volumes/") }
        for key in kept.keys {
            try repository.expectRepaired(key, [], by: [source(empty, published: kept)], key)
        }
    }

    @Test("a daemon that does not answer is asked once, and named")
    func away() throws {
        let repository = try SmallRepository.built()
        let (key, index) = try #require(try repository.packs.first { $0.1.members.count > 6 })
        var rotten = try #require(repository.store.objects[key])
        for member in index.members { rotten[Int(member.extent.end) - 1] ^= 0xFF }
        var asked = 0
        let away = CacheRepairSource(
            name: "cache",
            blocks: { _ throws(ObjectStoreError) in
                asked += 1
                throw .misconfigured(key: "", detail: "nobody listens", remedy: "start it")
            }, published: { _ throws(ObjectStoreError) in nil })
        try repository.expectLeft(key, rotten, by: [away], "nobody listens : start it", "away")
        #expect(asked == 1)
    }
}
