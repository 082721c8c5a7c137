// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The seeded source is the published one, and the clock's instants subtract safely.

import Primitives
import Testing

@Suite("time and chance")
struct AmbientTests {
    @Test("SplitMix64 yields the published sequence")
    func splitMix() {
        var source = SplitMix64(seed: 1_234_567)
        let words = (0..<5).map { _ in source.next() }
        #expect(
            words == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
                4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
            ])
        var zero = SplitMix64(seed: 0)
        #expect(zero.next() == 0xE220_A839_7B1D_CDAF)
    }

    @Test(
        "a bounded number stays below its bound and reaches every value", arguments: [1, 2, 7, 60])
    func bounded(bound: UInt64) {
        var source = SplitMix64(seed: bound)
        var seen: Set<UInt64> = []
        for _ in 0..<2000 {
            let value = source.next(below: bound)
            #expect(value < bound)
            seen.insert(value)
        }
        #expect(seen.count == Int(bound))
    }

    @Test("the time since a later instant is zero")
    func instants() {
        let early = Instant(nanoseconds: 5)
        let late = early.advanced(bySeconds: 2)
        #expect(late.nanoseconds == 2_000_000_005)
        #expect(early < late)
        #expect(late.nanoseconds(since: early) == 2_000_000_000)
        #expect(early.nanoseconds(since: late) == 0)
        #expect(early.nanoseconds(since: early) == 0)
    }
}
