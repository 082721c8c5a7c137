// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How much of the disk budget the journals use, for those who may not wait for the pool's lock: a
// shard looks at it once a turn.

import Synchronization

/// A number that the pool keeps true and any thread may read.
public final class SpaceGauge: Sendable {
    public let budgetBytes: UInt64
    /// Relaxed: it orders nothing, and a reader that is a moment late does no harm.
    private let used = Atomic<UInt64>(0)

    /// The budget is used in steps of a segment: with fewer of them in its last twentieth there is
    /// no slope to slow anyone on, only a cliff.
    private static let slopeSegmentsMin: UInt64 = 4

    private let hasSlope: Bool

    public init(budgetBytes: UInt64, segmentBytes: UInt64) {
        self.budgetBytes = budgetBytes
        hasSlope = budgetBytes / 20 >= Self.slopeSegmentsMin * segmentBytes
    }

    /// Bytes of the budget that are used now.
    public var usedBytes: UInt64 { used.load(ordering: .relaxed) }

    /// How hard writers are slowed: `SpaceUsage.slowdown` of now, and 0 with a budget of fewer than
    /// 80 segments.
    public var slowdown: Double {
        guard hasSlope else { return 0 }
        return SpaceUsage(usedBytes: usedBytes, budgetBytes: budgetBytes, freeSegments: 0).slowdown
    }

    func set(usedBytes: UInt64) { used.store(usedBytes, ordering: .relaxed) }
}
