// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Room: a full disk, a store that is behind, and what an idle volume gives back.

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

@Suite("Space")
struct SpaceTests {
    private func shape(segments: UInt64, fails: Bool = false) -> EngineShape {
        var shape = EngineShape()
        shape.segmentsMax = segments
        shape.options.whenFull = fails ? .fail : .pause
        return shape
    }

    /// Writes until a request does not come through; how many did, and the one that did not.
    private func fill(_ rig: EngineRig) -> (written: Int, last: Ticket) {
        for index in 0..<200 {
            let ticket = rig.submit(.write(UInt64(index) * 32_768, noise(32_768, UInt64(index))))
            rig.turn()
            for _ in 0..<20 where !rig.effects.isEmpty && ticket.state != .done {
                rig.runOnce()
            }
            if ticket.state != .done { return (index, ticket) }
        }
        Issue.record("never full")
        return (200, rig.submit(.flush))
    }

    @Test("a full disk parks writes, is asked again once a tick, and a commit makes room")
    func pause() throws {
        let rig = try EngineRig(shape(segments: 3))
        let (written, last) = fill(rig)
        #expect(written > 10)
        #expect(last.state == .parked)
        rig.runOnce()
        rig.turn()
        #expect(rig.waiting(.take) == 0, "the disk is asked in a loop")
        rig.tick()
        #expect(rig.waiting(.take) == 1)
        rig.run()
        #expect(last.state == .parked)
        let commit = rig.askCommit()
        rig.run()
        rig.tick()
        rig.run()
        #expect(rig.committed(commit) != nil)
        #expect(last.state == .done)
        for index in 0...written {
            rig.expect(UInt64(index) * 32_768, noise(32_768, UInt64(index)))
        }
    }

    @Test("a full disk fails writes by policy, and takes them again when segments come back")
    func fails() throws {
        let rig = try EngineRig(shape(segments: 3, fails: true))
        let (_, last) = fill(rig)
        #expect(last.state == .failed(.noSpace))
        #expect(rig.submit(.write(0, noise(32_768, 1))).state != .done)
        let commit = rig.askCommit()
        rig.run()
        #expect(rig.committed(commit) != nil)
        rig.tick()
        rig.run()
        rig.write(0, noise(32_768, 2))
    }

    @Test("a disk smaller than its budget: writers wait, the status says so, commits come unasked")
    func smallDisk() throws {
        let rig = try EngineRig(shape(segments: 1000))
        rig.write(0, noise(4096, 1))
        let space = try rig.disk.root.space()
        rig.disk.setCapacity(bytes: space.total - space.free + 3 * rig.host.pool.segmentBytes)
        var stalls: Set<StallReason> = []
        for index in 0..<200 {
            let bytes = noise(32_768, UInt64(index))
            let ticket = rig.submit(.write(UInt64(index) * 32_768, bytes))
            rig.turn()
            for _ in 0..<200 where ticket.state != .done {
                rig.runOnce()
                if let stall = rig.report.stall { stalls.insert(stall) }
                if rig.effects.isEmpty { rig.tick() }
            }
            #expect(ticket.state == .done, "write \(index): \(rig.report.lastError ?? "")")
        }
        #expect(stalls == [.diskFull])
        #expect(rig.root.commit.sequence > CommitSequence(2))
        for index in 0..<200 {
            rig.expect(UInt64(index) * 32_768, noise(32_768, UInt64(index)))
        }
    }

    @Test("a commit that finds the disk full is made when there is room, and loses nothing")
    func fullAtCommit() throws {
        let rig = try EngineRig()
        rig.write(0, noise(32_768, 1))
        let space = try rig.disk.root.space()
        rig.disk.setCapacity(bytes: space.total - space.free)
        let commit = rig.askCommit()
        for _ in 0..<5 {
            rig.run()
            rig.tick(seconds: 20)
        }
        #expect(rig.committed(commit) == nil && rig.failure(commit) == nil)
        #expect(rig.report.failure == nil)
        #expect(rig.report.lastError?.contains("No space left") ?? false)
        rig.disk.setCapacity(bytes: space.total)
        for _ in 0..<3 {
            rig.tick(seconds: 20)
            rig.run()
        }
        #expect(rig.committed(commit) != nil)
        try rig.restart(keeping: VolatileDisk.Keeping.none)
        rig.expect(0, noise(32_768, 1))
    }

    @Test("an idle volume that met a full disk asks again when there is room")
    func failsIdle() throws {
        let rig = try EngineRig(shape(segments: 1, fails: true))
        // Another volume of the host holds the only segment.
        let other = try rig.disk.root.directory("other", create: true)
        let held = try rig.host.pool.take(into: other, number: 1)
        let refused = rig.submit(.write(0, noise(4096, 1)))
        rig.run()
        #expect(refused.state == .failed(.noSpace))
        try rig.host.pool.give(back: [held])
        rig.tick()
        rig.write(0, noise(4096, 2))
        rig.expect(0, noise(4096, 2))
    }

    @Test("writers that wait for room do not keep the last segment from being given back")
    func lastSegment() throws {
        let rig = try EngineRig(shape(segments: 1))
        let (written, last) = fill(rig)
        #expect(written > 2 && last.state == .parked)
        for _ in 0..<3 {
            let commit = rig.askCommit()
            rig.run()
            #expect(rig.committed(commit) != nil)
            rig.tick()
            rig.run()
        }
        #expect(last.state == .done)
    }

    @Test("a drained idle volume holds no segment, and takes one again when it is written")
    func idle() throws {
        let rig = try EngineRig()
        rig.write(0, noise(1 << 20, 1))
        #expect(rig.report.journalSegments > 2)
        try rig.commit()
        rig.tick()
        rig.run()
        #expect(rig.report.journalSegments == 0)
        #expect(rig.host.pool.usage.usedBytes == 0)
        rig.write(0, noise(4096, 2))
        #expect(rig.report.journalSegments > 0)
        rig.expect(0, noise(4096, 2))
    }

    @Test("segments that the disk keeps are counted, told, and given back later, in order")
    func unreturned() throws {
        let rig = try EngineRig()
        rig.write(0, noise(1 << 20, 1))
        let before = rig.report.journalSegments
        rig.disk.failNext(.rename, code: EIO, pathEnding: ".seg", times: 3)
        try rig.commit()
        let report = rig.report
        #expect(before > 4 && report.unreturnedSegments > 2)
        #expect(report.lastError?.contains("cannot be given back") == true)
        #expect(report.counters.returnsFailed == 1)
        // The budget is still used, and nobody else can have it.
        let held = UInt64(report.journalSegments + report.unreturnedSegments)
        #expect(rig.host.volume.segmentsHeld == Int(held))
        #expect(rig.host.pool.usage.usedBytes == held * 256 << 10)
        // Not in a loop: the second try comes with time, a third after a longer one.
        rig.run()
        #expect(rig.report.counters.returnsFailed == 1)
        rig.tick()
        rig.run()
        #expect(rig.report.counters.returnsFailed == 2)
        // What comes free meanwhile waits behind the older ones.
        rig.write(0, noise(1 << 20, 2))
        try rig.commit()
        #expect(rig.report.counters.returnsFailed == 2)
        rig.tick(seconds: 2)
        #expect(rig.report.counters.returnsFailed == 2)
        for effect in rig.effects {
            guard case .retire(let segments) = effect else { continue }
            #expect(segments.map(\.number) == segments.map(\.number).sorted())
            #expect(segments.count > 8)
        }
        rig.run()
        #expect(rig.report.counters.returnsFailed == 3)
        for _ in 0..<5 {
            rig.tick()
            rig.run()
        }
        #expect(rig.report.unreturnedSegments == 0 && rig.report.lastError == nil)
        #expect(rig.host.pool.usage.usedBytes == 0)
        rig.expect(0, noise(1 << 20, 2))
    }

    @Test("a recovery that fails does not count its segments twice when it is done again")
    func recoveredTwice() throws {
        let rig = try EngineRig()
        rig.write(0, noise(1 << 20, 1))
        rig.die()
        let pool = SegmentPool(
            directory: try rig.disk.root.directory("segments", create: false),
            segmentPages: rig.shape.segmentPages, budgetBytes: 1 << 30,
            random: SplitMix64(seed: 3))
        try pool.prepare(bootID: rig.bootID)
        let folder = try rig.disk.root.directory("volume", create: false)
        let local = try LocalVolume(volume: rig.id, directory: folder)
        let root = try #require(try local.roots.load().current).commit
        let opening = VolumeOpening(
            root: root, pending: nil, adoptsJournal: true, isHeadConfirmed: false,
            epoch: root.epoch, bootID: rig.bootID)
        for kind in [VolatileDisk.Kind.rename, .write] {
            rig.disk.failNext(kind, code: EIO)
            #expect(throws: VolumeOpenError.self) { try local.open(opening, pool: pool) }
            #expect(pool.usage.usedBytes == 0)
        }
        _ = try local.open(opening, pool: pool)
        let onDisk = try local.journal.list().count { $0.hasSuffix(".seg") }
        #expect(pool.usage.usedBytes == UInt64(onDisk * 256 << 10))
    }

    @Test("an idle volume asks nothing of the store and wants no time, hour after hour")
    func idleHours() throws {
        let rig = try EngineRig()
        rig.write(0, noise(1 << 20, 1))
        for _ in 0..<120 {
            rig.tick()
            rig.run()
        }
        #expect(rig.report.unpublishedBytes == 0 && !rig.host.volume.needsTicks)
        let before = rig.store.counts
        // Ten hours, with a guest that reads what is at hand and flushes.
        for second in 0..<36_000 {
            rig.tick()
            if second.isMultiple(of: 600) {
                rig.expect(0, noise(4096, 1))
                rig.submit(.flush)
            }
            rig.run()
        }
        #expect(rig.store.counts == before)
    }

    @Test("requests that were cancelled while they waited for room order nothing")
    func cancelled() throws {
        let rig = try EngineRig(shape(segments: 1))
        let other = try rig.disk.root.directory("other", create: true)
        _ = try rig.host.pool.take(into: other, number: 1)
        let tickets = (0..<2000).map { _ in rig.submit(.write(0, noise(512, 1))) }
        rig.run()
        #expect(tickets.allSatisfy { $0.state == .parked })
        for ticket in tickets { rig.cancel(ticket) }
        rig.tick()
        #expect(rig.effects.isEmpty)
        #expect(rig.report.parkedRequests == 0)
    }

    @Test("writers wait while the oldest unpublished write is too old, and go on after a commit")
    func stalled() throws {
        var shape = EngineShape()
        shape.options.unpublishedSecondsMax = 10
        shape.options.commitAgeSeconds = 5
        let rig = try EngineRig(shape)
        rig.write(0, noise(4096, 1))
        rig.store.setAway(true)
        rig.tick(seconds: 6)
        rig.run()
        rig.write(4096, noise(4096, 2))
        rig.tick(seconds: 5)
        rig.run()
        let write = rig.submit(.write(8192, noise(4096, 3)))
        let zero = rig.submit(.zero(0, 512))
        rig.run()
        #expect(write.state == .parked && zero.state == .parked)
        #expect(rig.report.isStalled)
        rig.expect(0, noise(4096, 1) + noise(4096, 2))
        let flush = rig.submit(.flush)
        rig.run()
        #expect(flush.state == .done)
        rig.store.setAway(false)
        for _ in 0..<20 {
            rig.tick()
            rig.run()
        }
        #expect(write.state == .done && zero.state == .done)
        #expect(!rig.report.isStalled)
    }

    @Test("a limit below the age of commits makes them start earlier, not writers wait for them")
    func stallCommits() throws {
        var shape = EngineShape()
        shape.options.unpublishedSecondsMax = 10
        shape.options.commitAgeSeconds = 1000
        let rig = try EngineRig(shape)
        rig.write(0, noise(4096, 1))
        rig.tick(seconds: 11)
        rig.run()
        #expect(rig.performed[.commit] == 1)
        rig.write(0, noise(4096, 2))
    }
}

extension EngineRig {
    /// Carries out what waits now, and nothing that follows from it.
    func runOnce() {
        let kinds = effects.map { EffectKind($0) }
        for kind in kinds {
            do { try perform(kind) } catch { Issue.record("\(error)") }
        }
    }
}
