// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The digest that a commit of some content would have, without making it. It depends on the block
// size and the bytes alone, not on packs.

import Formats
import Primitives
import VolumeMap

/// A volume's digest from the hashes of its whole blocks, which ascend. Zeros are not given.
struct ContentDigest {
    private let blockBytes: Int
    private var node: MapNode?
    private var chunks: [(chunk: ChunkIndex, digest: Hash128)] = []

    init(blockBytes: Int) { self.blockBytes = blockBytes }

    mutating func add(_ block: BlockIndex, _ hash: Hash128) {
        if let node, node.chunk != block.chunk { settle() }
        if node == nil { node = MapNode(chunk: block.chunk, blockBytes: blockBytes) }
        // A digest is of hashes and masks; where a frame lies does not count.
        let frame = FramePointer(
            slot: PackSlot(0), offset: UInt32(FormatLimits.packHeaderBytes), length: 1, hash: hash,
            mask: GrainMask(full: blockBytes / Limits.grainBytes))
        node?[block.entryInChunk] = BlockEntry(frames: [frame])
    }

    private mutating func settle() {
        guard let node = node.take() else { return }
        chunks.append((node.chunk, node.digest()))
    }

    mutating func finish() -> Hash128 {
        settle()
        return Commit.volumeDigest(chunks)
    }
}
