// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Group commit: one sync for all that wait, and what a failed one means.

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

@Suite("Flushing")
struct FlushTests {
    @Test("64 flushes are answered by one sync, and no sync happens without a flush")
    func groupCommit() throws {
        let rig = try EngineRig()
        for index in 0..<64 { rig.submit(.write(UInt64(index) * 4096, noise(4096, 1))) }
        rig.run()
        #expect(rig.performed[.sync] == nil)
        let flushes = (0..<64).map { _ in rig.submit(.flush) }
        rig.turn()
        #expect(rig.waiting(.sync) == 1)
        // Those that come while it is under way wait for the next, and share that.
        rig.submit(.write(0, noise(4096, 2)))
        let later = (0..<10).map { _ in rig.submit(.flush) }
        rig.turn()
        #expect(rig.waiting(.sync) == 1)
        try rig.perform(.sync)
        #expect(flushes.allSatisfy { $0.state == .done })
        #expect(later.allSatisfy { $0.state == .staged })
        #expect(rig.waiting(.sync) == 1)
        try rig.perform(.sync)
        #expect(later.allSatisfy { $0.state == .done })
        #expect(rig.waiting(.sync) == 0)
    }

    @Test("a flush with nothing to sync is answered at once")
    func nothingToSync() throws {
        let rig = try EngineRig()
        let ticket = rig.submit(.flush)
        rig.turn()
        #expect(ticket.state == .done)
        #expect(rig.effects.isEmpty)
    }

    @Test("a write with FUA, and a zero, complete after the sync; others do not wait for it")
    func fua() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        let plain = rig.submit(.write(0, noise(4096, 2)))
        let written = rig.submit(.write(4096, noise(512, 3), fua: true))
        let zeroed = rig.submit(.zero(8192, 4096, fua: true))
        let empty = rig.submit(.write(0, [], fua: true))
        rig.turn()
        #expect(plain.state == .done)
        for ticket in [written, zeroed, empty] { #expect(ticket.state == .staged) }
        rig.run()
        for ticket in [written, zeroed, empty] { #expect(ticket.state == .done) }
        #expect(rig.performed[.sync] == 1)
        try rig.restart(keeping: VolatileDisk.Keeping.none)
        rig.expect(0, noise(4096, 2) + noise(512, 3))
    }

    @Test("a failed sync fails the flushes that waited and closes the volume, durably")
    func failedSync() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        let flush = rig.submit(.flush)
        let sealed = rig.submit(.write(4096, noise(4096, 1), fua: true))
        rig.turn()
        rig.disk.failNext(.sync, code: EIO)
        let event = try rig.carryOut(.sync)
        // Staged in the very turn in which the volume hears of it: never appended, never answered.
        let staged = rig.submit(.write(8192, noise(4096, 1)))
        let waiting = rig.submit(.flush)
        rig.disk.record(true)
        rig.deliver(event)
        for ticket in [flush, sealed, staged, waiting] {
            #expect(ticket.state == .failed(.failed))
        }
        #expect(rig.report.operationState == "failed")
        for request: Request in [.write(0, noise(512, 2)), .zero(0, 4096), .flush] {
            #expect(rig.submit(request).state == .failed(.failed))
        }
        let commit = rig.askCommit()
        guard case .journal = rig.failure(commit) else {
            Issue.record("a commit was taken")
            return
        }
        rig.tick(seconds: 100)
        rig.run()
        #expect(!rig.disk.trace.contains { $0.kind == .write && !$0.path.contains("failed") })
        // Reads of what is in memory go on.
        rig.expect(0, noise(4096, 1))
        try #require(rig.performed[.failure] == 1)
        rig.die(keeping: VolatileDisk.Keeping.none)
        let folder = try rig.disk.root.directory("volume", create: false)
        #expect(try folder.readAll("failed", limit: 4096)?.isEmpty == false)
    }

    @Test("a failed append fails everything of its turn and closes the volume")
    func failedAppend() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        rig.disk.failNext(.write, code: EIO)
        let tickets = (0..<5).map { rig.submit(.write(UInt64($0) * 4096, noise(4096, 2))) }
        rig.turn()
        #expect(tickets.allSatisfy { $0.state == .failed(.failed) })
        rig.expect(0, noise(4096, 1))
        try rig.restart()
        rig.expect(0, noise(4096, 1))
    }

    @Test("a commit waits for the sync of its cut, and shares one with a flush")
    func commitSync() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        let commit = rig.askCommit()
        let flush = rig.submit(.flush)
        rig.turn()
        #expect(rig.waiting(.commit) == 0)
        #expect(rig.waiting(.sync) == 1)
        try rig.perform(.sync)
        // The flush came after that sync had begun; nothing was appended since.
        #expect(flush.state == .done)
        #expect(rig.waiting(.commit) == 1)
        #expect(rig.waiting(.sync) == 0)
        rig.run()
        #expect(rig.committed(commit) != nil)
    }

    @Test("a read-only volume answers flushes and refuses what would change it")
    func readOnly() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        let root = try rig.commit()
        rig.host.volume = Volume(
            VolumeSeed.readOnly(root.commit, directory: rig.host.local.journal),
            cache: rig.host.cache, options: VolumeOptions(),
            now: rig.clock.now)
        #expect(rig.host.volume.geometry.isReadOnly)
        let taken = rig.performed[.take]
        let flush = rig.submit(.flush)
        #expect(flush.state == .done)
        #expect(rig.submit(.write(0, noise(512, 1))).state == .failed(.readOnly))
        #expect(rig.submit(.zero(0, 512)).state == .failed(.readOnly))
        rig.expect(0, noise(4096, 1))
        let commit = rig.askCommit()
        #expect(rig.failure(commit) == .readOnly)
        rig.tick(seconds: 100)
        rig.run()
        #expect(rig.performed[.take] == taken)
    }
}
