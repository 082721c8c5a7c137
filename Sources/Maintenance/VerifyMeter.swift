// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a verification took from the store.

import Synchronization

/// Any thread adds. Relaxed: nothing is ordered by a count.
final class VerifyMeter: Sendable {
    private let received = Atomic<UInt64>(0)

    var bytes: UInt64 { received.load(ordering: .relaxed) }

    func add(_ count: UInt64) { received.wrappingAdd(count, ordering: .relaxed) }
}
