// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The lock, in whichever form this build has it.

import Glibc
import Primitives
import Synchronization
import TestSupport
import Testing

@Suite("the lock")
struct LockTests {
    private final class Counter: Sendable {
        let value = Lock(0)
    }

    /// Two numbers that are always changed together.
    private struct Pair {
        var left = 0
        var right = 0
    }

    private final class Pairs: Sendable {
        let pair = Lock(Pair())
    }

    @Test("what it guards is changed by one thread at a time")
    func excludes() throws {
        let pairs = Pairs()
        let threads = try RacingThreads(count: 4) { _ in
            for _ in 0..<5000 {
                let isWhole = pairs.pair.withLock { pair in
                    let isWhole = pair.left == pair.right
                    pair.left += 1
                    pair.right += 1
                    return isWhole
                }
                #expect(isWhole)
            }
        }
        try threads.join()
        #expect(pairs.pair.withLock { $0.left } == 20_000)
    }

    @Test("it is free again when its body threw")
    func throwing() {
        struct Stop: Error {}
        let counter = Counter()
        #expect(throws: Stop.self) {
            try counter.value.withLock { value throws(Stop) in
                value = 3
                throw Stop()
            }
        }
        #expect(counter.value.withLock { $0 } == 3)
    }

    @Test("what it guards goes with it")
    func releases() {
        final class Guarded: Sendable {}
        final class Holder {
            let lock: Lock<Guarded>
            init(_ guarded: Guarded) { lock = Lock(guarded) }
        }
        weak var guarded: Guarded?
        do {
            let holder = Holder(Guarded())
            guarded = holder.lock.withLock { $0 }
            #expect(guarded != nil)
        }
        #expect(guarded == nil)
    }
}
