// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A raw image: byte i of the disk is byte i of the file. In a file, what reads as zeros is a hole,
// whether the volume has a hole there or zeros by content; in a stream it is zeros.

import Committer
import HostIO
import Primitives
import Synchronization
import VolumeMap

/// Fills a fresh, empty file, on as many threads as the spread gives.
final class RawFile<File: BlockFile>: ImageSink {
    private let file: File
    private let spread: FetchSpread

    init(_ file: File, spread: @escaping FetchSpread) {
        self.file = file
        self.spread = spread
    }

    func take(_ blocks: [ImageBlock]) throws(ExportError) {
        let parts = SharedBlocks(blocks)
        try together(blocks.count, spread) { [file] index throws(ExportError) in
            try output { () throws(HostIOError) in
                try file.writeData(of: parts.blocks[index], at: parts.blocks[index].offset)
            }
        }
    }

    /// Everything is in; sets the size. Not yet durable.
    func finish(size: ByteCount) throws(ExportError) {
        try output { () throws(HostIOError) in try file.resize(size.rawValue) }
    }
}

extension BlockFile {
    /// Writes a block into fresh space, where holes are left for zeros.
    func writeData(of block: ImageBlock, at offset: UInt64) throws(HostIOError) {
        guard let content = block.content else { return }
        try block.forEachRun { run throws(HostIOError) in
            var start = run.lowerBound
            var next = run.lowerBound
            while next < run.upperBound {
                let end = min(next + Limits.grainBytes, run.upperBound)
                if isAllZero(UnsafeRawBufferPointer(rebasing: content[next..<end])) {
                    try write(start..<next, of: content, offset)
                    start = end
                }
                next = end
            }
            try write(start..<next, of: content, offset)
        }
    }

    private func write(
        _ range: Range<Int>, of content: UnsafeRawBufferPointer, _ offset: UInt64
    ) throws(HostIOError) {
        if range.isEmpty { return }
        try write(
            at: offset + UInt64(range.lowerBound),
            UnsafeRawBufferPointer(rebasing: content[range]))
    }
}

/// The whole disk, in order, into a stream.
final class RawStream: ImageSink, @unchecked Sendable {
    // Confined: calls come one after another.
    private let stream: any ByteStream
    private var position: UInt64 = 0
    private let zeros: FetchBuffer

    init(_ stream: any ByteStream) {
        self.stream = stream
        zeros = FetchBuffer(byteCount: 1 << 20)
        zeros.bytes.initializeMemory(as: UInt8.self, repeating: 0)
    }

    func take(_ blocks: [ImageBlock]) throws(ExportError) {
        for block in blocks {
            guard let content = block.content else { continue }
            try block.forEachRun { run throws(ExportError) in
                try fill(to: block.offset + UInt64(run.lowerBound))
                try write(UnsafeRawBufferPointer(rebasing: content[run]))
            }
        }
    }

    func finish(size: ByteCount) throws(ExportError) { try fill(to: size.rawValue) }

    private func fill(to end: UInt64) throws(ExportError) {
        while position < end {
            let count = Int(min(end - position, UInt64(zeros.bytes.count)))
            try write(UnsafeRawBufferPointer(rebasing: zeros.bytes[..<count]))
        }
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws(ExportError) {
        try output { () throws(HostIOError) in try stream.write(bytes) }
        position += UInt64(bytes.count)
    }
}

/// Blocks that threads share while a sink has them.
final class SharedBlocks: @unchecked Sendable {
    // Confined: written before the threads begin, read-only afterwards.
    let blocks: [ImageBlock]
    init(_ blocks: [ImageBlock]) { self.blocks = blocks }
}

/// Calls `body` with 0..<count on the threads of the spread; throws the first failure by number.
/// After a failure calls that have not begun are left out.
func together(
    _ count: Int, _ spread: FetchSpread,
    _ body: @escaping @Sendable (Int) throws(ExportError) -> Void
) throws(ExportError) {
    let first = FirstFailure()
    spread(count) { index in
        if first.isThere { return }
        do throws(ExportError) { try body(index) } catch { first.note(index, error) }
    }
    if let error = first.error { throw error }
}

private final class FirstFailure: Sendable {
    private let found = Lock<(index: Int, error: ExportError)?>(nil)

    var isThere: Bool { found.withLock { $0 != nil } }
    var error: ExportError? { found.withLock { $0?.error } }

    func note(_ index: Int, _ error: ExportError) {
        found.withLock { found in
            if let known = found, known.index < index { return }
            found = (index, error)
        }
    }
}
