// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The daemon's end as threads see it that wait for time to pass.

import HostIO
import Synchronization

/// Set once. Relaxed: whoever waits looks again soon, and nothing is published through it.
final class StopFlag: Sendable {
    /// How late a waiting thread may notice.
    private static let sliceNanoseconds: UInt64 = 100_000_000

    private let flag = Atomic<Bool>(false)

    var isSet: Bool { flag.load(ordering: .relaxed) }

    func set() { flag.store(true, ordering: .relaxed) }

    /// Waits; false as soon as the flag is set.
    func pause(nanoseconds: UInt64, clock: SystemClock) -> Bool {
        var left = nanoseconds
        while left > 0, !isSet {
            let slice = min(left, Self.sliceNanoseconds)
            clock.sleep(nanoseconds: slice)
            left -= slice
        }
        return !isSet
    }
}
