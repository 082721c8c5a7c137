// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The memtable against a dictionary, and its promises on cost.

import Journal
import Primitives
import Testing

@Suite struct MemtableTests {
    @Test(
        "a memtable agrees with a dictionary over 100,000 random writes and zeroes",
        arguments: [4 << 10, 16 << 10, 128 << 10, 1 << 20])
    func agreesWithDictionary(blockBytes: Int) {
        var random = SplitMix64(seed: UInt64(blockBytes))
        let memtable = Memtable(blockBytes: blockBytes)
        let grains = UInt64(blockBytes / Limits.grainBytes)
        let space = grains * 300
        var model: [UInt64: GrainState] = [:]
        for step in 0..<(blockBytes == 16 << 10 ? 100_000 : 20_000) {
            let first = random.next(below: space)
            if random.next(below: 4) == 0 {
                let longest = random.next(below: 20) == 0 ? grains * 40 : grains * 3
                let end = min(space, first + 1 + random.next(below: longest))
                memtable.setZero(grains: first..<end)
                for grain in first..<end { model[grain] = .zero }
            } else {
                let count = min(1 + random.next(below: 12), space - first)
                let page = JournalPage(slot: step % 4000, page: 1 + step % 4000)
                memtable.set(firstGrain: GrainIndex(first), count: Int(count), firstPage: page)
                for index in 0..<count {
                    model[first + index] = .page(page.advanced(by: Int(index)))
                }
            }
            if step.isMultiple(of: 101) {
                let grain = random.next(below: space)
                #expect(memtable.state(of: GrainIndex(grain)) == model[grain] ?? .absent)
            }
        }
        let wrong = (0..<space).first {
            memtable.state(of: GrainIndex($0)) != model[$0] ?? .absent
        }
        #expect(wrong == nil)
        expectListsAgree(memtable, model, blocks: space / grains, grains: grains)
    }

    /// What a commit walks: leaves in order, and zero ranges for all blocks without one.
    private func expectListsAgree(
        _ memtable: Memtable, _ model: [UInt64: GrainState], blocks: UInt64, grains: UInt64
    ) {
        let leaves = memtable.sortedBlocks()
        #expect(leaves == leaves.sorted() && Set(leaves).count == leaves.count)
        #expect(leaves.count == memtable.leafCount)
        let ranges = memtable.zeroRanges
        #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound < $1.lowerBound })
        let withLeaf = Set(leaves)
        let wrong = (0..<blocks).first { block in
            let isZero = ranges.contains { $0.contains(block) }
            let index = BlockIndex(block)
            if let leaf = memtable.leaf(of: index) {
                return !withLeaf.contains(index)
                    || (0..<grains).contains {
                        GrainState(entry: leaf[Int($0)]) != model[block * grains + $0] ?? .absent
                    }
            }
            return memtable.isZeroRange(block: index) != isZero
                || (0..<grains).contains {
                    (model[block * grains + $0] ?? .absent) != (isZero ? .zero : .absent)
                }
        }
        #expect(wrong == nil)
    }

    @Test("a trim of 16 TB takes under a millisecond")
    func hugeTrim() {
        let blocks = Limits.volumeBytesMax / UInt64(Limits.blockBytesDefault)
        let grains = blocks * UInt64(Limits.blockBytesDefault / Limits.grainBytes)
        let clock = ContinuousClock()
        // The best of some, because the machine may be busy with something else.
        let fastest = (0..<10).map { _ in
            let memtable = Memtable(blockBytes: Limits.blockBytesDefault)
            for index in 0..<UInt64(100) {
                memtable.set(
                    firstGrain: GrainIndex(index &* 238_419_557 % grains), count: 1,
                    firstPage: JournalPage(slot: 1, page: 1))
            }
            let took = clock.measure { memtable.setZero(grains: 0..<grains) }
            #expect(memtable.leafCount == 0 && memtable.zeroRanges == [0..<blocks])
            #expect(memtable.state(of: GrainIndex(grains - 1)) == .zero)
            return took
        }.min()
        #expect(fastest ?? .seconds(1) < .milliseconds(1))
    }

    @Test("a write into a trimmed range leaves the rest of its block zero")
    func writeIntoZeros() {
        let memtable = Memtable(blockBytes: 16 << 10)
        memtable.setZero(grains: 0..<400)
        memtable.set(
            firstGrain: GrainIndex(201), count: 1, firstPage: JournalPage(slot: 0, page: 9))
        #expect(memtable.state(of: GrainIndex(200)) == .zero)
        #expect(memtable.state(of: GrainIndex(201)) == .page(JournalPage(slot: 0, page: 9)))
        #expect(memtable.state(of: GrainIndex(202)) == .zero)
        #expect(!memtable.isZeroRange(block: BlockIndex(50)))
        #expect(memtable.isZeroRange(block: BlockIndex(49)))
    }

    @Test("many small trims cost table entries and no ranges")
    func smallTrims() {
        let memtable = Memtable(blockBytes: 16 << 10)
        for block in stride(from: UInt64(0), to: 20_000, by: 2) {
            memtable.setZero(grains: (block * 4)..<(block * 4 + 4))
        }
        #expect(memtable.entryCount == 10_000)
        #expect(memtable.leafCount == 0)
        #expect(memtable.zeroRanges.count == 10_000)
    }

    @Test("zeroing whole blocks gives their leaves back")
    func leavesAreReused() {
        let memtable = Memtable(blockBytes: 4 << 10)
        for round in 0..<50 {
            memtable.set(
                firstGrain: GrainIndex(0), count: 1000, firstPage: JournalPage(slot: round, page: 1)
            )
            #expect(memtable.leafCount == 1000)
            memtable.setZero(grains: 0..<1000)
            #expect(memtable.leafCount == 0)
        }
        #expect(memtable.zeroRanges == [0..<1000])
    }

    @Test("an empty memtable knows nothing")
    func empty() {
        let memtable = Memtable(blockBytes: 4 << 10)
        #expect(memtable.isEmpty && memtable.entryCount == 0 && memtable.zeroRanges.isEmpty)
        memtable.setZero(grains: 5..<5)
        #expect(memtable.isEmpty)
        #expect(memtable.state(of: GrainIndex(5)) == .absent)
    }

    @Test("a frozen memtable refuses changes")
    func frozen() async {
        await #expect(processExitsWith: .failure) {
            let memtable = Memtable(blockBytes: 4 << 10)
            memtable.freeze()
            memtable.setZero(grains: 0..<1)
        }
    }

    @Test("the last page of the last slot is no zero mark")
    func pageNumbers() {
        let last = JournalPage(slot: Limits.journalSegmentsMax - 2, page: 4095)
        #expect(GrainState(entry: last.rawValue) == .page(last))
        #expect(last.slot == Limits.journalSegmentsMax - 2 && last.page == 4095)
        #expect(GrainState(entry: JournalPage.zeroMark) == .zero)
        #expect(GrainState(entry: 0) == .absent)
    }
}
