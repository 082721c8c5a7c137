// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Times as people write them.

import Primitives
import Testing

@Suite("times in UTC")
struct UTCTimeTests {
    @Test("a time is written in one way, and read back")
    func roundTrip() {
        let known: [(UInt64, String)] = [
            (0, "1970-01-01T00:00:00Z"), (951_782_400, "2000-02-29T00:00:00Z"),
            (1_800_000_000, "2027-01-15T08:00:00Z"), (253_402_300_799, "9999-12-31T23:59:59Z"),
        ]
        for (seconds, text) in known {
            #expect(UTCTime.text(seconds) == text)
            #expect(UTCTime.parse(text) == seconds)
        }
        var chance = SplitMix64(seed: 3)
        for _ in 0..<1000 {
            let seconds = chance.next() % 253_402_300_800
            #expect(UTCTime.parse(UTCTime.text(seconds)) == seconds)
        }
        #expect(UTCTime.text(.max) == "9999-12-31T23:59:59Z")
    }

    @Test(
        "other spellings and days that no calendar has are refused",
        arguments: [
            "", "5", "2026-11-22", "2026-11-22T10:00Z", "2026-11-22T10:00:00",
            "2026-11-22 10:00:00Z",
            "2026-11-22T10:00:00z", "2026-11-22T10:00:00.5Z", "2026-11-22T10:00:00+01:00",
            "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-22T24:00:00Z",
            "2026-11-22T10:00:60Z", " 2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z\0",
            "26-11-22T10:00:00Z", "1969-12-31T23:59:59Z", "-2026-11-22T10:00:00Z",
        ])
    func refused(text: String) { #expect(UTCTime.parse(text) == nil) }
}
