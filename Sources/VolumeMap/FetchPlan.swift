// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Which ranges of which packs to GET for a set of frames. Neighbours in one pack are joined when
// the gap between them is cheaper to download than another request (64 KiB at 90 MB/s is under a
// millisecond, a request 26), up to a size that one worker holds without harm.

package import Formats
internal import Primitives

package enum FetchLimits {
    /// Bytes between two frames that are downloaded rather than skipped.
    static let gapBytesMax: UInt64 = 64 << 10
    /// Bytes of one ranged GET, unless a single frame is larger: 8 MiB of blocks with their
    /// headers.
    package static let rangeBytesMax: UInt64 = 8 << 20 | 64 << 10
    /// Bytes of a map node or table page: a pointer that claims more is damaged.
    package static let nodeBytesMax = 4 << 20
    /// GETs of what comes damaged: memory and lines between the store and here flip bits, and then
    /// the next answer is whole.
    package static let damagedTriesMax = 4
}

/// Bytes of a pack that are wanted, with the caller's number for them.
package struct WantedBytes: Sendable {
    package let pack: PackID
    package let offset: UInt64
    package let length: UInt64
    package let tag: Int

    package init(pack: PackID, extent: PackExtent, tag: Int) {
        self.pack = pack
        offset = UInt64(extent.offset)
        length = UInt64(extent.length)
        self.tag = tag
    }

    var end: UInt64 { offset + length }
}

/// One ranged GET and what it brings.
package struct FetchRange: Sendable {
    package let pack: PackID
    package let offset: UInt64
    package fileprivate(set) var length: UInt64
    package fileprivate(set) var members: [WantedBytes]

    var end: UInt64 { offset + length }
}

/// Joins neighbours into GETs of at most `rangeBytesMax`, unless a single member is larger.
/// Overlapping members (a damaged map can name some) each get their bytes.
package func planRanges(
    _ wanted: [WantedBytes], rangeBytesMax: UInt64 = FetchLimits.rangeBytesMax
) -> [FetchRange] {
    let ordered = wanted.sorted {
        ($0.pack.token, $0.pack.number, $0.offset) < ($1.pack.token, $1.pack.number, $1.offset)
    }
    var ranges: [FetchRange] = []
    for member in ordered {
        if var last = ranges.last, last.pack == member.pack,
            member.offset <= last.end + FetchLimits.gapBytesMax,
            max(member.end, last.end) - last.offset <= rangeBytesMax
        {
            last.length = max(member.end, last.end) - last.offset
            last.members.append(member)
            ranges[ranges.count - 1] = last
        } else {
            ranges.append(
                FetchRange(
                    pack: member.pack, offset: member.offset, length: member.length,
                    members: [member]))
        }
    }
    return ranges
}
