// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The changes of a block diff as whole blocks: what the diff says of a block is laid over what the
// base has there. Bases of some blocks are read at one time.

import CleanCache
import Formats
import ObjectStore
import Primitives
import VolumeMap

/// Confined to the thread that applies the diff.
struct DiffBlocks<Store: ObjectStore, Random: RandomSource> {
    /// A block that the diff changes.
    private struct Change {
        let block: UInt64
        let content: FetchBuffer
        /// What the diff says, ascending, neighbours joined.
        var told: [Range<Int>]
    }

    private let base: Root
    private let size: UInt64
    private let fetcher: MapFetcher<Store>
    private let cache: CleanCache
    private let sink: BlockIntake<Store, Random>
    private var changes: [Change] = []
    private let changesMax: Int

    /// Bytes of blocks that are held at one time.
    private static var heldBytes: Int { 8 << 20 }
    /// Their bases, and the nodes that lead to them.
    private static var cacheBytes: Int { 64 << 20 }

    init(
        base: Root, size: ByteCount, store: Store, spread: @escaping FetchSpread,
        sink: BlockIntake<Store, Random>
    ) {
        self.base = base
        self.size = size.rawValue
        cache = CleanCache(capacityBytes: Self.cacheBytes)
        fetcher = MapFetcher(store: store, cache: cache, spread: spread)
        self.sink = sink
        changesMax = max(2, Self.heldBytes / base.blockBytes)
    }

    private var blockBytes: UInt64 { UInt64(base.blockBytes) }

    /// Bytes of a block inside the disk.
    private func byteCount(of block: UInt64) -> Int {
        Int(min(blockBytes, size - block * blockBytes))
    }

    /// The next change; ranges ascend. `bytes` is empty for zeros.
    mutating func put(
        _ range: ChangedRange, _ bytes: UnsafeRawBufferPointer
    ) throws(ExportError) {
        var place = range.offset
        while place < range.end {
            let block = place / blockBytes
            if range.kind != .data, let whole = wholeBlocks(from: place, to: range.end) {
                // Nothing of the base is needed.
                try flush()
                try sink.clear(whole)
                place = min(whole.upperBound * blockBytes, size)
                continue
            }
            let end = min(range.end, (block + 1) * blockBytes)
            let part = Int(place - block * blockBytes)..<Int(end - block * blockBytes)
            try open(block)
            let start = Int(place - range.offset)
            let source =
                range.kind == .data
                ? UnsafeRawBufferPointer(rebasing: bytes[start..<(start + part.count)]) : nil
            lay(source, part)
            place = end
        }
    }

    private mutating func open(_ block: UInt64) throws(ExportError) {
        if changes.last?.block == block { return }
        if changes.count == changesMax { try flush() }
        changes.append(
            Change(block: block, content: FetchBuffer(byteCount: base.blockBytes), told: []))
    }

    private mutating func lay(_ source: UnsafeRawBufferPointer?, _ part: Range<Int>) {
        let index = changes.count - 1
        let place = UnsafeMutableRawBufferPointer(rebasing: changes[index].content.bytes[part])
        if let source { place.copyMemory(from: source) } else { place.clear() }
        if let last = changes[index].told.last, last.upperBound == part.lowerBound {
            changes[index].told[changes[index].told.count - 1] = last.lowerBound..<part.upperBound
        } else {
            changes[index].told.append(part)
        }
    }

    /// The blocks that lie wholly in a range, the short last one of the disk among them; nil if
    /// `place` is not the beginning of such a block.
    private func wholeBlocks(from place: UInt64, to end: UInt64) -> Range<UInt64>? {
        guard place.isMultiple(of: blockBytes) else { return nil }
        let first = place / blockBytes
        let last = end == size ? (size - 1) / blockBytes + 1 : end / blockBytes
        return first < last ? first..<last : nil
    }

    private var grains: GrainMask { GrainMask(full: base.grainsPerBlock) }

    /// Hands on what is held, over what the base has.
    mutating func flush() throws(ExportError) {
        guard !changes.isEmpty else { return }
        let partial = changes.filter { $0.told != [0..<byteCount(of: $0.block)] }
            .map { BlockIndex($0.block) }
            .filter { $0.rawValue < base.blockCount }
        do throws(FetchError) { try fetcher.bring(partial, of: base) } catch {
            let side = ImageSide(root: base)
            let last = changes[changes.count - 1].block
            throw side.failure(side.range(ofBlocks: changes[0].block..<(last + 1)), error)
        }
        for change in changes { try fill(change) }
        try sink.take(
            changes.map { change in
                let count = byteCount(of: change.block)
                return ImageBlock(
                    offset: change.block * blockBytes, grains: grains,
                    content: UnsafeRawBufferPointer(rebasing: change.content.bytes[..<count]),
                    byteCount: count)
            })
        changes.removeAll(keepingCapacity: true)
    }

    /// Fills what the diff does not say from the base.
    private func fill(_ change: Change) throws(ExportError) {
        let count = byteCount(of: change.block)
        guard change.told != [0..<count] else { return }
        let block = BlockIndex(change.block)
        var old: CachedBlock?
        if block.rawValue < base.blockCount {
            do throws(FetchError) { old = try fetcher.content(of: block, in: base) } catch {
                let side = ImageSide(root: base)
                throw side.failure(
                    side.range(ofBlocks: change.block..<(change.block + 1)), error)
            }
        }
        var place = 0
        for end in change.told + [count..<count] {
            let gap = place..<end.lowerBound
            place = end.upperBound
            guard !gap.isEmpty else { continue }
            let target = UnsafeMutableRawBufferPointer(rebasing: change.content.bytes[gap])
            if let old {
                target.copyMemory(from: UnsafeRawBufferPointer(rebasing: old.bytes[gap]))
            } else {
                target.clear()
            }
        }
    }
}
