// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Which bytes of a device differ from an older state of it: what backup tools ask for.

public import Primitives

/// Immutable; any thread.
public final class ChangeMap: Sendable {
    /// Of the device.
    public let size: ByteCount
    /// Ascending, apart, none empty.
    public let ranges: [Range<UInt64>]

    /// Traps on ranges that do not ascend, touch each other, or leave the device.
    public init(size: ByteCount, ranges: [Range<UInt64>]) {
        var end: UInt64?
        for range in ranges {
            precondition(!range.isEmpty && range.upperBound <= size.rawValue, "inside the device")
            precondition(end.map { $0 < range.lowerBound } ?? true, "ranges ascend, apart")
            end = range.upperBound
        }
        self.size = size
        self.ranges = ranges
    }

    /// Calls `body` with runs of changed and unchanged bytes in turn, which cover `count` bytes
    /// from `offset` on, or less where that takes more than `limit` runs. The range lies inside the
    /// device and is not empty.
    public func forEachRun(
        at offset: UInt64, count: UInt64, limit: Int, _ body: (_ length: UInt64, Bool) -> Void
    ) {
        precondition(count > 0 && limit > 0 && offset + count <= size.rawValue)
        var index = first(endingAfter: offset)
        var place = offset
        var left = limit
        let end = offset + count
        while place < end, left > 0 {
            let range = index < ranges.count ? ranges[index] : end..<end
            let isChanged = range.lowerBound <= place
            let next = min(end, isChanged ? range.upperBound : range.lowerBound)
            body(next - place, isChanged && !range.isEmpty)
            if isChanged { index += 1 }
            place = next
            left -= 1
        }
    }

    private func first(endingAfter offset: UInt64) -> Int {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound <= offset { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

extension ChangeMap: Equatable {
    public static func == (left: ChangeMap, right: ChangeMap) -> Bool {
        left === right || (left.size == right.size && left.ranges == right.ranges)
    }
}
