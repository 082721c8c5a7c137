// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Staging, appending, group commit and recycling, seen from the shard.

import Formats
import Glibc
import HostIO
import Primitives
import Testing

@testable import Journal

@Suite struct WriterTests {
    @Test("a turn is one batch and one write, whatever its requests")
    func oneWritePerTurn() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 1, 1)])
        rig.disk.resetCounts()
        try rig.stage([.write(1, 2, 2)])
        try rig.stage([.zero(8, 16)])
        try rig.stage([.write(1, 1, 3)])
        try rig.append()
        #expect(rig.disk.count(of: .write) == 1)
        #expect(rig.disk.count(of: .sync) == 0)
        let batch = rig.journal.appendedBatch
        #expect(batch == BatchNumber(2))
        try rig.checkContent()
    }

    @Test("a batch takes 60 records and then asks for an append")
    func batchBound() throws {
        let rig = try JournalRig()
        try rig.offer(1)
        for index in 0..<Limits.batchRecordsMax {
            let staged = rig.journal.stageMark(
                kind: .trim, offset: UInt64(index) * 4096, length: 4096, epoch: Epoch(1),
                continues: false)
            #expect(staged == .at(JournalPage(rawValue: 0)))
        }
        let over = rig.journal.stageMark(
            kind: .trim, offset: 0, length: 4096, epoch: Epoch(1), continues: false)
        #expect(over == .batchFull)
        try rig.journal.append()
        let last = rig.journal.lastAppended
        #expect(last == RecordSequence(60))
    }

    @Test("a unit larger than a batch and than a segment is recovered whole")
    func largeUnit() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 3, 1)])
        try rig.write((0..<16).map { .write(UInt64($0) * 8, 8, 100 + UInt64($0)) })
        let segments = rig.journal.segmentCount
        #expect(segments > 4)
        try rig.checkContent()
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 2)
    }

    @Test("a unit without its end is dropped, and the next one takes its place")
    func unfinishedUnit() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 3, 1)])
        try rig.offer(3)
        try rig.stage([.write(1, 1, 2)])
        let begun = rig.journal.stageMark(
            kind: .zero, offset: 0, length: 4096, epoch: Epoch(1), continues: true)
        #expect(begun != .batchFull)
        try rig.append()
        for _ in 0..<3 {
            try rig.crash(keeping: nil)
            #expect(rig.units.count == 2)
            let last = rig.journal.lastAppended
            #expect(last == RecordSequence(2))
        }
        try rig.write([.write(2, 2, 3)])
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 3)
    }

    @Test("room counts what a unit needs at worst", arguments: 0..<20)
    func room(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed))
        let rig = try JournalRig()
        for _ in 0..<30 {
            let records = 1 + random.next(below: 20)
            // The rig offers exactly what the journal wants, and traps if that was too little.
            try rig.write(
                (0..<records).map { _ in
                    .write(random.next(below: 100), 1 + random.next(below: 8), 5)
                })
            if random.next(below: 3) == 0 { try rig.publish(idle: random.next(below: 2) == 0) }
        }
    }

    @Test("a failed append closes the journal for good")
    func failedAppend() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 1, 1)])
        rig.disk.failNext(.write, code: EIO)
        try rig.stage([.write(1, 1, 2)])
        #expect(throws: HostIOError.self) { try rig.append() }
        let failure = rig.journal.failure?.code
        #expect(failure == EIO)
        let last = rig.journal.lastStaged
        #expect(last == RecordSequence(1))
        let work = rig.journal.beginSync()?.target
        #expect(work == nil)
    }

    @Test("a failed sync closes the journal for good, and what it lost is not promised")
    func failedSync() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 1, 1)])
        try rig.flush()
        try rig.write([.write(1, 1, 2)])
        rig.disk.failNext(.sync, code: EIO)
        #expect(throws: HostIOError.self) { try rig.flush() }
        let synced = rig.journal.syncedBatch
        #expect(synced == BatchNumber(1))
        let failure = rig.journal.failure?.code
        #expect(failure == EIO)
        // The failed write-back dropped pages: a restart in the same boot must see that.
        rig.disk.evictCleanPages()
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 1)
    }

    @Test("one sync answers all flushes that wait, and later appends wait for the next")
    func groupCommit() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 1, 1)])
        let begun = rig.journal.beginSync()
        let first = try #require(begun)
        try rig.write([.write(1, 1, 2)])
        rig.disk.resetCounts()
        try first.perform()
        #expect(rig.disk.count(of: .sync) == 1)
        rig.journal.syncEnded(first)
        let synced = rig.journal.syncedBatch
        #expect(synced == BatchNumber(1))
        let next = rig.journal.beginSync()
        let second = try #require(next)
        #expect(second.target == BatchNumber(2))
        try second.perform()
        rig.journal.syncEnded(second)
        let none = rig.journal.beginSync()?.target
        #expect(none == nil)
    }

    @Test("published segments go back oldest first, and an idle volume keeps none")
    func retire() throws {
        let rig = try JournalRig()
        for step in 0..<12 { try rig.write([.write(UInt64(step) * 8, 8, 7)]) }
        let held = rig.journal.segmentCount
        #expect(held > 3)
        let used = rig.pool.usage.usedBytes
        #expect(used == UInt64(held * JournalRig.segmentPages * Limits.grainBytes))
        let half = rig.journal.retire(upTo: RecordSequence(6))
        #expect(!half.isEmpty && half.count < held)
        #expect(half.map(\.number) == half.map(\.number).sorted())
        try rig.pool.give(back: half)
        try rig.publish(idle: true)
        let none = rig.journal.segmentCount
        #expect(none == 0)
        #expect(rig.pool.usage.usedBytes == 0)
        let ahead = rig.journal.segmentsWanted
        #expect(ahead == 0)
        try rig.write([.write(5, 1, 8)])
        try rig.checkContent()
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 1)
    }

    @Test("write-back is due every 4 MiB, and covers every page once")
    func writeback() throws {
        let disk = VolatileDisk()
        let segments = try disk.root.directory("segments", create: true)
        let directory = try disk.root.directory("journal", create: true)
        let pool = SegmentPool(
            directory: segments, budgetBytes: 1 << 40, random: SplitMix64(seed: 1))
        var journal = Journal(
            starting: .fresh(
                volume: VolumeID(low: 1, high: 2), bootID: BootID(low: 1, high: 1),
                directory: directory, cut: RecordSequence(0)))
        for number in 1...2 {
            journal.offer(try pool.take(into: directory, number: UInt64(number)))
        }
        let payload = [UInt8](repeating: 3, count: 1 << 20)
        var covered: UInt64 = 0
        for index in 0..<18 {
            try payload.withUnsafeBytes { bytes in
                var piece = iovec(
                    iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress),
                    iov_len: bytes.count)
                let staged = withUnsafePointer(to: &piece) {
                    journal.stageWrite(
                        firstGrain: GrainIndex(UInt64(index) * 256),
                        pieces: UnsafeBufferPointer(start: $0, count: 1), epoch: Epoch(1),
                        continues: false)
                }
                #expect(staged != .batchFull)
                try journal.append()
            }
            while let due = journal.writebackDue() { covered += due.count }
        }
        // 18 batches and a superblock; the last 3 MiB and a bit are not due yet.
        let total = UInt64(18 * 257 + 1) * 4096
        #expect(covered > total - (5 << 20) && covered <= total)
    }
}
