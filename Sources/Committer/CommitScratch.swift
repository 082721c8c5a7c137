// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The buffers of one commit, allocated once: a block, the delta cut out of it, and the frame made
// of either. And the loops over them that every dirty byte passes.

internal import Formats
internal import Primitives

/// Working memory of one commit, confined to the thread that builds it.
final class CommitScratch {
    /// The block at hand, zero-padded to the block size.
    let block: UnsafeMutableRawBufferPointer
    /// The grains of a delta frame, one behind the other.
    let delta: UnsafeMutableRawBufferPointer
    /// A frame, before it goes to its pack.
    let frame: UnsafeMutableRawBufferPointer

    init(blockBytes: Int) {
        let alignment = Limits.grainBytes
        block = .allocate(byteCount: blockBytes, alignment: alignment)
        delta = .allocate(byteCount: blockBytes, alignment: alignment)
        frame = .allocate(
            byteCount: Frame.byteCountMax(grains: blockBytes / Limits.grainBytes),
            alignment: alignment)
    }

    deinit {
        block.deallocate()
        delta.deallocate()
        frame.deallocate()
    }

    /// Lays the base under the grains that `mask` does not hold.
    func underlay(_ base: UnsafeRawBufferPointer, except mask: GrainMask) {
        precondition(base.count == block.count)
        for grain in 0..<(block.count / Limits.grainBytes) where !mask.contains(grain) {
            let range = (grain * Limits.grainBytes)..<((grain + 1) * Limits.grainBytes)
            UnsafeMutableRawBufferPointer(rebasing: block[range])
                .copyMemory(from: UnsafeRawBufferPointer(rebasing: base[range]))
        }
    }

    /// Gathers the grains of `mask` from the block; the result lies in `delta`.
    func gather(_ mask: GrainMask) -> UnsafeRawBufferPointer {
        var count = 0
        for grain in 0..<(block.count / Limits.grainBytes) where mask.contains(grain) {
            let start = grain * Limits.grainBytes
            UnsafeMutableRawBufferPointer(rebasing: delta[count..<(count + Limits.grainBytes)])
                .copyMemory(
                    from: UnsafeRawBufferPointer(
                        rebasing: block[start..<(start + Limits.grainBytes)]))
            count += Limits.grainBytes
        }
        return UnsafeRawBufferPointer(rebasing: delta[0..<count])
    }
}

/// True if every byte is zero. The count is a multiple of 64, the address of 8.
package func isAllZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
    precondition(bytes.count.isMultiple(of: 64))
    var offset = 0
    while offset < bytes.count {
        var any: UInt64 = 0
        for word in 0..<8 {
            any |= bytes.load(fromByteOffset: offset &+ word &* 8, as: UInt64.self)
        }
        if any != 0 { return false }
        offset &+= 64
    }
    return true
}

/// True if both hold the same bytes. The counts are equal multiples of 8, the addresses of 8.
package func isEqual(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
    precondition(left.count == right.count && left.count.isMultiple(of: 8))
    var offset = 0
    while offset < left.count {
        if left.load(fromByteOffset: offset, as: UInt64.self)
            != right.load(fromByteOffset: offset, as: UInt64.self)
        {
            return false
        }
        offset &+= 8
    }
    return true
}
