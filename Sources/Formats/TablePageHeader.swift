// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The 64 bytes that start a page of the chunk table or of the pack table. The two kinds have their
// own magic and tables; see ChunkTablePage.swift and PackTablePage.swift.

internal import Primitives

struct TablePageHeader {
    let magic: UInt64
    let version: UInt16
    let entryCount: Int
    let index: UInt32
    /// The block size on chunk pages, zero on pack pages.
    let blockBytes: UInt32
    let entryBytes: Int

    var byteCount: Int { SparseDirectory.end + entryCount * entryBytes }

    init(
        magic: UInt64, version: UInt16, entryCount: Int, index: UInt32, blockBytes: UInt32,
        entryBytes: Int
    ) {
        precondition((1...Limits.tablePageEntries).contains(entryCount), "an empty page is absent")
        self.magic = magic
        self.version = version
        self.entryCount = entryCount
        self.index = index
        self.blockBytes = blockBytes
        self.entryBytes = entryBytes
    }

    func encode(into writer: inout ByteWriter) {
        writer.append(magic)
        writer.append(version)
        writer.append(UInt16(entryCount))
        writer.append(index)
        writer.append(blockBytes)
        writer.append(UInt32(byteCount))
        writer.appendZeros(40)
    }

    init(
        decoding reader: inout FieldReader, magic: UInt64, version: UInt16, pagesMax: UInt32,
        entryBytes: Int, index expected: UInt32?
    ) throws(FormatError) {
        let available = reader.remaining
        try reader.magic(magic)
        try reader.version(version)
        let count = try reader.integer(in: 1...UInt16(Limits.tablePageEntries), field: "entries")
        index = try reader.integer(in: 0...(pagesMax - 1), field: "page")
        if let expected, expected != index {
            throw .wrongIdentity(
                reader.format, field: "page", found: UInt64(index), expected: UInt64(expected))
        }
        blockBytes = try reader.integer()
        let length = try reader.integer(UInt32.self)
        try reader.reserved(40)
        self.magic = magic
        self.version = version
        self.entryBytes = entryBytes
        entryCount = Int(count)
        guard Int(length) == byteCount, available == byteCount else {
            throw .badValue(reader.format, field: "length", offset: 20, found: UInt64(length))
        }
    }
}
