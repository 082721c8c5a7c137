// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The superblock of a journal segment: page 0. Its random nonce seeds every checksum in the
// segment, so that bytes of an earlier use, or bytes that a guest made, never pass for batches of
// this one.
//
// offset size type  name            meaning
//      0    8 u64   checksum        XXH3-64 of bytes 8 to 4095, seeded by the nonce
//      8    8 u64   magic           "MARTLSEG"
//     16    2 u16   version         1
//     18    2       reserve         zero
//     20    4 u32   pages           4 KiB pages of the segment, this one included: 8 to 4096
//     24   16       volume          the volume's id, not zero
//     40    8 u64   generation      from 1; rises at each recovery
//     48    8 u64   nonce           random
//     56    8 u64   first batch     number of the batch in page 1, from 1
//     64    8 u64   chain before    header checksum of the batch before that one
//     72    8 u64   first sequence  of the first record of the first batch, from 1
//     80    8 u64   synced to       the last batch that was synced when this was written
//     88   16       boot id         of the boot that wrote it
//    104    8 u64   synced sequence the last record of that batch: a claim up to a cut is void
//    112 3984       reserve         zero

public import Primitives

/// What a segment says of itself.
public struct SegmentHeader: Equatable, Sendable {
    public static let byteCount = Limits.grainBytes
    public static let version: UInt16 = 1
    public static let pagesMin = 8
    static let magic = magicWord("MARTLSEG")

    public var volume: VolumeID
    public var pages: Int
    public var generation: UInt64
    public var nonce: UInt64
    public var firstBatch: BatchNumber
    public var chainBefore: UInt64
    public var firstSequence: RecordSequence
    public var syncedTo: BatchNumber
    public var syncedSequence: RecordSequence
    public var bootID: BootID

    public init(
        volume: VolumeID, pages: Int, generation: UInt64, nonce: UInt64, firstBatch: BatchNumber,
        chainBefore: UInt64, firstSequence: RecordSequence, syncedTo: BatchNumber,
        syncedSequence: RecordSequence, bootID: BootID
    ) {
        self.volume = volume
        self.pages = pages
        self.generation = generation
        self.nonce = nonce
        self.firstBatch = firstBatch
        self.chainBefore = chainBefore
        self.firstSequence = firstSequence
        self.syncedTo = syncedTo
        self.syncedSequence = syncedSequence
        self.bootID = bootID
    }

    /// Writes the whole page, checksum included.
    public func encode(into page: UnsafeMutableRawPointer) {
        page.initializeMemory(as: UInt8.self, repeating: 0, count: Self.byteCount)
        page.storeBytes(of: Self.magic.littleEndian, toByteOffset: 8, as: UInt64.self)
        page.storeBytes(of: Self.version.littleEndian, toByteOffset: 16, as: UInt16.self)
        page.storeBytes(of: UInt32(pages).littleEndian, toByteOffset: 20, as: UInt32.self)
        let words = [
            volume.low, volume.high, generation, nonce, firstBatch.rawValue, chainBefore,
            firstSequence.rawValue, syncedTo.rawValue, bootID.low, bootID.high,
            syncedSequence.rawValue,
        ]
        for (index, word) in words.enumerated() {
            page.storeBytes(
                of: word.littleEndian, toByteOffset: 24 + index * 8, as: UInt64.self)
        }
        let covered = UnsafeRawBufferPointer(start: page + 8, count: Self.byteCount - 8)
        let checksum = XXH3.hash(covered, seed: nonce)
        page.storeBytes(of: checksum.littleEndian, toByteOffset: 0, as: UInt64.self)
    }

    /// Trusts nothing but the length of `page`.
    public init(decoding page: UnsafeRawBufferPointer) throws(FormatError) {
        var reader = FieldReader(page, format: .segment)
        let checksum = try reader.integer(UInt64.self)
        try reader.magic(Self.magic)
        try reader.version(Self.version)
        try reader.reserved(2)
        let pages = try reader.integer(
            in: UInt32(Self.pagesMin)...UInt32(Limits.segmentPages), field: "pages")
        let volume = try reader.present(VolumeID.self, field: "volume")
        let generation = try reader.integer(in: 1...UInt64.max, field: "generation")
        let nonce = try reader.integer(UInt64.self)
        let firstBatch = try reader.integer(in: 1...UInt64.max, field: "first batch")
        let chainBefore = try reader.integer(UInt64.self)
        let firstSequence = try reader.integer(in: 1...UInt64.max, field: "first sequence")
        let syncedTo = try reader.integer(in: 0...(firstBatch - 1), field: "synced to")
        let bootID = try reader.identifier(BootID.self)
        let syncedSequence = try reader.integer(
            in: 0...(firstSequence - 1), field: "synced sequence")
        try reader.reserved(Self.byteCount - reader.offset)
        try reader.end()
        let covered = UnsafeRawBufferPointer(rebasing: page[8...])
        let expected = XXH3.hash(covered, seed: nonce)
        guard checksum == expected else {
            throw .wrongChecksum(.segment, offset: 0, found: checksum, expected: expected)
        }
        self.init(
            volume: volume, pages: Int(pages), generation: generation, nonce: nonce,
            firstBatch: BatchNumber(firstBatch), chainBefore: chainBefore,
            firstSequence: RecordSequence(firstSequence), syncedTo: BatchNumber(syncedTo),
            syncedSequence: RecordSequence(syncedSequence), bootID: bootID)
    }
}
