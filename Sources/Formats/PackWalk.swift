// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The members of a pack whose index cannot be read, found by going from one to the next: each says
// how long it is, and a pack has no gaps. For repair alone; readers go by pointers.

internal import Primitives

package enum PackWalk {
    /// All members up to the index; nil if the way cannot be found, or not for certain. `known` are
    /// members by their offsets, as pointers describe them, so that a damaged one can be passed.
    /// What nothing points to and carries no checksum of its own counts only if the trailer agrees.
    package static func members(
        of bytes: UnsafeRawBufferPointer, pack: PackID, known: [UInt32: PackMember]
    ) -> [PackMember]? {
        let trailer = try? PackTrailer(decodingEndOf: bytes, packBytes: UInt64(bytes.count))
        var members: [PackMember] = []
        var isCertain = true
        var offset = FormatLimits.packHeaderBytes
        while !isIndex(at: offset, of: bytes, trailer) {
            guard members.count < Int(FormatLimits.packMembersMax), offset < bytes.count else {
                return nil
            }
            let member: PackMember
            if let described = known[UInt32(offset)] {
                member = described
            } else {
                let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
                guard let found = self.member(startingAt: rest, offset: UInt32(offset)) else {
                    return nil
                }
                member = found
                if found.kind != .frame { isCertain = false }
            }
            members.append(member)
            offset = Int(member.extent.end)
        }
        guard !members.isEmpty else { return nil }
        guard let trailer else { return isCertain ? members : nil }
        let index = PackIndex(pack: pack, members: members).encode()
        let hash = index.withUnsafeBytes { BLAKE3.hash($0, domain: .packIndex) }
        return hash == trailer.indexHash ? members : nil
    }

    private static func isIndex(
        at offset: Int, of bytes: UnsafeRawBufferPointer, _ trailer: PackTrailer?
    ) -> Bool {
        if let trailer { return offset == Int(trailer.index.offset) }
        return word(bytes, offset) == Pack.indexMagic
    }

    private static func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64? {
        guard offset + 8 <= bytes.count else { return nil }
        return UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    private static func length(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> Int? {
        guard offset + 4 <= bytes.count else { return nil }
        return Int(
            UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
    }

    /// The member that begins here, by what it says of itself.
    private static func member(
        startingAt bytes: UnsafeRawBufferPointer, offset: UInt32
    ) -> PackMember? {
        let kind: PackMemberKind
        let byteCount: Int?
        switch word(bytes, 0) {
        case nil: return nil
        case MapNode.magic: (kind, byteCount) = (.node, length(bytes, 28))
        case ChunkEntry.magic: (kind, byteCount) = (.chunkPage, length(bytes, 20))
        case PackEntry.magic: (kind, byteCount) = (.packPage, length(bytes, 20))
        default:
            guard let words = length(bytes, 4), let stored = length(bytes, 20) else { return nil }
            let grains = words >> 16
            guard (1...GrainMask.grainsMax).contains(grains) else { return nil }
            (kind, byteCount) = (.frame, FrameHeader.byteCount(grains: grains) + stored)
        }
        guard let byteCount, byteCount > 0, byteCount <= bytes.count else { return nil }
        let part = UnsafeRawBufferPointer(rebasing: bytes[..<byteCount])
        let hash: Hash128
        switch kind {
        case .frame:
            guard let header = try? FrameHeader(decoding: part) else { return nil }
            hash = header.hash
        case .node: hash = Pack.hash(ofNode: part)
        case .chunkPage, .packPage: hash = Pack.hash(ofPage: part)
        }
        return PackMember(
            kind: kind, extent: PackExtent(offset: offset, length: UInt32(byteCount)), hash: hash)
    }
}
