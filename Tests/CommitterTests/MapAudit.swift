// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Counts from scratch what a commit says of itself: references, digests, sizes, and that whatever
// it names is in the store.

import CleanCache
import Formats
import ObjectStore
import Primitives
import Testing
import VolumeMap

/// Walks the whole map of a root through a store, without any cache of the volume's.
struct MapAudit {
    let root: Root
    let store: MemoryStore
    private(set) var references: [PackSlot: UInt64] = [:]
    private(set) var nodes: [MapNode] = []
    private(set) var packs: [PackSlot: PackEntry] = [:]
    private(set) var digest = Commit.emptyDigest

    init(_ root: Root, store: MemoryStore) throws {
        self.root = root
        self.store = store
        let fetcher = MapFetcher(store: store, cache: CleanCache(capacityBytes: 1 << 30))
        for listed in root.commit.packPages.entries {
            let page = try fetcher.packPage(listed.index, of: root)
            for (entry, pack) in page.entries.enumerated() {
                if let pack { packs[page.slot(at: entry)] = pack }
            }
        }
        var digests: [(chunk: ChunkIndex, digest: Hash128)] = []
        for listed in root.commit.chunkPages.entries {
            let page = try fetcher.chunkPage(listed.index, of: root)
            for (entry, chunk) in page.entries.enumerated() {
                guard let chunk else { continue }
                references[chunk.slot, default: 0] += 1
                let cached = try #require(try fetcher.node(of: page.chunk(at: entry), in: root))
                let node = MapNode(MapNodeView(validated: cached.bytes))
                #expect(chunk.digest == node.digest())
                #expect(chunk.blockCount == node.blockCount)
                #expect(chunk.frameCount == node.frameCount)
                digests.append((page.chunk(at: entry), chunk.digest))
                nodes.append(node)
                for frame in node.entries.values.flatMap(\.frames) {
                    references[frame.slot, default: 0] += 1
                }
            }
        }
        digest = Commit.volumeDigest(digests)
    }

    /// Everything that must hold of any commit.
    func expectExact() throws {
        #expect(packs.mapValues(\.live) == references)
        #expect(root.commit.digest == digest)
        let objects = store.objects
        for (slot, pack) in packs {
            #expect(slot.rawValue < root.commit.slotCount)
            #expect(pack.live <= pack.total)
            let bytes = try #require(objects[pack.pack.key], "\(pack.pack) is not in the store")
            #expect(UInt64(bytes.count) == pack.bytes)
        }
        // A pack that the map has left is not kept alive by a page, unless pages are all it holds.
        let live = Set(packs.values.map(\.pack))
        for pack in root.commit.chunkPages.packs + root.commit.packPages.packs {
            let bytes = try #require(objects[pack.key])
            if live.contains(pack) { continue }
            let index = try bytes.withUnsafeBytes { try PackIndex.read($0).index }
            #expect(index.members.allSatisfy { $0.kind == .chunkPage || $0.kind == .packPage })
        }
    }
}
