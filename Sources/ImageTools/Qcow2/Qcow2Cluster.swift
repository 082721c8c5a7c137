// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Entries of the two levels of a qcow2 map, and the content of compressed clusters. Pure: whether
// what an entry names is there is asked elsewhere.

import CZlib
import CZstd
import Primitives

/// What one cluster of the disk is.
package enum Qcow2Cluster: Equatable, Sendable {
    /// The backing file's content, or zeros.
    case unallocated
    case zeros
    /// At this place of the file.
    case data(UInt64)
    /// From this place of the file on; the stream ends within `count` bytes.
    case compressed(UInt64, count: Int)

    private static let compressedFlag: UInt64 = 1 << 62
    private static let copiedFlag: UInt64 = 1 << 63
    private static let zeroFlag: UInt64 = 1
    static let offsetMask: UInt64 = 0x00FF_FFFF_FFFF_FE00

    /// Decodes an entry of an L2 table.
    package init(l2 entry: UInt64, header: Qcow2Header) throws(ImageError) {
        if entry & Self.compressedFlag != 0 {
            // The more bits a cluster has, the more of them say how long the stream is.
            let shift = UInt64(62 - (header.clusterBits - 8))
            let offset = entry & ((1 << shift) - 1)
            let sectors = (entry & (Self.compressedFlag - 1)) >> shift
            self = .compressed(
                offset, count: Int(sectors + 1) * Limits.sectorBytes - Int(offset % 512))
            return
        }
        let offset = entry & Self.offsetMask
        let rest = entry & ~(Self.offsetMask | Self.copiedFlag)
        guard rest == 0 || (rest == Self.zeroFlag && header.version >= 3) else {
            throw .damaged(detail: "an entry of an L2 table is \(String(entry, radix: 16))")
        }
        guard offset.isMultiple(of: UInt64(header.clusterBytes)) else {
            throw .damaged(detail: "a cluster lies at \(offset)")
        }
        if rest == Self.zeroFlag {
            self = .zeros
        } else {
            self = offset == 0 ? .unallocated : .data(offset)
        }
    }

    /// Decodes an entry of the L1 table: the place of an L2 table, or nil.
    package static func table(
        l1 entry: UInt64, header: Qcow2Header
    ) throws(ImageError) -> UInt64? {
        let offset = entry & offsetMask
        guard entry & ~(offsetMask | copiedFlag) == 0,
            offset.isMultiple(of: UInt64(header.clusterBytes))
        else { throw .damaged(detail: "an entry of its L1 table is \(String(entry, radix: 16))") }
        return offset == 0 ? nil : offset
    }
}

/// The content of compressed clusters. Neither writes past `target`, nor allocates by what the
/// stream says beyond the window of `zstdWindowBits`.
package enum Qcow2Stream {
    /// A window of 8 MiB: four of the largest clusters.
    private static let zstdWindowBits: Int32 = 23

    /// Fills `target`, a cluster, from a stream that begins with `source` and may end before it.
    package static func decode(
        _ source: UnsafeRawBufferPointer, _ compression: Qcow2Header.Compression,
        into target: UnsafeMutableRawBufferPointer
    ) throws(ImageError) {
        let written: Int
        switch compression {
        case .deflate:
            written = czlib_inflate_raw(
                source.baseAddress, UInt32(source.count), target.baseAddress,
                UInt32(target.count))
        case .zstd: written = zstd(source, into: target)
        }
        guard written == target.count else {
            throw .damaged(detail: "a compressed cluster does not decode")
        }
    }

    private static func zstd(
        _ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
    ) -> Int {
        guard let context = ZSTD_createDCtx() else { return -1 }
        defer { ZSTD_freeDCtx(context) }
        guard
            ZSTD_isError(
                ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, zstdWindowBits)) == 0
        else { return -1 }
        var input = ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: 0)
        var output = ZSTD_outBuffer(dst: target.baseAddress, size: target.count, pos: 0)
        while output.pos < output.size {
            let before = (input.pos, output.pos)
            let result = ZSTD_decompressStream(context, &output, &input)
            if ZSTD_isError(result) != 0 { return -1 }
            // The frame is over, or nothing more comes of what is there.
            if result == 0 || before == (input.pos, output.pos) { break }
        }
        return output.pos
    }
}
