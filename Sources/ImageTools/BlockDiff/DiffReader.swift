// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Reads a diff of either version in order and trusts none of it: sizes, counts, order, checksums
// are checked before anything is handed on, and no memory is taken on the word of the diff.

import Formats
public import Primitives

/// What stands in front of a diff.
public struct DiffHead: Equatable, Sendable {
    public let version: Int
    public let targetBytes: UInt64
    /// 0: no base.
    public let baseBytes: UInt64
    public let baseDigest: Hash128?
    public let targetDigest: Hash128?
}

struct DiffReader<Source: DiffSource> {
    private enum Form {
        case ranges(BlockDiffRanges, next: Int, done: UInt64)
        case pieces(BlockDiffHeader, seed: UInt64, next: UInt64, end: UInt64)
    }

    private var source: Source
    private var form: Form
    let head: DiffHead
    /// Two pieces: what is stored, and what it decodes to.
    private let room: UnsafeMutableRawBufferPointer

    private static var pieceBytes: Int { Int(BlockDiffPiece.dataBytesMax) }

    /// Reads what stands in front. Where the length of a diff of version 1 can be known it is
    /// right.
    init(_ source: Source, room: UnsafeMutableRawBufferPointer) throws(BlockDiffError) {
        precondition(room.count >= 2 * Self.pieceBytes)
        var source = source
        let lead = try Self.take(&source, BlockDiffLead.byteCount, room)
        if lead.loadUnaligned(as: UInt64.self) == BlockDiffHeader.magic.littleEndian {
            let rest = UnsafeMutableRawBufferPointer(
                rebasing: room[BlockDiffLead.byteCount..<BlockDiffHeader.byteCount])
            guard try source.read(into: rest) == rest.count else {
                throw Self.short(source, UInt64(BlockDiffHeader.byteCount))
            }
            let bytes = UnsafeRawBufferPointer(rebasing: room[..<BlockDiffHeader.byteCount])
            let header = try Self.decode(source.name, 0) { () throws(FormatError) in
                try BlockDiffHeader(decoding: bytes)
            }
            form = .pieces(header, seed: header.seed, next: 0, end: 0)
            head = DiffHead(
                version: 2, targetBytes: header.targetBytes, baseBytes: header.baseBytes,
                baseDigest: header.baseDigest, targetDigest: header.targetDigest)
        } else {
            let ranges = try Self.ranges(&source, lead, room)
            form = .ranges(ranges, next: 0, done: 0)
            head = DiffHead(
                version: 1, targetBytes: ranges.lead.targetBytes, baseBytes: ranges.lead.baseBytes,
                baseDigest: nil, targetDigest: nil)
        }
        self.source = source
        self.room = room
    }

    /// The ranges of version 1, and a look at the length.
    private static func ranges(
        _ source: inout Source, _ lead: UnsafeRawBufferPointer,
        _ room: UnsafeMutableRawBufferPointer
    ) throws(BlockDiffError) -> BlockDiffRanges {
        let name = source.name
        let decoded = try decode(name, 0) { () throws(FormatError) in
            try BlockDiffLead(decoding: lead)
        }
        if let found = source.byteCount, found < decoded.dataStart {
            throw .wrongLength(diff: name, found: found, expected: decoded.dataStart)
        }
        var ranges = BlockDiffRanges(of: decoded)
        while ranges.missing > 0 {
            let count = min(ranges.missing, UInt64(pieceBytes / BlockDiffLead.rangeByteCount))
            let bytes = try take(&source, Int(count) * BlockDiffLead.rangeByteCount, room)
            try decode(name, 0) { () throws(FormatError) in try ranges.append(bytes) }
        }
        let padding = try take(&source, Int(decoded.dataStart - decoded.rangesEnd), room)
        try decode(name, 0) { () throws(FormatError) in try ranges.check(padding: padding) }
        if let found = source.byteCount, found != ranges.diffBytes {
            throw .wrongLength(diff: name, found: found, expected: ranges.diffBytes)
        }
        return ranges
    }

    /// What changed, in order: its kind and, for data, its bytes, at most 1 MiB and valid until the
    /// next call. Nil after the last, when the diff has ended, too.
    mutating func next() throws(BlockDiffError) -> (ChangedRange, UnsafeRawBufferPointer)? {
        switch form {
        case .ranges(let ranges, let index, let done):
            guard index < ranges.ranges.count else { return try end() }
            let range = ranges.ranges[index]
            let count = min(range.length - done, UInt64(Self.pieceBytes))
            let bytes = try Self.take(&source, Int(count), room)
            let isWhole = done + count == range.length
            form = .ranges(
                ranges, next: isWhole ? index + 1 : index, done: isWhole ? 0 : done + count)
            return (ChangedRange(.data, offset: range.offset + done, length: count), bytes)
        case .pieces(let header, let seed, let number, let after):
            guard number < header.pieceCount else { return try end() }
            let (piece, place) = try piece(header, after: after)
            let stored = try Self.take(&source, Int(piece.storedBytes), room)
            let decoded = UnsafeMutableRawBufferPointer(
                rebasing: room[
                    Self.pieceBytes..<Self.pieceBytes
                        + (piece.kind == .data ? Int(piece.range.length) : 0)])
            try Self.decode(source.name, place) { () throws(FormatError) in
                try piece.verify(stored, seed: seed, number: number)
                if piece.kind == .data { try piece.decode(stored, into: decoded) }
            }
            form = .pieces(header, seed: seed, next: number + 1, end: piece.range.end)
            return (
                ChangedRange(
                    piece.kind, offset: piece.range.offset, length: piece.range.length),
                UnsafeRawBufferPointer(decoded)
            )
        }
    }

    /// What changed, without its bytes, which are neither read nor checked where they need not be.
    mutating func nextRange() throws(BlockDiffError) -> ChangedRange? {
        switch form {
        case .ranges(let ranges, let index, _):
            guard index < ranges.ranges.count else {
                try end()
                return nil
            }
            let range = ranges.ranges[index]
            try skip(range.length)
            form = .ranges(ranges, next: index + 1, done: 0)
            return ChangedRange(.data, offset: range.offset, length: range.length)
        case .pieces(let header, let seed, let number, let after):
            guard number < header.pieceCount else {
                try end()
                return nil
            }
            let (piece, _) = try piece(header, after: after)
            try skip(UInt64(piece.storedBytes))
            form = .pieces(header, seed: seed, next: number + 1, end: piece.range.end)
            return ChangedRange(
                piece.kind, offset: piece.range.offset, length: piece.range.length)
        }
    }

    private mutating func piece(
        _ header: BlockDiffHeader, after end: UInt64
    ) throws(BlockDiffError) -> (BlockDiffPiece, UInt64) {
        let place = source.offset
        let bytes = try Self.take(&source, BlockDiffPiece.byteCount, room)
        let piece = try Self.decode(source.name, place) { () throws(FormatError) in
            try BlockDiffPiece(decoding: bytes, after: end, targetBytes: header.targetBytes)
        }
        return (piece, place)
    }

    private mutating func skip(_ count: UInt64) throws(BlockDiffError) {
        let place = source.offset
        guard try source.skip(count) else { throw Self.short(source, place + count) }
    }

    /// Nothing may follow.
    @discardableResult
    private mutating func end() throws(BlockDiffError) -> (
        ChangedRange, UnsafeRawBufferPointer
    )? {
        let one = UnsafeMutableRawBufferPointer(rebasing: room[..<1])
        guard try source.read(into: one) == 0 else { throw .trailing(diff: source.name) }
        return nil
    }

    // MARK: Bytes

    private static func take(
        _ source: inout Source, _ count: Int, _ room: UnsafeMutableRawBufferPointer
    ) throws(BlockDiffError) -> UnsafeRawBufferPointer {
        let wanted = UnsafeMutableRawBufferPointer(rebasing: room[..<count])
        let place = source.offset
        guard try source.read(into: wanted) == count else {
            throw short(source, place + UInt64(count))
        }
        return UnsafeRawBufferPointer(wanted)
    }

    private static func short(_ source: Source, _ expected: UInt64) -> BlockDiffError {
        .wrongLength(
            diff: source.name, found: source.byteCount ?? source.offset, expected: expected)
    }

    private static func decode<Value>(
        _ name: String, _ place: UInt64, _ body: () throws(FormatError) -> Value
    ) throws(BlockDiffError) -> Value {
        do throws(FormatError) { return try body() } catch {
            throw .format(error, diff: name, offset: place)
        }
    }
}
