// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Fetches in flight, single-flight by block, and the read-ahead that follows sequential streams.

import Journal
import Primitives

/// Which blocks are on their way into the clean cache. Confined to the volume's shard.
struct FetchTable {
    private struct Order {
        let blocks: [BlockIndex]
        let bytes: Int
        let began: Instant
    }

    /// Blocks that a fetch could not bring because what came is damaged: requests that need them
    /// fail, until the next tick lets the store be asked again.
    private(set) var damaged: Set<BlockIndex> = []
    private var nextNumber: UInt64 = 1
    private var byBlock: [BlockIndex: FetchNumber] = [:]
    private var orders: [FetchNumber: Order] = [:]
    private var warmByPlace: [UInt64: FetchNumber] = [:]
    private var warmPlaces: [FetchNumber: UInt64] = [:]
    private(set) var bytesInFlight = 0
    /// When the first fetch began that found the store away, with none after it that did not.
    private(set) var awaySince: Instant?
    private var lastAway: Instant?

    /// An absence that nobody asked about for this long is over: whoever asks now waits anew.
    private static let absenceNanoseconds: UInt64 = 10_000_000_000

    var count: Int { orders.count }

    /// Any fetch in flight: something to wait for when no more may be started.
    var any: FetchNumber? { orders.keys.min { $0.number < $1.number } }

    func fetch(of block: BlockIndex) -> FetchNumber? { byBlock[block] }

    mutating func begin(_ blocks: [BlockIndex], blockBytes: Int, now: Instant) -> FetchNumber {
        if let lastAway, orders.isEmpty,
            now.nanoseconds(since: lastAway) > Self.absenceNanoseconds
        {
            awaySince = nil
        }
        let number = draw()
        for block in blocks { byBlock[block] = number }
        let bytes = blocks.count * blockBytes
        orders[number] = Order(blocks: blocks, bytes: bytes, began: now)
        bytesInFlight += bytes
        return number
    }

    /// Removes a fetch that ended, and notes whether it found the store away. Its blocks, or nil
    /// for a number that is not in flight.
    mutating func end(
        _ number: FetchNumber, isAway: Bool, now: Instant
    ) -> [BlockIndex]? {
        guard let order = orders.removeValue(forKey: number) else { return nil }
        if isAway {
            awaySince = min(awaySince ?? order.began, order.began)
            lastAway = now
        } else {
            awaySince = nil
            lastAway = nil
        }
        for block in order.blocks where byBlock[block] == number { byBlock[block] = nil }
        bytesInFlight -= order.bytes
        return order.blocks
    }

    mutating func noteDamaged(_ block: BlockIndex) { damaged.insert(block) }

    mutating func forgetDamaged() {
        if !damaged.isEmpty { damaged.removeAll() }
    }

    /// The warming of a place of the journal: one that is in flight, or a new one.
    mutating func warm(_ place: UInt64) -> (number: FetchNumber, isNew: Bool) {
        if let number = warmByPlace[place] { return (number, false) }
        let number = draw()
        warmByPlace[place] = number
        warmPlaces[number] = place
        return (number, true)
    }

    mutating func warmed(_ number: FetchNumber) {
        guard let place = warmPlaces.removeValue(forKey: number) else { return }
        warmByPlace[place] = nil
    }

    private mutating func draw() -> FetchNumber {
        defer { nextNumber += 1 }
        return FetchNumber(number: nextNumber)
    }
}

/// Finds sequential streams and says what to read ahead of them. A stream begins with two misses
/// side by side, so a random reader never fetches what it did not ask for. Its window doubles each
/// time the reader has used up half of what lies ahead, and what is missing of it is ordered then:
/// in few, large orders, and before the reader comes there.
struct ReadAhead {
    private struct Stream {
        /// Where the reader is.
        var end: UInt64
        /// Everything before it was ordered.
        var frontier: UInt64
        var windowBytes: UInt64
        var age: UInt64
    }

    /// Streams told apart at a time.
    static let streamsMax = 4
    /// Bytes kept ahead of a reader: the first time, and at most.
    static let windowBytesMin: UInt64 = 512 << 10
    static let windowBytesMax: UInt64 = 16 << 20

    private var streams: [Stream] = []
    private var clock: UInt64 = 0

    /// A read was answered from memory. The range to order now, if its stream is running low.
    @inline(__always)
    mutating func hit(offset: UInt64, count: UInt64) -> Range<UInt64>? {
        for index in streams.indices where streams[index].end == offset {
            streams[index].end = offset + count
            let ahead = streams[index].windowBytes / 2
            if ahead == 0 || streams[index].frontier > streams[index].end + ahead { return nil }
            return widen(index)
        }
        return nil
    }

    /// A read missed. Where to end the order that begins with it.
    mutating func miss(offset: UInt64, count: UInt64) -> UInt64 {
        let end = offset + count
        // The same read again, whose blocks did not come or are gone already.
        if streams.contains(where: { $0.end == end }) { return end }
        clock += 1
        if let index = streams.firstIndex(where: { offset >= $0.end && offset - $0.end <= count }) {
            streams[index].end = end
            streams[index].age = clock
            streams[index].frontier = max(streams[index].frontier, end)
            // Several reads of a stream may miss before the first order has come.
            let ahead = streams[index].windowBytes / 2
            if ahead > 0 && streams[index].frontier > end + ahead { return end }
            return widen(index)?.upperBound ?? end
        }
        let fresh = Stream(end: end, frontier: end, windowBytes: 0, age: clock)
        if streams.count < Self.streamsMax {
            streams.append(fresh)
        } else if let oldest = streams.indices.min(by: { streams[$0].age < streams[$1].age }) {
            streams[oldest] = fresh
        }
        return end
    }

    /// Doubles a stream's window; what of it is still to be ordered.
    private mutating func widen(_ index: Int) -> Range<UInt64>? {
        streams[index].windowBytes = min(
            max(streams[index].windowBytes * 2, Self.windowBytesMin), Self.windowBytesMax)
        let from = max(streams[index].frontier, streams[index].end)
        let to = streams[index].end + streams[index].windowBytes
        guard to > from else { return nil }
        streams[index].frontier = to
        return from..<to
    }
}
