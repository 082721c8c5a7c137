// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// When a shard should look again instead of going to sleep. A client that keeps one request in
// flight has to be woken by our reply before it sends the next; on a virtual machine waking an idle
// core takes 20 to 40 us. A shard that looks that long is still awake when the request comes, and
// saves waking up itself; it stops looking for a while when nobody comes
// (docs/decisions/0020-poll-until-the-client-has-woken.md).

/// The state of adaptive polling: pure, so that its rule is tested without a clock.
struct Pacing {
    /// How long to look before blocking, in nanoseconds.
    static let budgetNanoseconds: UInt64 = 50_000
    /// Polls in a row that found nothing before polling is given up.
    static let missesMax = 16
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
