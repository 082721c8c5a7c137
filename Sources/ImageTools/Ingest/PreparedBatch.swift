// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A few neighbouring blocks of an image on their way to a pack: read, looked at, hashed and made
// into frames by one thread, taken in by another.

import Committer
import Dispatch
import Formats
import Primitives

/// What becomes of a block on its way to a pack.
enum PreparedBlock {
    case zeros
    /// It lies in a pack already, or only its hash is wanted.
    case known(Hash128)
    /// Its frame: the first bytes of the memory that was lent.
    case fresh(Hash128, frameBytes: Int)

    /// Looks at a whole block, and makes its frame in `memory` unless it need not be stored.
    /// `settings` nil: no frames are wanted.
    init(
        _ block: UnsafeRawBufferPointer, known: KnownFrames, settings: PackSettings?,
        into memory: UnsafeMutableRawBufferPointer
    ) {
        guard !isAllZero(block) else {
            self = .zeros
            return
        }
        let hash = Frame.hash(ofBlock: block)
        guard let settings, !known.contains(hash) else {
            self = .known(hash)
            return
        }
        let grains = block.count / Limits.grainBytes
        let frame = Frame.encode(
            block, mask: GrainMask(full: grains), hash: hash, grains: grains,
            codec: settings.codec, zstdLevel: settings.zstdLevel, into: memory)
        self = .fresh(hash, frameBytes: frame.count)
    }
}

/// The blocks of one batch and the memory that they need, which is used again and again.
final class PreparedBatch: @unchecked Sendable {
    // Confined: to the thread that prepares it from `begin` until `ended` is signalled, else to the
    // thread that imports.

    /// What became of one block.
    enum Outcome {
        case zeros
        /// It lies in a pack already, or only its hash is wanted.
        case known(Hash128)
        /// Its frame: bytes of `frames`.
        case fresh(Hash128, Range<Int>)
    }

    private(set) var first: UInt64 = 0
    private(set) var outcomes: [Outcome] = []
    private(set) var failure: ImageError?
    private let blockBytes: Int
    private let blocksMax: Int
    private let content: UnsafeMutableRawBufferPointer
    private let frames: UnsafeMutableRawBufferPointer
    private let ended = DispatchSemaphore(value: 0)

    /// `makesFrames`: without, only hashes are made and no memory for frames is taken.
    init(blockBytes: Int, blocksMax: Int, makesFrames: Bool) {
        self.blockBytes = blockBytes
        self.blocksMax = blocksMax
        content = .allocate(byteCount: blockBytes * blocksMax, alignment: Limits.grainBytes)
        let frameBytes = Frame.byteCountMax(grains: blockBytes / Limits.grainBytes)
        frames = .allocate(
            byteCount: makesFrames ? frameBytes * blocksMax : 0, alignment: Limits.grainBytes)
        outcomes.reserveCapacity(blocksMax)
    }

    deinit {
        content.deallocate()
        frames.deallocate()
    }

    /// Prepares `blocks`, and lets `wait` return.
    func prepare(
        _ blocks: Range<UInt64>, of image: some DiskImage, known: KnownFrames,
        settings: PackSettings?
    ) {
        first = blocks.lowerBound
        outcomes.removeAll(keepingCapacity: true)
        failure = nil
        do throws(ImageError) {
            try read(blocks, of: image)
            var end = 0
            for index in 0..<blocks.count {
                outcomes.append(prepare(index, known: known, settings: settings, end: &end))
            }
        } catch { failure = error }
        ended.signal()
    }

    /// Called once for each `prepare`.
    func wait() { ended.wait() }

    func frame(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: frames[range])
    }

    private func read(_ blocks: Range<UInt64>, of image: some DiskImage) throws(ImageError) {
        precondition(blocks.count <= blocksMax)
        let start = blocks.lowerBound * UInt64(blockBytes)
        let bytes = blocks.count * blockBytes
        let there = Int(min(UInt64(bytes), image.size.rawValue - start))
        try image.read(at: start, into: UnsafeMutableRawBufferPointer(rebasing: content[..<there]))
        // The short last block counts as padded with zeros.
        UnsafeMutableRawBufferPointer(rebasing: content[there..<bytes]).clear()
    }

    private func prepare(
        _ index: Int, known: KnownFrames, settings: PackSettings?, end: inout Int
    ) -> Outcome {
        let start = index * blockBytes
        let block = UnsafeRawBufferPointer(rebasing: content[start..<(start + blockBytes)])
        let memory = UnsafeMutableRawBufferPointer(rebasing: frames[end...])
        switch PreparedBlock(block, known: known, settings: settings, into: memory) {
        case .zeros: return .zeros
        case .known(let hash): return .known(hash)
        case .fresh(let hash, let count):
            defer { end += count }
            return .fresh(hash, end..<(end + count))
        }
    }
}
