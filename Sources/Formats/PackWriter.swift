// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Builds a pack in memory, member by member, in the order that the format wants: frames, then
// nodes, then pages. The bytes come out whole, because a pack is put by one request.

public import Primitives

/// A pack in the making. Confined to whoever builds it.
public struct PackWriter {
    public let pack: PackID
    private var writer: ByteWriter
    private var members: [PackMember] = []
    private var phase = 1

    /// `expectedBytes` is reserved, not touched: a pack that grows by doubling is copied once more.
    /// `buffer` is an array whose memory may be used.
    public init(pack: PackID, reusing buffer: consuming [UInt8] = [], expectedBytes: Int = 1 << 20)
    {
        self.pack = pack
        writer = ByteWriter(reusing: consume buffer, capacity: expectedBytes)
        Pack.encodeHeader(pack, into: &writer)
    }

    public var isEmpty: Bool { members.isEmpty }
    public var memberCount: Int { members.count }

    /// Bytes of the pack if it were finished now.
    public var byteCount: Int {
        writer.count + Pack.indexHeaderBytes + members.count * Pack.memberBytes + Pack.trailerBytes
    }

    /// True if a member of `byteCount` bytes still keeps the pack inside its limits.
    public func hasRoom(for byteCount: Int) -> Bool {
        members.count < Int(FormatLimits.packMembersMax)
            && UInt64(self.byteCount + byteCount + Pack.memberBytes) <= Limits.packBytesMax
    }

    /// Adds a frame made by `Frame.encode` under its content hash; traps after a node or a page.
    public mutating func append(frame bytes: UnsafeRawBufferPointer, hash: Hash128) -> PackExtent {
        append(bytes, kind: .frame, hash: hash)
    }

    public mutating func append(frame bytes: [UInt8], hash: Hash128) -> PackExtent {
        bytes.withUnsafeBytes { append($0, kind: .frame, hash: hash) }
    }

    /// Adds `content`, the grains of `mask`, as a frame.
    public mutating func append(
        content: UnsafeRawBufferPointer, mask: GrainMask, hash: Hash128, grains: Int,
        codec: Codec = .lz4
    ) -> PackExtent {
        append(
            frame: Frame.encode(content, mask: mask, hash: hash, grains: grains, codec: codec),
            hash: hash)
    }

    /// Adds the bytes of a map node; traps after a page.
    public mutating func append(node bytes: [UInt8]) -> (extent: PackExtent, hash: Hash128) {
        let hash = bytes.withUnsafeBytes { Pack.hash(ofNode: $0) }
        return (bytes.withUnsafeBytes { append($0, kind: .node, hash: hash) }, hash)
    }

    /// Adds the bytes of a page of the chunk table.
    public mutating func append(chunkPage bytes: [UInt8]) -> PackPointer {
        appendPage(bytes, kind: .chunkPage)
    }

    /// Adds the bytes of a page of the pack table.
    public mutating func append(packPage bytes: [UInt8]) -> PackPointer {
        appendPage(bytes, kind: .packPage)
    }

    private mutating func appendPage(_ bytes: [UInt8], kind: PackMemberKind) -> PackPointer {
        let hash = bytes.withUnsafeBytes { Pack.hash(ofPage: $0) }
        let extent = bytes.withUnsafeBytes { append($0, kind: kind, hash: hash) }
        return PackPointer(pack: pack, offset: extent.offset, length: extent.length, hash: hash)
    }

    private mutating func append(
        _ bytes: UnsafeRawBufferPointer, kind: PackMemberKind, hash: Hash128
    ) -> PackExtent {
        precondition(!bytes.isEmpty && hasRoom(for: bytes.count), "the pack is full")
        precondition(kind.phase >= phase, "members must come frames first, pages last")
        phase = kind.phase
        let extent = PackExtent(offset: UInt32(writer.count), length: UInt32(bytes.count))
        writer.append(bytes)
        members.append(PackMember(kind: kind, extent: extent, hash: hash))
        return extent
    }

    /// The bytes of the pack. Traps if it has no member.
    public consuming func finish() -> [UInt8] {
        let index = PackIndex(pack: pack, members: members).encode()
        let extent = PackExtent(offset: UInt32(writer.count), length: UInt32(index.count))
        let trailer = PackTrailer(
            index: extent, packBytes: extent.end + UInt64(Pack.trailerBytes),
            indexHash: index.withUnsafeBytes { BLAKE3.hash($0, domain: .packIndex) })
        writer.append(index)
        trailer.encode(into: &writer)
        return writer.bytes
    }
}
