// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What scattered small writes cost: bytes sent for each dirty byte. A volume of 1 TB that takes
// 64 MiB of random 4 KiB writes a commit is tried at one sixteenth: as many writes a chunk, and a
// chunk's node is what they cost.

import Committer
import Formats
import ObjectStore
import Primitives
import Testing
import VolumeMap

/// A volume whose every block has a full frame, in real nodes, at one commit. The frames themselves
/// are nowhere: a commit that fetched one would fail.
struct FullVolume {
    static let blockBytes = 128 << 10
    /// Frames of a pack, compressed by a third or so.
    static let packFrames = 384
    let store = MemoryStore()
    let root: LocalRoot
    let chunks: Int

    init(chunks: Int, seed: UInt64 = 11) throws {
        self.chunks = chunks
        var random = SplitMix64(seed: seed)
        let volume = VolumeID.random(from: &random)
        func packID(_ number: UInt16, _ random: inout SplitMix64) -> PackID {
            PackID(
                volume: volume, epoch: Epoch(1), sequence: CommitSequence(1), number: number,
                token: .random(from: &random))
        }
        let framePacks = (chunks * Limits.chunkBlocks + Self.packFrames - 1) / Self.packFrames
        let home = PackSlot(UInt32(framePacks))
        var writer = PackWriter(pack: packID(UInt16(0), &random))
        var commit = Commit(
            volume: volume, sequence: CommitSequence(1), epoch: Epoch(1),
            token: .random(from: &random), state: .open, isFence: true,
            size: ByteCount(UInt64(chunks * Limits.chunkBlocks * Self.blockBytes)),
            blockBytes: Self.blockBytes, cut: RecordSequence(0), labelSeconds: 1,
            slotCount: UInt32(framePacks + 1))
        for first in stride(from: 0, to: chunks, by: 1024) {
            var page = ChunkTablePage(index: UInt32(first / 1024), blockBytes: Self.blockBytes)
            for chunk in first..<min(chunks, first + 1024) {
                let node = Self.node(ChunkIndex(UInt64(chunk)), &random)
                let placed = writer.append(node: node.encode())
                page[chunk - first] = ChunkEntry(
                    node, slot: home, extent: placed.extent, hash: placed.hash)
            }
            commit.chunkPages[page.index] = .packed(writer.append(chunkPage: page.encode()))
        }
        for first in stride(from: 0, through: framePacks, by: 1024) {
            var page = PackTablePage(index: UInt32(first / 1024))
            for slot in first...min(framePacks, first + 1023) {
                let isHome = slot == framePacks
                let live = UInt64(isHome ? chunks : Self.packFrames)
                page[slot - first] = PackEntry(
                    pack: isHome ? writer.pack : packID(UInt16(1 + slot % 60_000), &random),
                    live: live, total: live, bytes: 32 << 20)
            }
            commit.packPages[page.index] = .packed(writer.append(packPage: page.encode()))
        }
        let key = writer.pack.key
        _ = try store.putIfAbsent(key, writer.finish())
        root = LocalRoot(commit: commit, bytes: commit.encode())
    }

    private static func node(_ chunk: ChunkIndex, _ random: inout SplitMix64) -> MapNode {
        var node = MapNode(chunk: chunk, blockBytes: blockBytes)
        let grains = blockBytes / Limits.grainBytes
        for block in 0..<Limits.chunkBlocks {
            let frame = Int(chunk.rawValue) * Limits.chunkBlocks + block
            node[block] = BlockEntry(frames: [
                FramePointer(
                    slot: PackSlot(UInt32(frame / packFrames)),
                    offset: UInt32(64 + frame % packFrames * 85_000), length: 85_000,
                    hash: .random(from: &random), mask: GrainMask(full: grains))
            ])
        }
        return node
    }
}

@Suite("Upload cost")
struct UploadCostTests {
    /// 1 TB has 7,451 chunks, and 64 MiB are 16,384 writes.
    @Test("random 4 KiB over a full, cold terabyte send 1.1 times their data, 5 with the map")
    func randomWrites() throws {
        let made = try FullVolume(chunks: 7451 / 16)
        let volume = try TestVolume(store: made.store, imported: made.root)
        let writes = 16_384 / 16
        let grains = UInt64(made.chunks * Limits.chunkBlocks * 32)
        var random = SplitMix64(seed: 3)
        var written = Set<UInt64>()
        while written.count < writes {
            let grain = random.next() % grains
            if written.insert(grain).inserted {
                try volume.write(grain: Int(grain), volume.noise(4096))
            }
        }
        let before = made.store.counts
        let statistics = try volume.commit()
        let sent = made.store.counts.bytesSent - before.bytesSent
        let dirty = Double(writes * Limits.grainBytes)
        let data = Double(statistics.frameBytes) / dirty
        let all = Double(sent) / dirty
        print("upload cost: data \(data), all \(all), \(statistics.nodes) nodes")
        #expect(data <= 1.1)
        #expect(all <= 5)
        #expect(statistics.blocksWhole == 0, "nothing of the base was at hand")
    }
}
