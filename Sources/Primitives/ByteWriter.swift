// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The encoding side of ByteReader: fixed-width little-endian fields, in order.

/// Grows an array of bytes by little-endian fields.
public struct ByteWriter {
    public private(set) var bytes: [UInt8] = []

    public init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    /// Writes into the memory of an array that is not needed any more, from its beginning.
    public init(reusing buffer: consuming [UInt8], capacity: Int) {
        // Not a second reference to it: that would get memory of its own.
        bytes = consume buffer
        bytes.removeAll(keepingCapacity: true)
        bytes.reserveCapacity(capacity)
    }

    public var count: Int { bytes.count }

    public mutating func append<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    public mutating func append(_ identifier: some Identifier128) {
        append(identifier.low)
        append(identifier.high)
    }

    public mutating func append(_ raw: UnsafeRawBufferPointer) { bytes.append(contentsOf: raw) }

    public mutating func append(_ raw: [UInt8]) { bytes.append(contentsOf: raw) }

    public mutating func appendZeros(_ count: Int) {
        bytes.append(contentsOf: repeatElement(0, count: count))
    }

    /// Pads with zeros to a multiple of `alignment`.
    public mutating func pad(to alignment: Int) {
        let over = bytes.count % alignment
        if over != 0 { appendZeros(alignment - over) }
    }

    /// Overwrites a field written before, for example a checksum.
    public mutating func overwrite<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
        precondition(offset >= 0 && offset + MemoryLayout<Value>.size <= bytes.count)
        bytes.withUnsafeMutableBytes {
            $0.storeBytes(of: value.littleEndian, toByteOffset: offset, as: Value.self)
        }
    }
}
