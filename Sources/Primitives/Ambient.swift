// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The seams to time and chance. Nothing else in the core reads a clock or draws a random number;
// real implementations live in HostIO, the simulator passes its own.

/// A source of random words. Seeded in tests and in the simulator, the kernel's in the product.
public protocol RandomSource: Sendable {
    mutating func next() -> UInt64
}

extension RandomSource {
    /// A number in 0..<bound, unbiased enough for schedules (multiply and shift). Not for secrets.
    public mutating func next(below bound: UInt64) -> UInt64 {
        precondition(bound > 0)
        return next().multipliedFullWidth(by: bound).high
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, one word of state; for tests and simulation.
public struct SplitMix64: RandomSource {
    private var state: UInt64

    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// A point on a clock that only moves forward, in nanoseconds from an arbitrary start.
public struct Instant: Comparable, Hashable, Sendable {
    public var nanoseconds: UInt64
    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }
    public static func < (left: Instant, right: Instant) -> Bool {
        left.nanoseconds < right.nanoseconds
    }
    public func advanced(bySeconds seconds: UInt64) -> Instant {
        Instant(nanoseconds: nanoseconds + seconds * 1_000_000_000)
    }
    /// Nanoseconds since `earlier`; zero if that lies ahead.
    public func nanoseconds(since earlier: Instant) -> UInt64 {
        nanoseconds > earlier.nanoseconds ? nanoseconds - earlier.nanoseconds : 0
    }
}

/// Where the time comes from. `now` orders and measures; `wallSeconds` only labels.
public protocol Clock: Sendable {
    var now: Instant { get }
    /// Seconds since 1970 UTC. A label for people: no decision depends on it but those about age,
    /// which never touch what is in use.
    var wallSeconds: UInt64 { get }
}
