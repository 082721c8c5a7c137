// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A page of the chunk table: 1,024 chunks, each with the place and hash of its map node and the
// digest of its content. A page names its index but no volume, because forks share pages.
//
//     offset size type  name     meaning                              valid
//          0    8 u64   magic    "MRTLCPAG"
//          8    2 u16   version                                       1
//         10    2 u16   entries  entries that are there               1…1024
//         12    4 u32   page     index of the page in the table       < 128
//         16    4 u32   block bytes                                   4 KiB…1 MiB, power of two
//         20    4 u32   length   of the whole page                    224 + 48 · entries
//         24   40       reserve                                       0
//         64  160       directory  see SparseDirectory
//        224   48       entries, ascending:
//          0   16 hash  node     hash of the map node, domain node    not 0
//         16   16 hash  digest   of the chunk's content               not 0
//         32    4 u32   slot     pack slot of the node                < 2^22
//         36    4 u32   offset   of the node in the pack              >= 64
//         40    4 u32   length   of the node                          > 224
//         44    2 u16   blocks   blocks of the chunk that are there   1…1024
//         46    2 u16   frames   elements of all stacks               blocks…4·blocks
//
// The counts let a status page say how much is allocated, and a commit how many references go, with
// the nodes unread.

public import Primitives

/// A chunk that holds data.
public struct ChunkEntry: Hashable, Sendable, TableEntry {
    public var hash: Hash128
    public var digest: Hash128
    public var slot: PackSlot
    public var offset: UInt32
    public var length: UInt32
    public var blockCount: Int
    public var frameCount: Int

    public init(
        slot: PackSlot, offset: UInt32, length: UInt32, hash: Hash128, digest: Hash128,
        blockCount: Int, frameCount: Int
    ) {
        self.slot = slot
        self.offset = offset
        self.length = length
        self.hash = hash
        self.digest = digest
        self.blockCount = blockCount
        self.frameCount = frameCount
    }

    /// The entry of `node`, packed at `extent` of the pack in `slot` under `hash`.
    public init(_ node: MapNode, slot: PackSlot, extent: PackExtent, hash: Hash128) {
        self.init(
            slot: slot, offset: extent.offset, length: extent.length, hash: hash,
            digest: node.digest(), blockCount: node.blockCount, frameCount: node.frameCount)
    }

    public var extent: PackExtent { PackExtent(offset: offset, length: length) }

    static let magic = magicWord("MRTLCPAG")
    static let version: UInt16 = 1
    static let format = FormatName.chunkPage
    static let pagesMax = FormatLimits.chunkPagesMax
    static let byteCount = 48

    func encode(into writer: inout ByteWriter) {
        precondition(!hash.isZero && !digest.isZero && slot.rawValue < FormatLimits.packSlotsMax)
        precondition((1...Limits.chunkBlocks).contains(blockCount))
        precondition((blockCount...(blockCount * Limits.stackFramesMax)).contains(frameCount))
        writer.append(hash)
        writer.append(digest)
        writer.append(slot.rawValue)
        extent.encode(into: &writer)
        writer.append(UInt16(blockCount))
        writer.append(UInt16(frameCount))
    }

    init(decoding reader: inout FieldReader) throws(FormatError) {
        hash = try reader.present(field: "node hash")
        digest = try reader.present(field: "chunk digest")
        slot = PackSlot(
            try reader.integer(in: 0...(FormatLimits.packSlotsMax - 1), field: "pack slot"))
        let start = reader.offset
        let extent = try PackExtent(decoding: &reader)
        guard extent.length > UInt32(SparseDirectory.end) else {
            throw .badValue(
                reader.format, field: "node length", offset: start + 4,
                found: UInt64(extent.length))
        }
        offset = extent.offset
        length = extent.length
        let blocks = try reader.integer(in: 1...UInt16(Limits.chunkBlocks), field: "blocks")
        let most = blocks * UInt16(Limits.stackFramesMax)
        blockCount = Int(blocks)
        frameCount = Int(try reader.integer(in: blocks...most, field: "frames"))
    }
}

/// A decoded page of the chunk table. Entry i of page p is chunk 1024·p + i.
public struct ChunkTablePage: Equatable, Sendable {
    public let index: UInt32
    public let blockBytes: Int
    /// 1,024 entries; nil is a chunk of zeros.
    public private(set) var entries: [ChunkEntry?]

    private typealias Layout = TablePageCodec<ChunkEntry>

    public init(index: UInt32, blockBytes: Int) {
        precondition(index < FormatLimits.chunkPagesMax && isBlockSize(UInt64(blockBytes)))
        self.index = index
        self.blockBytes = blockBytes
        entries = Layout.noEntries
    }

    /// The page that holds `chunk`, and the entry in it.
    public static func place(of chunk: ChunkIndex) -> (page: UInt32, entry: Int) {
        let perPage = UInt64(Limits.tablePageEntries)
        return (UInt32(chunk.rawValue / perPage), Int(chunk.rawValue % perPage))
    }

    public func chunk(at entry: Int) -> ChunkIndex {
        ChunkIndex(UInt64(index) * UInt64(Limits.tablePageEntries) + UInt64(entry))
    }

    public subscript(entry: Int) -> ChunkEntry? {
        get { entries[entry] }
        set { entries[entry] = newValue }
    }

    public var isEmpty: Bool { entries.allSatisfy { $0 == nil } }
    public var entryCount: Int { Layout.count(of: entries) }

    /// The bytes of the page. Traps if it is empty: such a page is absent from its list.
    public func encode() -> [UInt8] {
        Layout.encode(entries, index: index, blockBytes: UInt32(blockBytes))
    }

    /// Validates and decodes; `index` and `blockBytes` are what the caller asked for.
    public init(
        decoding bytes: UnsafeRawBufferPointer, index: UInt32? = nil, blockBytes: Int? = nil
    ) throws(FormatError) {
        let (header, entries) = try Layout.decode(bytes, index: index) {
            header throws(FormatError) in
            guard isBlockSize(UInt64(header.blockBytes)) else {
                throw .badValue(
                    .chunkPage, field: "block bytes", offset: 16, found: UInt64(header.blockBytes))
            }
            if let blockBytes, blockBytes != Int(header.blockBytes) {
                throw .wrongIdentity(
                    .chunkPage, field: "block bytes", found: UInt64(header.blockBytes),
                    expected: UInt64(blockBytes))
            }
        }
        self.index = header.index
        self.blockBytes = Int(header.blockBytes)
        self.entries = entries
    }
}

/// A page of the chunk table over borrowed bytes that its `init(decoding:)` accepted before:
/// constant time lookups without decoding. Valid only as long as the bytes are.
public struct ChunkTablePageView {
    private let bytes: UnsafeRawBufferPointer

    public init(validated bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count > SparseDirectory.end)
        self.bytes = bytes
    }

    /// Entry `entry` of the page; nil is a chunk of zeros. Does not allocate.
    public func entry(at entry: Int) -> ChunkEntry? {
        TablePageCodec<ChunkEntry>.entry(entry, ofValidated: bytes)
    }

    /// The first entry at or after `start` that is there; nil if there is none.
    public func firstPresent(from start: Int) -> Int? {
        SparseDirectory.first(bytes, from: start)
    }
}
