// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where a frame or another member of a pack lies, with the hash of what must be found there. A
// frame is named by pack slot, a number in the volume's pack table, because a node holds thousands
// of them.
//
// A frame pointer, 28 bytes and the mask:
//
//     offset size type  name    meaning                                  valid
//          0   16 hash  hash    content: domain block or delta           not 0
//         16    4 u32   slot    pack slot                                < 2^22
//         20    4 u32   offset  of the frame header in the pack          >= 64
//         24    4 u32   length  of header and payload                    header + 1…header + block
//         28   8w u64   mask    grains the frame holds                   1 or more, none past block
//
// A pack pointer, 72 bytes:
//
//          0   48       pack    PackID, always whole: pages outlive pack slots
//         48   16 hash  hash    of the page's bytes, domain page         not 0
//         64    4 u32   offset  of the page in the pack                  >= 64
//         68    4 u32   length  of the page                              not 0

public import Primitives

/// A pack's number in the pack table of one volume. Never renumbered.
public struct PackSlot: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public init(_ value: UInt32) { rawValue = value }
    public static func < (left: PackSlot, right: PackSlot) -> Bool {
        left.rawValue < right.rawValue
    }
    public var description: String { String(rawValue) }
    /// The page of the pack table that holds the slot, and the entry in it.
    public var page: UInt32 { rawValue / UInt32(Limits.tablePageEntries) }
    public var indexInPage: Int { Int(rawValue) % Limits.tablePageEntries }
}

/// Bytes of a pack.
public struct PackExtent: Hashable, Sendable {
    public var offset: UInt32
    public var length: UInt32
    public init(offset: UInt32, length: UInt32) {
        self.offset = offset
        self.length = length
    }
    public var end: UInt64 { UInt64(offset) + UInt64(length) }

    func encode(into writer: inout ByteWriter) {
        precondition(isInsidePack, "an extent outside any pack")
        writer.append(offset)
        writer.append(length)
    }

    var isInsidePack: Bool {
        offset >= UInt32(FormatLimits.packHeaderBytes) && length > 0
            && end <= Limits.packBytesMax
    }

    init(decoding reader: inout FieldReader) throws(FormatError) {
        let start = reader.offset
        offset = try reader.integer()
        length = try reader.integer()
        guard isInsidePack else {
            throw .badValue(
                reader.format, field: "extent", offset: start,
                found: UInt64(offset) << 32 | UInt64(length))
        }
    }
}

/// One element of a block's stack.
public struct FramePointer: Hashable, Sendable {
    public var hash: Hash128
    public var slot: PackSlot
    public var offset: UInt32
    public var length: UInt32
    public var mask: GrainMask

    public init(slot: PackSlot, offset: UInt32, length: UInt32, hash: Hash128, mask: GrainMask) {
        self.slot = slot
        self.offset = offset
        self.length = length
        self.hash = hash
        self.mask = mask
    }

    public var extent: PackExtent { PackExtent(offset: offset, length: length) }

    /// True if the frame is the whole block, so that nothing below it counts.
    public func isFull(grains: Int) -> Bool { mask.isFull(grains: grains) }

    static func byteCount(grains: Int) -> Int { 28 + 8 * GrainMask.wordCount(grains: grains) }

    func encode(into writer: inout ByteWriter, grains: Int) {
        precondition(!hash.isZero && slot.rawValue < FormatLimits.packSlotsMax && !mask.isEmpty)
        precondition(Self.lengths(grains: grains).contains(length), "not the length of a frame")
        writer.append(hash)
        writer.append(slot.rawValue)
        extent.encode(into: &writer)
        mask.encode(into: &writer, grains: grains)
    }

    /// Lengths that a frame of a block of `grains` grains can have.
    static func lengths(grains: Int) -> ClosedRange<UInt32> {
        let header = FrameHeader.byteCount(grains: grains)
        return UInt32(header + 1)...UInt32(header + grains * Limits.grainBytes)
    }

    init(decoding reader: inout FieldReader, grains: Int) throws(FormatError) {
        hash = try reader.present(field: "frame hash")
        slot = PackSlot(
            try reader.integer(in: 0...(FormatLimits.packSlotsMax - 1), field: "pack slot"))
        let start = reader.offset
        let extent = try PackExtent(decoding: &reader)
        guard Self.lengths(grains: grains).contains(extent.length) else {
            throw .badValue(
                reader.format, field: "frame length", offset: start + 4,
                found: UInt64(extent.length))
        }
        offset = extent.offset
        length = extent.length
        mask = try GrainMask(decoding: &reader, grains: grains)
    }

    /// Reads bytes that were validated before.
    init(validated bytes: UnsafeRawBufferPointer, at base: Int, words: Int) {
        func word(_ at: Int) -> UInt64 {
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: base + at, as: UInt64.self))
        }
        func half(_ at: Int) -> UInt32 {
            UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: base + at, as: UInt32.self))
        }
        hash = Hash128(low: word(0), high: word(8))
        slot = PackSlot(half(16))
        offset = half(20)
        length = half(24)
        mask = GrainMask(validated: bytes, at: base + 28, words: words)
    }
}

/// A table page in a pack, named by the pack's full id: page lists never use slots.
public struct PackPointer: Hashable, Sendable {
    public var pack: PackID
    public var offset: UInt32
    public var length: UInt32
    public var hash: Hash128

    public init(pack: PackID, offset: UInt32, length: UInt32, hash: Hash128) {
        self.pack = pack
        self.offset = offset
        self.length = length
        self.hash = hash
    }

    public var extent: PackExtent { PackExtent(offset: offset, length: length) }

    static let byteCount = 72

    func encode(into writer: inout ByteWriter) {
        precondition(!hash.isZero)
        pack.encode(into: &writer)
        writer.append(hash)
        extent.encode(into: &writer)
    }

    init(decoding reader: inout FieldReader) throws(FormatError) {
        pack = try PackID(decoding: &reader)
        hash = try reader.present(field: "page hash")
        let extent = try PackExtent(decoding: &reader)
        offset = extent.offset
        length = extent.length
    }
}
