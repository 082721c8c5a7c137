// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What an image needs of one block, decided from its stack, and for a difference from the stack of
// the older commit as well. No data is read here. The one thing to know: frames are equal if their
// masks and hashes are, wherever they lie, and then so is what they hold.

import Formats
import Primitives
import VolumeMap

/// Grains of a block that go into an image.
struct BlockDemand {
    /// What of the grains goes into the image.
    enum Filter {
        /// All of them.
        case all
        /// Those that differ from the older content, which is read as well: frames, newest first;
        /// none: zeros.
        case unlike([FramePointer])
    }

    let block: BlockIndex
    /// Never empty.
    let grains: GrainMask
    /// The target's stack, newest first; none: the grains are zeros.
    let frames: [FramePointer]
    let filter: Filter

    init(
        _ block: BlockIndex, _ grains: GrainMask, _ frames: [FramePointer], _ filter: Filter = .all
    ) {
        self.block = block
        self.grains = grains
        self.frames = frames
        self.filter = filter
    }
}

extension BlockDemand {
    /// A whole block of an image that stands alone.
    static func whole(_ block: BlockIndex, _ target: StackView, grains: Int) -> BlockDemand {
        BlockDemand(block, GrainMask(full: grains), target.entry.frames)
    }

    /// What may differ from `base`; nil: nothing does. A stack that is nil is a block of zeros.
    ///
    /// A rewrite whose delta repeats what was there is told as a change: to find out, the old
    /// content would have to be read. Where the stacks stand on different frames it is read.
    static func change(
        _ block: BlockIndex, _ target: StackView?, from base: StackView?, grains: Int
    ) -> BlockDemand? {
        guard let target else { return base.map { BlockDemand(block, held($0), []) } }
        guard let base else {
            return BlockDemand(block, held(target), target.entry.frames, .unlike([]))
        }
        if target.contentKey == base.contentKey { return nil }
        let (new, old) = (target.entry.frames, base.entry.frames)
        if let bottom = new.last, let oldBottom = old.last {
            let isFull = bottom.isFull(grains: grains)
            let wasFull = oldBottom.isFull(grains: grains)
            if isFull == wasFull, !isFull || isSame(bottom, oldBottom) {
                let changed = uncommon(new, old, grains: grains)
                return changed.isEmpty ? nil : BlockDemand(block, changed, new)
            }
        }
        let whole = GrainMask(full: grains)
        // Two whole blocks with different hashes differ: the older one need not be seen.
        if new.count == 1, old.count == 1, new[0].isFull(grains: grains),
            old[0].isFull(grains: grains)
        {
            return BlockDemand(block, whole, new)
        }
        return BlockDemand(block, whole, new, .unlike(old))
    }

    /// All of the block as it is, for one who stores it anew.
    func ofWholeBlock(_ target: StackView?, grains: Int) -> BlockDemand {
        BlockDemand(block, GrainMask(full: grains), target?.entry.frames ?? [])
    }

    /// Grains that a stack says something about; the others are zeros.
    private static func held(_ stack: StackView) -> GrainMask {
        var mask = GrainMask()
        for index in 0..<stack.count { mask.formUnion(stack[index].mask) }
        return mask
    }

    private static func isSame(_ left: FramePointer, _ right: FramePointer) -> Bool {
        left.hash == right.hash && left.mask == right.mask
    }

    /// Grains that the two stacks take from different frames.
    private static func uncommon(
        _ new: [FramePointer], _ old: [FramePointer], grains: Int
    ) -> GrainMask {
        var same = GrainMask(full: grains)
        for frame in new { same = same.subtracting(frame.mask) }
        for frame in old { same = same.subtracting(frame.mask) }
        let shown = covers(old, GrainMask(full: grains))
        for (frame, cover) in covers(new, GrainMask(full: grains)) {
            for (other, otherCover) in shown where isSame(frame, other) {
                same.formUnion(cover.intersection(otherCover))
            }
        }
        return GrainMask(full: grains).subtracting(same)
    }
}

/// What of `grains` each frame of a stack contributes, newest first: what no newer one covers.
/// Frames that contribute nothing are left out: they need not be read.
func covers(
    _ frames: [FramePointer], _ grains: GrainMask
) -> [(frame: FramePointer, cover: GrainMask)] {
    var rest = grains
    var found: [(frame: FramePointer, cover: GrainMask)] = []
    for frame in frames {
        let cover = frame.mask.intersection(rest)
        if cover.isEmpty { continue }
        rest = rest.subtracting(frame.mask)
        found.append((frame, cover))
    }
    return found
}
