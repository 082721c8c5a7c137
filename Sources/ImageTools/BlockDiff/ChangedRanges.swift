// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What of a target differs from its base, in bounded memory: where there are too many ranges,
// neighbours become one, with the unchanged bytes between them. A diff that says too much is still
// right.

public import Formats

/// A run of changed bytes of one kind.
public struct ChangedRange: Hashable, Sendable {
    public var kind: BlockDiffKind
    public var offset: UInt64
    public var length: UInt64

    public init(_ kind: BlockDiffKind, offset: UInt64, length: UInt64) {
        self.kind = kind
        self.offset = offset
        self.length = length
    }

    public var end: UInt64 { offset + length }
}

/// Changed ranges in ascending order, as few as describe them. Touching ranges differ in kind.
public struct ChangedRanges: Equatable, Sendable {
    public private(set) var ranges: [ChangedRange] = []
    private let countMax: Int
    /// Unchanged bytes that are swallowed between two ranges.
    private var gapMax: UInt64 = 0

    /// Ranges that we keep, and write, at most: 24 MiB of them.
    public static let countMax = 1 << 20

    public init(countMax: Int = Self.countMax) {
        precondition(countMax >= 2 && UInt64(countMax) <= FormatLimits.diffRangesMax)
        self.countMax = countMax
    }

    public mutating func append(_ range: ChangedRange) {
        precondition(range.length > 0 && range.offset >= ranges.last?.end ?? 0)
        guard !Self.join(&ranges, range, gapMax: gapMax) else { return }
        while ranges.count >= countMax { coarsen() }
        if !Self.join(&ranges, range, gapMax: gapMax) { ranges.append(range) }
    }

    /// Makes `range` part of the last one, if they are near enough.
    private static func join(
        _ ranges: inout [ChangedRange], _ range: ChangedRange, gapMax: UInt64
    ) -> Bool {
        guard let last = ranges.last else { return false }
        let gap = range.offset - last.end
        guard gap <= gapMax, gapMax > 0 || last.kind == range.kind else { return false }
        // What lies between is content of the target like any other: it has to be read.
        let kind = gap == 0 && last.kind == range.kind ? last.kind : .data
        ranges[ranges.count - 1] = ChangedRange(
            kind, offset: last.offset, length: range.end - last.offset)
        return true
    }

    /// Doubles the gap that is swallowed, and joins what is now near enough.
    private mutating func coarsen() {
        gapMax = max(4096, gapMax * 2)
        var joined: [ChangedRange] = []
        for range in ranges where !Self.join(&joined, range, gapMax: gapMax) {
            joined.append(range)
        }
        ranges = joined
    }

    /// Bytes of all ranges.
    public var byteCount: UInt64 { ranges.reduce(0) { $0 + $1.length } }

    /// The ranges without their kinds, touching ones joined: what version 1 stores.
    public var plain: [BlockDiffRange] {
        var plain: [BlockDiffRange] = []
        for range in ranges {
            if let last = plain.last, last.end == range.offset {
                plain[plain.count - 1].length += range.length
            } else {
                plain.append(BlockDiffRange(offset: range.offset, length: range.length))
            }
        }
        return plain
    }
}
