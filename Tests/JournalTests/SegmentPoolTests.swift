// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The stock of segments and the disk budget.

import Glibc
import HostIO
import Primitives
import Testing

@testable import Journal

@Suite struct SegmentPoolTests {
    private static let boot = BootID(low: 4, high: 4)
    private static let bytes = UInt64(JournalRig.segmentPages * Limits.grainBytes)

    private func makePool(
        _ disk: VolatileDisk, budget: UInt64 = 1 << 40, freeMax: Int = 3
    ) throws -> SegmentPool<Volatile> {
        SegmentPool(
            directory: try disk.root.directory("segments", create: true),
            segmentPages: JournalRig.segmentPages, budgetBytes: budget, freeSegmentsMax: freeMax,
            random: SplitMix64(seed: 5))
    }

    @Test("a segment made while a writer waits is reserved whole and not written")
    func reservedSegment() throws {
        let disk = VolatileDisk()
        let pool = try makePool(disk)
        let journal = try disk.root.directory("journal", create: true)
        let segment = try pool.take(into: journal, number: 1)
        #expect(disk.count(of: .write) == 0)
        #expect(try segment.file.size() == Self.bytes)
        #expect(try segment.file.read(at: 0, count: 8) == [0, 0, 0, 0, 0, 0, 0, 0])
    }

    @Test("a segment of the stock is written whole and synced before its use")
    func stockedSegment() throws {
        let disk = VolatileDisk()
        let pool = try makePool(disk)
        let journal = try disk.root.directory("journal", create: true)
        disk.record(true)
        try pool.stock(1)
        let segment = try pool.take(into: journal, number: 1)
        let written = disk.trace.filter { $0.kind == .write }.reduce(0) { $0 + $1.count }
        #expect(written == Self.bytes)
        let sync = try #require(disk.trace.firstIndex { $0.kind == .sync })
        let rename = try #require(disk.trace.firstIndex { $0.kind == .rename })
        #expect(sync < rename)
        #expect(try segment.file.size() == Self.bytes)
        #expect(try journal.list() == ["00000001.seg"])
    }

    @Test("a segment comes back whole and is used again under a new nonce")
    func recycled() throws {
        let disk = VolatileDisk()
        let pool = try makePool(disk)
        let journal = try disk.root.directory("journal", create: true)
        let first = try pool.take(into: journal, number: 1)
        try pool.give(back: [first])
        #expect(pool.usage.freeSegments == 1 && pool.usage.usedBytes == 0)
        #expect(
            try first.file.read(at: 0, count: 8) == [0, 0, 0, 0, 0, 0, 0, 0],
            "its superblock is gone: it must not pass for a part of the next journal")
        disk.resetCounts()
        let second = try pool.take(into: journal, number: 2)
        #expect(disk.count(of: .write) == 0)
        #expect(second.nonce != first.nonce)
        #expect(try journal.list() == ["00000002.seg"])
    }

    @Test("what a segment held for another volume is no promise of the volume that takes it")
    func anothersBeginning() throws {
        let rig = try JournalRig()
        for stamp in UInt64(1)...4 {
            try rig.write([.write(stamp, 1, stamp)])
            try rig.flush()
        }
        try rig.publish(idle: true)
        #expect(rig.pool.usage.freeSegments == 1)
        // A new volume takes it, and the process dies before it writes.
        let other = try rig.disk.root.directory("other", create: true)
        _ = try rig.pool.take(into: other, number: 1)
        let recovered = try JournalRecovery.recover(
            directory: other, volume: VolumeID(low: 1, high: 1), cut: RecordSequence(0),
            bootID: rig.bootID
        ) { _ in }
        #expect(recovered.lastSequence == RecordSequence(0))
    }

    @Test("what cannot be given back is named in order, stays counted, and can be given later")
    func refusedBack() throws {
        let disk = VolatileDisk()
        let pool = try makePool(disk, freeMax: 9)
        let journal = try disk.root.directory("journal", create: true)
        let segments = try (1...3).map { try pool.take(into: journal, number: UInt64($0)) }
        disk.failNext(.rename, code: EIO, pathEnding: "00000002.seg")
        let failure = #expect(throws: GiveBackFailure<Volatile>.self) {
            try pool.give(back: segments)
        }
        #expect(failure?.left.map(\.number) == [2, 3] && failure?.reason.code == EIO)
        #expect(pool.usage.usedBytes == 2 * Self.bytes && pool.usage.freeSegments == 1)
        #expect(try journal.list().sorted() == ["00000002.seg", "00000003.seg"])
        try pool.give(back: failure?.left ?? [])
        #expect(pool.usage.usedBytes == 0 && pool.usage.freeSegments == 3)
    }

    @Test("a segment whose superblock could not be wiped is removed, never used again")
    func notWiped() throws {
        let disk = VolatileDisk()
        let pool = try makePool(disk)
        let journal = try disk.root.directory("journal", create: true)
        for kind in [VolatileDisk.Kind.write, .sync] {
            let segment = try pool.take(into: journal, number: 1)
            disk.failNext(kind, code: EIO)
            try pool.give(back: [segment])
            #expect(pool.usage.usedBytes == 0 && pool.usage.freeSegments == 0)
            #expect(try journal.list() == [])
        }
    }

    @Test("more free segments than the bound are deleted")
    func freeBound() throws {
        let disk = VolatileDisk()
        let pool = try makePool(disk, freeMax: 2)
        let journal = try disk.root.directory("journal", create: true)
        let segments = try (1...4).map { try pool.take(into: journal, number: UInt64($0)) }
        try pool.give(back: segments)
        #expect(pool.usage.freeSegments == 2)
        #expect(try disk.root.directory("segments", create: false).list().count == 2)
        #expect(try journal.list() == [])
    }

    @Test("what there is no room for does not come back by a power cut when the next one is gone")
    func removedInOrder() throws {
        for seed in UInt64(0)..<20 {
            let disk = VolatileDisk(seed: seed)
            let pool = try makePool(disk, freeMax: seed % 2 == 0 ? 0 : 3)
            let journal = try disk.root.directory("journal", create: true)
            let segments = try (1...2).map { try pool.take(into: journal, number: UInt64($0)) }
            for segment in segments {
                try segment.file.write(at: 0, [1, 2, 3])
                try segment.file.sync()
            }
            try journal.sync()
            try disk.root.sync()
            if seed % 2 == 1 { disk.failNext(.write, code: EIO) }
            try pool.give(back: segments)
            disk.crash(keeping: .random(seed: seed))
            _ = disk.reboot()
            let left = try disk.root.directory("journal", create: false)
            guard try left.list().contains("00000001.seg") else { continue }
            let older = try left.open("00000001.seg", writable: false)
            let isWiped = try older.read(at: 0, count: 3) == [0, 0, 0]
            let isAlone = try !left.list().contains("00000002.seg")
            #expect(isWiped || !isAlone, "seed \(seed)")
        }
    }

    @Test("the budget names its levels and refuses what does not fit")
    func budget() throws {
        let disk = VolatileDisk()
        let pool = try makePool(disk, budget: Self.bytes * 20)
        let journal = try disk.root.directory("journal", create: true)
        var levels: [SpaceLevel] = []
        for number in 1...20 {
            levels.append(pool.level)
            _ = try pool.take(into: journal, number: UInt64(number))
        }
        #expect(levels[15] == .normal && levels[16] == .warning)
        #expect(levels[18] == .commit && levels[19] == .slow)
        #expect(pool.level == .full && pool.usage.slowdown == 1)
        #expect(throws: JournalError.self) { try pool.take(into: journal, number: 21) }
        _ = try pool.take(into: journal, number: 22, beyondBudget: true)
    }

    @Test("a full disk leaves no half-made segment behind")
    func noSpace() throws {
        let disk = VolatileDisk()
        let pool = try makePool(disk)
        let journal = try disk.root.directory("journal", create: true)
        disk.failNext(.allocate, code: ENOSPC)
        #expect(throws: JournalError.self) { try pool.take(into: journal, number: 1) }
        #expect(pool.usage.usedBytes == 0)
        #expect(try disk.root.directory("segments", create: false).list() == [])
        _ = try pool.take(into: journal, number: 1)
    }

    @Test("free segments of this boot are kept over a restart")
    func sameBoot() throws {
        let disk = VolatileDisk()
        let pool = try makePool(disk)
        try pool.prepare(bootID: Self.boot)
        try pool.stock(2)
        let next = try makePool(disk)
        try next.prepare(bootID: Self.boot)
        #expect(next.usage.freeSegments == 2)
        let journal = try disk.root.directory("journal", create: true)
        disk.resetCounts()
        _ = try next.take(into: journal, number: 1)
        #expect(disk.count(of: .write) == 0)
    }

    @Test("free segments of another boot are forgotten durably")
    func otherBoot() throws {
        let disk = VolatileDisk()
        let pool = try makePool(disk)
        try pool.prepare(bootID: Self.boot)
        try pool.stock(2)
        let next = try makePool(disk)
        disk.record(true)
        try next.prepare(bootID: BootID(low: 5, high: 5))
        #expect(next.usage.freeSegments == 0)
        let changes = disk.trace.filter { $0.kind == .remove || $0.kind == .directorySync }
        #expect(changes.prefix(3).map(\.kind) == [.remove, .remove, .directorySync])
        let journal = try disk.root.directory("journal", create: true)
        _ = try next.take(into: journal, number: 1)
    }

    @Test("only eight or more digits and the ending name a segment")
    func names() {
        #expect(SegmentName.text(of: 7) == "00000007.seg")
        #expect(SegmentName.number(of: "00000007.seg") == 7)
        #expect(SegmentName.number(of: "123456789.seg") == 123_456_789)
        let wrong = [
            "7.seg", "000000007.seg", "0000000a.seg", "00000007.free", ".seg", "+0000007.seg",
        ]
        #expect(wrong.allSatisfy { SegmentName.number(of: $0) == nil })
    }
}
