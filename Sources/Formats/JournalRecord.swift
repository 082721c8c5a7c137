// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One record of a journal batch: 64 bytes in the batch's header page. Its identity is the sequence;
// what the payload must be is the checksum, seeded by the segment's nonce.
//
// offset size type  name              meaning
//      0    1 u8    kind              1 write 2 zero 3 trim 4 resize 5 cut 6 published 7 epoch
//      1    1 u8    flags             bit 0: the unit continues in the next record; others zero
//      2    2       reserve           zero
//      4    4 u32   epoch             the volume's writer generation
//      8    8 u64   sequence          the record's number in the volume's history, from 1
//     16    8 u64   offset            bytes; cut and published: the commit's sequence
//     24    8 u64   length            bytes; resize: the new size
//     32    4 u32   first page        of the payload, in the segment; writes only
//     36    4       reserve           zero
//     40    8 u64   payload checksum  XXH3-64 seeded by the nonce; writes only
//     48   16       reserve           zero

public import Primitives

/// What one record of the journal says.
public struct JournalRecord: Equatable, Sendable {
    /// The raw value is on disk.
    public enum Kind: UInt8, Sendable, CaseIterable {
        /// Grains with payload.
        case write = 1
        /// Grains become zeros.
        case zero = 2
        /// As zero; the guest said that it does not need the contents.
        case trim = 3
        /// The volume's size changes.
        case resize = 4
        /// The next commit contains everything before.
        case cut = 5
        /// A commit is published.
        case published = 6
        /// A writer generation begins.
        case epoch = 7
    }

    public static let byteCount = 64
    private static let continuesBit: UInt8 = 1

    public var kind: Kind
    /// The unit goes on in the next record; only whole units are ever recovered.
    public var continues: Bool
    public var epoch: Epoch
    public var sequence: RecordSequence
    public var offset: UInt64
    public var length: UInt64
    public var firstPage: UInt32
    public var checksum: UInt64

    @inlinable
    public init(
        kind: Kind, continues: Bool, epoch: Epoch, sequence: RecordSequence, offset: UInt64,
        length: UInt64, firstPage: UInt32 = 0, checksum: UInt64 = 0
    ) {
        self.kind = kind
        self.continues = continues
        self.epoch = epoch
        self.sequence = sequence
        self.offset = offset
        self.length = length
        self.firstPage = firstPage
        self.checksum = checksum
    }

    /// Pages of payload behind the header page.
    public var payloadPages: Int {
        kind == .write ? Int(length) / Limits.grainBytes : 0
    }

    /// The grains that a write, zero or trim covers.
    public var grains: Range<UInt64> {
        let grain = UInt64(Limits.grainBytes)
        return (offset / grain)..<((offset + length) / grain)
    }

    /// Writes all 64 bytes.
    public func encode(into target: UnsafeMutableRawPointer) {
        let flags = continues ? Self.continuesBit : 0
        let first =
            UInt64(kind.rawValue) | UInt64(flags) << 8 | UInt64(epoch.rawValue) << 32
        target.storeBytes(of: first.littleEndian, toByteOffset: 0, as: UInt64.self)
        target.storeBytes(of: sequence.rawValue.littleEndian, toByteOffset: 8, as: UInt64.self)
        target.storeBytes(of: offset.littleEndian, toByteOffset: 16, as: UInt64.self)
        target.storeBytes(of: length.littleEndian, toByteOffset: 24, as: UInt64.self)
        target.storeBytes(of: UInt64(firstPage).littleEndian, toByteOffset: 32, as: UInt64.self)
        target.storeBytes(of: checksum.littleEndian, toByteOffset: 40, as: UInt64.self)
        target.storeBytes(of: 0, toByteOffset: 48, as: UInt64.self)
        target.storeBytes(of: 0, toByteOffset: 56, as: UInt64.self)
    }

    /// Trusts nothing but the length of `bytes`.
    public init(decoding bytes: UnsafeRawBufferPointer) throws(FormatError) {
        var reader = FieldReader(bytes, format: .record)
        let kind = try reader.tag(Kind.self, field: "kind")
        let flags = try reader.integer(in: 0...Self.continuesBit, field: "flags")
        try reader.reserved(2)
        let epoch = Epoch(try reader.integer(UInt32.self))
        let sequence = try reader.integer(in: 1...UInt64.max, field: "sequence")
        let offset = try reader.integer(UInt64.self)
        let length = try reader.integer(UInt64.self)
        let firstPage = try reader.integer(UInt32.self)
        try reader.reserved(4)
        let checksum = try reader.integer(UInt64.self)
        try reader.reserved(16)
        try reader.end()
        self.init(
            kind: kind, continues: flags != 0, epoch: epoch, sequence: RecordSequence(sequence),
            offset: offset, length: length, firstPage: firstPage, checksum: checksum)
        if let field = invalidField {
            throw .badValue(.record, field: field.name, offset: field.offset, found: field.value)
        }
    }

    /// The first field that is not valid beside the others. Checked before a record is written too.
    public var invalidField: (name: String, offset: Int, value: UInt64)? {
        let grain = UInt64(Limits.grainBytes)
        switch kind {
        case .write, .zero, .trim:
            let end = Limits.volumeBlocksMax * UInt64(Limits.blockBytesMax)
            guard offset.isMultiple(of: grain), offset < end else { return ("offset", 16, offset) }
            guard length > 0, length.isMultiple(of: grain), length <= end - offset else {
                return ("length", 24, length)
            }
            if kind == .write {
                guard length <= UInt64(Limits.batchPayloadPagesMax) * grain else {
                    return ("length", 24, length)
                }
                return firstPage == 0 ? ("first page", 32, 0) : nil
            }
        case .resize:
            guard offset == 0 else { return ("offset", 16, offset) }
            guard length > 0, length.isMultiple(of: UInt64(Limits.sectorBytes)) else {
                return ("length", 24, length)
            }
            if continues { return ("flags", 1, 1) }
        case .cut, .published, .epoch:
            guard length == 0 else { return ("length", 24, length) }
            if continues { return ("flags", 1, 1) }
        }
        if firstPage != 0 { return ("first page", 32, UInt64(firstPage)) }
        return checksum == 0 ? nil : ("payload checksum", 40, checksum)
    }
}
