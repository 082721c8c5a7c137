// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// When a shard should look again instead of going to sleep. Waking an idle core costs 40 us, a
// client that keeps one request in flight answers within 20: so a shard polls that long before it
// blocks, and stops polling for a while when nobody comes.

/// The state of adaptive polling: pure, so that its rule is tested without a clock.
struct Pacing {
    /// How long to look before blocking, in nanoseconds.
    static let budgetNanoseconds: UInt64 = 20_000
    /// Polls in a row that found nothing before polling is given up.
    static let missesMax = 4
    /// Turns that block at once after that.
    static let turnsSkipped = 64

    private var misses = 0
    private var skip = 0

    /// Whether this turn polls before it blocks. Asked once per turn that found nothing to do.
    mutating func shouldPoll() -> Bool {
        if skip == 0 { return true }
        skip -= 1
        return false
    }

    mutating func found() { misses = 0 }

    mutating func missed() {
        misses += 1
        if misses == Pacing.missesMax {
            misses = 0
            skip = Pacing.turnsSkipped
        }
    }
}
