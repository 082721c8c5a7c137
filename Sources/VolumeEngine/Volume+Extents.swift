// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Block status: which parts of a range are data and which are holes, from the memtables and the map
// alone. No data is read; at most a few map nodes are fetched.

public import BlockDevice
import Journal
public import Primitives
import VolumeMap

extension Volume {
    /// Blocks that one prefetch, or the fetch of one question, looks at.
    static var extentBlocksMax: UInt64 { 1 << 16 }
    /// Runs of one call: each costs at most a node and a few pages of the map.
    static var extentRunsMax: Int { 4096 }
    /// Blocks of one call if the memtables have more entries than that.
    static var extentWindow: UInt64 { 1 << 14 }

    /// The reply may cover less than was asked for: the client goes on. What it costs depends on
    /// what is known of the range, not on its length.
    public mutating func extents(
        at offset: ByteOffset, count: ByteCount, limit: Int, into list: inout [Extent],
        tag: RequestTag
    ) -> Submission {
        guard contains(offset, count.rawValue), count.rawValue > 0, limit > 0 else {
            return .failed(.outOfRange)
        }
        if let wait = waitForResolution(tag) { return wait }
        let asked = offset.rawValue..<(offset.rawValue + count.rawValue)
        let (window, touched) = touchedBlocks(of: asked)
        var found = ExtentBuilder(limit: limit)
        var block = window.lowerBound
        var next = 0
        var runsLeft = Self.extentRunsMax
        while block < window.upperBound && runsLeft > 0 {
            runsLeft -= 1
            let stop = next < touched.count ? touched[next] : window.upperBound
            let isTouched = block == stop
            let run = isTouched ? (count: 1, kind: Extent.Kind.data) : alike(from: block, to: stop)
            let bytes = asked.clamped(
                to: (block << blockShift)..<((block + run.count) << blockShift))
            let isWhole: Bool?
            if isTouched {
                next += 1
                isWhole = appendExtents(of: BlockIndex(block), bytes, to: &found)
            } else {
                isWhole = run.count == 0 ? nil : found.append(UInt64(bytes.count), run.kind)
            }
            guard let isWhole else {
                // The map of this block is not at hand: answer what is known, or fetch it.
                if !found.isEmpty { break }
                return parkOnMap(of: block, upTo: asked.upperBound, tag: tag)
            }
            guard isWhole else { break }
            block += run.count
        }
        list += found.finish()
        return .done
    }

    /// The blocks to look at for a range, and those of them that a memtable tells apart.
    private func touchedBlocks(
        of asked: Range<UInt64>
    ) -> (window: Range<UInt64>, touched: [UInt64]) {
        let first = asked.lowerBound >> blockShift
        var window = first..<((asked.upperBound - 1) >> blockShift + 1)
        let cost = active.touchedCost + (frozen?.touchedCost ?? 0)
        if cost > Int(Self.extentWindow) {
            window = window.clamped(to: first..<(first + Self.extentWindow))
        }
        let newer = active.touchedBlocks(in: window)
        guard let older = frozen?.touchedBlocks(in: window), !older.isEmpty else {
            return (window, newer)
        }
        if newer.isEmpty { return (window, older) }
        return (window, Set(newer).union(older).sorted())
    }

    /// Blocks from `block` on, before `stop`, that are alike; none of them is touched. None if the
    /// map does not know the first.
    private mutating func alike(
        from block: UInt64, to stop: UInt64
    ) -> (count: UInt64, kind: Extent.Kind) {
        let first = BlockIndex(block)
        let newer = active.zeroRun(from: first)
        let older = frozen?.zeroRun(from: first) ?? (isZero: false, end: .max)
        if newer.isZero { return (min(stop, newer.end) - block, .hole) }
        if older.isZero { return (min(stop, newer.end, older.end) - block, .hole) }
        let limit = min(stop, newer.end, older.end) - block
        let hole = map.knownHole(from: first, limit: limit)
        return hole > 0 ? (hole, .hole) : (map.knownData(from: first, limit: limit), .data)
    }

    private mutating func parkOnMap(
        of block: UInt64, upTo end: UInt64, tag: RequestTag
    ) -> Submission {
        let start = block << blockShift
        let stop = min(end, start + Self.extentBlocksMax << blockShift)
        return parkOnFetches(
            from: ByteOffset(start), count: ByteCount(stop - start), tag: tag, mapOnly: true)
    }

    /// False if the builder is full, nil if the map is not at hand.
    private mutating func appendExtents(
        of block: BlockIndex, _ range: Range<UInt64>, to found: inout ExtentBuilder
    ) -> Bool? {
        let newer = active.leaf(of: block)
        let newerIsZero = newer == nil && active.isZeroRange(block: block)
        let older = newerIsZero ? nil : frozen?.leaf(of: block)
        let olderIsZero =
            newerIsZero || (older == nil && frozen?.isZeroRange(block: block) ?? false)
        var base: Extent.Kind = .hole
        if needsBase(block) {
            switch map.presence(of: block) {
            case .hole: base = .hole
            case .data: base = .data
            case .unknown: return nil
            }
        }
        if newer == nil && older == nil {
            let kind: Extent.Kind = newerIsZero || olderIsZero ? .hole : base
            return found.append(range.upperBound - range.lowerBound, kind)
        }
        let leaf = LayeredLeaf(
            newer: newer, newerIsZero: newerIsZero, older: older, olderIsZero: olderIsZero)
        var position = range.lowerBound
        while position < range.upperBound {
            let grain = Int((position & UInt64(blockBytes - 1)) / grainBytes)
            let next = min(range.upperBound, (position / grainBytes + 1) * grainBytes)
            let kind: Extent.Kind
            switch leaf.state(grain) {
            case .absent: kind = base
            case .zero: kind = .hole
            case .page: kind = .data
            }
            guard found.append(next - position, kind) else { return false }
            position = next
        }
        return true
    }
}

/// Joins neighbours of equal kind, up to a number of extents.
struct ExtentBuilder {
    private let limit: Int
    private var extents: [Extent] = []
    private var kind: Extent.Kind = .data
    private var length: UInt64 = 0

    init(limit: Int) { self.limit = limit }

    var isEmpty: Bool { length == 0 && extents.isEmpty }

    /// False if another extent would be one too many; nothing is added then.
    mutating func append(_ count: UInt64, _ newKind: Extent.Kind) -> Bool {
        if length > 0 && newKind != kind {
            guard extents.count + 1 < limit else { return false }
            extents.append(Extent(length: ByteCount(length), kind: kind))
            length = 0
        }
        kind = newKind
        length += count
        return true
    }

    consuming func finish() -> [Extent] {
        var all = extents
        if length > 0 { all.append(Extent(length: ByteCount(length), kind: kind)) }
        return all
    }
}
