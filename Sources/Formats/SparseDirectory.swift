// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The directory of a sparse object of 1,024 entries: which entries are there, and in constant time
// the how-manieth an entry is. Map nodes and table pages carry it behind their 64-byte headers.
//
//     offset size type  name     meaning
//         64  128 u64   presence bit i of word i/64 is set if entry i is there
//        192   32 u16   rank     entries there before word 0, 1, … 15

internal import Primitives

enum SparseDirectory {
    static let offset = 64
    static let byteCount = 160
    static let end = offset + byteCount
    private static let words = Limits.chunkBlocks / 64
    private static let ranks = offset + words * 8

    /// Writes the directory of the entries `present`, which ascend.
    static func encode(_ present: some Sequence<Int>, into writer: inout ByteWriter) {
        precondition(writer.count == offset)
        var bits = [UInt64](repeating: 0, count: words)
        var last = -1
        for index in present {
            precondition(index > last && index < Limits.chunkBlocks, "entries must ascend")
            bits[index >> 6] |= 1 << UInt64(index & 63)
            last = index
        }
        for word in bits { writer.append(word) }
        var rank: UInt16 = 0
        for word in bits {
            writer.append(rank)
            rank += UInt16(word.nonzeroBitCount)
        }
    }

    /// Checks that the ranks follow from the presence bits and that `count` entries are there.
    static func validate(_ reader: inout FieldReader, count: Int) throws(FormatError) {
        precondition(reader.offset == offset)
        var expected: [UInt16] = []
        var rank = 0
        for _ in 0..<words {
            expected.append(UInt16(rank))
            rank += try reader.integer(UInt64.self).nonzeroBitCount
        }
        for value in expected {
            let start = reader.offset
            let found = try reader.integer(UInt16.self)
            guard found == value else {
                throw .badValue(reader.format, field: "rank", offset: start, found: UInt64(found))
            }
        }
        guard rank == count else {
            throw .badValue(reader.format, field: "presence", offset: offset, found: UInt64(rank))
        }
    }

    static func contains(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> Bool {
        word(bytes, index >> 6) & (1 << UInt64(index & 63)) != 0
    }

    /// How many entries are there before entry `index`, which is; nil if it is not there.
    static func position(_ bytes: UnsafeRawBufferPointer, of index: Int) -> Int? {
        precondition(index >= 0 && index < Limits.chunkBlocks)
        let bits = word(bytes, index >> 6)
        let bit: UInt64 = 1 << UInt64(index & 63)
        guard bits & bit != 0 else { return nil }
        let before = UInt16(
            littleEndian: bytes.loadUnaligned(
                fromByteOffset: ranks + (index >> 6) * 2, as: UInt16.self))
        return Int(before) + (bits & (bit - 1)).nonzeroBitCount
    }

    /// The first entry at or after `start` that is there; nil if there is none.
    static func first(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var index = start
        while index < Limits.chunkBlocks {
            let rest = word(bytes, index >> 6) >> UInt64(index & 63)
            if rest != 0 { return index + rest.trailingZeroBitCount }
            index = (index | 63) + 1
        }
        return nil
    }

    /// The first entry at or after `start` that is not there; nil if all are.
    static func firstAbsent(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var index = start
        while index < Limits.chunkBlocks {
            let rest = ~word(bytes, index >> 6) >> UInt64(index & 63)
            if rest != 0 { return index + rest.trailingZeroBitCount }
            index = (index | 63) + 1
        }
        return nil
    }

    private static func word(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> UInt64 {
        UInt64(
            littleEndian: bytes.loadUnaligned(
                fromByteOffset: offset + index * 8, as: UInt64.self))
    }
}
