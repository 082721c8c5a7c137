// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One pass over an image: its blocks in order to one thread, prepared ahead by others. Memory is
// bounded by the batches, whatever the image.

import Committer
import Primitives
import Shard

/// The parts of an image that are worth reading, as batches of blocks, ascending.
struct BatchCursor<Image: DiskImage> {
    private let image: Image
    private let blockBytes: UInt64
    private let blocksMax: UInt64
    private var next: UInt64 = 0
    /// Blocks that are known to be worth reading.
    private var pending: Range<UInt64> = 0..<0

    init(_ image: Image, blockBytes: Int, blocksMax: Int) {
        self.image = image
        self.blockBytes = UInt64(blockBytes)
        self.blocksMax = UInt64(blocksMax)
    }

    /// Never crosses a multiple of `blocksMax`; nil at the end.
    mutating func batch() throws(ImageError) -> Range<UInt64>? {
        if pending.isEmpty {
            guard next * blockBytes < image.size.rawValue,
                let data = try image.nextData(from: next * blockBytes)
            else { return nil }
            // Two ranges may share a block: what was read is not read again.
            let first = max(next, data.lowerBound / blockBytes)
            pending = first..<max(first, (data.upperBound - 1) / blockBytes + 1)
            guard !pending.isEmpty else { throw .damaged(detail: "its map goes backwards") }
        }
        let end = min(pending.upperBound, (pending.lowerBound / blocksMax + 1) * blocksMax)
        defer {
            pending = end..<pending.upperBound
            next = end
        }
        return pending.lowerBound..<end
    }
}

/// What a pass may use.
public struct IngestResources: Sendable {
    /// Threads that read, hash and compress; 0: the calling thread does it all.
    public var threads: Int
    /// Packs that may be on their way at one time; 0: the calling thread sends them.
    public var uploads: Int

    public init(threads: Int, uploads: Int) {
        precondition((0...64).contains(threads) && (0...64).contains(uploads))
        self.threads = threads
        self.uploads = uploads
    }
}

/// Prepares an image's blocks. Confined to the thread that calls it.
struct ImagePass<Image: DiskImage> {
    let image: Image
    let blockBytes: Int
    let known: KnownFrames
    /// How frames are made; nil: only hashes are wanted.
    let settings: PackSettings?
    let threads: WorkerPool?
    /// What cannot be done if the image cannot be read.
    let what: String

    /// Bytes of a batch, unless the image reads better in larger ones.
    private static var batchBytes: Int { 1 << 20 }

    private var blocksMax: Int { max(1, max(Self.batchBytes, image.pieceBytes) / blockBytes) }

    /// Calls `body` with every block that is not zeros, ascending, and `progress` with the bytes of
    /// the batches that are behind it. Fails as they fail.
    func run(
        progress: (UInt64) throws(UserError) -> Void,
        _ body: (BlockIndex, Hash128, UnsafeRawBufferPointer?) throws(UserError) -> Void
    ) throws(UserError) {
        var cursor = BatchCursor(image, blockBytes: blockBytes, blocksMax: blocksMax)
        let count = threads.map { 2 * $0.threadCount } ?? 1
        var free = (0..<count).map { _ in
            PreparedBatch(
                blockBytes: blockBytes, blocksMax: blocksMax, makesFrames: settings != nil)
        }
        var busy: [PreparedBatch] = []
        // A batch's memory goes when nobody writes to it any more.
        defer { for batch in busy { batch.wait() } }
        var bytes: UInt64 = 0
        while true {
            while let batch = free.last, let blocks = try next(&cursor) {
                free.removeLast()
                start(batch, blocks)
                busy.append(batch)
            }
            guard !busy.isEmpty else { return }
            let batch = busy.removeFirst()
            batch.wait()
            if let failure = batch.failure { throw UserError(what, failure) }
            try take(batch, body)
            bytes += UInt64(batch.outcomes.count * blockBytes)
            try progress(bytes)
            free.append(batch)
        }
    }

    private func next(
        _ cursor: inout BatchCursor<Image>
    ) throws(UserError) -> Range<UInt64>? {
        do throws(ImageError) { return try cursor.batch() } catch {
            throw UserError(what, error)
        }
    }

    private func start(_ batch: PreparedBatch, _ blocks: Range<UInt64>) {
        let work: @Sendable () -> Void = { [image, known, settings] in
            batch.prepare(blocks, of: image, known: known, settings: settings)
        }
        guard let threads, threads.submit(work) else { return work() }
    }

    private func take(
        _ batch: PreparedBatch,
        _ body: (BlockIndex, Hash128, UnsafeRawBufferPointer?) throws(UserError) -> Void
    ) throws(UserError) {
        for (index, outcome) in batch.outcomes.enumerated() {
            let block = BlockIndex(batch.first + UInt64(index))
            switch outcome {
            case .zeros: break
            case .known(let hash): try body(block, hash, nil)
            case .fresh(let hash, let range): try body(block, hash, batch.frame(range))
            }
        }
    }

    /// Bytes that a pass will read. Looks at the whole map of the image, so that a damaged one is
    /// refused before anything is stored.
    func byteCount() throws(UserError) -> UInt64 {
        var cursor = BatchCursor(image, blockBytes: blockBytes, blocksMax: blocksMax)
        var blocks: UInt64 = 0
        while let batch = try next(&cursor) { blocks += UInt64(batch.count) }
        return blocks * UInt64(blockBytes)
    }
}
