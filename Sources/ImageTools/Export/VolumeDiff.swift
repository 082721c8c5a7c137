// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A difference as a block diff: of two commits, of a disk from nothing, or what a journal holds
// beyond a commit. What changed is counted in front of the diff, hence two walks: the first tells
// it, and reads content only where that decides what differs; the second reads what changed. What
// both sides have in common is read by neither.

import Formats
import HostIO
import Primitives
import VolumeMap

/// Writes one diff. Confined to one call.
struct VolumeDiff<Feed: ImageFeed> {
    /// Ranges of version 1 that are kept, at most: 64 MiB. More would have to be joined over what
    /// did not change, and that would have to be read.
    static var rangesMax: Int { 1 << 22 }

    private let feed: Feed
    private let targetBytes: UInt64
    private let baseBytes: UInt64
    private let rangesMax: Int
    private let report: ExportProgressReport

    init(
        _ feed: Feed, targetBytes: UInt64, baseBytes: UInt64,
        rangesMax: Int = Self.rangesMax, _ report: @escaping ExportProgressReport
    ) {
        self.feed = feed
        self.targetBytes = targetBytes
        self.baseBytes = baseBytes
        self.rangesMax = rangesMax
        self.report = report
    }

    /// Returns the bytes of the target that the diff tells.
    func writeV1(_ sink: some DiffSink) throws(ExportError) -> UInt64 {
        let told = ToldRanges(countMax: rangesMax)
        try look(told)
        let lead = BlockDiffLead(
            targetBytes: targetBytes, baseBytes: baseBytes, rangeCount: UInt64(told.ranges.count))
        var sink = sink
        try output { () throws(HostIOError) in try sink.write(lead.encode(ranges: told.ranges)) }
        let bytes = RangeWriter(sink)
        try feed.run(into: bytes, content: true, report)
        precondition(bytes.byteCount == told.byteCount, "both walks tell the same")
        try bytes.finish()
        return told.byteCount
    }

    /// Returns the bytes of the target that the diff tells.
    func writeV2(
        _ sink: some DiffSink, codec: Codec, targetDigest: Hash128?, baseDigest: Hash128?
    ) throws(ExportError) -> UInt64 {
        let counter = PieceCounter()
        try look(counter)
        let header = BlockDiffHeader(
            targetBytes: targetBytes, baseBytes: baseBytes, baseDigest: baseDigest,
            targetDigest: targetDigest, pieceCount: counter.finish())
        var sink = sink
        try output { () throws(HostIOError) in try sink.write(header.encode()) }
        let pieces = PieceWriter(sink, codec: codec, seed: header.seed)
        try feed.run(into: pieces, content: true, report)
        try pieces.finish(count: header.pieceCount)
        return counter.byteCount
    }

    /// The first walk: nothing of it counts as progress.
    private func look(_ sink: some ImageSink) throws(ExportError) {
        try feed.run(into: sink, content: false) {
            report(ExportProgress(bytes: 0, bytesTotal: $0.bytesTotal))
        }
    }
}

// MARK: Version 1

/// Keeps what is told, neighbours joined.
private final class ToldRanges: ImageSink, @unchecked Sendable {
    // Confined: calls come one after another.
    private let countMax: Int
    private(set) var ranges: [BlockDiffRange] = []
    private(set) var byteCount: UInt64 = 0

    init(countMax: Int) { self.countMax = countMax }

    func take(_ blocks: [ImageBlock]) throws(ExportError) {
        for block in blocks {
            try block.forEachRun { run throws(ExportError) in
                byteCount += UInt64(run.count)
                let offset = block.offset + UInt64(run.lowerBound)
                if let last = ranges.indices.last, ranges[last].end == offset {
                    ranges[last].length += UInt64(run.count)
                } else if ranges.count < countMax {
                    ranges.append(BlockDiffRange(offset: offset, length: UInt64(run.count)))
                } else {
                    throw .tooManyRanges(limit: countMax)
                }
            }
        }
    }
}

/// Writes the bytes of the ranges.
private final class RangeWriter<Sink: DiffSink>: ImageSink, @unchecked Sendable {
    // Confined: calls come one after another.
    private var sink: Sink
    private(set) var byteCount: UInt64 = 0

    init(_ sink: Sink) { self.sink = sink }

    func take(_ blocks: [ImageBlock]) throws(ExportError) {
        for block in blocks {
            try block.forEachRun { run throws(ExportError) in
                byteCount += UInt64(run.count)
                try output { () throws(HostIOError) in
                    guard let content = block.content else {
                        return try sink.writeZeros(UInt64(run.count))
                    }
                    try sink.write(UnsafeRawBufferPointer(rebasing: content[run]))
                }
            }
        }
    }

    func finish() throws(ExportError) {
        try output { () throws(HostIOError) in try sink.finish() }
    }
}

// MARK: Version 2

/// Cuts what is told into pieces: what touches and is alike is one, data of 1 MiB at most. The same
/// runs give the same pieces.
struct PieceCutter {
    /// The piece that is being made.
    private(set) var open: ChangedRange?
    /// Pieces that are whole.
    private(set) var count: UInt64 = 0

    /// Calls `part` with each part of the range, in order, before it becomes part of the open
    /// piece, and `whole` with each piece that nothing joins any more.
    mutating func add<Failure: Error>(
        _ range: ChangedRange, whole: (ChangedRange, _ number: UInt64) throws(Failure) -> Void,
        part: (Range<UInt64>) -> Void
    ) throws(Failure) {
        var offset = range.offset
        while offset < range.end {
            if let open, open.kind != range.kind || open.end != offset || Self.room(open) == 0 {
                try end(whole)
            }
            let before = open ?? ChangedRange(range.kind, offset: offset, length: 0)
            let length = min(range.end - offset, Self.room(before))
            part(offset..<(offset + length))
            open = ChangedRange(
                range.kind, offset: before.offset, length: before.length + length)
            offset += length
        }
    }

    /// Ends the open piece, if there is one.
    mutating func end<Failure: Error>(
        _ whole: (ChangedRange, _ number: UInt64) throws(Failure) -> Void
    ) throws(Failure) {
        guard let piece = open else { return }
        try whole(piece, count)
        count += 1
        open = nil
    }

    private static func room(_ piece: ChangedRange) -> UInt64 {
        piece.kind == .data ? BlockDiffPiece.dataBytesMax - piece.length : .max - piece.length
    }
}

extension ImageBlock {
    /// What a run of the block is in a diff.
    func changed(_ run: Range<Int>) -> ChangedRange {
        ChangedRange(
            isHole ? .hole : .data, offset: offset + UInt64(run.lowerBound),
            length: UInt64(run.count))
    }
}

private final class PieceCounter: ImageSink, @unchecked Sendable {
    // Confined: calls come one after another.
    private var cutter = PieceCutter()
    private(set) var byteCount: UInt64 = 0

    func take(_ blocks: [ImageBlock]) {
        for block in blocks {
            block.forEachRun { run in
                byteCount += UInt64(run.count)
                cutter.add(block.changed(run), whole: { _, _ in }, part: { _ in })
            }
        }
    }

    /// The pieces in all.
    func finish() -> UInt64 {
        cutter.end { _, _ in }
        return cutter.count
    }
}

private final class PieceWriter<Sink: DiffSink>: ImageSink, @unchecked Sendable {
    // Confined: calls come one after another.
    private var sink: Sink
    private let codec: Codec
    private let seed: UInt64
    private var cutter = PieceCutter()
    /// The data of the open piece, and room for what it is compressed to.
    private let data = FetchBuffer(byteCount: Int(BlockDiffPiece.dataBytesMax))
    private let space = FetchBuffer(byteCount: Int(BlockDiffPiece.dataBytesMax))
    private var filled = 0

    init(_ sink: Sink, codec: Codec, seed: UInt64) {
        self.sink = sink
        self.codec = codec
        self.seed = seed
    }

    func take(_ blocks: [ImageBlock]) throws(ExportError) {
        for block in blocks {
            try block.forEachRun { run throws(ExportError) in
                // The cutter is not touched by what it calls.
                var cutter = cutter
                try cutter.add(block.changed(run)) { piece, number throws(ExportError) in
                    try write(piece, number)
                } part: { part in
                    guard let content = block.content else { return }
                    let start = Int(part.lowerBound - block.offset)
                    copy(UnsafeRawBufferPointer(rebasing: content[start..<start + part.count]))
                }
                self.cutter = cutter
            }
        }
    }

    private func copy(_ bytes: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: data.bytes[filled..<filled + bytes.count])
            .copyMemory(from: bytes)
        filled += bytes.count
    }

    private func write(_ piece: ChangedRange, _ number: UInt64) throws(ExportError) {
        let range = BlockDiffRange(offset: piece.offset, length: piece.length)
        let raw = UnsafeRawBufferPointer(rebasing: data.bytes[..<filled])
        precondition(UInt64(filled) == (piece.kind == .data ? piece.length : 0))
        filled = 0
        let isData = piece.kind == .data
        let (stored, used) = StoredPiece.stored(raw, codec, space.bytes)
        let head = BlockDiffPiece(
            piece.kind, range, codec: isData ? used : nil,
            stored: isData ? stored : UnsafeRawBufferPointer(start: nil, count: 0), seed: seed,
            number: number)
        try output { () throws(HostIOError) in
            try sink.write(head.encode())
            if isData { try sink.write(stored) }
        }
    }

    func finish(count: UInt64) throws(ExportError) {
        var cutter = cutter
        try cutter.end { piece, number throws(ExportError) in try write(piece, number) }
        precondition(cutter.count == count, "both walks tell the same")
        try output { () throws(HostIOError) in try sink.finish() }
    }
}

// MARK: Digests

/// The digest of a whole disk, by pieces of 1 MiB: no block is larger.
final class DigestSink: ImageSink, @unchecked Sendable {
    // Confined: calls come one after another.
    private let size: UInt64
    private var digest: ImageDigest?
    private let piece = FetchBuffer(byteCount: Int(DiffDigest.pieceBytes))
    private var number: UInt64?

    init(size: UInt64) {
        self.size = size
        digest = ImageDigest(size: size)
    }

    func take(_ blocks: [ImageBlock]) {
        for block in blocks {
            guard let content = block.content else { continue }
            let number = block.offset / DiffDigest.pieceBytes
            if number != self.number { turn(to: number) }
            let start = Int(block.offset % DiffDigest.pieceBytes)
            block.forEachRun { run in
                UnsafeMutableRawBufferPointer(
                    rebasing: piece.bytes[start + run.lowerBound..<start + run.upperBound]
                ).copyMemory(from: UnsafeRawBufferPointer(rebasing: content[run]))
            }
        }
    }

    private func turn(to next: UInt64?) {
        if let number {
            let count = min(DiffDigest.pieceBytes, size - number * DiffDigest.pieceBytes)
            digest?.add(number, UnsafeRawBufferPointer(rebasing: piece.bytes[..<Int(count)]))
        }
        number = next
        piece.bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// Once.
    func finish() -> Hash128 {
        turn(to: nil)
        guard let digest = digest.take() else { preconditionFailure("finished twice") }
        return digest.finish()
    }
}
