// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where the blocks of an import lie that need not be stored again: in the parent's packs, in packs
// that an earlier try left, in packs of this one.

package import Formats
package import Primitives
internal import Synchronization

/// Whole frames by the hash of their block. One thread enters, any thread looks.
package final class KnownFrames: Sendable {
    package struct Place: Equatable, Sendable {
        package let slot: PackSlot
        package let extent: PackExtent
    }

    /// Blocks that are remembered: 1 TiB of unlike ones at the default size. What comes behind them
    /// is stored again if it repeats.
    package static let countMax = 1 << 23

    private let places = Lock<[Hash128: Place]>([:])
    private let countMax: Int

    package init(countMax: Int = KnownFrames.countMax) {
        precondition(countMax > 0)
        self.countMax = countMax
    }

    /// Nothing that was remembered is forgotten.
    package func contains(_ hash: Hash128) -> Bool { places.withLock { $0[hash] != nil } }

    package func place(of hash: Hash128) -> Place? { places.withLock { $0[hash] } }

    package var count: Int { places.withLock { $0.count } }

    /// The first place of a block is the one that is kept.
    func remember(_ hash: Hash128, _ place: Place) {
        places.withLock { places in
            if places.count < countMax, places[hash] == nil { places[hash] = place }
        }
    }
}
