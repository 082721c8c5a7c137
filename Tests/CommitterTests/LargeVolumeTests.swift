// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Volumes whose tables have many pages: a commit writes what changed, not what there is. The maps
// are made up: only the nodes that a test touches are real.

import CleanCache
import Committer
import Formats
import ObjectStore
import Primitives
import Testing
import VolumeMap

/// A volume of 1 TB (at least), full to its last block, at one commit.
struct MadeUpVolume {
    static let blockBytes = 128 << 10
    static let chunks = 7680
    /// 1,000 frames a pack or so, as packs of 32 MiB hold.
    static let packs = 30_720
    let store = MemoryStore()
    let root: LocalRoot
    private(set) var random: SplitMix64

    /// `freeSlots` of the pack table's first page are free.
    init(seed: UInt64 = 5, freeSlots: Int = 0) throws {
        var random = SplitMix64(seed: seed)
        let volume = VolumeID.random(from: &random)
        let grains = Self.blockBytes / Limits.grainBytes
        var packs: [UInt32: PackTablePage] = [:]
        func packID(_ random: inout SplitMix64) -> PackID {
            PackID(
                volume: volume, epoch: Epoch(1), sequence: CommitSequence(1), number: 0,
                token: .random(from: &random))
        }
        for number in freeSlots..<Self.packs {
            let slot = PackSlot(UInt32(number))
            var page = packs[slot.page] ?? PackTablePage(index: slot.page)
            page[slot.indexInPage] = PackEntry(
                pack: packID(&random), live: 2000, total: 2000, bytes: 32 << 20)
            packs[slot.page] = page
        }
        // The one real node, of chunk 4,000, with frames in packs all over the table.
        var node = MapNode(chunk: ChunkIndex(4000), blockBytes: Self.blockBytes)
        for block in 0..<Limits.chunkBlocks {
            node[block] = BlockEntry(frames: [
                FramePointer(
                    slot: PackSlot(UInt32(freeSlots + (block * 29) % (Self.packs - freeSlots))),
                    offset: 64, length: 100_000, hash: .random(from: &random),
                    mask: GrainMask(full: grains))
            ])
        }
        let home = PackSlot(12_345)
        var writer = PackWriter(pack: packID(&random))
        packs[home.page]?[home.indexInPage]?.pack = writer.pack
        let placed = writer.append(node: node.encode())
        var commit = Commit(
            volume: volume, sequence: CommitSequence(1), epoch: Epoch(1),
            token: .random(from: &random), state: .open, isFence: true,
            size: ByteCount(UInt64(Self.chunks * Limits.chunkBlocks * Self.blockBytes)),
            blockBytes: Self.blockBytes, cut: RecordSequence(0), labelSeconds: 1,
            slotCount: UInt32(Self.packs))
        for index in 0..<UInt32(8) {
            var page = ChunkTablePage(index: index, blockBytes: Self.blockBytes)
            for entry in 0..<1024 where Int(index) * 1024 + entry < Self.chunks {
                page[entry] =
                    Int(index) * 1024 + entry == 4000
                    ? ChunkEntry(node, slot: home, extent: placed.extent, hash: placed.hash)
                    : ChunkEntry(
                        slot: home, offset: 64, length: 40_000, hash: .random(from: &random),
                        digest: .random(from: &random), blockCount: 1024, frameCount: 1024)
            }
            commit.chunkPages[index] = .packed(writer.append(chunkPage: page.encode()))
        }
        for (index, page) in packs.sorted(by: { $0.key < $1.key }) {
            commit.packPages[index] = .packed(writer.append(packPage: page.encode()))
        }
        let key = writer.pack.key
        _ = try store.putIfAbsent(key, writer.finish())
        root = LocalRoot(commit: commit, bytes: commit.encode())
        self.random = random
    }
}

@Suite("Large volumes")
struct LargeVolumeTests {
    /// A grain in chunk 4,000.
    private static let grain = 4000 * 1024 * 32 + 77

    @Test("one dirty grain of a full terabyte costs at most 256 KiB, and less the next time")
    func oneDirtyGrain() throws {
        let made = try MadeUpVolume()
        let volume = try TestVolume(store: made.store, imported: made.root)
        for round in 0..<4 {
            try volume.write(grain: Self.grain, volume.noise(4096))
            let before = made.store.counts
            let statistics = try volume.commit()
            let after = made.store.counts
            let sent = after.bytesSent - before.bytesSent
            #expect(sent <= 256 << 10, "round \(round)")
            #expect(statistics.nodes == 1)
            #expect(statistics.pages <= 3, "one chunk page, pack pages of the old and new slots")
            #expect(after.puts - before.puts == 2)
        }
    }

    @Test("the cold first commit reads one node and the pages it needs, never data")
    func coldReads() throws {
        let made = try MadeUpVolume()
        let volume = try TestVolume(store: made.store, imported: made.root)
        try volume.write(grain: Self.grain, volume.noise(4096))
        let statistics = try volume.commit()
        // One node; eight chunk pages, for the digest; pack pages: two to find a free slot, and
        // that of the old node.
        #expect(statistics.gets <= 1 + 8 + 3)
        #expect(statistics.blocksStacked == 1)
    }

    @Test("slots of dead packs are handed out again, and no live one is renumbered")
    func slotReuse() throws {
        let made = try MadeUpVolume(freeSlots: 900)
        let volume = try TestVolume(store: made.store, imported: made.root)
        let fetcher = MapFetcher(store: made.store, cache: CleanCache(capacityBytes: 64 << 20))
        var reused = 0
        let old = try fetcher.packPage(5, of: volume.root)
        for _ in 0..<40 {
            try volume.write(grain: Self.grain, volume.noise(4096))
            try volume.commit()
            let page = try fetcher.packPage(0, of: volume.root)
            reused = max(reused, page.entryCount - 124)
        }
        #expect(reused > 0)
        #expect(
            try fetcher.packPage(5, of: volume.root).entries.map { $0?.pack }
                == old.entries.map { $0?.pack })
        #expect(volume.root.commit.slotCount < UInt32(MadeUpVolume.packs) + 41)
    }

    @Test("a table that outgrows the commit moves into packs, and reads stay right")
    func growingTable() throws {
        let block = 4 << 10
        let chunks = 1100
        let volume = try TestVolume(
            TestShape(settings: PackSettings(targetBytes: 16 << 10)),
            imported: empty(chunks: chunks, blockBytes: block))
        try volume.write(grain: 5, volume.noise(4096))
        try volume.commit()
        #expect(volume.root.commit.chunkPages.entries.map(\.page.isInline) == [true])
        try volume.write(grain: 1050 * 1024, volume.noise(4096))
        volume.forget()
        try volume.commit()
        #expect(volume.root.commit.chunkPages.entries.map(\.page.isInline) == [false, false])
        try MapAudit(volume.root, store: volume.store).expectExact()
        for round in 0..<6 {
            try volume.write(grain: (round * 37 % chunks) * 1024, volume.noise(4096))
            volume.forget()
            try volume.commit()
            try MapAudit(volume.root, store: volume.store).expectExact()
        }
        try volume.zero(grains: 0..<(1024 * 1024))
        try volume.commit()
        #expect(volume.root.commit.chunkPages.count == 1)
        let audit = try MapAudit(volume.root, store: volume.store)
        #expect(audit.nodes.map(\.chunk) == [ChunkIndex(1050)])
        try audit.expectExact()
    }

    @Test("pages move out of a pack that nothing else needs any more")
    func pagesMove() throws {
        let block = 4 << 10
        let volume = try TestVolume(imported: empty(chunks: 1100, blockBytes: block))
        try volume.write(grain: 1050 * 1024, volume.noise(4096))
        try volume.write(grain: 3 * 1024, volume.noise(4096))
        try volume.commit()
        let first = try #require(volume.root.commit.chunkPages.packs.first)
        // Page 1 stays as it is while everything of its pack dies.
        try volume.write(grain: 3 * 1024, volume.noise(4096))
        try volume.commit()
        #expect(volume.root.commit.chunkPages.packs.contains(first))
        try volume.write(grain: 1050 * 1024, volume.noise(4096))
        try volume.commit()
        #expect(!volume.root.commit.chunkPages.packs.contains(first))
        try MapAudit(volume.root, store: volume.store).expectExact()
    }

    /// A volume of zeros whose content the test does not model: it is too large.
    private func empty(chunks: Int, blockBytes: Int) -> LocalRoot {
        CommitDrafts.first(
            of: VolumeID(low: 7, high: 7),
            size: ByteCount(UInt64(chunks * Limits.chunkBlocks * blockBytes)),
            blockBytes: blockBytes,
            stamp: .init(
                epoch: Epoch(1), token: Token(low: 1, high: 2), state: .open, labelSeconds: 1))
    }
}
