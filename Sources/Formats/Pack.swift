// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A pack: an immutable object of frames, then map nodes, then table pages, then an index of all of
// them, then a trailer of fixed size, so that it is written in one stream and one read of its end
// gives the index. Members lie without gaps: nothing in a pack is unaccounted for.
//
// Header, 64 bytes:
//     offset size type  name     meaning                              valid
//          0    8 u64   magic    "MRTLPACK"
//          8    2 u16   version                                       1
//         10    6       reserve                                       0
//         16   48       pack     PackID
// Index:
//          0    8 u64   magic    "MRTLPIDX"
//          8    2 u16   version                                       1
//         10    2       reserve                                       0
//         12    4 u32   members                                       1…2^20
//         16   48       pack     PackID
//         64   32       members, in the order of the pack:
//          0   16 hash  hash     frame: content; node, page: bytes    not 0
//         16    4 u32   offset   where the one before it ends         first: 64
//         20    4 u32   length                                        not 0
//         24    1 u8    kind     1 frame, 2 node, 3 chunk page, 4 pack page; never descends, 3 = 4
//         25    7       reserve                                       0
// Trailer, the last 64 bytes:
//          0    8 u64   magic    "MRTLPEND"
//          8    2 u16   version                                       1
//         10    6       reserve                                       0
//         16    4 u32   offset   of the index                         where the last member ends
//         20    4 u32   length   of the index                         64 + 32 · members
//         24    8 u64   bytes    of the whole pack                    index end + 64
//         32   16 hash  hash     of the index, domain packIndex
//         48    8       reserve                                       0
//         56    8 u64   checksum XXH3-64 of the 56 bytes before, seed 0

public import Primitives

/// What a member of a pack is.
public enum PackMemberKind: UInt8, Sendable, CaseIterable {
    case frame = 1
    case node = 2
    case chunkPage = 3
    case packPage = 4

    /// Members of a later phase come after all of the earlier ones.
    var phase: Int { self == .packPage ? 3 : Int(rawValue) }
}

/// One entry of a pack's index.
public struct PackMember: Hashable, Sendable {
    public var kind: PackMemberKind
    public var extent: PackExtent
    public var hash: Hash128

    public init(kind: PackMemberKind, extent: PackExtent, hash: Hash128) {
        self.kind = kind
        self.extent = extent
        self.hash = hash
    }

    static let byteCount = 32

    func encode(into writer: inout ByteWriter) {
        precondition(!hash.isZero)
        writer.append(hash)
        extent.encode(into: &writer)
        writer.append(kind.rawValue)
        writer.appendZeros(7)
    }

    init(decoding reader: inout FieldReader) throws(FormatError) {
        hash = try reader.present(field: "member hash")
        extent = try PackExtent(decoding: &reader)
        kind = try reader.tag(field: "member kind")
        try reader.reserved(7)
    }
}

public enum Pack {
    static let magic = magicWord("MRTLPACK")
    static let indexMagic = magicWord("MRTLPIDX")
    static let trailerMagic = magicWord("MRTLPEND")
    static let version: UInt16 = 1

    /// Bytes of the trailer: the least suffix to read.
    public static let trailerBytes = 64
    static let indexHeaderBytes = 64
    /// Bytes of a pack besides its members and their index entries.
    public static let overheadBytes =
        FormatLimits.packHeaderBytes + indexHeaderBytes + trailerBytes
    /// Bytes that one more member costs in the index.
    public static let memberBytes = PackMember.byteCount
    /// A suffix that holds the whole index of nearly every pack.
    public static let suffixBytes = 64 << 10

    /// The hash of a map node's bytes.
    public static func hash(ofNode bytes: UnsafeRawBufferPointer) -> Hash128 {
        BLAKE3.hash(bytes, domain: .node)
    }

    /// The hash of a table page's bytes.
    public static func hash(ofPage bytes: UnsafeRawBufferPointer) -> Hash128 {
        BLAKE3.hash(bytes, domain: .page)
    }

    /// Refuses bytes that do not have the hash that their pointer carries.
    public static func verify(
        _ bytes: UnsafeRawBufferPointer, hash: Hash128, kind: PackMemberKind
    ) throws(FormatError) {
        let found: Hash128
        let format: FormatName
        switch kind {
        case .frame:
            found = try FrameHeader(decoding: bytes).hash
            format = .frame
        case .node:
            found = Self.hash(ofNode: bytes)
            format = .node
        case .chunkPage, .packPage:
            found = Self.hash(ofPage: bytes)
            format = kind == .chunkPage ? .chunkPage : .packPage
        }
        guard found == hash else { throw .wrongHash(format, found: found, expected: hash) }
    }

    static func encodeHeader(_ pack: PackID, into writer: inout ByteWriter) {
        writer.append(magic)
        writer.append(version)
        writer.appendZeros(6)
        pack.encode(into: &writer)
    }

    /// Decodes the first 64 bytes of a pack.
    public static func header(
        decoding bytes: UnsafeRawBufferPointer
    ) throws(FormatError) -> PackID {
        var reader = FieldReader(bytes, format: .pack)
        try reader.magic(magic)
        try reader.version(version)
        try reader.reserved(6)
        return try PackID(decoding: &reader)
    }
}
