// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A page of the pack table: 1,024 slots, each a pack by its full id with the references into it.
// Map nodes and chunk entries name packs by slot; a slot is never renumbered, and reused only at
// zero live.
//
//     offset size type  name     meaning                              valid
//          0    8 u64   magic    "MRTLPPAG"
//          8    2 u16   version                                       1
//         10    2 u16   entries  entries that are there               1…1024
//         12    4 u32   page     index of the page in the table       < 4096
//         16    4       reserve                                       0
//         20    4 u32   length   of the whole page                    224 + 72 · entries
//         24   40       reserve                                       0
//         64  160       directory  see SparseDirectory
//        224   72       entries, ascending:
//          0   48       pack     PackID
//         48    8 u64   live     references from this commit          <= total
//         56    8 u64   total    most references there ever were
//         64    8 u64   bytes    of the pack                          64 … 2^30
//
// A reference is a stack element or a chunk entry's node pointer. Pages are not counted: a pack
// that a page list names is reachable through it.

internal import Primitives

/// A pack that the volume's map refers to, or did.
public struct PackEntry: Hashable, Sendable, TableEntry {
    public var pack: PackID
    /// Stack elements and node pointers of this commit that point into the pack.
    public var live: UInt64
    /// The most that `live` ever was: what compaction compares it with.
    public var total: UInt64
    /// The pack's size.
    public var bytes: UInt64

    public init(pack: PackID, live: UInt64, total: UInt64, bytes: UInt64) {
        self.pack = pack
        self.live = live
        self.total = total
        self.bytes = bytes
    }

    static let magic = magicWord("MRTLPPAG")
    static let version: UInt16 = 1
    static let format = FormatName.packPage
    static let pagesMax = FormatLimits.packPagesMax
    static let byteCount = 72

    func encode(into writer: inout ByteWriter) {
        precondition(live <= total, "whoever raises live above total raises total too")
        precondition(bytes >= UInt64(Pack.overheadBytes) && bytes <= Limits.packBytesMax)
        pack.encode(into: &writer)
        writer.append(live)
        writer.append(total)
        writer.append(bytes)
    }

    init(decoding reader: inout FieldReader) throws(FormatError) {
        pack = try PackID(decoding: &reader)
        let start = reader.offset
        live = try reader.integer()
        total = try reader.integer()
        guard live <= total else {
            throw .badValue(reader.format, field: "live", offset: start, found: live)
        }
        bytes = try reader.integer(
            in: UInt64(Pack.overheadBytes)...Limits.packBytesMax, field: "pack bytes")
    }
}

/// A decoded page of the pack table. Entry i of page p is slot 1024·p + i.
public struct PackTablePage: Equatable, Sendable {
    public let index: UInt32
    /// 1,024 entries; nil is a free slot.
    public private(set) var entries: [PackEntry?]

    private typealias Layout = TablePageCodec<PackEntry>

    public init(index: UInt32) {
        precondition(index < FormatLimits.packPagesMax)
        self.index = index
        entries = Layout.noEntries
    }

    public func slot(at entry: Int) -> PackSlot {
        PackSlot(index * UInt32(Limits.tablePageEntries) + UInt32(entry))
    }

    public subscript(entry: Int) -> PackEntry? {
        get { entries[entry] }
        set { entries[entry] = newValue }
    }

    public var isEmpty: Bool { entries.allSatisfy { $0 == nil } }
    public var entryCount: Int { Layout.count(of: entries) }

    /// The bytes of the page. Traps if it is empty: such a page is absent from its list.
    public func encode() -> [UInt8] { Layout.encode(entries, index: index, blockBytes: 0) }

    /// Validates and decodes; `index` is the page that the caller asked for.
    public init(
        decoding bytes: UnsafeRawBufferPointer, index: UInt32? = nil
    ) throws(FormatError) {
        let (header, entries) = try Layout.decode(bytes, index: index) {
            header throws(FormatError) in
            guard header.blockBytes == 0 else { throw .reservedNotZero(.packPage, offset: 16) }
        }
        self.index = header.index
        self.entries = entries
    }
}

/// A page of the pack table over borrowed bytes that its `init(decoding:)` accepted before:
/// constant time lookups without decoding. Valid only as long as the bytes are.
public struct PackTablePageView {
    private let bytes: UnsafeRawBufferPointer

    public init(validated bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count > SparseDirectory.end)
        self.bytes = bytes
    }

    /// Entry `entry` of the page; nil is a free slot. Does not allocate.
    public func entry(at entry: Int) -> PackEntry? {
        TablePageCodec<PackEntry>.entry(entry, ofValidated: bytes)
    }
}
