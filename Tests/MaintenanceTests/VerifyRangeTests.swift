// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Ranges of disks, as faults collect them.

import Testing

@testable import Maintenance

@Suite("Ranges of a fault")
struct VerifyRangeTests {
    @Test("neighbours and overlaps become one range, in whatever order they come")
    func merging() {
        var ranges = ByteRanges()
        for range: Range<UInt64> in [8..<12, 12..<16, 0..<4, 2..<6, 20..<24, 14..<15] {
            _ = ranges.add(range)
        }
        #expect(ranges.merged == [0..<6, 8..<16, 20..<24])
    }
}
