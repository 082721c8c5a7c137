// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Reading a pack from its end: the trailer, then the index that it names. The tables are in
// Pack.swift.

public import Primitives

/// The last 64 bytes of a pack.
public struct PackTrailer: Hashable, Sendable {
    public var index: PackExtent
    public var packBytes: UInt64
    public var indexHash: Hash128

    public init(index: PackExtent, packBytes: UInt64, indexHash: Hash128) {
        self.index = index
        self.packBytes = packBytes
        self.indexHash = indexHash
    }

    func encode(into writer: inout ByteWriter) {
        let start = writer.count
        writer.append(Pack.trailerMagic)
        writer.append(Pack.version)
        writer.appendZeros(6)
        index.encode(into: &writer)
        writer.append(packBytes)
        writer.append(indexHash)
        writer.appendZeros(8)
        let checksum = writer.bytes.withUnsafeBytes {
            Self.checksum(UnsafeRawBufferPointer(rebasing: $0[start...]))
        }
        writer.append(checksum)
        precondition(writer.count - start == Pack.trailerBytes)
    }

    /// The checksum that belongs to a trailer's bytes.
    package static func checksum(_ trailer: UnsafeRawBufferPointer) -> UInt64 {
        XXH3.hash(UnsafeRawBufferPointer(rebasing: trailer[..<56]), seed: 0)
    }

    /// Decodes the trailer at the end of `suffix`. `packBytes` is the object's size, if known.
    public init(
        decodingEndOf suffix: UnsafeRawBufferPointer, packBytes expected: UInt64? = nil
    ) throws(FormatError) {
        guard suffix.count >= Pack.trailerBytes else {
            throw .truncated(
                .packTrailer, offset: 0, wanted: Pack.trailerBytes, available: suffix.count)
        }
        let bytes = UnsafeRawBufferPointer(rebasing: suffix[(suffix.count - Pack.trailerBytes)...])
        var reader = FieldReader(bytes, format: .packTrailer)
        try reader.magic(Pack.trailerMagic)
        try reader.version(Pack.version)
        try reader.reserved(6)
        index = try PackExtent(decoding: &reader)
        packBytes = try reader.integer(
            in: UInt64(Pack.overheadBytes)...Limits.packBytesMax, field: "pack bytes")
        indexHash = try reader.present(field: "index hash")
        try reader.reserved(8)
        let checksum = try reader.integer(UInt64.self)
        let right = Self.checksum(bytes)
        guard checksum == right else {
            throw .wrongChecksum(.packTrailer, offset: 56, found: checksum, expected: right)
        }
        guard index.end + UInt64(Pack.trailerBytes) == packBytes else {
            throw .badValue(.packTrailer, field: "pack bytes", offset: 24, found: packBytes)
        }
        if let expected, expected != packBytes {
            throw .wrongIdentity(
                .packTrailer, field: "pack bytes", found: packBytes, expected: expected)
        }
    }
}

/// The index of a pack.
public struct PackIndex: Equatable, Sendable {
    public let pack: PackID
    public let members: [PackMember]

    public init(pack: PackID, members: [PackMember]) {
        self.pack = pack
        self.members = members
    }

    package func encode() -> [UInt8] {
        precondition(!members.isEmpty && members.count <= Int(FormatLimits.packMembersMax))
        var writer = ByteWriter(
            capacity: Pack.indexHeaderBytes + members.count * PackMember.byteCount)
        writer.append(Pack.indexMagic)
        writer.append(Pack.version)
        writer.appendZeros(2)
        writer.append(UInt32(members.count))
        pack.encode(into: &writer)
        for member in members { member.encode(into: &writer) }
        return writer.bytes
    }

    /// Decodes the index that `trailer` names, after checking its hash.
    public init(
        decoding bytes: UnsafeRawBufferPointer, trailer: PackTrailer, pack: PackID? = nil
    ) throws(FormatError) {
        let found = BLAKE3.hash(bytes, domain: .packIndex)
        guard found == trailer.indexHash else {
            throw .wrongHash(.packIndex, found: found, expected: trailer.indexHash)
        }
        try self.init(unhashed: bytes, offset: trailer.index.offset)
        if let pack, pack != self.pack {
            throw .wrongIdentity(
                .packIndex, field: "pack token", found: self.pack.token.low,
                expected: pack.token.low)
        }
    }

    /// Decodes index bytes whose hash was checked, or does not matter. `offset`: where they lie,
    /// which is where the last member ends; nil: anywhere.
    package init(unhashed bytes: UnsafeRawBufferPointer, offset: UInt32?) throws(FormatError) {
        var reader = FieldReader(bytes, format: .packIndex)
        try reader.magic(Pack.indexMagic)
        try reader.version(Pack.version)
        try reader.reserved(2)
        let count = try reader.integer(in: 1...FormatLimits.packMembersMax, field: "members")
        pack = try PackID(decoding: &reader)
        guard reader.remaining == Int(count) * PackMember.byteCount else {
            throw .badValue(.packIndex, field: "members", offset: 12, found: UInt64(count))
        }
        var members: [PackMember] = []
        members.reserveCapacity(Int(count))
        var end = UInt64(FormatLimits.packHeaderBytes)
        var phase = 1
        for _ in 0..<count {
            let start = reader.offset
            let member = try PackMember(decoding: &reader)
            guard UInt64(member.extent.offset) == end, member.kind.phase >= phase else {
                throw .badValue(
                    .packIndex, field: "member", offset: start,
                    found: UInt64(member.extent.offset))
            }
            end = member.extent.end
            phase = member.kind.phase
            members.append(member)
        }
        guard offset.map({ UInt64($0) == end }) ?? true else {
            throw .badValue(.packIndex, field: "last member", offset: reader.offset, found: end)
        }
        self.members = members
    }

    /// Trailer and index of a whole pack in memory, with its header checked against them.
    public static func read(
        _ bytes: UnsafeRawBufferPointer, pack: PackID? = nil
    ) throws(FormatError) -> (trailer: PackTrailer, index: PackIndex) {
        let trailer = try PackTrailer(decodingEndOf: bytes, packBytes: UInt64(bytes.count))
        let start = Int(trailer.index.offset)
        let end = Int(trailer.index.end)
        let index = try PackIndex(
            decoding: UnsafeRawBufferPointer(rebasing: bytes[start..<end]), trailer: trailer,
            pack: pack)
        guard try Pack.header(decoding: bytes) == index.pack else {
            throw .wrongIdentity(.pack, field: "pack", found: 0, expected: index.pack.token.low)
        }
        return (trailer, index)
    }
}
