// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A count that threads share.

import Synchronization

final class Tally: Sendable {
    private let value = Atomic<Int>(0)

    // Relaxed: read after the threads were joined.
    func add() { value.add(1, ordering: .relaxed) }
    var count: Int { value.load(ordering: .relaxed) }
}
