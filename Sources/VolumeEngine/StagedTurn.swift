// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What one turn has staged and not yet appended: the ranges for the memtable and the requests to
// answer. The arrays keep their capacity, so a warm turn allocates nothing.

import BlockDevice
import Glibc
import Journal
import Primitives

/// A range of grains that the next append makes current.
struct StagedRange {
    let firstGrain: UInt64
    let count: UInt64
    /// nil: zeros.
    let page: JournalPage?
}

struct StagedRequest {
    let tag: RequestTag
    /// FUA: completes after a sync.
    let needsSync: Bool
}

struct StagedTurn {
    var ranges: [StagedRange] = []
    var requests: [StagedRequest] = []
    /// Journal bytes of the turn: payload pages, and one header page for each batch.
    var bytes: UInt64 = 0

    init() {
        ranges.reserveCapacity(Limits.batchRecordsMax)
        requests.reserveCapacity(Limits.batchRecordsMax)
    }

    func overlaps(grain: UInt64) -> Bool {
        ranges.contains { grain >= $0.firstGrain && grain - $0.firstGrain < $0.count }
    }

    mutating func removeAll() {
        ranges.removeAll(keepingCapacity: true)
        requests.removeAll(keepingCapacity: true)
        bytes = 0
    }
}

/// Pages in which the edges of sub-grain writes are merged; lent to the journal until the append.
/// Allocated at the first such write and freed when the volume has drained.
struct EdgePages: ~Copyable {
    /// Pages of the arena: two for each of 16 requests, then the batch is appended early.
    static let capacity = 32

    private var base: UnsafeMutableRawPointer?
    private var used = 0

    init() {}

    deinit { free(base) }

    var available: Int { Self.capacity - used }

    /// The next page; its content is undefined.
    mutating func take() -> UnsafeMutableRawBufferPointer {
        precondition(used < Self.capacity)
        let arena: UnsafeMutableRawPointer
        if let base {
            arena = base
        } else {
            arena = .allocate(byteCount: Self.capacity * Limits.grainBytes, alignment: 4096)
            base = arena
        }
        defer { used += 1 }
        return UnsafeMutableRawBufferPointer(
            start: arena + used * Limits.grainBytes, count: Limits.grainBytes)
    }

    mutating func reset() { used = 0 }

    /// Frees the arena. Nothing of it may be lent.
    mutating func release() {
        used = 0
        free(base)
        base = nil
    }
}
