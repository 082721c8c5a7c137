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

    /// Removes a fetch that ended, and notes whether it found the store away. False for a number
    /// that is not in flight.
    mutating func end(_ number: FetchNumber, isAway: Bool, now: Instant) -> Bool {
        guard let order = orders.removeValue(forKey: number) else { return false }
        if isAway {
            awaySince = min(awaySince ?? order.began, order.began)
            lastAway = now
        } else {
            awaySince = nil
            lastAway = nil
        }
        for block in order.blocks where byBlock[block] == number { byBlock[block] = nil }
        bytesInFlight -= order.bytes
        return true
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

/// Finds sequential streams and says how far to read ahead of them. The window doubles with each
/// consecutive miss of a stream, so a random reader never fetches what it did not ask for.
struct ReadAhead {
    private struct Stream {
        var end: UInt64
        var windowBytes: UInt64
        var age: UInt64
    }

    /// Streams told apart at a time.
    static let streamsMax = 4
    /// Bytes fetched ahead: the first time, and at most.
    static let windowBytesMin: UInt64 = 512 << 10
    static let windowBytesMax: UInt64 = 8 << 20

    private var streams: [Stream] = []
    private var clock: UInt64 = 0

    /// Notes a finished read, so that a miss right behind it counts as sequential.
    mutating func note(offset: UInt64, count: UInt64) {
        guard let index = streams.firstIndex(where: { $0.end == offset }) else { return }
        streams[index].end = offset + count
    }

    /// Bytes worth fetching behind a read that missed at `offset`.
    mutating func window(offset: UInt64, count: UInt64) -> UInt64 {
        clock += 1
        if let index = streams.firstIndex(where: { offset >= $0.end && offset - $0.end <= count }) {
            let wider = min(
                max(streams[index].windowBytes * 2, Self.windowBytesMin), Self.windowBytesMax)
            streams[index] = Stream(end: offset + count, windowBytes: wider, age: clock)
            return wider
        }
        let fresh = Stream(end: offset + count, windowBytes: 0, age: clock)
        if streams.count < Self.streamsMax {
            streams.append(fresh)
        } else if let oldest = streams.indices.min(by: { streams[$0].age < streams[$1].age }) {
            streams[oldest] = fresh
        }
        return 0
    }
}
