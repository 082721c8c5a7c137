// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Version 1 of block diffs: which ranges of a target file differ from a base, and what they hold.
// Other programs read and write it; docs/formats/bdiff.md has the tables.
//
//     magic "BDIFFv1\0" │ target size u64 │ base size u64 │ ranges u64 │ (offset u64, length u64) …
//     │ zeros to a multiple of 4096 │ the bytes of the ranges, one after the other
//
// A decoder reads the 32 bytes of the lead, then ranges as they arrive: nothing is allocated on the
// word of the count.

internal import Primitives

/// Bytes of the target, from `offset` on.
public struct BlockDiffRange: Hashable, Sendable {
    public var offset: UInt64
    public var length: UInt64

    public init(offset: UInt64, length: UInt64) {
        self.offset = offset
        self.length = length
    }

    public var end: UInt64 { offset + length }
}

/// The sizes and the count in front of the ranges.
public struct BlockDiffLead: Hashable, Sendable {
    public static let magic = magicWord("BDIFFv1\0")
    public static let byteCount = 32
    public static let rangeByteCount = 16
    /// Where data begins is a multiple of this.
    public static let alignment: UInt64 = 4096
    /// A file cannot be larger: the kernel's offsets have a sign.
    public static let fileBytesMax = UInt64(Int64.max)

    public var targetBytes: UInt64
    /// 0: the target stands for itself.
    public var baseBytes: UInt64
    public var rangeCount: UInt64

    public init(targetBytes: UInt64, baseBytes: UInt64, rangeCount: UInt64) {
        self.targetBytes = targetBytes
        self.baseBytes = baseBytes
        self.rangeCount = rangeCount
    }

    public init(decoding bytes: UnsafeRawBufferPointer) throws(FormatError) {
        var reader = FieldReader(bytes, format: .blockDiff)
        try reader.magic(Self.magic)
        targetBytes = try reader.integer(in: 0...Self.fileBytesMax, field: "target size")
        baseBytes = try reader.integer(in: 0...Self.fileBytesMax, field: "base size")
        // A range has at least a byte.
        rangeCount = try reader.integer(
            in: 0...min(targetBytes, FormatLimits.diffRangesMax), field: "ranges")
        try reader.end()
    }

    /// Where the ranges end and the padding begins.
    public var rangesEnd: UInt64 {
        UInt64(Self.byteCount) + rangeCount * UInt64(Self.rangeByteCount)
    }

    /// Where the data begins.
    public var dataStart: UInt64 {
        (rangesEnd + Self.alignment - 1) / Self.alignment * Self.alignment
    }

    /// All that stands in front of the data.
    public func encode(ranges: some Collection<BlockDiffRange>) -> [UInt8] {
        precondition(UInt64(ranges.count) == rangeCount, "the lead counts its ranges")
        var writer = ByteWriter(capacity: Int(dataStart))
        writer.append(Self.magic)
        writer.append(targetBytes)
        writer.append(baseBytes)
        writer.append(rangeCount)
        var end: UInt64 = 0
        for range in ranges {
            precondition(range.length > 0 && range.offset >= end && range.end <= targetBytes)
            end = range.end
            writer.append(range.offset)
            writer.append(range.length)
        }
        writer.pad(to: Int(Self.alignment))
        return writer.bytes
    }
}

/// Ranges as they arrive, each checked against the ones before.
public struct BlockDiffRanges: Sendable {
    public let lead: BlockDiffLead
    public private(set) var ranges: [BlockDiffRange] = []
    /// Bytes of all ranges so far.
    public private(set) var dataBytes: UInt64 = 0

    public init(of lead: BlockDiffLead) { self.lead = lead }

    public var missing: UInt64 { lead.rangeCount - UInt64(ranges.count) }

    /// Takes the next ranges: whole ones, at most those that are missing. Refuses those that are
    /// empty, leave the target, or reach back before the end of an earlier one.
    public mutating func append(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
        precondition(bytes.count.isMultiple(of: BlockDiffLead.rangeByteCount))
        precondition(UInt64(bytes.count / BlockDiffLead.rangeByteCount) <= missing)
        var reader = FieldReader(bytes, format: .blockDiff)
        while reader.remaining > 0 {
            let place = BlockDiffLead.byteCount + ranges.count * BlockDiffLead.rangeByteCount
            let offset: UInt64 = try reader.integer()
            let length: UInt64 = try reader.integer()
            guard offset >= ranges.last?.end ?? 0, offset < lead.targetBytes else {
                throw .badValue(.blockDiff, field: "range offset", offset: place, found: offset)
            }
            guard length > 0, length <= lead.targetBytes - offset else {
                throw .badValue(.blockDiff, field: "range length", offset: place + 8, found: length)
            }
            ranges.append(BlockDiffRange(offset: offset, length: length))
            dataBytes += length
        }
    }

    /// Checks the bytes between the last range and the data.
    public func check(padding: UnsafeRawBufferPointer) throws(FormatError) {
        precondition(UInt64(padding.count) == lead.dataStart - lead.rangesEnd)
        guard padding.allSatisfy({ $0 == 0 }) else {
            throw .reservedNotZero(.blockDiff, offset: Int(lead.rangesEnd))
        }
    }

    /// Bytes of the whole diff.
    public var diffBytes: UInt64 { lead.dataStart + dataBytes }
}
