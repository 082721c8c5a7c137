// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What becomes of one written block. A commit does not fetch data if it can help it:
//
//   every grain written, or the base is zeros or in the cache ─▶ the block is whole
//        all zero ────────▶ the stack goes
//        as before ───────▶ nothing
//        else ────────────▶ one full frame
//   else ─▶ a delta frame on the stack; frames that nothing shows through any more leave it;
//           if it would be the fifth, the base is fetched after all and the block is whole

internal import CleanCache
internal import Formats
internal import HostIO
internal import ObjectStore
internal import Primitives
internal import VolumeMap

extension CommitPass {
    /// What is to become of a block that has a leaf, before anything of the leaf is read.
    mutating func plan(
        _ block: BlockIndex, leaf: UnsafePointer<UInt32>, old: [FramePointer]
    ) throws(CommitError) -> BlockPlan {
        let written = source.written(leaf, realGrains: realGrains(of: block))
        let shape = try shape(of: block, written: written, old: old)
        return BlockPlan(block: block, old: old, written: written, shape: shape)
    }

    private mutating func shape(
        of block: BlockIndex, written: WrittenGrains, old: [FramePointer]
    ) throws(CommitError) -> BlockPlan.Shape {
        if written.isWhole || old.isEmpty { return .whole(base: nil) }
        if let base = try baseAtHand(of: block, old: old) { return .whole(base: base) }
        let visible = Self.visible(old, under: written.mask)
        guard visible.count >= Limits.stackFramesMax else { return .delta(above: visible) }
        sink.statistics.stacksMerged += 1
        return .whole(base: try fetched(block))
    }

    /// The block's new stack, newest first, empty for zeros; nil if nothing changes.
    mutating func take(
        _ plan: BlockPlan, from place: BlockPlace
    ) throws(CommitError) -> [FramePointer]? {
        sink.statistics.blocks += 1
        switch place.outcome {
        case .failed(let error): throw error
        case .zeros:
            sink.statistics.blocksZeroed += 1
            return plan.old.isEmpty ? nil : []
        case .unchanged:
            sink.statistics.blocksUnchanged += 1
            return nil
        case .frame(let hash, let count, let content):
            let bytes = place.frame(bytes: count)
            guard case .delta(let above) = plan.shape else {
                let frame = try sink.frame(made: bytes, mask: GrainMask(full: grains), hash: hash)
                if let content { cache.insert(hash, content) }
                sink.statistics.blocksWhole += 1
                return [frame]
            }
            let frame = try sink.frame(made: bytes, mask: plan.written.mask, hash: hash)
            sink.statistics.blocksStacked += 1
            return [frame] + above
        }
    }

    /// The content below what was written, if it costs no GET. An earlier try decides for all: what
    /// it had is fetched if it is gone, and what it did not have is not looked at.
    private func baseAtHand(
        of block: BlockIndex, old: [FramePointer]
    ) throws(CommitError) -> CachedBlock? {
        let before = inputs.progress?.hadBase(block)
        if before == false { return nil }
        let key = BlockEntry(frames: old).contentKey(blockBytes: parent.blockBytes)
        if let base = cache.lookup(key), base.bytes.count == parent.blockBytes {
            inputs.progress?.note(block, hadBase: true)
            return base
        }
        if before == true { return try fetched(block) }
        inputs.progress?.note(block, hadBase: false)
        return nil
    }

    /// The frames of a stack that show something beside `mask` and the frames above them.
    static func visible(
        _ old: [FramePointer], under mask: GrainMask
    ) -> [FramePointer] {
        var above = mask
        var visible: [FramePointer] = []
        for frame in old where !frame.mask.isSubset(of: above) {
            visible.append(frame)
            above.formUnion(frame.mask)
        }
        return visible
    }

    private func fetched(_ block: BlockIndex) throws(CommitError) -> CachedBlock? {
        do throws(FetchError) { return try fetcher.content(of: block, in: parent) } catch {
            throw .fetch(error)
        }
    }

    /// Grains of the block that lie inside the volume at the cut.
    private func realGrains(of block: BlockIndex) -> Int {
        let grainBytes = UInt64(Limits.grainBytes)
        let first = block.rawValue * UInt64(grains)
        let end = (inputs.newSize.rawValue + grainBytes - 1) / grainBytes
        return Int(min(end - first, UInt64(grains)))
    }
}
