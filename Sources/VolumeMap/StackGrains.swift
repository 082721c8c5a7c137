// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Grains of many stacks at once, past the cache: for who stores them again. What the cache holds is
// used, and nothing is put into it, because nobody has asked for these blocks.

package import CleanCache
package import Formats
package import Primitives

/// The upper part of a block's stack.
package struct StackWanted: Sendable {
    /// The cache's key of the block's whole content.
    package let contentKey: Hash128
    /// Newest first; each shows something beside those above it.
    package let frames: [FramePointer]
    /// The grains of them all.
    package let mask: GrainMask

    package init(contentKey: Hash128, frames: [FramePointer], mask: GrainMask) {
        self.contentKey = contentKey
        self.frames = frames
        self.mask = mask
    }
}

extension MapFetcher {
    /// What the frames of each stack show together: its mask's grains, one behind the other. Nil
    /// for a stack one of whose frames is damaged or gone. Throws if the store is away.
    package func grains(
        of stacks: [StackWanted], in root: Root
    ) throws(FetchError) -> [CachedBlock?] {
        var cached: [Int: CachedBlock] = [:]
        var wanted: [FramePointer] = []
        var known: Set<FramePointer> = []
        for (index, stack) in stacks.enumerated() {
            if let content = cache.lookup(stack.contentKey),
                content.bytes.count == root.blockBytes
            {
                cached[index] = Self.cut(stack.mask, from: content.bytes)
                continue
            }
            for frame in stack.frames where known.insert(frame).inserted { wanted.append(frame) }
        }
        let contents = try frames(wanted, of: root)
        let block = FetchBuffer(byteCount: root.blockBytes)
        return stacks.enumerated().map { index, stack in
            if let cached = cached[index] { return cached }
            if stack.frames.count == 1 { return contents[stack.frames[0]] }
            for frame in stack.frames.reversed() {
                guard let content = contents[frame] else { return nil }
                overlay(content.bytes, mask: frame.mask, onto: block.bytes)
            }
            return Self.cut(stack.mask, from: UnsafeRawBufferPointer(block.bytes))
        }
    }

    /// Contents of frames, decoded and checked; those that are damaged or gone are left out.
    private func frames(
        _ wanted: [FramePointer], of root: Root
    ) throws(FetchError) -> [FramePointer: CachedBlock] {
        if wanted.isEmpty { return [:] }
        let decoded = DecodedFrames(wanted, grains: root.grainsPerBlock)
        let ranges = planRanges(try locate(wanted, in: root))
        _ = try reads.read(ranges) { tag, bytes throws(FormatError) in
            try decoded.decode(tag, bytes)
        }
        return decoded.take()
    }

    private static func cut(
        _ mask: GrainMask, from block: UnsafeRawBufferPointer
    ) -> CachedBlock {
        CachedBlock(count: mask.count * Limits.grainBytes) { cut in
            var next = mask.run(from: 0)
            var offset = 0
            while let run = next {
                let count = run.count * Limits.grainBytes
                let start = run.lowerBound * Limits.grainBytes
                let source = block[start..<(start + count)]
                UnsafeMutableRawBufferPointer(rebasing: cut[offset..<(offset + count)])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: source))
                offset += count
                next = mask.run(from: run.upperBound)
            }
        }
    }
}
