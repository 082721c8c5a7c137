// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The buffers for blocks that move, allocated once for a commit. And the loops that every dirty
// byte passes.

internal import Formats
internal import Primitives

/// Working memory of one commit, confined to the thread that builds it.
final class CommitScratch {
    /// The block at hand, zero-padded to the block size.
    let block: UnsafeMutableRawBufferPointer
    /// A frame, before it goes to its pack.
    let frame: UnsafeMutableRawBufferPointer

    init(blockBytes: Int) {
        let alignment = Limits.grainBytes
        block = .allocate(byteCount: blockBytes, alignment: alignment)
        frame = .allocate(
            byteCount: Frame.byteCountMax(grains: blockBytes / Limits.grainBytes),
            alignment: alignment)
    }

    deinit {
        block.deallocate()
        frame.deallocate()
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
