// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Misses: what a request lacks is ordered from the store, once for all who want it, and the request
// is parked until then. It starts over on the root and memtables of that moment.

public import BlockDevice
import Formats
import HostIO
import Journal
public import Primitives
import VolumeMap

/// Bytes of one fetch effect, and of all of a volume's in flight. Both bound what a guest can make
/// the host hold; the second stays below the least clean cache, so a fetched block survives its
/// retry.
enum FetchLimits {
    static let orderBytes = 8 << 20
    static let inFlightBytes = 32 << 20
    /// Bytes of the journal warmed around a cold page.
    static let warmBytes = 256 << 10
}

extension Volume {
    public mutating func prefetch(
        at offset: ByteOffset, count: ByteCount, tag: RequestTag
    ) -> Submission {
        guard contains(offset, count.rawValue) else { return .failed(.outOfRange) }
        // Bounded like a question for extents: a prefetch may name the whole device.
        let most = min(count.rawValue, Self.extentBlocksMax << blockShift)
        let end = offset.rawValue + most
        _ = orderMissing(from: offset.rawValue, to: end, neededTo: end, mapOnly: false)
        return .done
    }

    /// Orders what a read of the range lacks and parks its tag on all of it.
    mutating func parkOnFetches(
        from offset: ByteOffset, count: ByteCount, tag: RequestTag, mapOnly: Bool = false
    ) -> Submission {
        if fetches.damaged.contains(BlockIndex(offset.rawValue >> blockShift)) {
            return .failed(.failed)
        }
        let end = offset.rawValue + count.rawValue
        // One order for the request and what lies behind it: fewer GETs than two.
        let stop = mapOnly ? end : readAhead.miss(offset: offset.rawValue, count: count.rawValue)
        var waits = orderMissing(
            from: offset.rawValue, to: min(size.rawValue, stop), neededTo: end, mapOnly: mapOnly)
        if waits.isEmpty, fetches.bytesInFlight + blockBytes > FetchLimits.inFlightBytes,
            let any = fetches.any
        {
            waits = [any]
        }
        guard !waits.isEmpty else {
            // Another shard has brought it meanwhile.
            completions.append(Completion(tag: tag, outcome: .retry))
            return .parked
        }
        parks.park(tag, on: waits)
        return .parked
    }

    /// Orders what a stream lacks ahead of a read that was answered.
    mutating func orderAhead(_ range: Range<UInt64>) {
        let stop = min(size.rawValue, range.upperBound)
        guard stop > range.lowerBound else { return }
        _ = orderMissing(from: range.lowerBound, to: stop, neededTo: stop, mapOnly: false)
    }

    /// Orders the missing blocks of a byte range, as far as the bounds allow; all fetches, new and
    /// running, that will bring blocks before `neededTo`.
    private mutating func orderMissing(
        from offset: UInt64, to end: UInt64, neededTo: UInt64, mapOnly: Bool
    ) -> Set<FetchNumber> {
        var waits: Set<FetchNumber> = []
        let needed = (neededTo + UInt64(blockBytes) - 1) >> blockShift
        var batch: [BlockIndex] = []
        let batchMax = max(1, FetchLimits.orderBytes / blockBytes)
        var index = offset >> blockShift
        let last = end == offset ? index : (end - 1) >> blockShift
        while index <= last {
            let block = BlockIndex(index)
            index += 1
            if let running = fetches.fetch(of: block) {
                if block.rawValue < needed { waits.insert(running) }
                continue
            }
            guard needsBase(block), isMissing(block, mapOnly: mapOnly) else { continue }
            let bytes = fetches.bytesInFlight + (batch.count + 1) * blockBytes
            guard bytes <= FetchLimits.inFlightBytes else { break }
            batch.append(block)
            if mapOnly {
                // One block stands for its chunk.
                index = max(index, (block.rawValue / chunkBlocks + 1) * chunkBlocks)
            }
            if batch.count == batchMax {
                order(&batch, mapOnly: mapOnly, neededTo: needed, waits: &waits)
            }
        }
        if !batch.isEmpty { order(&batch, mapOnly: mapOnly, neededTo: needed, waits: &waits) }
        return waits
    }

    private mutating func order(
        _ batch: inout [BlockIndex], mapOnly: Bool, neededTo: UInt64,
        waits: inout Set<FetchNumber>
    ) {
        let number = fetches.begin(batch, blockBytes: blockBytes, now: now)
        if let first = batch.first, first.rawValue < neededTo { waits.insert(number) }
        effects.append(
            .fetch(FetchOrder(number: number, root: map.root, blocks: batch, mapOnly: mapOnly)))
        counters.fetches &+= 1
        batch.removeAll(keepingCapacity: true)
    }

    mutating func isMissing(_ block: BlockIndex, mapOnly: Bool) -> Bool {
        if mapOnly {
            if case .unknown = map.presence(of: block) { return true }
            return false
        }
        if case .missing = map.resolve(block) { return true }
        return false
    }

    /// True if some grain of the block shows the map's content.
    func needsBase(_ block: BlockIndex) -> Bool {
        let newer = active.leaf(of: block)
        if newer == nil && active.isZeroRange(block: block) { return false }
        let older = frozen?.leaf(of: block)
        let olderIsZero = older == nil && frozen?.isZeroRange(block: block) ?? false
        if olderIsZero { return false }
        if newer == nil && older == nil { return true }
        let leaf = LayeredLeaf(
            newer: newer, newerIsZero: false, older: older, olderIsZero: false)
        for grain in 0..<(blockBytes / Limits.grainBytes) {
            if case .absent = leaf.state(grain) { return true }
        }
        return false
    }

    /// Has a worker read a part of the journal into the page cache.
    mutating func parkOnWarming(_ page: JournalPage, tag: RequestTag) -> Submission {
        let (segment, offset) = journal.file(of: page)
        let start = offset - offset % UInt64(FetchLimits.warmBytes)
        let place = UInt64(page.slot) << 32 | start
        let (number, isNew) = fetches.warm(place)
        if isNew {
            effects.append(
                .warm(
                    WarmOrder(
                        number: number, segment: segment, offset: start,
                        count: FetchLimits.warmBytes)))
        }
        parks.park(tag, on: CollectionOfOne(number))
        return .parked
    }
}

/// Blocks of a chunk, as the arithmetic of indexes wants it.
let chunkBlocks = UInt64(Limits.chunkBlocks)
