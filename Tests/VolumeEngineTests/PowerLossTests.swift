// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Power cuts that keep nothing of what was not synced, at the steps of a volume's life: each fails
// without one of the syncs of docs/SYNCS.md.

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

@Suite("Power loss")
struct PowerLossTests {
    @Test("a first flush is there after a power cut: the folders of the volume are durable")
    func firstFlush() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        rig.submit(.flush)
        rig.run()
        try rig.restart(keeping: VolatileDisk.Keeping.none)
        rig.expect(0, noise(4096, 1))
    }

    @Test("a volume's folders are durable when it is opened, before anything else is written")
    func folders() throws {
        let disk = VolatileDisk(seed: 3)
        let folder = try disk.root.directory("volume", create: true)
        try disk.root.sync()
        _ = try LocalVolume(volume: VolumeID(low: 1, high: 1), directory: folder)
        disk.crash(keeping: .none)
        let names = try disk.reboot().directory("volume", create: false).list()
        #expect(names == ["journal", "root"])
        let other = try disk.root.directory("other", create: true)
        try disk.root.sync()
        _ = try RootDirectory(volumeDirectory: other)
        disk.crash(keeping: .none)
        #expect(try disk.reboot().directory("other", create: false).list() == ["root"])
    }

    @Test("folders that a killed process made and did not sync are durable when they are found")
    func foundFolders() throws {
        let disk = VolatileDisk(seed: 3)
        let folder = try disk.root.directory("volume", create: true)
        try disk.root.sync()
        _ = try folder.directory("root", create: true)
        _ = try folder.directory("journal", create: true)
        disk.kill()
        let found = try disk.reboot().directory("volume", create: false)
        _ = try LocalVolume(volume: VolumeID(low: 1, high: 1), directory: found)
        disk.crash(keeping: .none)
        let names = try disk.reboot().directory("volume", create: false).list()
        #expect(names == ["journal", "root"])
    }

    @Test("a root that a killed process left is durable when it is loaded")
    func foundRoot() throws {
        let rig = try EngineRig()
        let roots = rig.host.local.roots
        var commit = rig.root.commit
        commit.sequence = CommitSequence(2)
        try roots.writePending(CommitSequence(2), bytes: commit.encode())
        rig.disk.cutNext(.directorySync, pathEnding: "/root")
        #expect(throws: CommitError.self) { try roots.promote(CommitSequence(2)) }
        rig.disk.kill()
        for _ in 0..<2 {
            let folder = try rig.disk.reboot().directory("volume", create: false)
            let found = try RootDirectory(volumeDirectory: folder).load()
            #expect(found.current?.commit.sequence == CommitSequence(2))
            rig.disk.crash(keeping: .none)
        }
    }

    @Test("a commit goes to the store only after its cut is durable in the journal")
    func cutIsSynced() throws {
        let rig = try EngineRig()
        rig.write(0, noise(64 << 10, 1))
        let commit = rig.askCommit()
        // In the store, and not promoted here.
        rig.disk.failNext(.link, code: EIO)
        rig.run()
        #expect(rig.failure(commit) != nil)
        try rig.restart(keeping: VolatileDisk.Keeping.none)
        #expect(rig.report.isCommitting)
        rig.run()
        #expect(rig.root.commit.sequence == CommitSequence(2))
        rig.expect(0, noise(64 << 10, 1))
    }

    @Test("a pending commit is durable before its PUT: the head is never a stranger's")
    func pendingIsDurable() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        _ = rig.askCommit()
        rig.disk.failNext(.link, code: EIO)
        rig.run()
        try rig.restart(keeping: VolatileDisk.Keeping.none)
        rig.write(4096, noise(4096, 2))
        let root = try rig.commit()
        #expect(root.commit.sequence == CommitSequence(3))
        rig.expect(0, noise(4096, 1) + noise(4096, 2))
    }

    @Test("segments are given back only after the new root is durable")
    func promoted() throws {
        let rig = try EngineRig()
        rig.write(0, noise(1 << 20, 1))
        try rig.commit()
        rig.tick()
        rig.run()
        #expect(rig.report.journalSegments == 0)
        try rig.restart(keeping: VolatileDisk.Keeping.none)
        #expect(rig.root.commit.sequence == CommitSequence(2))
        rig.expect(0, noise(1 << 20, 1))
    }

    @Test("a grow that was answered, and a write with FUA, survive a power cut")
    func answered() throws {
        let rig = try EngineRig()
        let grow = rig.control { $0.requestResize($1, to: ByteCount(9 << 20)) }
        rig.run()
        guard case .resized = rig.answers[grow] else {
            Issue.record("not grown")
            return
        }
        try rig.restart(keeping: VolatileDisk.Keeping.none)
        #expect(rig.host.volume.geometry.size.rawValue == 9 << 20)
        let ticket = rig.submit(.write(9 << 20 - 512, noise(512, 1), fua: true))
        rig.run()
        #expect(ticket.state == .done)
        try rig.restart(keeping: VolatileDisk.Keeping.none)
        rig.expect(9 << 20 - 512, noise(512, 1))
    }

    @Test("a segment in the pool is blank for good, whichever journal takes it next")
    func wiped() throws {
        let rig = try EngineRig()
        rig.write(0, noise(1 << 20, 1))
        rig.submit(.flush)
        rig.run()
        try rig.commit()
        rig.tick()
        rig.run()
        let pool = try rig.disk.root.directory("segments", create: false)
        try pool.sync()
        rig.disk.crash(keeping: .none)
        let after = try rig.disk.reboot().directory("segments", create: false)
        let free = try after.list().filter { $0.hasSuffix(".free") }
        #expect(free.count > 3)
        for name in free {
            let page = try after.open(name, writable: false).read(at: 0, count: 4096)
            #expect(page.allSatisfy { $0 == 0 }, "\(name)")
        }
    }

    @Test("what a recovery removes from a journal is gone before anything is served")
    func strangersAreGone() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        rig.submit(.flush)
        rig.run()
        rig.die()
        rig.disk.record(true)
        try rig.reopen()
        let trace = rig.disk.trace
        let removal = try #require(
            trace.lastIndex { $0.kind == .remove && $0.path.hasPrefix("/volume/journal/") },
            "the segment that was ready and never used")
        #expect(
            trace[removal...].contains {
                $0.kind == .directorySync && $0.path == "/volume/journal"
            })
    }

    @Test("a discarded pending commit, and removed roots, do not come back")
    func removals() throws {
        let rig = try EngineRig()
        let roots = rig.host.local.roots
        try roots.writePending(CommitSequence(2), bytes: rig.root.commit.encode())
        try roots.discardPending(CommitSequence(2))
        rig.disk.crash(keeping: .none)
        var folder = try rig.disk.reboot().directory("volume", create: false)
        #expect(try folder.directory("root", create: false).list() == ["1"])
        try RootDirectory(volumeDirectory: folder).removeAll()
        rig.disk.crash(keeping: .none)
        folder = try rig.disk.reboot().directory("volume", create: false)
        #expect(try folder.directory("root", create: false).list().isEmpty)
    }

    @Test(
        "a power cut in a commit, then a kill in the recovery, lose nothing flushed",
        arguments: 0..<3)
    func sweep(seed: UInt64) throws {
        for operation in stride(from: 1 + Int(seed), to: 60, by: 3) {
            let rig = try EngineRig(seed: seed + 1)
            rig.write(0, noise(200_000, 1))
            rig.submit(.flush)
            rig.run()
            rig.disk.crashAt(rig.disk.operationCount + operation)
            _ = rig.askCommit()
            rig.run()
            let wasCut = rig.disk.isOff
            rig.die(keeping: seed == 0 ? VolatileDisk.Keeping.none : .random(seed: seed + 7))
            rig.disk.crashAt(rig.disk.operationCount + 1 + operation % 7)
            if (try? rig.reopen()) == nil {
                rig.die()
                try rig.reopen()
            }
            rig.disk.crashAt(nil)
            rig.expect(0, noise(200_000, 1), "cut at \(operation)")
            rig.write(4096, noise(4096, 2))
            try rig.commit()
            rig.expect(0, laid(noise(4096, 2), at: 4096, over: noise(200_000, 1)))
            if !wasCut { return }
        }
    }
}
