// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Blocks that the next commit is to store again although nobody has written them: gathered from a
// published root, taken by a later commit for as far as they are still the same there. Stacks are
// compared pointer by pointer; equal hashes mean equal grains, so that what is taken is right
// whatever happened in between.

internal import CleanCache
internal import Formats
internal import Primitives
internal import VolumeMap

/// One block's stack as it was seen, and what its newest frames show.
struct MovedStack: Sendable {
    let block: BlockIndex
    /// The whole stack, newest first.
    let old: [FramePointer]
    /// How many of them, from the newest, become one frame.
    let count: Int
    /// The grains that those hold.
    let mask: GrainMask
    /// The grains of the mask, one behind the other, checked against the frames' hashes.
    let grains: CachedBlock
}

/// Blocks and nodes to be stored again. Immutable; given up with its last reference.
public final class Relocation: Sendable {
    /// Ascending by block.
    let stacks: [MovedStack]
    /// Chunks whose node must move, with the hash of the node that was seen.
    let nodes: [ChunkIndex: Hash128]
    /// Bytes of grains that are held in memory.
    public let grainBytes: Int
    private let place: CompactionPlace?

    init(stacks: [MovedStack], nodes: [ChunkIndex: Hash128], place: CompactionPlace? = nil) {
        self.stacks = stacks
        self.nodes = nodes
        self.place = place
        grainBytes = stacks.reduce(0) { $0 + $1.grains.bytes.count }
    }

    public var isEmpty: Bool { stacks.isEmpty && nodes.isEmpty }

    /// Blocks, as far as they are still the same.
    public var blockCount: Int { stacks.count }

    /// The chunks that are touched.
    var chunks: Set<ChunkIndex> { Set(stacks.lazy.map(\.block.chunk)).union(nodes.keys) }

    /// Stacks of one chunk.
    func stacks(in chunk: ChunkIndex) -> ArraySlice<MovedStack> {
        let first = Self.position(of: chunk.firstBlock, in: stacks)
        let end = Self.position(of: chunk.next.firstBlock, in: stacks)
        return stacks[first..<end]
    }

    /// The first stack at or after a block.
    private static func position(of block: BlockIndex, in stacks: [MovedStack]) -> Int {
        var low = 0
        var high = stacks.count
        while low < high {
            let middle = (low + high) / 2
            if stacks[middle].block < block { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
