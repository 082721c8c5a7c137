// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Slowing writers ahead of a full disk. From 95 % of the budget on a volume may journal so many
// bytes a second and no more, and the rate falls smoothly, by half for each 0.42 % of the budget,
// until nothing is left: somewhere on the way it meets what the commits free, and stays there.
// A write is journaled at once and only its *answer* is held back, so nothing waits in the volume,
// and a client is slowed by what it may have in flight.
//
// All volumes get the same rate: one that writes less than its share is never held back, however
// hard the others write. Answers go in the order of their writes, none later than
// `heldNanosecondsMax`.

import BlockDevice
import Glibc
import Journal
import Primitives

/// The pace of one volume's writers. Confined to its shard.
struct WritePace {
    /// Bytes a second at the first sign of slowing, and how often that is halved until the budget
    /// is full: from 1 GiB/s to 256 KiB/s.
    static let bytesPerSecondMax = 1_073_741_824.0
    static let halvings = 12.0
    /// Answers due within a tick of a paced shard go out at once: it could not tell the times
    /// apart.
    static let graceNanoseconds: UInt64 = 10_000_000
    /// No answer is held longer: clients have time-outs of their own, of 30 seconds and more.
    static let heldNanosecondsMax: UInt64 = 5_000_000_000

    /// 0: not slowed; 1: the budget is full.
    private(set) var slowdown = 0.0
    private(set) var held = HeldAnswers()
    private var nanosecondsPerByte = 0.0
    /// The used bytes of the last look.
    private var seenBytes: UInt64 = 0
    /// When everything that was journaled so far is within the rate.
    private var paidUntil = Instant(nanoseconds: 0)

    var isSlowing: Bool { nanosecondsPerByte > 0 }

    /// Looks at the budget, once a turn.
    @inline(__always)
    mutating func look(at space: SpaceGauge?) {
        guard let space else { return }
        let used = space.usedBytes
        if used == seenBytes { return }
        seenBytes = used
        adjust(to: space.slowdown)
    }

    private mutating func adjust(to slowdown: Double) {
        self.slowdown = slowdown
        let rate = Self.bytesPerSecondMax * exp2(-Self.halvings * slowdown)
        nanosecondsPerByte = slowdown > 0 ? 1e9 / rate : 0
        if slowdown == 0 { paidUntil = Instant(nanoseconds: 0) }
    }

    /// Journaled so many bytes: when their answers are due. nil: now.
    mutating func charge(_ bytes: UInt64, now: Instant) -> Instant? {
        guard isSlowing else { return nil }
        let cost = UInt64(Double(bytes) * nanosecondsPerByte)
        let latest = now.nanoseconds + Self.heldNanosecondsMax
        paidUntil.nanoseconds = min(max(paidUntil.nanoseconds, now.nanoseconds) + cost, latest)
        let due = paidUntil.nanoseconds - min(paidUntil.nanoseconds, Self.graceNanoseconds)
        return due > now.nanoseconds ? Instant(nanoseconds: due) : nil
    }

    mutating func hold(_ tag: RequestTag, until due: Instant) {
        held.append(HeldAnswer(tag: tag, due: due))
    }

    /// The next answer that may go now: its time has come, or there is room again.
    mutating func next(now: Instant) -> RequestTag? {
        guard let first = held.first, !isSlowing || first.due <= now else { return nil }
        held.removeFirst()
        return first.tag
    }

    /// The next answer, whenever it is due.
    mutating func next() -> RequestTag? {
        guard let first = held.first else { return nil }
        held.removeFirst()
        return first.tag
    }
}

struct HeldAnswer {
    let tag: RequestTag
    let due: Instant
}

/// A queue in a ring that grows to what clients have in flight and stays that large.
struct HeldAnswers {
    private var ring: [HeldAnswer] = []
    private var head = 0
    private(set) var count = 0

    var first: HeldAnswer? { count == 0 ? nil : ring[head] }

    mutating func append(_ answer: HeldAnswer) {
        if count == ring.count { grow(filling: answer) }
        ring[(head + count) & (ring.count - 1)] = answer
        count += 1
    }

    mutating func removeFirst() {
        precondition(count > 0)
        head = (head + 1) & (ring.count - 1)
        count -= 1
    }

    private mutating func grow(filling answer: HeldAnswer) {
        var larger: [HeldAnswer] = []
        let capacity = max(64, ring.count * 2)
        larger.reserveCapacity(capacity)
        for index in 0..<count { larger.append(ring[(head + index) & (ring.count - 1)]) }
        while larger.count < capacity { larger.append(answer) }
        ring = larger
        head = 0
    }
}
