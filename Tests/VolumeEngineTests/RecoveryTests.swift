// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Opening a volume from its folder, in every case that a death can leave behind.

import BlockDevice
import CleanCache
import Committer
import Formats
import Glibc
import HostIO
import Journal
import ObjectStore
import Primitives
import Testing
import VolumeEngine
import VolumeMap

@Suite("Recovery of a volume")
struct RecoveryTests {
    /// A rig whose commit 2 was PUT, or not, and not promoted when the process died.
    private func pending(
        isInStore: Bool, keeping: VolatileDisk.Keeping? = nil,
        _ prepare: (EngineRig) throws -> Void
    ) throws -> EngineRig {
        let rig = try EngineRig()
        try prepare(rig)
        if isInStore {
            rig.disk.failNext(.link, code: EIO)
        } else {
            rig.store.inject(StoreFault(.away, operation: .put, keyPrefix: "volumes/"))
        }
        rig.run()
        try rig.restart(keeping: keeping)
        #expect(rig.root.commit.sequence == CommitSequence(1))
        #expect(rig.report.isCommitting)
        return rig
    }

    @Test("everything acknowledged is there after a kill, and served without the store")
    func kill() throws {
        let rig = try EngineRig()
        rig.write(0, noise(500_000, 1))
        try rig.commit()
        rig.write(4096, noise(8192, 2))
        rig.submit(.zero(100_000, 60_000))
        rig.write(300_000, noise(1000, 3))
        var model = laid(noise(8192, 2), at: 4096, over: noise(500_000, 1))
        model = laid(zeros(60_000), at: 100_000, over: model)
        model = laid(noise(1000, 3), at: 300_000, over: model)
        rig.die()
        rig.store.setAway(true)
        try rig.reopen()
        let isEqual = rig.read(4096, 8192) == noise(8192, 2)
        #expect(isEqual)
        rig.store.setAway(false)
        rig.expect(0, model)
        try rig.commit()
        try rig.restart()
        rig.expect(0, model)
    }

    @Test(
        "a pending commit with data is resolved with its own bytes, while everything is served",
        arguments: [true, false])
    func pendingWithFrozen(isInStore: Bool) throws {
        for keeping in [nil, VolatileDisk.Keeping.none] {
            let rig = try pending(isInStore: isInStore, keeping: keeping) { rig in
                rig.write(0, noise(64 << 10, 1))
                _ = rig.askCommit()
            }
            let folder = try rig.disk.root.directory("volume", create: false)
                .directory("root", create: false)
            let bytes = try #require(try folder.readAll("2.pending", limit: 1 << 20))
            rig.submit(.write(4096, noise(4096, 2)))
            rig.run(holding: [.commit])
            let model = laid(noise(4096, 2), at: 4096, over: noise(64 << 10, 1))
            rig.expectHolding(0, model, [.commit])
            rig.run()
            #expect(rig.root.commit.sequence == CommitSequence(2))
            #expect(try rig.store.get(rig.root.commit.key.key, limit: 1 << 20) == bytes)
            rig.expect(0, model)
            try rig.commit()
            try rig.restart()
            rig.expect(0, model)
        }
    }

    @Test("an older copy with a pending commit takes no number that a collector has made free")
    func pendingOfCopy() throws {
        let rig = try pending(isInStore: true) { rig in
            rig.write(0, noise(64 << 10, 1))
            _ = rig.askCommit()
        }
        let copy = rig.disk.copy(seed: 9)
        var numbers: [CommitKey] = []
        for turn in 2..<5 {
            rig.write(0, noise(64 << 10, UInt64(turn)))
            numbers.append(try rig.commit().commit.key)
        }
        let head = numbers.removeLast()
        rig.die()
        try rig.store.delete(numbers.map(\.key))
        rig.disk = copy
        try rig.reopen()
        rig.run()
        rig.write(4096, noise(4096, 7))
        _ = rig.askCommit()
        rig.run()
        #expect(rig.report.operationState == "fenced")
        #expect(rig.store.keys(prefix: CommitKey.prefix(of: rig.id)).first == head.key)
        for number in numbers where number.sequence > rig.root.commit.sequence {
            #expect(rig.store.object(number.key) == nil)
        }
    }

    @Test("a pending commit that made the volume larger leaves nothing unpublished behind")
    func pendingGrowth() throws {
        let rig = try pending(isInStore: true) { rig in
            rig.write(0, noise(64 << 10, 1))
            let size = ByteCount(rig.root.size.rawValue * 2)
            _ = rig.control { $0.requestResize($1, to: size) }
            rig.run()
            _ = rig.askCommit()
        }
        let size = rig.root.size
        rig.run()
        for _ in 0..<100 { rig.tick() }
        #expect(rig.root.size.rawValue == size.rawValue * 2)
        #expect(rig.report.unpublishedAgeSeconds == 0)
        let request = rig.control { $0.requestCompaction($1) }
        for _ in 0..<10 {
            rig.tick()
            rig.run()
        }
        #expect(rig.committed(request)?.commit.keepsContent == true)
    }

    /// A volume that went back to its first write, but the store went away before it heard of it.
    private func rigWithPendingRollback() throws -> EngineRig {
        let rig = try EngineRig()
        rig.write(0, noise(64 << 10, 1))
        let old = try rig.commit()
        rig.write(0, noise(64 << 10, 2))
        try rig.commit()
        rig.store.inject(StoreFault(.away, operation: .put, keyPrefix: "volumes/"))
        _ = rig.control { $0.requestRollback($1, to: old) }
        rig.run()
        return rig
    }

    @Test("a pending commit without records parks reads and writes until it is resolved")
    func pendingRollback() throws {
        let rig = try rigWithPendingRollback()
        try rig.restart()
        rig.store.setAway(true)
        let read = rig.submit(.read(0, 4096))
        let write = rig.submit(.write(512, noise(512, 3)))
        let extents = rig.submit(.extents(0, 1 << 20))
        rig.run()
        for ticket in [read, write, extents] { #expect(ticket.state == .parked) }
        rig.store.setAway(false)
        for _ in 0..<3 {
            rig.tick()
            rig.run()
        }
        for ticket in [read, write, extents] { #expect(ticket.state == .done) }
        rig.expect(0, laid(noise(512, 3), at: 512, over: noise(64 << 10, 1)))
    }

    @Test("a fence found while a pending commit is resolved ends the wait of all requests")
    func pendingFenced() throws {
        let rig = try rigWithPendingRollback()
        rig.die()
        try rig.takeOver()
        try rig.reopen()
        let read = rig.submit(.read(0, 64 << 10))
        let write = rig.submit(.write(0, noise(512, 3)))
        #expect(read.state == .parked && write.state == .parked)
        rig.run()
        #expect(rig.report.operationState == "fenced")
        #expect(write.state == .failed(.readOnly))
        // The rollback never happened.
        #expect(read.state == .done)
        let isEqual = read.bytes == noise(64 << 10, 2)
        #expect(isEqual)
    }

    @Test(
        "a local disk that fails while a pending commit is resolved ends the wait of all requests")
    func pendingFailed() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        let old = try rig.commit()
        rig.store.inject(StoreFault(.away, operation: .put, keyPrefix: "volumes/"))
        _ = rig.control { $0.requestRollback($1, to: old) }
        rig.run()
        try rig.restart()
        let read = rig.submit(.read(0, 4096))
        rig.disk.failNext(.link, code: 5)
        rig.run()
        #expect(read.state == .failed(.failed))
        #expect(rig.submit(.read(0, 4096)).state == .failed(.failed))
    }

    @Test("a journal that ends before the cut of the pending commit is an error, and is left alone")
    func endsEarly() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        _ = rig.askCommit()
        rig.store.inject(StoreFault(.away, operation: .put, keyPrefix: "volumes/"))
        rig.run()
        rig.die()
        let folder = try rig.disk.root.directory("volume", create: false)
            .directory("journal", create: false)
        for name in try folder.list() { try folder.remove(name) }
        let error = #expect(throws: VolumeOpenError.self) { try rig.reopen() }
        #expect(
            error == .journalEndsEarly(last: RecordSequence(0), pendingCut: RecordSequence(2)))
    }

    @Test("what a recovery gives up is the tail that nobody was answered for")
    func tornTail() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        rig.submit(.flush)
        rig.run()
        rig.write(4096, noise(4096, 2))
        try rig.restart(keeping: VolatileDisk.Keeping.none)
        rig.expect(0, noise(4096, 1) + zeros(4096))
        rig.write(4096, noise(4096, 3))
        try rig.restart()
        rig.expect(0, noise(4096, 1) + noise(4096, 3))
    }

    @Test("bytes of a commit that was resolved do not count as unpublished")
    func countsBytes() throws {
        let rig = try pending(isInStore: false) { rig in
            rig.write(0, noise(64 << 10, 1))
            _ = rig.askCommit()
        }
        #expect(rig.report.unpublishedBytes >= 64 << 10)
        rig.run()
        #expect(rig.report.unpublishedBytes == 0)
        rig.tick()
        rig.run()
        #expect(rig.report.journalSegments == 0)
    }
}
