// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Blocks that come in order on their way into a new commit, from another repository or from a diff:
// hashed and compressed by several threads, placed by one.

import Committer
import Formats
import ObjectStore
import Primitives
import Synchronization
import VolumeMap

/// Blocks that threads look at while they are lent.
private struct LentBlocks: @unchecked Sendable {
    // Confined: to the call of `take` that made it, which waits for its threads; nobody writes.
    let blocks: [ImageBlock]
}

/// Feeds a builder. Whoever made it owns the builder again when the last call has returned.
final class BlockIntake<Store: ObjectStore, Random: RandomSource>: ImageSink, @unchecked Sendable {
    // Confined: calls come one after another. During a call threads write disjoint parts of
    // `frames`.
    private(set) var builder: ImageBuilder<Store, Random>
    /// Why the builder takes no more.
    private(set) var failure: CommitError?
    private let known: KnownFrames
    private let settings: PackSettings
    private let blockBytes: Int
    private let spread: FetchSpread
    private let frameBytes: Int
    private let frames: FetchBuffer
    private let batchBlocks: Int

    /// Bytes of blocks that are prepared at one time.
    private static var batchBytes: Int { 8 << 20 }

    init(
        _ builder: ImageBuilder<Store, Random>, known: KnownFrames, settings: PackSettings,
        blockBytes: Int, spread: @escaping FetchSpread
    ) {
        self.builder = builder
        self.known = known
        self.settings = settings
        self.blockBytes = blockBytes
        self.spread = spread
        batchBlocks = Self.batchBytes / blockBytes
        frameBytes = Frame.byteCountMax(grains: blockBytes / Limits.grainBytes)
        frames = FetchBuffer(byteCount: frameBytes * batchBlocks)
    }

    func take(_ blocks: [ImageBlock]) throws(ExportError) {
        for start in stride(from: 0, to: blocks.count, by: batchBlocks) {
            let batch = Array(blocks[start..<min(start + batchBlocks, blocks.count)])
            let prepared = prepare(batch)
            do throws(CommitError) {
                for (index, outcome) in prepared.enumerated() {
                    try place(batch[index], index, outcome)
                }
            } catch {
                failure = error
                throw .stopped
            }
        }
    }

    private func prepare(_ batch: [ImageBlock]) -> [PreparedBlock] {
        let outcomes = Lock([PreparedBlock](repeating: .zeros, count: batch.count))
        let lent = LentBlocks(blocks: batch)
        spread(batch.count) { [self] index in
            guard let content = lent.blocks[index].content else { return }
            let memory = memory(of: index)
            let outcome: PreparedBlock
            if content.count == blockBytes {
                outcome = PreparedBlock(content, known: known, settings: settings, into: memory)
            } else {
                // The short last block counts as padded with zeros.
                let padded = FetchBuffer(byteCount: blockBytes)
                padded.bytes.clear()
                padded.bytes.copyMemory(from: content)
                outcome = PreparedBlock(
                    UnsafeRawBufferPointer(padded.bytes), known: known, settings: settings,
                    into: memory)
            }
            outcomes.withLock { $0[index] = outcome }
        }
        return outcomes.withLock { $0 }
    }

    private func memory(of index: Int) -> UnsafeMutableRawBufferPointer {
        let start = index * frameBytes
        return UnsafeMutableRawBufferPointer(rebasing: frames.bytes[start..<(start + frameBytes)])
    }

    private func place(
        _ block: ImageBlock, _ index: Int, _ outcome: PreparedBlock
    ) throws(CommitError) {
        let number = BlockIndex(block.offset / UInt64(blockBytes))
        switch outcome {
        case .zeros: try builder.clear(number.rawValue..<(number.rawValue + 1))
        case .known(let hash): try builder.add(number, hash: hash, frame: nil)
        case .fresh(let hash, let count):
            let frame = UnsafeRawBufferPointer(rebasing: memory(of: index)[..<count])
            try builder.add(number, hash: hash, frame: frame)
        }
    }

    /// Blocks of zeros, however many. In order with those that are taken.
    func clear(_ blocks: Range<UInt64>) throws(ExportError) {
        do throws(CommitError) { try builder.clear(blocks) } catch {
            failure = error
            throw .stopped
        }
    }

    // MARK: The end

    func finish(
        token: Token, labelSeconds: UInt64, copied: CopiedCommit? = nil
    ) throws(CommitError) -> LocalRoot? {
        try builder.finish(token: token, labelSeconds: labelSeconds, copied: copied)
    }

    func abandon() { builder.abandon() }

    /// Calls `body` with the builder, before the first block.
    func prime<Failure: Error>(
        _ body: (inout ImageBuilder<Store, Random>) throws(Failure) -> Void
    ) throws(Failure) { try body(&builder) }
}
