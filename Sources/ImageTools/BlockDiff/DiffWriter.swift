// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Writes a diff: header, then the bytes of the changed ranges from the target, in one pass.

import Formats
import HostIO
import Primitives

/// Writes the diff of `target`. Confined to one call.
struct DiffWriter<File: ExtentFile, Sink: DiffSink> {
    let target: File
    let targetPath: String
    let targetBytes: UInt64
    let baseBytes: UInt64
    let changed: ChangedRanges
    var sink: Sink
    /// Two pieces: what is read, and what it is compressed to.
    let room: UnsafeMutableRawBufferPointer

    private var pieceBytes: Int { Int(BlockDiffPiece.dataBytesMax) }

    mutating func writeV1(_ progress: inout DiffProgress) throws(BlockDiffError) {
        let ranges = changed.plain
        let lead = BlockDiffLead(
            targetBytes: targetBytes, baseBytes: baseBytes, rangeCount: UInt64(ranges.count))
        try put { sink throws(HostIOError) in try sink.write(lead.encode(ranges: ranges)) }
        for range in changed.ranges {
            guard range.kind == .data else {
                try put { sink throws(HostIOError) in try sink.writeZeros(range.length) }
                try progress.advance(range.length)
                continue
            }
            var place = range.offset
            while place < range.end {
                let count = Int(min(UInt64(pieceBytes), range.end - place))
                let bytes = try read(at: place, count)
                try put { sink throws(HostIOError) in try sink.write(bytes) }
                try progress.advance(UInt64(count))
                place += UInt64(count)
            }
        }
        try put { sink throws(HostIOError) in try sink.finish() }
    }

    mutating func writeV2(
        baseDigest: Hash128?, targetDigest: Hash128?, codec: Codec,
        _ progress: inout DiffProgress
    ) throws(BlockDiffError) {
        let header = BlockDiffHeader(
            targetBytes: targetBytes, baseBytes: baseBytes, baseDigest: baseDigest,
            targetDigest: targetDigest, pieceCount: Self.pieceCount(of: changed))
        try put { sink throws(HostIOError) in try sink.write(header.encode()) }
        let seed = header.seed
        var number: UInt64 = 0
        for range in changed.ranges {
            var place = range.offset
            while place < range.end {
                let length =
                    range.kind == .data
                    ? min(BlockDiffPiece.dataBytesMax, range.end - place) : range.length
                let part = BlockDiffRange(offset: place, length: length)
                try writePiece(range.kind, part, codec: codec, seed: seed, number: number)
                try progress.advance(length)
                number += 1
                place += length
            }
        }
        precondition(number == header.pieceCount, "the header counts the pieces")
        try put { sink throws(HostIOError) in try sink.finish() }
    }

    static func pieceCount(of changed: ChangedRanges) -> UInt64 {
        changed.ranges.reduce(0) { count, range in
            guard range.kind == .data else { return count + 1 }
            return count + (range.length + BlockDiffPiece.dataBytesMax - 1)
                / BlockDiffPiece.dataBytesMax
        }
    }

    private mutating func writePiece(
        _ kind: BlockDiffKind, _ range: BlockDiffRange, codec: Codec, seed: UInt64, number: UInt64
    ) throws(BlockDiffError) {
        guard kind == .data else {
            let piece = BlockDiffPiece(
                kind, range, codec: nil, stored: UnsafeRawBufferPointer(start: nil, count: 0),
                seed: seed, number: number)
            return try put { sink throws(HostIOError) in try sink.write(piece.encode()) }
        }
        let raw = try read(at: range.offset, Int(range.length))
        let space = UnsafeMutableRawBufferPointer(rebasing: room[pieceBytes...])
        let (stored, used) = StoredPiece.stored(raw, codec, space)
        let piece = BlockDiffPiece(
            .data, range, codec: used, stored: stored, seed: seed, number: number)
        try put { sink throws(HostIOError) in
            try sink.write(piece.encode())
            try sink.write(stored)
        }
    }

    private mutating func read(
        at place: UInt64, _ count: Int
    ) throws(BlockDiffError) -> UnsafeRawBufferPointer {
        let piece = UnsafeMutableRawBufferPointer(rebasing: room[..<count])
        let read = try io { () throws(HostIOError) in try target.read(at: place, into: piece) }
        guard read == count else { throw .changed(targetPath) }
        return UnsafeRawBufferPointer(piece)
    }

    private mutating func put(
        _ body: (inout Sink) throws(HostIOError) -> Void
    ) throws(BlockDiffError) {
        do throws(HostIOError) { try body(&sink) } catch {
            throw Sink.isStream ? .stream(error) : .io(error)
        }
    }
}

/// How the data of a piece of version 2 is stored.
enum StoredPiece {
    /// The bytes, compressed into `space` unless that does not shrink them by a sixteenth.
    static func stored(
        _ raw: UnsafeRawBufferPointer, _ codec: Codec, _ space: UnsafeMutableRawBufferPointer
    ) -> (bytes: UnsafeRawBufferPointer, codec: Codec) {
        let limit = raw.count - raw.count / 16 - 1
        guard codec != .raw, limit > 0 else { return (raw, .raw) }
        let room = UnsafeMutableRawBufferPointer(rebasing: space[..<limit])
        guard let count = Compression.compress(raw, into: room, codec: codec) else {
            return (raw, .raw)
        }
        return (UnsafeRawBufferPointer(rebasing: room[..<count]), codec)
    }
}
