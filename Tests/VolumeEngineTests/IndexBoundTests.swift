// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a guest can make the memtable hold without writing a byte: entries of trims and zeros. A cut
// comes before it grows without limit, and if no commit gets through, writers wait.

import BlockDevice
import Committer
import Formats
import HostIO
import Journal
import ObjectStore
import Primitives
import Testing
import VolumeEngine
import VolumeMap

@Suite("Bound of the index")
struct IndexBoundTests {
    private static let block: UInt64 = 128 << 10

    /// Ways to make an entry with every trim, and never the same: offset and length of the n-th.
    enum Trimmer: String, CaseIterable {
        /// Every other grain: a leaf for each 128 KiB.
        case grains
        /// Every other block: a mark each.
        case blocks
        /// Every other 17 blocks: a range each.
        case ranges

        func range(_ number: UInt64) -> (offset: UInt64, count: UInt64) {
            switch self {
            case .grains:
                // A grain of each block first, then the next of each.
                let blocks: UInt64 = 1 << 16
                let first = number % blocks * IndexBoundTests.block
                return (first + number / blocks * 2 % 32 * 4096, 4096)
            case .blocks: return (number * 2 * IndexBoundTests.block, IndexBoundTests.block)
            case .ranges: return (number * 34 * IndexBoundTests.block, 17 * IndexBoundTests.block)
            }
        }
    }

    private func shape(_ policy: StallPolicy = .pause) -> EngineShape {
        var shape = EngineShape()
        shape.size = Limits.volumeBytesMax / Self.block * Self.block
        // Neither age nor bytes make a commit.
        shape.options.commitAgeSeconds = 1 << 30
        shape.options.commitBytes = 1 << 40
        shape.options.commitIndexBytes = 256 << 10
        shape.options.indexBytesMax = 1 << 20
        shape.options.whenFull = policy
        return shape
    }

    /// Trims on and on, 60 a turn as clients in depth do. How many were done before one was not.
    private func trim(_ rig: EngineRig, _ trimmer: Trimmer, from: UInt64, count: UInt64) -> UInt64 {
        var number = from
        while number < from + count {
            let end = min(from + count, number + 60)
            let tickets = (number..<end).map { index in
                let range = trimmer.range(index)
                return rig.submit(.zero(range.offset, range.count, .trim))
            }
            rig.run()
            let bound = 2 * (rig.shape.options.indexBytesMax + rig.report.unpublishedBytes / 4)
            #expect(rig.report.indexBytes <= bound + 256 << 10)
            let done = tickets.count { $0.state == .done }
            number += UInt64(done)
            if done < tickets.count { break }
        }
        return number - from
    }

    /// Enough trims for some commits.
    private static func count(_ trimmer: Trimmer) -> UInt64 {
        trimmer == .blocks ? 75_000 : 12_000
    }

    @Test(
        "trims without end make commits, and the memtable stays small", arguments: Trimmer.allCases)
    func endless(trimmer: Trimmer) throws {
        let rig = try EngineRig(shape())
        let count = Self.count(trimmer)
        #expect(trim(rig, trimmer, from: 0, count: count) == count)
        #expect(rig.report.counters.commits >= 2)
        let weight = rig.report.indexBytes
        #expect(weight <= 256 << 10 + rig.report.unpublishedBytes / 4 + 64 << 10)
        rig.write(0, noise(4096, 1))
        rig.expect(0, noise(4096, 1))
    }

    @Test("without the store trimmers wait, reads go on, and all goes on with the store")
    func away() throws {
        let rig = try EngineRig(shape())
        rig.write(8 << 20, noise(4096, 1))
        rig.store.setAway(true)
        let done = trim(rig, .ranges, from: 100, count: 50_000)
        #expect(done > 5_000 && done < 20_000)
        let waiting = rig.submit(.zero(0, 4096, .trim))
        rig.run()
        #expect(waiting.state == .parked)
        #expect(rig.report.lastError != nil)
        rig.expect(8 << 20, noise(4096, 1))
        let tries = waiting.tries
        rig.tick()
        rig.run()
        #expect(waiting.tries == tries, "it is woken in vain")
        rig.store.setAway(false)
        for _ in 0..<20 {
            rig.tick()
            rig.run()
        }
        #expect(waiting.state == .done)
        #expect(trim(rig, .ranges, from: 1_000_000, count: 1_000) == 1_000)
    }

    @Test("a full index fails writers by policy", arguments: [StallPolicy.fail, .refuse])
    func refused(policy: StallPolicy) throws {
        let rig = try EngineRig(shape(policy))
        rig.store.setAway(true)
        _ = trim(rig, .ranges, from: 0, count: 50_000)
        let refused = rig.submit(.zero(0, 4096, .trim))
        rig.run()
        #expect(refused.state == .failed(policy == .fail ? .noSpace : .readOnly))
        rig.store.setAway(false)
        for _ in 0..<20 {
            rig.tick()
            rig.run()
        }
        #expect(trim(rig, .ranges, from: 0, count: 100) == 100)
    }

    @Test("an index that was heavy when the process died is cut after the start")
    func restarted() throws {
        let rig = try EngineRig(shape())
        rig.store.setAway(true)
        _ = trim(rig, .ranges, from: 0, count: 50_000)
        try rig.restart()
        rig.store.setAway(false)
        rig.run()
        #expect(rig.report.counters.commits >= 1)
    }

    @Test("with the limits as they are, about 100,000 ranges make a commit")
    func defaults() {
        let options = VolumeOptions()
        let memtable = Memtable(blockBytes: 128 << 10)
        var number: UInt64 = 0
        while memtable.weight < options.commitIndexBytes {
            let first = number * 34 * 32
            memtable.setZero(grains: first..<(first + 17 * 32))
            number += 1
        }
        #expect((90_000...110_000).contains(number))
        #expect(options.indexBytesMax >= 2 * options.commitIndexBytes)
    }
}
