// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Time and chance of the host, and their stand-ins for tests. The only place of the core where a
// clock is read or a random number is drawn.

import CLinux
import Glibc
public import Primitives
import Synchronization

/// The kernel's clocks. `now` does not count time in suspend.
public struct SystemClock: Clock {
    public init() {}

    public var now: Instant { Instant(nanoseconds: Self.read(CLOCK_MONOTONIC)) }

    public var wallSeconds: UInt64 { Self.read(CLOCK_REALTIME) / 1_000_000_000 }

    /// Puts the calling thread to sleep. For workers, never for a shard.
    public func sleep(nanoseconds: UInt64) {
        var rest = timespec(
            tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        withUnsafeMutablePointer(to: &rest) { rest in
            while nanosleep(rest, rest) != 0 && errno == EINTR {}
        }
    }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        let result = clock_gettime(clock, &time)
        precondition(result == 0, "the clock exists")
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// A clock that moves when told to. References share one time.
public final class ManualClock: Clock {
    // Relaxed suffices: a test that needs order between time and data has its own synchronisation.
    private let time: Atomic<UInt64>
    private let wallStart: UInt64

    public init(start: Instant = Instant(nanoseconds: 1), wallSeconds: UInt64 = 1_800_000_000) {
        time = Atomic(start.nanoseconds)
        wallStart = wallSeconds
    }

    public var now: Instant { Instant(nanoseconds: time.load(ordering: .relaxed)) }

    public var wallSeconds: UInt64 { wallStart + now.nanoseconds / 1_000_000_000 }

    public func advance(nanoseconds: UInt64) {
        time.wrappingAdd(nanoseconds, ordering: .relaxed)
    }

    public func advance(seconds: UInt64) { advance(nanoseconds: seconds * 1_000_000_000) }
}

/// The kernel's random numbers, fit for tokens and nonces.
public struct SystemRandom: RandomSource {
    public init() {}

    public mutating func next() -> UInt64 {
        var word: UInt64 = 0
        let count = withUnsafeMutableBytes(of: &word) { bytes in
            retryingInterrupts { clinux_getrandom(bytes.baseAddress, bytes.count) }
        }
        precondition(count == 8, "the kernel gives up to 256 random bytes in one piece")
        return word
    }
}
