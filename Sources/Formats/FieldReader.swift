// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// ByteReader with the name of a format: the checks that every decoder makes, each in one call, and
// errors that say where. Nothing here reads past the bytes that it was given.

internal import Primitives

/// Reads the fields of one object in order and refuses what is never valid.
struct FieldReader {
    let format: FormatName
    private var reader: ByteReader

    init(_ bytes: UnsafeRawBufferPointer, format: FormatName) {
        self.format = format
        reader = ByteReader(bytes)
    }

    var offset: Int { reader.offset }
    var remaining: Int { reader.remaining }

    mutating func bytes(_ count: Int) throws(FormatError) -> UnsafeRawBufferPointer {
        do {
            return try reader.take(count)
        } catch {
            throw .truncated(
                format, offset: error.offset, wanted: error.wanted, available: error.available)
        }
    }

    mutating func integer<Value: FixedWidthInteger>(
        _ type: Value.Type = Value.self
    ) throws(FormatError) -> Value {
        let field = try bytes(MemoryLayout<Value>.size)
        return Value(littleEndian: field.loadUnaligned(as: Value.self))
    }

    mutating func identifier<Value: Identifier128>(
        _ type: Value.Type = Value.self
    ) throws(FormatError) -> Value {
        Value(low: try integer(UInt64.self), high: try integer(UInt64.self))
    }

    /// An identifier that must not be zero.
    mutating func present<Value: Identifier128>(
        _ type: Value.Type = Value.self, field: String
    ) throws(FormatError) -> Value {
        let start = offset
        let value = try identifier(type)
        guard !value.isZero else {
            throw .badValue(format, field: field, offset: start, found: 0)
        }
        return value
    }

    /// An integer inside `range`.
    mutating func integer<Value: FixedWidthInteger & UnsignedInteger>(
        in range: ClosedRange<Value>, field: String
    ) throws(FormatError) -> Value {
        let start = offset
        let value = try integer(Value.self)
        guard range.contains(value) else {
            throw .badValue(format, field: field, offset: start, found: UInt64(value))
        }
        return value
    }

    /// A tag of a closed set.
    mutating func tag<Value: RawRepresentable>(
        _ type: Value.Type = Value.self, field: String
    ) throws(FormatError) -> Value where Value.RawValue == UInt8 {
        let start = offset
        let raw = try integer(UInt8.self)
        guard let value = Value(rawValue: raw) else {
            throw .badValue(format, field: field, offset: start, found: UInt64(raw))
        }
        return value
    }

    mutating func magic(_ expected: UInt64) throws(FormatError) {
        let found = try integer(UInt64.self)
        guard found == expected else {
            throw .wrongMagic(format, found: found, expected: expected)
        }
    }

    mutating func version(_ supported: UInt16) throws(FormatError) {
        let found = try integer(UInt16.self)
        guard found == supported else {
            throw .unsupportedVersion(
                format, found: UInt64(found), supported: UInt64(supported))
        }
    }

    /// `count` bytes of reserve, which must be zero.
    mutating func reserved(_ count: Int) throws(FormatError) {
        let start = offset
        let field = try bytes(count)
        guard field.allSatisfy({ $0 == 0 }) else { throw .reservedNotZero(format, offset: start) }
    }

    /// Nothing may follow.
    func end() throws(FormatError) {
        guard remaining == 0 else {
            throw .trailingBytes(format, offset: offset, count: remaining)
        }
    }
}

/// Eight ASCII characters as they stand in the file, read as a little-endian word.
func magicWord(_ text: StaticString) -> UInt64 {
    precondition(text.utf8CodeUnitCount == 8, "a magic has eight characters")
    return text.withUTF8Buffer { characters in
        characters.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}
