// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The header page of a journal batch: 256 bytes of header, then up to 60 records; the payload
// follows page-aligned. One turn of a volume's shard makes one batch and one `pwritev`. Batches
// form a chain: each carries the header checksum of the one before, across segments.
//
// offset size type  name           meaning
//      0    8 u64   checksum       XXH3-64 of bytes 8 to 4095, seeded by the segment's nonce
//      8    8 u64   magic          "MARTLBAT"
//     16    2 u16   version        1
//     18    2 u16   record count   1 to 60
//     20    4 u32   payload pages  0 to 256, all inside the segment
//     24    8 u64   number         from 1
//     32    8 u64   synced to      the last batch that was synced when this was written; < number
//     40    8 u64   chain before   checksum of the batch before
//     48   16       boot id        of the boot that wrote it
//     64    8 u64   synced seq.    the last record of that batch: a claim up to a cut is void
//     72  184       reserve        zero
//    256   64 each  records        consecutive sequences; payloads in order, without gaps
//                                  unused places are zero

public import Primitives

/// What a batch says of itself.
public struct BatchHeader: Equatable, Sendable {
    public static let byteCount = Limits.grainBytes
    public static let version: UInt16 = 1
    public static let recordsOffset = 256
    static let magic = magicWord("MARTLBAT")

    public var number: BatchNumber
    public var syncedTo: BatchNumber
    public var syncedSequence: RecordSequence
    public var chainBefore: UInt64
    public var bootID: BootID
    public var recordCount: Int
    public var payloadPages: Int

    @inlinable
    public init(
        number: BatchNumber, syncedTo: BatchNumber, syncedSequence: RecordSequence,
        chainBefore: UInt64, bootID: BootID, recordCount: Int, payloadPages: Int
    ) {
        self.number = number
        self.syncedTo = syncedTo
        self.syncedSequence = syncedSequence
        self.chainBefore = chainBefore
        self.bootID = bootID
        self.recordCount = recordCount
        self.payloadPages = payloadPages
    }

    /// The place of a record in the header page.
    @inlinable
    public static func offset(ofRecord index: Int) -> Int {
        recordsOffset + index * JournalRecord.byteCount
    }

    /// Writes the 256 bytes in front of the records, but for the checksum.
    public func encode(into page: UnsafeMutableRawPointer) {
        let counts =
            UInt64(Self.version) | UInt64(recordCount) << 16 | UInt64(payloadPages) << 32
        page.storeBytes(of: Self.magic.littleEndian, toByteOffset: 8, as: UInt64.self)
        page.storeBytes(of: counts.littleEndian, toByteOffset: 16, as: UInt64.self)
        page.storeBytes(of: number.rawValue.littleEndian, toByteOffset: 24, as: UInt64.self)
        page.storeBytes(of: syncedTo.rawValue.littleEndian, toByteOffset: 32, as: UInt64.self)
        page.storeBytes(of: chainBefore.littleEndian, toByteOffset: 40, as: UInt64.self)
        page.storeBytes(of: bootID.low.littleEndian, toByteOffset: 48, as: UInt64.self)
        page.storeBytes(of: bootID.high.littleEndian, toByteOffset: 56, as: UInt64.self)
        page.storeBytes(
            of: syncedSequence.rawValue.littleEndian, toByteOffset: 64, as: UInt64.self)
        (page + 72).initializeMemory(
            as: UInt8.self, repeating: 0, count: Self.recordsOffset - 72)
    }

    /// Computes and stores the checksum of a page whose header and records are written; returns it
    /// as the next batch's `chainBefore`.
    public static func seal(page: UnsafeMutableRawPointer, seed: UInt64) -> UInt64 {
        let checksum = self.checksum(
            of: UnsafeRawBufferPointer(start: page, count: byteCount), seed: seed)
        page.storeBytes(of: checksum.littleEndian, toByteOffset: 0, as: UInt64.self)
        return checksum
    }

    /// What the first eight bytes of a whole page must hold.
    public static func checksum(of page: UnsafeRawBufferPointer, seed: UInt64) -> UInt64 {
        precondition(page.count == byteCount)
        return XXH3.hash(UnsafeRawBufferPointer(rebasing: page[8...]), seed: seed)
    }

    /// True if the page starts like a batch: worth to be decoded.
    public static func mayBegin(_ page: UnsafeRawBufferPointer) -> Bool {
        page.count == byteCount
            && UInt64(littleEndian: page.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
                == magic
    }

    /// Decodes a header page that stands in page `index` of a segment of `segmentPages`, and its
    /// records, whose earlier content is replaced. Trusts nothing. Without a seed, which is lost
    /// with a superblock, the checksum is not looked at: the page must be known by something else.
    public static func decode(
        _ page: UnsafeRawBufferPointer, seed: UInt64?, index: Int, segmentPages: Int,
        records: inout [JournalRecord]
    ) throws(FormatError) -> BatchHeader {
        var reader = FieldReader(page, format: .batch)
        let checksum = try reader.integer(UInt64.self)
        try reader.magic(magic)
        guard page.count == byteCount else {
            throw .truncated(
                .batch, offset: page.count, wanted: byteCount, available: page.count)
        }
        if let seed {
            let expected = Self.checksum(of: page, seed: seed)
            guard checksum == expected else {
                throw .wrongChecksum(.batch, offset: 0, found: checksum, expected: expected)
            }
        }
        try reader.version(version)
        let recordCount = try reader.integer(
            in: 1...UInt16(Limits.batchRecordsMax), field: "record count")
        let pagesMax = max(0, min(Limits.batchPayloadPagesMax, segmentPages - 1 - index))
        let payloadPages = try reader.integer(in: 0...UInt32(pagesMax), field: "payload pages")
        let number = try reader.integer(in: 1...UInt64.max, field: "number")
        let syncedTo = try reader.integer(in: 0...(number - 1), field: "synced to")
        let chainBefore = try reader.integer(UInt64.self)
        let bootID = try reader.identifier(BootID.self)
        let syncedSequence = try reader.integer(UInt64.self)
        try reader.reserved(recordsOffset - reader.offset)
        let header = BatchHeader(
            number: BatchNumber(number), syncedTo: BatchNumber(syncedTo),
            syncedSequence: RecordSequence(syncedSequence), chainBefore: chainBefore,
            bootID: bootID, recordCount: Int(recordCount), payloadPages: Int(payloadPages))
        try header.decodeRecords(&reader, firstPage: index + 1, into: &records)
        guard let first = records.first, syncedSequence < first.sequence.rawValue else {
            throw .badValue(
                .batch, field: "synced sequence", offset: 64, found: syncedSequence)
        }
        return header
    }

    private func decodeRecords(
        _ reader: inout FieldReader, firstPage: Int, into records: inout [JournalRecord]
    ) throws(FormatError) {
        records.removeAll(keepingCapacity: true)
        var nextPage = firstPage
        for _ in 0..<recordCount {
            let start = reader.offset
            let record = try JournalRecord(decoding: try reader.bytes(JournalRecord.byteCount))
            if let last = records.last, record.sequence.rawValue &- 1 != last.sequence.rawValue {
                throw .badValue(
                    .batch, field: "sequence", offset: start + 8, found: record.sequence.rawValue)
            }
            if record.kind == .write {
                guard record.firstPage == UInt32(nextPage) else {
                    throw .badValue(
                        .batch, field: "first page", offset: start + 32,
                        found: UInt64(record.firstPage))
                }
                nextPage += record.payloadPages
            }
            records.append(record)
        }
        guard nextPage - firstPage == payloadPages else {
            throw .badValue(
                .batch, field: "payload pages", offset: 20, found: UInt64(payloadPages))
        }
        try reader.reserved(Self.byteCount - reader.offset)
        try reader.end()
    }
}
