// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Every bound of the system in one place: unit, value, reason. Relations between them are checked
// by `Limits.check()`, called once at start and by a test.

public enum Limits {
    /// Bytes of a grain: the unit of the journal and of partial writes (a page of the host).
    public static let grainBytes = 4096
    /// The unit of sizes and requests: a sector.
    public static let sectorBytes = 512

    /// Bytes of a block: default, least, most; a power of two.
    public static let blockBytesDefault = 128 << 10
    public static let blockBytesMin = 4 << 10
    public static let blockBytesMax = 1 << 20
    /// Blocks of a volume at most: chunk and page counts stay small enough to list in a commit.
    public static let volumeBlocksMax: UInt64 = 1 << 27
    /// Bytes of a volume at most: 16 TB.
    public static let volumeBytesMax: UInt64 = 16_000_000_000_000

    /// Blocks of a chunk: the entries of a map node.
    public static let chunkBlocks = 1024
    /// Entries of a chunk-table or pack-table page.
    public static let tablePageEntries = 1024
    /// Frames of a block's stack.
    public static let stackFramesMax = 4

    /// Bytes of a guest request's payload at most, as NBD announces it.
    public static let requestBytesMax = 32 << 20

    /// Bytes of a journal segment: superblock page and batches.
    public static let segmentBytes = 16 << 20
    /// Pages of a journal segment.
    public static let segmentPages = segmentBytes / grainBytes
    /// Records of a batch: what the 4 KiB header page holds.
    public static let batchRecordsMax = 60
    /// Payload pages of a batch: 1 MiB, so that one write-ahead never blocks a shard for long.
    public static let batchPayloadPagesMax = 256
    /// Segments of one journal: bounds page numbers to 32 bits and a journal to 64 GiB.
    public static let journalSegmentsMax = 4096

    /// Bytes of packed data at which a pack is closed.
    public static let packBytesTarget = 32 << 20
    /// Bytes of any pack: a decoder refuses more.
    public static let packBytesMax: UInt64 = 1 << 30

    /// The largest number that is read of what somebody counts on from: commits, records, documents
    /// of a series. Half of what the type holds: nobody who counts on from one comes to its end.
    public static let numberMax: UInt64 = 1 << 63 - 1
    /// The same of epochs.
    public static let epochMax: UInt32 = 1 << 31 - 1

    /// Characters of a name, and bytes of an API body.
    public static let nameCharactersMax = 128
    public static let apiBodyBytesMax = 64 << 10
    /// Bytes of a JSON document (ref, identity): far above any that we write.
    public static let documentBytesMax = 64 << 10

    /// Events that wait in a shard's mailbox before senders block.
    public static let mailboxEventsMax = 4096
    /// Closures that wait for a worker before submitters block: the effects of all volumes of a
    /// host.
    public static let workerQueueMax = 4096

    /// Fetches of one volume in flight: with the largest block they stay below the least cache.
    public static let volumeFetchesMax = 64
    /// Bytes of the RAM clean cache at least.
    public static let cacheBytesMin = 128 << 20

    /// Traps if the constants above contradict one another.
    public static func check() {
        precondition(blockBytesMin.isMultiple(of: grainBytes))
        precondition(blockBytesMax <= Int(UInt32.max))
        precondition(segmentBytes == segmentPages * grainBytes)
        precondition(
            1 + 1 + batchPayloadPagesMax < segmentPages,
            "a segment holds its superblock and the largest batch")
        precondition(
            UInt64(journalSegmentsMax) * UInt64(segmentPages) <= UInt64(UInt32.max),
            "a journal page number fits 32 bits")
        precondition(
            batchRecordsMax * 64 + 256 == grainBytes, "a batch header is one page")
        precondition(
            2 * volumeFetchesMax * blockBytesMax <= cacheBytesMin,
            "what is being fetched cannot evict itself")
    }
}
