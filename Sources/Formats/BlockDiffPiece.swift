// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Version 2 of block diffs: a header with the digests of both files, then pieces, each with a
// checksum and its own compression, so that it is written and read in one stream.
//
//     header 96 B │ piece header 32 B, stored bytes │ … │ nothing
//
// docs/formats/bdiff.md has the tables.

public import Primitives

/// The header of version 2.
public struct BlockDiffHeader: Hashable, Sendable {
    public static let magic = magicWord("BDIFFv2\0")
    public static let byteCount = 96
    static let checkedByteCount = 88

    public var targetBytes: UInt64
    /// 0: the target stands for itself.
    public var baseBytes: UInt64
    /// Nil: not taken.
    public var baseDigest: Hash128?
    public var targetDigest: Hash128?
    public var pieceCount: UInt64

    public init(
        targetBytes: UInt64, baseBytes: UInt64, baseDigest: Hash128?, targetDigest: Hash128?,
        pieceCount: UInt64
    ) {
        self.targetBytes = targetBytes
        self.baseBytes = baseBytes
        self.baseDigest = baseDigest
        self.targetDigest = targetDigest
        self.pieceCount = pieceCount
    }

    public init(decoding bytes: UnsafeRawBufferPointer) throws(FormatError) {
        var reader = FieldReader(bytes, format: .blockDiff)
        try reader.magic(Self.magic)
        targetBytes = try reader.integer(
            in: 0...BlockDiffLead.fileBytesMax, field: "target size")
        baseBytes = try reader.integer(in: 0...BlockDiffLead.fileBytesMax, field: "base size")
        let base: Hash128 = try reader.identifier()
        baseDigest = base.isZero ? nil : base
        let target: Hash128 = try reader.identifier()
        targetDigest = target.isZero ? nil : target
        // A piece has at least a byte.
        pieceCount = try reader.integer(in: 0...targetBytes, field: "pieces")
        try reader.reserved(24)
        let checksum: UInt64 = try reader.integer()
        try reader.end()
        let right = Self.checksum(bytes)
        guard checksum == right else {
            throw .wrongChecksum(
                .blockDiff, offset: Self.checkedByteCount, found: checksum, expected: right)
        }
    }

    public func encode() -> [UInt8] {
        precondition(targetBytes <= BlockDiffLead.fileBytesMax && pieceCount <= targetBytes)
        precondition(baseBytes <= BlockDiffLead.fileBytesMax)
        var writer = ByteWriter(capacity: Self.byteCount)
        writer.append(Self.magic)
        writer.append(targetBytes)
        writer.append(baseBytes)
        writer.append(baseDigest ?? Hash128(low: 0, high: 0))
        writer.append(targetDigest ?? Hash128(low: 0, high: 0))
        writer.append(pieceCount)
        writer.appendZeros(24)
        writer.append(writer.bytes.withUnsafeBytes { Self.checksum($0) })
        return writer.bytes
    }

    /// The checksum that belongs to a header's first 88 bytes.
    package static func checksum(_ header: UnsafeRawBufferPointer) -> UInt64 {
        XXH3.hash(UnsafeRawBufferPointer(rebasing: header[..<checkedByteCount]), seed: 0)
    }

    /// What the checksums of the pieces start from: a piece of another diff does not pass.
    public var seed: UInt64 {
        encode().withUnsafeBytes {
            UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: 88, as: UInt64.self))
        }
    }
}

/// What a piece says of its bytes of the target.
public enum BlockDiffKind: UInt8, Sendable, CaseIterable {
    /// They follow.
    case data = 1
    /// They are zeros that take space.
    case zeros = 2
    /// They are a hole: zeros that take none.
    case hole = 3
}

/// The header of a piece.
public struct BlockDiffPiece: Hashable, Sendable {
    public static let byteCount = 32
    static let checkedByteCount = 24
    /// Bytes of a data piece, decoded: what a reader must have room for.
    public static let dataBytesMax: UInt64 = 1 << 20

    public var kind: BlockDiffKind
    public var range: BlockDiffRange
    /// How data is stored; nil for what has none.
    public var codec: Codec?
    /// Bytes that follow the header.
    public var storedBytes: UInt32
    /// Over the header and what follows it.
    public private(set) var checksum: UInt64

    /// A piece with its stored bytes. `number` counts the pieces of a diff from 0.
    public init(
        _ kind: BlockDiffKind, _ range: BlockDiffRange, codec: Codec?,
        stored: UnsafeRawBufferPointer, seed: UInt64, number: UInt64
    ) {
        precondition(range.length > 0 && (kind == .data) == (codec != nil))
        precondition(kind != .data || range.length <= Self.dataBytesMax)
        precondition((codec == .raw) == (UInt64(stored.count) == range.length))
        self.kind = kind
        self.range = range
        self.codec = codec
        storedBytes = UInt32(stored.count)
        checksum = 0
        checksum = Self.checksum(encode(), stored, seed: seed, number: number)
    }

    /// Decodes the header of the piece after one that ended at `end`.
    public init(
        decoding bytes: UnsafeRawBufferPointer, after end: UInt64, targetBytes: UInt64
    ) throws(FormatError) {
        var reader = FieldReader(bytes, format: .blockDiff)
        let offset: UInt64 = try reader.integer()
        guard offset >= end, offset < targetBytes else {
            throw .badValue(.blockDiff, field: "piece offset", offset: 0, found: offset)
        }
        let length: UInt64 = try reader.integer()
        guard length > 0, length <= targetBytes - offset else {
            throw .badValue(.blockDiff, field: "piece length", offset: 8, found: length)
        }
        range = BlockDiffRange(offset: offset, length: length)
        storedBytes = try reader.integer()
        kind = try reader.tag(field: "kind")
        if kind == .data {
            guard length <= Self.dataBytesMax else {
                throw .badValue(.blockDiff, field: "piece length", offset: 8, found: length)
            }
            codec = try reader.tag(Codec.self, field: "codec")
            let isRaw = UInt64(storedBytes) == length
            guard storedBytes > 0, UInt64(storedBytes) <= length, (codec == .raw) == isRaw else {
                throw .badValue(
                    .blockDiff, field: "stored bytes", offset: 16, found: UInt64(storedBytes))
            }
        } else {
            codec = nil
            try reader.reserved(1)
            guard storedBytes == 0 else {
                throw .badValue(
                    .blockDiff, field: "stored bytes", offset: 16, found: UInt64(storedBytes))
            }
        }
        try reader.reserved(2)
        checksum = try reader.integer()
        try reader.end()
    }

    public func encode() -> [UInt8] {
        var writer = ByteWriter(capacity: Self.byteCount)
        writer.append(range.offset)
        writer.append(range.length)
        writer.append(storedBytes)
        writer.append(kind.rawValue)
        writer.append(codec?.rawValue ?? 0)
        writer.appendZeros(2)
        writer.append(checksum)
        return writer.bytes
    }

    /// Checks header and stored bytes together.
    public func verify(
        _ stored: UnsafeRawBufferPointer, seed: UInt64, number: UInt64
    ) throws(FormatError) {
        precondition(stored.count == Int(storedBytes))
        let right = Self.checksum(encode(), stored, seed: seed, number: number)
        guard checksum == right else {
            throw .wrongChecksum(
                .blockDiff, offset: Self.checkedByteCount, found: checksum, expected: right)
        }
    }

    /// The bytes of a data piece, after `verify`. `room` has exactly the piece's length.
    public func decode(
        _ stored: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer
    ) throws(FormatError) {
        precondition(UInt64(room.count) == range.length)
        guard let codec else { preconditionFailure("only data is stored") }
        do throws(CompressionError) {
            try Compression.decompress(stored, into: room, codec: codec)
        } catch {
            throw .corruptCompression(
                .blockDiff, storedBytes: stored.count, expectedBytes: room.count)
        }
    }

    private static func checksum(
        _ header: [UInt8], _ stored: UnsafeRawBufferPointer, seed: UInt64, number: UInt64
    ) -> UInt64 {
        let start = header.withUnsafeBytes {
            XXH3.hash(
                UnsafeRawBufferPointer(rebasing: $0[..<checkedByteCount]), seed: seed &+ number)
        }
        return XXH3.hash(stored, seed: start)
    }
}
