// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The index of the journal in memory: grain → journal page, or zero, or absent. A leaf of page
// numbers covers one block; leaves lie in slabs and are found by an open-addressing table; long
// zeroes are ranges of whole blocks. The one thing to know: *what the table says of a block shadows
// the ranges*. A leaf made inside a zero range starts as all zeros, and zeroing a whole block
// removes its leaf.
//
// Nothing scales with the device: memory is one leaf per touched block and one pair per range.

public import Primitives

/// Confined: to its shard while active; immutable after `freeze`, then shared with the committer.
public final class Memtable: @unchecked Sendable {
    /// Zeroes of at most this many whole blocks are table entries instead of ranges, so that many
    /// small trims do not shift a long list of ranges.
    static let markedBlocksMax: UInt64 = 16
    @usableFromInline static let rangeWeight = 160

    public let blockBytes: Int
    /// Grains of a block, and its logarithm.
    @usableFromInline let grains: Int
    @usableFromInline let grainShift: UInt64
    /// Behind a pointer, because a class's own variables are checked for exclusive access at each
    /// use.
    @usableFromInline let content: UnsafeMutablePointer<Content>

    @usableFromInline
    struct Content {
        @usableFromInline var table: BlockTable
        @usableFromInline var leaves: LeafSlabs
        @usableFromInline var ranges = ZeroRanges()
        @usableFromInline var isFrozen = false
    }

    /// With room for `expectedBlocks` touched blocks before the first growth.
    public init(blockBytes: Int, expectedBlocks: Int = 0) {
        precondition(blockBytes >= Limits.blockBytesMin && blockBytes <= Limits.blockBytesMax)
        precondition(blockBytes.nonzeroBitCount == 1)
        self.blockBytes = blockBytes
        grains = blockBytes / Limits.grainBytes
        grainShift = UInt64(grains.trailingZeroBitCount)
        content = .allocate(capacity: 1)
        content.initialize(
            to: Content(
                table: BlockTable(expected: expectedBlocks),
                leaves: LeafSlabs(grains: grains, expected: expectedBlocks)))
    }

    deinit {
        content.pointee.table.deallocate()
        content.pointee.leaves.deallocate()
        content.deinitialize(count: 1)
        content.deallocate()
    }

    // MARK: Reading

    @inlinable
    public func state(of grain: GrainIndex) -> GrainState {
        let block = grain.rawValue >> grainShift
        let value = content.pointee.table.value(of: block)
        if value == BlockTable.absent {
            return content.pointee.ranges.contains(block) ? .zero : .absent
        }
        if value == BlockTable.zeroMark { return .zero }
        let within = Int(truncatingIfNeeded: grain.rawValue) & (grains - 1)
        return GrainState(entry: content.pointee.leaves[value][within])
    }

    /// The entries of a block, one a grain: 0 absent, `JournalPage.zeroMark`, or a page. Nil if the
    /// block has none. Valid until the next change.
    @inlinable
    public func leaf(of block: BlockIndex) -> UnsafePointer<UInt32>? {
        let value = content.pointee.table.value(of: block.rawValue)
        guard value < BlockTable.zeroMark else { return nil }
        return UnsafePointer(content.pointee.leaves[value])
    }

    /// The block has no leaf, and reads as zeros.
    @inlinable
    public func isZeroRange(block: BlockIndex) -> Bool {
        let value = content.pointee.table.value(of: block.rawValue)
        if value == BlockTable.absent { return content.pointee.ranges.contains(block.rawValue) }
        return value == BlockTable.zeroMark
    }

    public var isEmpty: Bool { content.pointee.table.count == 0 && content.pointee.ranges.isEmpty }

    public var isFrozen: Bool { content.pointee.isFrozen }

    /// Leaves, marked blocks and ranges: what a commit has to visit.
    public var entryCount: Int { content.pointee.table.count + content.pointee.ranges.count }

    /// What the table weighs: its memory in bytes, but a range as much as a leaf, because a new
    /// range moves those behind it. Grows with what a guest touches, whether that costs it journal
    /// bytes or not. Constant time.
    @inlinable
    public var weight: UInt64 {
        UInt64(
            content.pointee.leaves.byteCount &+ content.pointee.table.byteCount
                &+ content.pointee.ranges.count &* Self.rangeWeight)
    }

    public var leafCount: Int { content.pointee.leaves.liveCount }

    /// Whether `block` lies in a long range of zeros, and up to which block that stays so. Blocks
    /// of `touchedBlocks` shadow the answer.
    public func zeroRun(from block: BlockIndex) -> (isZero: Bool, end: UInt64) {
        let run = content.pointee.ranges.run(from: block.rawValue)
        return (run.isInside, run.end)
    }

    /// The blocks of a range that have a leaf or a mark of their own, ascending. Looks at every
    /// block of the range or at every entry, whichever is less: `touchedCost`.
    public func touchedBlocks(in blocks: Range<UInt64>) -> [UInt64] {
        var touched: [UInt64] = []
        if content.pointee.table.count == 0 { return touched }
        if UInt64(blocks.count) < UInt64(content.pointee.table.capacity) {
            for block in blocks where content.pointee.table.value(of: block) != BlockTable.absent {
                touched.append(block)
            }
            return touched
        }
        content.pointee.table.forEach { block, _ in
            if blocks.contains(block) { touched.append(block) }
        }
        touched.sort()
        return touched
    }

    /// Steps of `touchedBlocks` over everything.
    public var touchedCost: Int {
        content.pointee.table.count == 0 ? 0 : content.pointee.table.capacity
    }

    /// The blocks that have a leaf, ascending.
    public func sortedBlocks() -> [BlockIndex] {
        var blocks: [BlockIndex] = []
        blocks.reserveCapacity(leafCount)
        content.pointee.table.forEach { block, value in
            if value != BlockTable.zeroMark { blocks.append(BlockIndex(block)) }
        }
        blocks.sort()
        return blocks
    }

    /// Ranges of blocks that read as zeros but where a leaf shadows them: sorted, disjoint, joined.
    public var zeroRanges: [Range<UInt64>] {
        var marked: [UInt64] = []
        content.pointee.table.forEach { block, value in
            if value == BlockTable.zeroMark { marked.append(block) }
        }
        if marked.isEmpty { return content.pointee.ranges.all }
        marked.sort()
        var joined: [Range<UInt64>] = []
        func add(_ range: Range<UInt64>) {
            if let last = joined.last, range.lowerBound <= last.upperBound {
                joined[joined.count - 1] =
                    last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                joined.append(range)
            }
        }
        var next = 0
        for range in content.pointee.ranges.all {
            while next < marked.count, marked[next] < range.lowerBound {
                add(marked[next]..<(marked[next] + 1))
                next += 1
            }
            add(range)
        }
        for block in marked[next...] { add(block..<(block + 1)) }
        return joined
    }

    // MARK: Changing

    /// Maps `count` grains to consecutive journal pages.
    @inlinable
    public func set(firstGrain: GrainIndex, count: Int, firstPage: JournalPage) {
        precondition(!content.pointee.isFrozen)
        var grain = firstGrain.rawValue
        let end = grain + UInt64(count)
        var entry = firstPage.rawValue
        while grain < end {
            let block = grain >> grainShift
            let blockEnd = min((block + 1) << grainShift, end)
            let leaf = leafForChange(of: block)
            var within = Int(truncatingIfNeeded: grain) & (grains - 1)
            for _ in 0..<Int(blockEnd - grain) {
                leaf[within] = entry
                within &+= 1
                entry &+= 1
            }
            grain = blockEnd
        }
    }

    /// Makes a range of grains zero: whole blocks without leaves, the edges in theirs.
    public func setZero(grains range: Range<UInt64>) {
        precondition(!content.pointee.isFrozen)
        guard !range.isEmpty else { return }
        let firstWhole = (range.lowerBound + UInt64(grains) - 1) >> grainShift
        let endWhole = range.upperBound >> grainShift
        guard firstWhole < endWhole else {
            // No whole block: one edge, or two that meet at a block's border.
            let border = min(firstWhole << grainShift, range.upperBound)
            zeroWithinBlock(range.lowerBound..<border)
            zeroWithinBlock(border..<range.upperBound)
            return
        }
        zeroWithinBlock(range.lowerBound..<(firstWhole << grainShift))
        zeroWholeBlocks(firstWhole..<endWhole)
        zeroWithinBlock((endWhole << grainShift)..<range.upperBound)
    }

    /// Ends all changes: from now on any thread may read.
    public func freeze() { content.pointee.isFrozen = true }

    @inlinable
    func leafForChange(of block: UInt64) -> UnsafeMutablePointer<UInt32> {
        let value = content.pointee.table.value(of: block)
        if value < BlockTable.zeroMark { return content.pointee.leaves[value] }
        return makeLeaf(of: block, wasZero: value == BlockTable.zeroMark)
    }

    @usableFromInline
    func makeLeaf(of block: UInt64, wasZero: Bool) -> UnsafeMutablePointer<UInt32> {
        let index = content.pointee.leaves.make()
        let leaf = content.pointee.leaves[index]
        let isZero = wasZero || content.pointee.ranges.contains(block)
        leaf.update(repeating: isZero ? JournalPage.zeroMark : 0, count: grains)
        content.pointee.table.set(block, to: index)
        return leaf
    }

    /// `range` lies in one block.
    private func zeroWithinBlock(_ range: Range<UInt64>) {
        guard !range.isEmpty else { return }
        let block = range.lowerBound >> grainShift
        if isZeroRange(block: BlockIndex(block)) { return }
        let leaf = leafForChange(of: block)
        for grain in range {
            leaf[Int(truncatingIfNeeded: grain) & (grains - 1)] = JournalPage.zeroMark
        }
    }

    private func zeroWholeBlocks(_ blocks: Range<UInt64>) {
        let count = blocks.upperBound - blocks.lowerBound
        if count <= Self.markedBlocksMax {
            for block in blocks { zeroWholeBlock(block) }
            return
        }
        removeEntries(in: blocks)
        content.pointee.ranges.insert(blocks)
    }

    private func zeroWholeBlock(_ block: UInt64) {
        let value = content.pointee.table.value(of: block)
        if value == BlockTable.zeroMark { return }
        if value != BlockTable.absent { content.pointee.leaves.free(value) }
        if content.pointee.ranges.contains(block) {
            if value != BlockTable.absent { content.pointee.table.remove(block) }
        } else {
            content.pointee.table.set(block, to: BlockTable.zeroMark)
        }
    }

    /// Walks the blocks or the table, whichever is shorter.
    private func removeEntries(in blocks: Range<UInt64>) {
        if content.pointee.table.count == 0 { return }
        if blocks.upperBound - blocks.lowerBound < UInt64(content.pointee.table.capacity) {
            for block in blocks {
                let value = content.pointee.table.value(of: block)
                if value == BlockTable.absent { continue }
                if value != BlockTable.zeroMark { content.pointee.leaves.free(value) }
                content.pointee.table.remove(block)
            }
            return
        }
        content.pointee.table.removeAll(in: blocks, freeing: &content.pointee.leaves)
    }
}
