// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One answer from a shard to a control thread that waits for it. Control threads may block; shards
// give answers and never wait. Deadlines are watched by the shard, which sees the time pass anyway.

import Dispatch
import Primitives
import Synchronization

/// A value that one thread gives, once, and another waits for.
final class Answer<Value: Sendable>: Sendable {
    private let value = Lock<Value?>(nil)
    private let arrived = DispatchSemaphore(value: 0)

    /// Called exactly once.
    func give(_ value: Value) {
        self.value.withLock { held in
            precondition(held == nil, "a question is answered once")
            held = value
        }
        arrived.signal()
    }

    /// Blocks until the value is there. Called once.
    func wait() -> Value {
        while true {
            arrived.wait()
            if let value = value.withLock({ $0 }) { return value }
        }
    }
}
