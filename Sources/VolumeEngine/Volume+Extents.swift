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
    /// Blocks looked at by one call: the reply may cover less than was asked for, and the shard
    /// goes on.
    static var extentBlocksMax: UInt64 { 1 << 16 }

    public mutating func extents(
        at offset: ByteOffset, count: ByteCount, limit: Int, into list: inout [Extent],
        tag: RequestTag
    ) -> Submission {
        guard contains(offset, count.rawValue), count.rawValue > 0, limit > 0 else {
            return .failed(.outOfRange)
        }
        if let wait = waitForResolution(tag) { return wait }
        let end = offset.rawValue + count.rawValue
        var found = ExtentBuilder(limit: limit)
        var position = offset.rawValue
        var blocksLeft = Self.extentBlocksMax
        while position < end && blocksLeft > 0 {
            blocksLeft -= 1
            let block = BlockIndex(position >> blockShift)
            let blockEnd = min(end, (block.rawValue + 1) << blockShift)
            guard let isWhole = appendExtents(of: block, position..<blockEnd, to: &found) else {
                // The map of this block is not at hand: answer what is known, or fetch it.
                if !found.isEmpty { break }
                return parkOnFetches(
                    from: ByteOffset(position), count: ByteCount(end - position), tag: tag,
                    mapOnly: true)
            }
            guard isWhole else { break }
            position = blockEnd
        }
        list += found.finish()
        return .done
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
