// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Little-endian cursors over raw memory for the format codecs. The reader is bounded: past the end
// it throws, and it never trusts a length that it has not compared with what is left.

/// A read went past the end of the bytes at hand.
public struct ByteReaderOverrun: Error, Equatable {
    public let offset: Int
    public let wanted: Int
    public let available: Int

    public init(offset: Int, wanted: Int, available: Int) {
        self.offset = offset
        self.wanted = wanted
        self.available = available
    }
}

/// Reads fixed-width little-endian fields in order. Does not own the memory; valid only inside the
/// scope that lent the pointer.
public struct ByteReader {
    public let bytes: UnsafeRawBufferPointer
    public private(set) var offset = 0

    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    public var remaining: Int { bytes.count - offset }

    public mutating func take(_ count: Int) throws(ByteReaderOverrun) -> UnsafeRawBufferPointer {
        guard count >= 0, count <= remaining else {
            throw ByteReaderOverrun(offset: offset, wanted: count, available: remaining)
        }
        defer { offset += count }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + count)])
    }

    public mutating func integer<Value: FixedWidthInteger>(
        _ type: Value.Type = Value.self
    ) throws(ByteReaderOverrun) -> Value {
        let field = try take(MemoryLayout<Value>.size)
        return Value(littleEndian: field.loadUnaligned(as: Value.self))
    }

    public mutating func identifier<Value: Identifier128>(
        _ type: Value.Type = Value.self
    ) throws(ByteReaderOverrun) -> Value {
        Value(low: try integer(UInt64.self), high: try integer(UInt64.self))
    }

    public mutating func skip(_ count: Int) throws(ByteReaderOverrun) {
        _ = try take(count)
    }

    /// True if the next `count` bytes are all zero; moves past them.
    public mutating func takeZeros(_ count: Int) throws(ByteReaderOverrun) -> Bool {
        try take(count).allSatisfy { $0 == 0 }
    }
}
