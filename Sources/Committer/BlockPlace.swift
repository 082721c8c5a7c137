// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One written block on its way to a pack: read from the journal, laid over its base, looked at,
// hashed and made into a frame. That is most of what a commit costs and needs nothing but the
// block, so a few are made side by side, while one thread takes them into the pack in their order.

import CleanCache
import Formats
import HostIO
import Journal
import Primitives
import VolumeMap

/// What is to become of a written block, as far as its map entry and the cache tell.
struct BlockPlan: Sendable {
    enum Shape: Sendable {
        /// One full frame. Without a base, what was not written is zeros.
        case whole(base: CachedBlock?)
        /// A frame of the written grains, above these.
        case delta(above: [FramePointer])
    }

    let block: BlockIndex
    let old: [FramePointer]
    let written: WrittenGrains
    let shape: Shape
}

/// What has become of it.
enum BlockOutcome {
    case zeros
    case unchanged
    /// Its frame lies in the place. The content is given for whole blocks.
    case frame(Hash128, frameBytes: Int, content: CachedBlock?)
    case failed(CommitError)
}

/// The memory in which one block after the other is made into a frame.
final class BlockPlace: @unchecked Sendable {
    // Confined: to the thread that packs it from `pack` until that returns, else to the one that
    // builds the commit.
    private let blockBytes: Int
    private let frame: UnsafeMutableRawBufferPointer
    /// The grains of a delta, one behind the other.
    private let delta: UnsafeMutableRawBufferPointer
    private(set) var outcome = BlockOutcome.unchanged

    private var grains: Int { blockBytes / Limits.grainBytes }

    init(blockBytes: Int) {
        self.blockBytes = blockBytes
        frame = .allocate(
            byteCount: Frame.byteCountMax(grains: blockBytes / Limits.grainBytes),
            alignment: Limits.grainBytes)
        delta = .allocate(byteCount: blockBytes, alignment: Limits.grainBytes)
    }

    deinit {
        frame.deallocate()
        delta.deallocate()
    }

    /// The first bytes of the memory for frames. Valid until the next block is packed.
    func frame(bytes count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: frame[..<count])
    }

    /// Makes the block's frame, unless it is zeros or what it was. `leaf` is the block's.
    func pack<Storage: StorageDirectory>(
        _ plan: BlockPlan, leaf: UnsafePointer<UInt32>, from source: GrainSource<Storage>,
        settings: PackSettings
    ) {
        do throws(CommitError) {
            switch plan.shape {
            case .whole(let base):
                let content = try whole(plan, base, leaf, source)
                outcome = look(at: content, plan, base, settings)
            case .delta:
                let mask = plan.written.mask
                let content = UnsafeMutableRawBufferPointer(
                    rebasing: delta[..<(mask.count * Limits.grainBytes)])
                try source.gather(leaf, into: content)
                let bytes = UnsafeRawBufferPointer(content)
                let hash = Frame.hash(ofDelta: bytes, mask: mask, grains: grains)
                outcome = encoded(bytes, mask: mask, hash, settings, content: nil)
            }
        } catch { outcome = .failed(error) }
    }

    /// Filled where the cache is to keep it.
    private func whole<Storage: StorageDirectory>(
        _ plan: BlockPlan, _ base: CachedBlock?, _ leaf: UnsafePointer<UInt32>,
        _ source: GrainSource<Storage>
    ) throws(CommitError) -> CachedBlock {
        try CachedBlock(count: blockBytes) { content throws(CommitError) in
            try source.fill(content, from: leaf)
            if let base { Self.underlay(base.bytes, below: content, except: plan.written.mask) }
        }
    }

    private func look(
        at content: CachedBlock, _ plan: BlockPlan, _ base: CachedBlock?, _ settings: PackSettings
    ) -> BlockOutcome {
        if isAllZero(content.bytes) { return .zeros }
        if let base, isEqual(content.bytes, base.bytes) { return .unchanged }
        let hash = Frame.hash(ofBlock: content.bytes)
        if let top = plan.old.first, top.isFull(grains: grains), top.hash == hash {
            return .unchanged
        }
        return encoded(
            content.bytes, mask: GrainMask(full: grains), hash, settings, content: content)
    }

    private func encoded(
        _ bytes: UnsafeRawBufferPointer, mask: GrainMask, _ hash: Hash128,
        _ settings: PackSettings, content: CachedBlock?
    ) -> BlockOutcome {
        let made = Frame.encode(
            bytes, mask: mask, hash: hash, grains: grains, codec: settings.codec,
            zstdLevel: settings.zstdLevel, into: frame)
        return .frame(hash, frameBytes: made.count, content: content)
    }

    /// Lays the base under the grains that `mask` does not hold.
    private static func underlay(
        _ base: UnsafeRawBufferPointer, below content: UnsafeMutableRawBufferPointer,
        except mask: GrainMask
    ) {
        precondition(base.count == content.count)
        for grain in 0..<(content.count / Limits.grainBytes) where !mask.contains(grain) {
            let range = (grain * Limits.grainBytes)..<((grain + 1) * Limits.grainBytes)
            UnsafeMutableRawBufferPointer(rebasing: content[range])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: base[range]))
        }
    }
}

/// A few neighbouring blocks, packed side by side. Confined to the thread that builds the commit.
struct BlockBatch<Storage: StorageDirectory> {
    /// Bytes of blocks that are packed at one time: as much again for their frames.
    private static var bytesMax: Int { 2 << 20 }

    let blocksMax: Int
    private let blockBytes: Int
    private var places: [BlockPlace] = []

    init(blockBytes: Int) {
        self.blockBytes = blockBytes
        blocksMax = max(1, Self.bytesMax / blockBytes)
    }

    /// Makes the frames of `plans`, not more than `blocksMax`: one place for each, valid until the
    /// next call.
    mutating func pack(
        _ plans: [BlockPlan], of inputs: CommitInputs<Storage>, from source: GrainSource<Storage>,
        _ spread: FetchSpread
    ) -> ArraySlice<BlockPlace> {
        precondition(plans.count <= blocksMax)
        while places.count < plans.count { places.append(BlockPlace(blockBytes: blockBytes)) }
        let (places, frozen, settings) = (places, inputs.frozen, inputs.settings)
        spread(plans.count) { index in
            guard let leaf = frozen.leaf(of: plans[index].block) else {
                preconditionFailure("only blocks with a leaf are planned")
            }
            places[index].pack(plans[index], leaf: leaf, from: source, settings: settings)
        }
        return places[..<plans.count]
    }
}
