// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A set of blocks as sorted, disjoint ranges that do not touch. Blocks are only ever added: what a
// later write covers is shadowed by its leaf, not cut out.

@usableFromInline
struct ZeroRanges {
    @usableFromInline private(set) var all: [Range<UInt64>] = []

    @inlinable var isEmpty: Bool { all.isEmpty }
    @inlinable var count: Int { all.count }

    @inlinable
    func contains(_ block: UInt64) -> Bool {
        if all.isEmpty { return false }
        let index = firstEnding(after: block)
        return index < all.count && all[index].lowerBound <= block
    }

    /// Whether `block` is in the set, and up to which block that stays so.
    func run(from block: UInt64) -> (isInside: Bool, end: UInt64) {
        let index = firstEnding(after: block)
        guard index < all.count else { return (false, .max) }
        let range = all[index]
        return range.lowerBound <= block ? (true, range.upperBound) : (false, range.lowerBound)
    }

    /// Joins all ranges that overlap or touch the new one.
    mutating func insert(_ range: Range<UInt64>) {
        precondition(!range.isEmpty)
        let first = firstEnding(at: range.lowerBound)
        var end = first
        var joined = range
        while end < all.count, all[end].lowerBound <= range.upperBound {
            joined =
                min(
                    joined.lowerBound, all[end].lowerBound)..<max(
                    joined.upperBound, all[end].upperBound)
            end += 1
        }
        if end == first {
            all.insert(joined, at: first)
        } else {
            all[first] = joined
            if end - first > 1 { all.removeSubrange((first + 1)..<end) }
        }
    }

    /// The index of the first range whose end lies beyond `block`.
    @usableFromInline
    func firstEnding(after block: UInt64) -> Int {
        var low = 0
        var high = all.count
        while low < high {
            let middle = (low + high) / 2
            if all[middle].upperBound > block { high = middle } else { low = middle + 1 }
        }
        return low
    }

    /// The index of the first range whose end is `block` or beyond.
    private func firstEnding(at block: UInt64) -> Int {
        block == 0 ? 0 : firstEnding(after: block - 1)
    }
}
