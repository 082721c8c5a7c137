// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Storing a block again that nobody has written: compaction's part of a commit.

internal import CleanCache
internal import Formats
internal import HostIO
internal import ObjectStore
internal import Primitives
internal import VolumeMap

extension CommitPass {
    /// The block's new stack, empty for zeros: what was gathered as one frame, above it what was
    /// written since, below it what stays. Nil if what was gathered is not there any more.
    mutating func moved(
        _ stack: MovedStack, now: [FramePointer]
    ) throws(CommitError) -> [FramePointer]? {
        let over = now.count - stack.old.count
        guard over >= 0, now[over...].elementsEqual(stack.old) else {
            sink.statistics.blocksOutrun += 1
            return nil
        }
        sink.statistics.blocksMoved += 1
        let below: [FramePointer]
        if stack.count == stack.old.count || stack.mask.isFull(grains: grains) {
            below = try movedWhole(stack)
        } else {
            below = try movedTop(stack)
        }
        let frames = Array(now[..<over]) + below
        keepCached(now, as: frames)
        return frames
    }

    /// The rest of the stack goes on showing below.
    private mutating func movedTop(_ stack: MovedStack) throws(CommitError) -> [FramePointer] {
        let content = stack.grains.bytes
        let hash =
            stack.count == 1
            ? stack.old[0].hash : Frame.hash(ofDelta: content, mask: stack.mask, grains: grains)
        let frame = try sink.frame(content, mask: stack.mask, hash: hash, room: scratch.frame)
        return [frame] + Self.visible(Array(stack.old[stack.count...]), under: stack.mask)
    }

    /// Nothing below shows: a whole block, padded with zeros.
    private mutating func movedWhole(
        _ stack: MovedStack
    ) throws(CommitError) -> [FramePointer] {
        if !stack.mask.isFull(grains: grains) {
            _ = scratch.block.initializeMemory(as: UInt8.self, repeating: 0)
        }
        overlay(
            stack.grains.bytes, mask: stack.mask, onto: scratch.block)
        let content = UnsafeRawBufferPointer(scratch.block)
        if isAllZero(content) { return [] }
        let top = stack.old[0]
        let hash = top.isFull(grains: grains) ? top.hash : Frame.hash(ofBlock: content)
        return [
            try sink.frame(
                content, mask: GrainMask(full: grains), hash: hash, room: scratch.frame)
        ]
    }

    /// A block that is in the cache under its old key goes on being found there.
    private func keepCached(_ old: [FramePointer], as new: [FramePointer]) {
        guard !new.isEmpty else { return }
        let before = BlockEntry(frames: old).contentKey(blockBytes: parent.blockBytes)
        let after = BlockEntry(frames: new).contentKey(blockBytes: parent.blockBytes)
        guard before != after, cache.contains(before), let content = cache.lookup(before),
            content.bytes.count == parent.blockBytes
        else { return }
        _ = cache.insert(after, content)
    }
}
