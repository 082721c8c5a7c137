// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Bounds that only the formats know, with their reasons. The system-wide ones are in `Limits`.

internal import Primitives

public enum FormatLimits {
    /// Slots of a volume's pack table: names in 22 bits bound the page list of a commit.
    public static let packSlotsMax: UInt32 = 1 << 22
    /// Chunks of a volume: what `Limits.volumeBlocksMax` blocks need.
    public static let chunksMax: UInt64 = Limits.volumeBlocksMax / UInt64(Limits.chunkBlocks)
    /// Chunk-table pages of a volume.
    public static let chunkPagesMax = UInt32(chunksMax / UInt64(Limits.tablePageEntries))
    /// Pack-table pages of a volume.
    public static let packPagesMax = packSlotsMax / UInt32(Limits.tablePageEntries)
    /// Bytes of a commit before compression: a decoder refuses more, before it allocates.
    public static let commitBytesMax = 64 << 20
    /// Members of a pack: an index stays below 32 MiB.
    public static let packMembersMax: UInt32 = 1 << 20
    /// Ranges of a block diff of version 1, which a reader holds in memory: 256 MiB. We write at
    /// most a sixteenth of it.
    public static let diffRangesMax: UInt64 = 1 << 24
    /// The header that starts every pack; no member lies below it.
    public static let packHeaderBytes = 64
}
