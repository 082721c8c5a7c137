// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How a page of either table is laid out: header, directory of the entries that are there, the
// entries, ascending, each of fixed size. What an entry holds is its own business; the tables are
// in ChunkTablePage.swift and PackTablePage.swift.

internal import Primitives

/// An entry of the chunk table or of the pack table.
protocol TableEntry {
    static var magic: UInt64 { get }
    static var version: UInt16 { get }
    static var format: FormatName { get }
    /// Pages that a table has at most.
    static var pagesMax: UInt32 { get }
    static var byteCount: Int { get }

    func encode(into writer: inout ByteWriter)
    init(decoding reader: inout FieldReader) throws(FormatError)
}

enum TablePageCodec<Entry: TableEntry> {
    static var noEntries: [Entry?] { [Entry?](repeating: nil, count: Limits.tablePageEntries) }

    /// Traps if no entry is there: such a page is absent from its list.
    static func encode(_ entries: [Entry?], index: UInt32, blockBytes: UInt32) -> [UInt8] {
        let header = TablePageHeader(
            magic: Entry.magic, version: Entry.version, entryCount: count(of: entries),
            index: index, blockBytes: blockBytes, entryBytes: Entry.byteCount)
        var writer = ByteWriter(capacity: header.byteCount)
        header.encode(into: &writer)
        SparseDirectory.encode(entries.indices.filter { entries[$0] != nil }, into: &writer)
        for entry in entries { entry?.encode(into: &writer) }
        precondition(writer.count == header.byteCount)
        return writer.bytes
    }

    /// Validates and decodes; `index` is the page that the caller asked for, `check` looks at the
    /// block size.
    static func decode(
        _ bytes: UnsafeRawBufferPointer, index: UInt32?,
        check: (TablePageHeader) throws(FormatError) -> Void
    ) throws(FormatError) -> (header: TablePageHeader, entries: [Entry?]) {
        var reader = FieldReader(bytes, format: Entry.format)
        let header = try TablePageHeader(
            decoding: &reader, magic: Entry.magic, version: Entry.version,
            pagesMax: Entry.pagesMax, entryBytes: Entry.byteCount, index: index)
        try check(header)
        try SparseDirectory.validate(&reader, count: header.entryCount)
        var entries = noEntries
        var next = SparseDirectory.first(bytes, from: 0)
        while let entry = next {
            entries[entry] = try Entry(decoding: &reader)
            next = SparseDirectory.first(bytes, from: entry + 1)
        }
        try reader.end()
        return (header, entries)
    }

    static func count(of entries: [Entry?]) -> Int {
        entries.reduce(0) { $0 + ($1 == nil ? 0 : 1) }
    }

    /// Entry `entry` of a page that `decode` accepted before; nil if it is not there. Does not
    /// allocate.
    static func entry(_ entry: Int, ofValidated bytes: UnsafeRawBufferPointer) -> Entry? {
        guard let position = SparseDirectory.position(bytes, of: entry) else { return nil }
        let start = SparseDirectory.end + position * Entry.byteCount
        let field = UnsafeRawBufferPointer(rebasing: bytes[start..<(start + Entry.byteCount)])
        var reader = FieldReader(field, format: Entry.format)
        return try? Entry(decoding: &reader)
    }
}
