// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The clean cache: bound, pins, eviction order, concurrency.

import CleanCache
import Glibc
import Primitives
import TestSupport
import Testing

private func hash(_ number: UInt64) -> Hash128 {
    var random = SplitMix64(seed: number)
    return Hash128(low: random.next(), high: random.next())
}

private func block(_ number: UInt64, count: Int = 4096) -> CachedBlock {
    CachedBlock(count: count) { bytes in
        guard let start = bytes.baseAddress else { return }
        memset(start, Int32(number & 0xFF), bytes.count)
    }
}

@Suite("the clean cache keeps what is used within its bound")
struct CleanCacheTests {
    @Test("an inserted block is found with its bytes, aligned")
    func findsBlocks() {
        let cache = CleanCache(capacityBytes: 1 << 20)
        #expect(cache.lookup(hash(1)) == nil)
        cache.insert(hash(1), block(1))
        let found = cache.lookup(hash(1))
        #expect(found?.bytes.allSatisfy { $0 == 1 } == true)
        #expect(found.map { UInt(bitPattern: $0.bytes.baseAddress) % 64 } == 0)
        #expect(cache.contains(hash(1)) && !cache.contains(hash(2)))
        let statistics = cache.statistics
        #expect(statistics.hits == 1 && statistics.misses == 1 && statistics.blocks == 1)
    }

    @Test("a hash inserted again gives the block that is there")
    func insertsOnce() {
        let cache = CleanCache(capacityBytes: 1 << 20)
        let first = cache.insert(hash(1), block(1))
        #expect(cache.insert(hash(1), block(1)) === first)
        let copied = [UInt8](repeating: 1, count: 4096).withUnsafeBytes {
            cache.insert(hash(1), $0)
        }
        #expect(copied === first)
        let other = [UInt8](repeating: 2, count: 100).withUnsafeBytes { cache.insert(hash(2), $0) }
        #expect(other.count == 100 && other.bytes.allSatisfy { $0 == 2 })
        #expect(cache.statistics.insertions == 2)
    }

    @Test("a block whose filling fails does not exist")
    func failedFilling() {
        struct Refusal: Error {}
        #expect(throws: Refusal.self) {
            _ = try CachedBlock(count: 10) { _ throws(Refusal) in throw Refusal() }
        }
        #expect(CachedBlock(count: 0) { _ in }.count == 0)
    }

    @Test("the bound holds, and what does not fit at all is passed through")
    func bound() {
        let cache = CleanCache(capacityBytes: 1 << 20)
        for number in 0..<2000 as Range<UInt64> {
            cache.insert(hash(number), block(number, count: Int(number % 7 + 1) * 1000))
            #expect(cache.statistics.bytes <= 1 << 20)
        }
        let large = cache.insert(hash(9999), block(9, count: 2 << 20))
        #expect(large.count == 2 << 20 && !cache.contains(hash(9999)))
        let statistics = cache.statistics
        #expect(statistics.bytes > 900_000)
        #expect(statistics.evictions + UInt64(statistics.blocks) == statistics.insertions)
    }

    @Test("a block that is held stays readable after its eviction")
    func pinned() {
        let cache = CleanCache(capacityBytes: 100_000)
        let held = cache.insert(hash(7), block(7))
        for number in 100..<1000 as Range<UInt64> { cache.insert(hash(number), block(number)) }
        #expect(!cache.contains(hash(7)))
        #expect(held.bytes.allSatisfy { $0 == 7 })
    }

    @Test("blocks that a fetcher holds are found though as many again pass by")
    func heldBlocksAreSpared() {
        let cache = CleanCache(capacityBytes: 100 * 4300)
        for number in 1000..<1100 as Range<UInt64> { cache.insert(hash(number), block(number)) }
        let held = (0..<40 as Range<UInt64>).map { cache.insert(hash($0), block($0)) }
        for number in 2000..<2020 as Range<UInt64> { cache.insert(hash(number), block(number)) }
        #expect((0..<40 as Range<UInt64>).allSatisfy { cache.contains(hash($0)) })
        withExtendedLifetime(held) {}
    }

    @Test("a scan of ten times the cache leaves the working set in it")
    func scanResistance() {
        let cache = CleanCache(capacityBytes: 1000 * 4300)
        let working = 0..<500 as Range<UInt64>
        for _ in 0..<3 {
            for number in working where cache.lookup(hash(number)) == nil {
                cache.insert(hash(number), block(number))
            }
        }
        for number in 10_000..<20_000 as Range<UInt64> {
            cache.insert(hash(number), block(number))
        }
        let kept = working.count { cache.contains(hash($0)) }
        #expect(kept > 450)
    }

    @Test("what comes back soon after its eviction enters the main queue")
    func ghosts() {
        let cache = CleanCache(capacityBytes: 100 * 4300)
        for number in 0..<150 as Range<UInt64> { cache.insert(hash(number), block(number)) }
        #expect(!cache.contains(hash(0)))
        cache.insert(hash(0), block(0))
        for number in 200..<280 as Range<UInt64> { cache.insert(hash(number), block(number)) }
        #expect(cache.contains(hash(0)))
    }

    @Test("threads that look up and insert at once see whole blocks and the bound")
    func concurrency() throws {
        let capacity = 256 << 20
        let cache = CleanCache(capacityBytes: capacity)
        struct Wrong: Error { let round: Int }
        let threads = try RacingThreads(count: 8) { index in
            var random = SplitMix64(seed: UInt64(index))
            for round in 0..<4000 {
                let number = random.next(below: 4000)
                let size = 65_536 + Int(number % 5) * 32_768
                let found =
                    cache.lookup(hash(number))
                    ?? cache.insert(hash(number), block(number, count: size))
                let expected = UInt8(truncatingIfNeeded: number)
                let bytes = found.bytes
                guard found.count == size, bytes[0] == expected, bytes[size - 1] == expected,
                    round % 100 != 0 || cache.statistics.bytes <= capacity
                else { throw Wrong(round: round) }
            }
        }
        try threads.join()
        let statistics = cache.statistics
        #expect(statistics.evictions > 0 && statistics.hits > 0)
        #expect(statistics.evictions + UInt64(statistics.blocks) == statistics.insertions)
    }
}
