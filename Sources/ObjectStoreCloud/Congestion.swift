// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How many requests a store is given at one time: one more for each round that went well, half as
// many when it says that it is too much. Pure; time comes in with the events.

import Primitives

/// Additive increase, multiplicative decrease.
struct Congestion: Equatable, Sendable {
    let ceiling: Int
    /// The present limit; its whole part counts.
    private(set) var limit: Double
    /// Requests that began before it speak of a limit that was cut since.
    private var lastCut: Instant?

    init(ceiling: Int) {
        precondition(ceiling > 0)
        self.ceiling = ceiling
        limit = Double(ceiling)
    }

    var allowed: Int { Int(limit) }

    mutating func succeeded() {
        limit = min(Double(ceiling), limit + 1 / limit)
    }

    /// The store asked for less, answering a request that began at `began`.
    mutating func throttled(began: Instant, now: Instant) {
        if let lastCut, began < lastCut { return }
        limit = max(1, (limit / 2).rounded(.down))
        lastCut = now
    }
}
