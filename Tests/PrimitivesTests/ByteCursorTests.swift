// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The reader takes back what the writer put down, and refuses to go past the end.

import Primitives
import Testing

private func withReader(
    _ bytes: [UInt8], _ body: (inout ByteReader) throws -> Void
) rethrows {
    try bytes.withUnsafeBytes { (raw: UnsafeRawBufferPointer) throws -> Void in
        var reader = ByteReader(raw)
        try body(&reader)
    }
}

@Suite("byte cursors")
struct ByteCursorTests {
    @Test("fields are little-endian and in order")
    func layout() {
        var writer = ByteWriter()
        writer.append(UInt8(1))
        writer.append(UInt16(0x0203))
        writer.append(UInt32(0x0405_0607))
        writer.append(UInt64(0x08))
        #expect(writer.bytes == [1, 3, 2, 7, 6, 5, 4, 8, 0, 0, 0, 0, 0, 0, 0])
    }

    @Test("what was written is read")
    func roundTrip() throws {
        let id = VolumeID(low: 5, high: 6)
        var writer = ByteWriter(capacity: 64)
        writer.append(UInt16.max)
        writer.append(id)
        writer.append(Int32(-2))
        writer.append([9, 8])
        [UInt8(7)].withUnsafeBytes { writer.append($0) }
        writer.pad(to: 32)
        #expect(writer.count == 32)
        try withReader(writer.bytes) { (reader: inout ByteReader) throws -> Void in
            #expect(try reader.integer(UInt16.self) == UInt16.max)
            #expect(try reader.identifier(VolumeID.self) == id)
            #expect(try reader.integer(Int32.self) == -2)
            #expect(try Array(reader.take(3)) == [9, 8, 7])
            #expect(reader.offset == 25)
            #expect(reader.remaining == 7)
            #expect(try reader.takeZeros(7))
            #expect(reader.remaining == 0)
        }
    }

    @Test("padding an aligned end adds nothing")
    func aligned() {
        var writer = ByteWriter()
        writer.appendZeros(64)
        writer.pad(to: 32)
        #expect(writer.count == 64)
    }

    @Test("a field can be overwritten in place")
    func overwrite() {
        var writer = ByteWriter()
        writer.append(UInt32(0))
        writer.append(UInt8(9))
        writer.overwrite(UInt32(0x0102_0304), at: 0)
        #expect(writer.bytes == [4, 3, 2, 1, 9])
    }

    @Test("a read past the end throws where it stands and takes nothing")
    func overrun() {
        withReader([1, 1, 1, 1, 1]) { reader in
            #expect(throws: Never.self) { try reader.skip(2) }
            #expect(throws: ByteReaderOverrun(offset: 2, wanted: 4, available: 3)) {
                try reader.integer(UInt32.self)
            }
            #expect(throws: ByteReaderOverrun(offset: 2, wanted: -1, available: 3)) {
                try reader.take(-1)
            }
            #expect(throws: ByteReaderOverrun(offset: 2, wanted: Int.max, available: 3)) {
                try reader.take(Int.max)
            }
            #expect(reader.remaining == 3)
            #expect(throws: Never.self) { try reader.take(3) }
            #expect(throws: ByteReaderOverrun(offset: 5, wanted: 1, available: 0)) {
                try reader.integer(UInt8.self)
            }
        }
    }

    @Test("an identifier that is cut short throws")
    func shortIdentifier() {
        withReader([UInt8](repeating: 1, count: 15)) { reader in
            #expect(throws: ByteReaderOverrun.self) { try reader.identifier(Hash128.self) }
        }
    }

    @Test("a reserve that is not all zeros is told apart")
    func reserve() throws {
        try withReader([0, 0, 1, 0]) { (reader: inout ByteReader) throws -> Void in
            #expect(try reader.takeZeros(2))
            #expect(try !reader.takeZeros(2))
        }
    }
}
