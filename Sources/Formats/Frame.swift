// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A frame: a whole block, or some grains of it, as it lies in a pack. The header tells how to
// decode it; the checksum finds rot before the decompressor sees a byte; the hash, which the
// pointer carries too, is of the decoded content. A frame names no block and no volume: forks and
// equal blocks share it.
//
//     offset size type  name     meaning                                valid
//          0    2 u16   magic    "MF"
//          2    1 u8    version                                         1
//          3    1 u8    codec    how the payload is stored              1 raw, 2 lz4, 3 zstd
//          4    1 u8    cipher   how the payload is encrypted           1 none
//          5    1 u8    kind                                            1 full, 2 delta
//          6    2 u16   grains   of the block                           1…256, power of two
//          8    8 u64   checksum XXH3-64 of all that follows, seeded with bytes 0…7 as a word
//         16    4 u32   raw      bytes of the content                   4096 · grains in the mask
//         20    4 u32   stored   bytes of the payload                   1…raw; raw with codec raw
//         only 24   16 hash  hash     of the content, domain block or delta  not 0
//         40   8w u64   mask     grains that the frame holds            full: all
//          …            payload
//
// w = ceil(grains / 64). The content is the grains of the mask in ascending order; a zero grain is
// stored as zeros; the short last block of a volume is padded with zeros to the block size.

public import Primitives

/// Whether a frame stands alone.
public enum FrameKind: UInt8, Sendable, CaseIterable {
    /// The whole block: nothing below it in the stack counts.
    case full = 1
    /// Some grains: the rest is below.
    case delta = 2
}

/// How a payload is encrypted. The raw value is on disk; 0 is never valid.
public enum Cipher: UInt8, Sendable, CaseIterable {
    case none = 1
}

/// What precedes a frame's payload.
public struct FrameHeader: Hashable, Sendable {
    public var codec: Codec
    public var cipher: Cipher
    public var grains: Int
    public var storedLength: Int
    public var hash: Hash128
    public var mask: GrainMask

    static let magic: UInt16 = 0x464D
    static let version: UInt8 = 1

    public init(
        codec: Codec, cipher: Cipher = .none, grains: Int, storedLength: Int, hash: Hash128,
        mask: GrainMask
    ) {
        self.codec = codec
        self.cipher = cipher
        self.grains = grains
        self.storedLength = storedLength
        self.hash = hash
        self.mask = mask
    }

    /// Bytes of the header for a block of `grains` grains.
    public static func byteCount(grains: Int) -> Int {
        40 + 8 * GrainMask.wordCount(grains: grains)
    }

    public var byteCount: Int { Self.byteCount(grains: grains) }
    public var rawLength: Int { mask.count * Limits.grainBytes }
    public var kind: FrameKind { mask.isFull(grains: grains) ? .full : .delta }

    /// Writes the header with its checksum in front of the payload, which lies in `frame` already:
    /// behind the header's bytes, up to the end.
    package func seal(_ frame: UnsafeMutableRawBufferPointer) {
        precondition(frame.count == byteCount + storedLength)
        precondition((1...rawLength).contains(storedLength))
        precondition((codec == .raw) == (storedLength == rawLength))
        precondition(!hash.isZero)
        var writer = ByteWriter(capacity: byteCount)
        writer.append(Self.magic)
        writer.append(Self.version)
        writer.append(codec.rawValue)
        writer.append(cipher.rawValue)
        writer.append(kind.rawValue)
        writer.append(UInt16(grains))
        writer.append(UInt64(0))
        writer.append(UInt32(rawLength))
        writer.append(UInt32(storedLength))
        writer.append(hash)
        mask.encode(into: &writer, grains: grains)
        frame.copyBytes(from: writer.bytes)
        let checksum = Self.checksum(UnsafeRawBufferPointer(frame))
        frame.storeBytes(of: checksum.littleEndian, toByteOffset: 8, as: UInt64.self)
    }

    /// A frame of its own: the sealed header, then `payload`.
    package func encode(with payload: UnsafeRawBufferPointer) -> [UInt8] {
        precondition(payload.count == storedLength)
        return [UInt8](unsafeUninitializedCapacity: byteCount + storedLength) { buffer, count in
            let frame = UnsafeMutableRawBufferPointer(
                rebasing: UnsafeMutableRawBufferPointer(buffer)[..<(byteCount + storedLength)])
            UnsafeMutableRawBufferPointer(rebasing: frame[byteCount...]).copyMemory(from: payload)
            seal(frame)
            count = frame.count
        }
    }

    /// The checksum that belongs to a frame's bytes.
    package static func checksum(_ frame: UnsafeRawBufferPointer) -> UInt64 {
        precondition(frame.count >= 16)
        let seed = UInt64(littleEndian: frame.loadUnaligned(as: UInt64.self))
        return XXH3.hash(UnsafeRawBufferPointer(rebasing: frame[16...]), seed: seed)
    }

    /// Decodes the header of a whole frame and checks the checksum over header and payload.
    public init(decoding frame: UnsafeRawBufferPointer) throws(FormatError) {
        var reader = FieldReader(frame, format: .frame)
        let magic = try reader.integer(UInt16.self)
        guard magic == Self.magic else {
            throw .wrongMagic(.frame, found: UInt64(magic), expected: UInt64(Self.magic))
        }
        let version = try reader.integer(UInt8.self)
        guard version == Self.version else {
            throw .unsupportedVersion(
                .frame, found: UInt64(version), supported: UInt64(Self.version))
        }
        codec = try reader.tag(field: "codec")
        cipher = try reader.tag(field: "cipher")
        let kind: FrameKind = try reader.tag(field: "kind")
        let grains = try reader.integer(in: 1...UInt16(GrainMask.grainsMax), field: "grains")
        guard grains.nonzeroBitCount == 1 else {
            throw .badValue(.frame, field: "grains", offset: 6, found: UInt64(grains))
        }
        self.grains = Int(grains)
        let checksum = try reader.integer(UInt64.self)
        let expected = Self.checksum(frame)
        guard checksum == expected else {
            throw .wrongChecksum(.frame, offset: 8, found: checksum, expected: expected)
        }
        let raw = try reader.integer(UInt32.self)
        storedLength = Int(
            try reader.integer(in: 1...UInt32(Limits.blockBytesMax), field: "stored"))
        hash = try reader.present(field: "hash")
        mask = try GrainMask(decoding: &reader, grains: self.grains)
        guard Int(raw) == rawLength else {
            throw .badValue(.frame, field: "raw", offset: 16, found: UInt64(raw))
        }
        guard storedLength <= rawLength, (codec == .raw) == (storedLength == rawLength) else {
            throw .badValue(.frame, field: "stored", offset: 20, found: UInt64(storedLength))
        }
        guard kind == self.kind else {
            throw .badValue(.frame, field: "kind", offset: 5, found: UInt64(kind.rawValue))
        }
        _ = try reader.bytes(storedLength)
        try reader.end()
    }
}

/// Making frames and taking them apart.
public enum Frame {
    /// The hash of a whole block, padded with zeros if it is the short last one.
    public static func hash(ofBlock block: UnsafeRawBufferPointer) -> Hash128 {
        BLAKE3.hash(block, domain: .block)
    }

    /// The hash of some grains of a block: mask, then the grains in ascending order.
    public static func hash(
        ofDelta content: UnsafeRawBufferPointer, mask: GrainMask, grains: Int
    ) -> Hash128 {
        precondition(content.count == mask.count * Limits.grainBytes)
        var hasher = BLAKE3(domain: .delta)
        mask.hash(into: &hasher, grains: grains)
        hasher.update(content)
        return hasher.finish()
    }

    /// The hash of a frame's content, by what its mask says it is.
    public static func hash(
        of content: UnsafeRawBufferPointer, mask: GrainMask, grains: Int
    ) -> Hash128 {
        mask.isFull(grains: grains)
            ? hash(ofBlock: content) : hash(ofDelta: content, mask: mask, grains: grains)
    }

    /// Room for any frame of a block of `grains` grains.
    public static func byteCountMax(grains: Int) -> Int {
        FrameHeader.byteCount(grains: grains) + grains * Limits.grainBytes
    }

    /// The bytes of a frame, made in `room`, which holds any frame of this block size: `content` is
    /// the grains of `mask`, `hash` their hash. What compression does not shrink by at least a
    /// sixteenth stays raw, because decoding costs more than it saves.
    public static func encode(
        _ content: UnsafeRawBufferPointer, mask: GrainMask, hash: Hash128, grains: Int,
        codec: Codec = .lz4, zstdLevel: Int = 1, into room: UnsafeMutableRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        precondition(!mask.isEmpty && content.count == mask.count * Limits.grainBytes)
        var header = FrameHeader(
            codec: .raw, grains: grains, storedLength: content.count, hash: hash, mask: mask)
        let payload = UnsafeMutableRawBufferPointer(rebasing: room[header.byteCount...])
        let least = content.count - content.count / 16
        let compressed =
            codec == .raw
            ? nil
            : Compression.compress(
                content, into: UnsafeMutableRawBufferPointer(rebasing: payload[..<least]),
                codec: codec, zstdLevel: Int32(zstdLevel))
        if let compressed {
            header.codec = codec
            header.storedLength = compressed
        } else {
            payload.copyMemory(from: content)
        }
        let frame = UnsafeMutableRawBufferPointer(
            rebasing: room[..<(header.byteCount + header.storedLength)])
        header.seal(frame)
        return UnsafeRawBufferPointer(frame)
    }

    /// The same as an array of its own.
    public static func encode(
        _ content: UnsafeRawBufferPointer, mask: GrainMask, hash: Hash128, grains: Int,
        codec: Codec = .lz4, zstdLevel: Int = 1
    ) -> [UInt8] {
        let most = FrameHeader.byteCount(grains: grains) + content.count
        return [UInt8](unsafeUninitializedCapacity: most) { buffer, count in
            count =
                encode(
                    content, mask: mask, hash: hash, grains: grains, codec: codec,
                    zstdLevel: zstdLevel, into: UnsafeMutableRawBufferPointer(buffer)
                ).count
        }
    }

    /// Checks that `frame` is what `pointer` points to, without decoding its payload.
    public static func header(
        of frame: UnsafeRawBufferPointer, pointer: FramePointer, grains: Int
    ) throws(FormatError) -> FrameHeader {
        guard frame.count == Int(pointer.length) else {
            throw .truncated(
                .frame, offset: 0, wanted: Int(pointer.length), available: frame.count)
        }
        let header = try FrameHeader(decoding: frame)
        guard header.grains == grains else {
            throw .wrongIdentity(
                .frame, field: "grains", found: UInt64(header.grains), expected: UInt64(grains))
        }
        guard header.hash == pointer.hash else {
            throw .wrongHash(.frame, found: header.hash, expected: pointer.hash)
        }
        guard header.mask == pointer.mask else {
            throw .wrongIdentity(
                .frame, field: "mask", found: header.mask[word: 0],
                expected: pointer.mask[word: 0])
        }
        return header
    }

    /// Decodes a frame's content into `target`, which has exactly its raw length, and checks the
    /// hash of what came out. On an error the target holds garbage.
    public static func decode(
        _ frame: UnsafeRawBufferPointer, header: FrameHeader,
        into target: UnsafeMutableRawBufferPointer
    ) throws(FormatError) {
        precondition(target.count == header.rawLength)
        precondition(frame.count == header.byteCount + header.storedLength)
        let payload = UnsafeRawBufferPointer(rebasing: frame[header.byteCount...])
        do {
            try Compression.decompress(payload, into: target, codec: header.codec)
        } catch {
            throw .corruptCompression(
                .frame, storedBytes: payload.count, expectedBytes: target.count)
        }
        let found = hash(
            of: UnsafeRawBufferPointer(target), mask: header.mask, grains: header.grains)
        guard found == header.hash else {
            throw .wrongHash(.frame, found: found, expected: header.hash)
        }
    }

    /// `header(of:pointer:grains:)` and `decode` in one: the content of the frame at `pointer`.
    public static func decode(
        _ frame: UnsafeRawBufferPointer, pointer: FramePointer, grains: Int,
        into target: UnsafeMutableRawBufferPointer
    ) throws(FormatError) {
        try decode(
            frame, header: try header(of: frame, pointer: pointer, grains: grains), into: target)
    }
}
