// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Whether validated bytes are the page that was asked for. Pages of both tables are cached under
// hashes of one domain, so that a damaged page list can lead to a page of the other kind or of
// another place.

internal import Primitives

extension ChunkTablePageView {
    /// True if `bytes`, a validated page of some table, are page `index` of a chunk table over
    /// blocks of `blockBytes`. Does not allocate.
    public static func isPage(
        _ bytes: UnsafeRawBufferPointer, index: UInt32, blockBytes: Int
    ) -> Bool {
        isTablePage(
            bytes, magic: ChunkEntry.magic, index: index, blockBytes: UInt32(blockBytes))
    }
}

extension PackTablePageView {
    /// True if `bytes`, a validated page of some table, are page `index` of a pack table.
    public static func isPage(_ bytes: UnsafeRawBufferPointer, index: UInt32) -> Bool {
        isTablePage(bytes, magic: PackEntry.magic, index: index, blockBytes: 0)
    }
}

private func isTablePage(
    _ bytes: UnsafeRawBufferPointer, magic: UInt64, index: UInt32, blockBytes: UInt32
) -> Bool {
    guard bytes.count > SparseDirectory.end else { return false }
    return UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)) == magic
        && UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self)) == index
        && UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt32.self))
            == blockBytes
}
