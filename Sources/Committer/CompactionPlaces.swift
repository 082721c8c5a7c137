// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How many volumes of a host may gather at one time: what they gather is memory that no other
// bound counts.

internal import Primitives
internal import Synchronization

/// The places of a host. Any thread.
public final class CompactionPlaces: Sendable {
    /// Volumes of one host, each with up to a pack of grains and its nodes.
    public static let count = 2
    private let free: Lock<Int>

    public init(_ count: Int = CompactionPlaces.count) {
        precondition(count > 0)
        free = Lock(count)
    }

    /// A place, or nil if all are taken.
    public func take() -> CompactionPlace? {
        let isTaken = free.withLock { free in
            guard free > 0 else { return false }
            free -= 1
            return true
        }
        return isTaken ? CompactionPlace(self) : nil
    }

    fileprivate func giveBack() { free.withLock { $0 += 1 } }
}

/// A place that was taken, given back with its last reference.
public final class CompactionPlace: Sendable {
    private let places: CompactionPlaces

    fileprivate init(_ places: CompactionPlaces) { self.places = places }

    deinit { places.giveBack() }
}
