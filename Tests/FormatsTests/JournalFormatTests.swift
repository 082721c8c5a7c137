// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The journal's three formats: bytes fixed for ever for version 1, every flipped bit refused, and
// every rule between fields. Regenerate with MARTLET_REGENERATE_GOLDENS=1 after a deliberate
// change.

import Formats
import Foundation
import Primitives
import Testing

@Suite struct JournalFormatTests {
    private static let nonce: UInt64 = 0x0123_4567_89AB_CDEF
    private static let boot = BootID(low: 0xB007, high: 0xB008)
    private static let segmentPages = 64
    private static let headerPage = 5

    private static let segment = SegmentHeader(
        volume: VolumeID(low: 0x1122_3344_5566_7788, high: 0x99AA_BBCC_DDEE_FF00), pages: 4096,
        generation: 3, nonce: nonce, firstBatch: BatchNumber(17), chainBefore: 0xFEED_FACE,
        firstSequence: RecordSequence(1000), syncedTo: BatchNumber(16),
        syncedSequence: RecordSequence(999), bootID: boot)

    private static let header = BatchHeader(
        number: BatchNumber(17), syncedTo: BatchNumber(15), syncedSequence: RecordSequence(990),
        chainBefore: 0xFEED_FACE, bootID: boot, recordCount: 4, payloadPages: 3)

    private static let records: [JournalRecord] = [
        JournalRecord(
            kind: .write, continues: true, epoch: Epoch(2), sequence: RecordSequence(1000),
            offset: 8192, length: 8192, firstPage: 6, checksum: 0xABCD),
        JournalRecord(
            kind: .write, continues: false, epoch: Epoch(2), sequence: RecordSequence(1001),
            offset: 1 << 40, length: 4096, firstPage: 8, checksum: 0xEF01),
        JournalRecord(
            kind: .trim, continues: false, epoch: Epoch(2), sequence: RecordSequence(1002),
            offset: 0, length: 1 << 43),
        JournalRecord(
            kind: .cut, continues: false, epoch: Epoch(2), sequence: RecordSequence(1003),
            offset: 44, length: 0),
    ]

    private static func encode(_ body: (UnsafeMutableRawPointer) -> Void) -> [UInt8] {
        let page = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 4096)
        defer { page.deallocate() }
        page.initializeMemory(as: UInt8.self, repeating: 0, count: 4096)
        body(page)
        return [UInt8](UnsafeRawBufferPointer(start: page, count: 4096))
    }

    private static func batch(
        _ header: BatchHeader = header, _ records: [JournalRecord] = records
    ) -> [UInt8] {
        encode { page in
            for (index, record) in records.enumerated() {
                record.encode(into: page + BatchHeader.offset(ofRecord: index))
            }
            header.encode(into: page)
            _ = BatchHeader.seal(page: page, seed: nonce)
        }
    }

    private static func decodeBatch(
        _ bytes: [UInt8], seed: UInt64 = nonce, index: Int = headerPage
    ) throws -> (BatchHeader, [JournalRecord]) {
        var records: [JournalRecord] = []
        let header = try bytes.withUnsafeBytes {
            try BatchHeader.decode(
                $0, seed: seed, index: index, segmentPages: segmentPages, records: &records)
        }
        return (header, records)
    }

    private static func golden(_ name: String, _ encoded: [UInt8]) throws -> [UInt8] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Goldens").appendingPathComponent(name + ".bin")
        if ProcessInfo.processInfo.environment["MARTLET_REGENERATE_GOLDENS"] == "1" {
            try Data(encoded).write(to: file)
        }
        return [UInt8](try Data(contentsOf: file))
    }

    @Test("a superblock of version 1 has the bytes it always had")
    func goldenSegment() throws {
        let bytes = try Self.golden("journal-superblock", Self.encode(Self.segment.encode))
        #expect(Self.encode(Self.segment.encode) == bytes)
        #expect(try bytes.withUnsafeBytes { try SegmentHeader(decoding: $0) } == Self.segment)
    }

    @Test("a batch and its records of version 1 have the bytes they always had")
    func goldenBatch() throws {
        let bytes = try Self.golden("journal-batch", Self.batch())
        #expect(Self.batch() == bytes)
        let decoded = try Self.decodeBatch(bytes)
        #expect(decoded.0 == Self.header && decoded.1 == Self.records)
    }

    @Test("no bit of a superblock can flip unnoticed, and none of a batch header page")
    func flips() throws {
        let superblock = Self.encode(Self.segment.encode)
        let batch = Self.batch()
        for offset in 0..<4096 {
            var damaged = superblock
            damaged[offset] ^= UInt8(1 << (offset % 8))
            #expect(throws: FormatError.self) {
                try damaged.withUnsafeBytes { try SegmentHeader(decoding: $0) }
            }
            damaged = batch
            damaged[offset] ^= UInt8(1 << (offset % 8))
            #expect(throws: FormatError.self) { try Self.decodeBatch(damaged) }
        }
    }

    @Test("a batch of another segment, or at another page, is refused")
    func misplaced() {
        let bytes = Self.batch()
        #expect(throws: FormatError.self) { try Self.decodeBatch(bytes, seed: Self.nonce + 1) }
        #expect(throws: FormatError.self) {
            try Self.decodeBatch(bytes, index: Self.headerPage + 1)
        }
    }

    @Test("short and long input is refused", arguments: [0, 1, 255, 4095, 4097])
    func lengths(count: Int) {
        let zeros = [UInt8](repeating: 0, count: max(0, count - 4096))
        let batch = Array((Self.batch() + zeros).prefix(count))
        #expect(throws: FormatError.self) { try Self.decodeBatch(batch) }
        let superblock = Array((Self.encode(Self.segment.encode) + zeros).prefix(count))
        #expect(throws: FormatError.self) {
            try superblock.withUnsafeBytes { try SegmentHeader(decoding: $0) }
        }
    }

    @Test("a sealed batch that breaks a rule is refused all the same")
    func rules() {
        func refused(_ change: (inout BatchHeader, inout [JournalRecord]) -> Void) -> Bool {
            var header = Self.header
            var records = Self.records
            change(&header, &records)
            do {
                _ = try Self.decodeBatch(Self.batch(header, records))
                return false
            } catch { return error is FormatError }
        }
        #expect(!refused { _, _ in })
        #expect(refused { header, _ in header.recordCount = 0 })
        #expect(refused { header, _ in header.recordCount = 3 })
        #expect(refused { header, _ in header.recordCount = 61 })
        #expect(refused { header, _ in header.payloadPages = 2 })
        #expect(refused { header, _ in header.syncedTo = header.number })
        #expect(refused { header, _ in header.syncedSequence = RecordSequence(1000) })
        #expect(refused { _, records in records[1].sequence = RecordSequence(1005) })
        #expect(refused { _, records in records[1].firstPage = 9 })
        #expect(refused { _, records in records[0].offset = 100 })
        #expect(refused { _, records in records[0].length = 0 })
        #expect(refused { _, records in records[2].length = 1 << 60 })
        #expect(refused { _, records in records[2].checksum = 1 })
        #expect(refused { _, records in records[3].length = 4096 })
        #expect(refused { _, records in records[3].continues = true })
    }
}
