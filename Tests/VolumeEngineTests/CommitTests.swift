// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// When commits start, who is answered by them, and what happens when the store will not have them.

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

@Suite("Committing")
struct CommitTests {
    @Test("a commit starts when enough bytes are uncommitted")
    func byBytes() throws {
        var shape = EngineShape()
        shape.options.commitBytes = 256 << 10
        let rig = try EngineRig(shape)
        rig.write(0, noise(128 << 10, 1))
        #expect(rig.performed[.commit] == nil)
        rig.write(1 << 20, noise(128 << 10, 1))
        #expect(rig.performed[.commit] == 1)
        #expect(rig.report.dirtyEntries == 0)
    }

    @Test("a commit starts when the oldest write is old enough, zeros count too")
    func byAge() throws {
        let rig = try EngineRig()
        rig.tick(seconds: 1000)
        rig.submit(.zero(0, 4096))
        rig.run()
        rig.tick(seconds: 29)
        rig.write(4096, noise(4096, 1))
        rig.run()
        #expect(rig.performed[.commit] == nil)
        rig.tick(seconds: 1)
        rig.run()
        #expect(rig.performed[.commit] == 1)
        #expect(rig.root.commit.labelSeconds == rig.clock.wallSeconds)
    }

    @Test("a request with nothing dirty is answered with the head at once")
    func nothingDirty() throws {
        let rig = try EngineRig()
        let first = rig.askCommit()
        #expect(rig.committed(first)?.commit.sequence == CommitSequence(1))
        rig.write(0, noise(4096, 1))
        let root = try rig.commit()
        let again = rig.askCommit()
        #expect(rig.committed(again)?.commit == root.commit)
        #expect(rig.effects.isEmpty)
    }

    @Test("a drain waits for what was acknowledged before it, and not for what comes later")
    func drain() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        let first = rig.askCommit()
        rig.run(holding: [.commit])
        rig.write2(4096, noise(4096, 2))
        let second = rig.askCommit()
        rig.write2(8192, noise(4096, 3))
        #expect(rig.answers.isEmpty)
        try rig.perform(.commit)
        #expect(rig.committed(first)?.commit.sequence == CommitSequence(2))
        #expect(rig.answers[second] == nil)
        rig.run(holding: [.commit])
        rig.write2(12_288, noise(4096, 4))
        try rig.perform(.commit)
        #expect(rig.committed(second)?.commit.sequence == CommitSequence(3))
        rig.run()
        #expect(rig.report.dirtyEntries > 0, "the last write is nobody's business")
    }

    @Test("closing publishes clean with everything in it, and refuses writes from then on")
    func close() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        _ = rig.askCommit()
        rig.run(holding: [.commit])
        rig.write2(4096, noise(4096, 2))
        let staged = rig.submit(.write(8192, noise(4096, 3)))
        let close = rig.askClose()
        let again = rig.askClose()
        #expect(rig.submit(.write(0, noise(512, 9))).state == .failed(.shuttingDown))
        #expect(rig.submit(.zero(0, 512)).state == .failed(.shuttingDown))
        let flush = rig.submit(.flush)
        rig.run()
        #expect(staged.state == .done && flush.state == .done)
        let root = try #require(rig.committed(close))
        #expect(rig.committed(again)?.commit == root.commit)
        #expect(root.commit.state == .clean)
        #expect(rig.report.journalSegments == 0)
        rig.expect(0, noise(4096, 1) + noise(4096, 2) + noise(4096, 3))
        let grow = rig.control { $0.requestResize($1, to: ByteCount(16 << 20)) }
        #expect(rig.failure(grow) == .closing)
        rig.tick(seconds: 100)
        rig.run()
        #expect(rig.root.commit == root.commit)
    }

    @Test("closing a volume without changes publishes one clean commit of the same content")
    func closeUnchanged() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        let root = try rig.commit()
        let close = rig.askClose()
        rig.run()
        let clean = try #require(rig.committed(close)).commit
        #expect(clean.state == .clean)
        #expect(clean.digest == root.commit.digest)
        #expect(clean.sequence == root.commit.sequence.next)
    }

    @Test("a volume that is fenced refuses writes, keeps its journal and goes on reading")
    func fenced() throws {
        var shape = EngineShape()
        shape.options.unpublishedSecondsMax = 40
        let rig = try EngineRig(shape)
        rig.write(0, noise(4096, 1))
        try rig.takeOver()
        let commit = rig.askCommit()
        rig.run(holding: [.commit])
        rig.tick(seconds: 50)
        let parked = rig.submit(.write(4096, noise(4096, 2)))
        #expect(parked.state == .parked, "stalled")
        rig.run()
        guard case .fenced = rig.failure(commit) else {
            Issue.record("\(rig.answers)")
            return
        }
        #expect(parked.state == .failed(.readOnly))
        #expect(rig.report.operationState == "fenced")
        #expect(rig.submit(.write(0, noise(512, 3))).state == .failed(.readOnly))
        #expect(rig.submit(.zero(0, 512)).state == .failed(.readOnly))
        #expect(rig.submit(.flush).state == .failed(.failed))
        rig.tick(seconds: 1000)
        rig.run()
        #expect(rig.report.journalSegments > 0)
        #expect(rig.performed[.retire] == nil && rig.performed[.failure] == nil)
        rig.expect(0, noise(4096, 1))
        #expect(rig.root.commit.sequence == CommitSequence(1))
    }

    @Test("a fenced writer whose old base was collected meets the fence without a commit to send")
    func fencedWithoutBase() throws {
        let rig = try EngineRig()
        rig.write(0, noise(128 << 10, 1))
        try rig.commit()
        try rig.restart()
        rig.write(4 << 20, noise(4096, 6))
        try rig.commit()
        let packs = rig.store.keys(prefix: "packs/")
        try rig.store.delete(packs)
        // One of these merges the block with what lies on it.
        var (commit, turn) = (UInt64(0), 1)
        while rig.report.counters.commitsPostponed == 0, turn < 32 {
            rig.write2(UInt64(turn * 4096), noise(4096, UInt64(turn)))
            commit = rig.askCommit()
            rig.run()
            turn += 1
        }
        #expect(rig.report.operationState == "open" && rig.report.counters.commitsPostponed > 0)
        #expect(rig.answers[commit] == nil, "the store has lost it, and nobody else has the volume")
        try rig.takeOver()
        for _ in 0..<20 {
            rig.tick()
            rig.run()
        }
        guard case .fenced = rig.failure(commit) else {
            Issue.record("\(rig.answers), \(rig.report.lastError ?? "")")
            return
        }
        #expect(rig.report.journalSegments > 0)
    }

    @Test("after a restart nothing is published over a head that is not the local root")
    func headMoved() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        rig.die()
        var parent = rig.root.commit
        for _ in 0..<3 { parent = try rig.takeOver(behind: parent) }
        try rig.reopen()
        rig.expect(0, noise(4096, 1))
        let objects = rig.store.objects.count
        let commit = rig.askCommit()
        rig.run()
        guard case .fenced = rig.failure(commit) else {
            Issue.record("published")
            return
        }
        #expect(rig.store.objects.count == objects, "not even a pack")
    }

    @Test("a commit that the store would not have is published later, with the same bytes")
    func postponed() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        let commit = rig.askCommit()
        rig.store.inject(StoreFault(.away, operation: .put, keyPrefix: "volumes/", times: 3))
        rig.run()
        #expect(rig.report.isCommitting && rig.answers[commit] == nil)
        #expect(rig.report.lastError != nil && rig.report.counters.commitsPostponed == 1)
        let folder = try rig.disk.root.directory("volume", create: false)
            .directory("root", create: false)
        let pending = try #require(try folder.readAll("2.pending", limit: 1 << 20))
        // Tried again after 1, 2 and 4 seconds; writes go on meanwhile.
        rig.write2(4096, noise(4096, 2))
        for seconds in [1, 2] as [UInt64] {
            rig.tick(seconds: seconds)
            rig.run()
            #expect(rig.answers[commit] == nil)
        }
        rig.tick(seconds: 3)
        #expect(rig.waiting(.commit) == 0)
        rig.tick(seconds: 1)
        rig.run()
        let root = try #require(rig.committed(commit))
        let stored = try rig.store.get(root.commit.key.key, limit: 1 << 20)
        #expect(stored == pending)
        #expect(rig.store.objects.keys.count { $0.hasPrefix("packs/") } == 1)
        try rig.commit()
        try rig.restart()
        rig.expect(0, noise(4096, 1) + noise(4096, 2))
    }

    @Test("a pack whose answer was lost is made again as it was, and is no orphan")
    func lostPack() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        rig.store.inject(StoreFault(.replyLost, operation: .put, keyPrefix: "packs/"))
        let commit = rig.askCommit()
        rig.run()
        rig.tick(seconds: 1)
        rig.run()
        #expect(rig.committed(commit) != nil)
        #expect(rig.store.objects.keys.count { $0.hasPrefix("packs/") } == 1)
        try rig.restart()
        rig.expect(0, noise(4096, 1))
    }

    @Test("a commit whose answer was lost is found to be the own one")
    func answerLost() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        rig.store.inject(StoreFault(.replyLost, operation: .put, keyPrefix: "volumes/"))
        let commit = rig.askCommit()
        rig.run()
        rig.tick(seconds: 1)
        rig.run()
        #expect(rig.committed(commit)?.commit.sequence == CommitSequence(2))
    }

    @Test("a journal that does not match its checksums is never packed, and closes the volume")
    func rotted() throws {
        let rig = try EngineRig()
        rig.write(0, noise(64 << 10, 1))
        let path = try #require(rig.segmentPath)
        rig.disk.rot(path, at: 20_000)
        let commit = rig.askCommit()
        rig.run()
        guard case .journalRotted = rig.failure(commit) else {
            Issue.record("\(rig.answers)")
            return
        }
        #expect(rig.report.operationState == "failed")
        #expect(!rig.store.objects.keys.contains { $0.hasPrefix("packs/") })
    }
}

extension EngineRig {
    /// Writes and takes what the journal needs, while commits are held.
    func write2(_ offset: UInt64, _ bytes: [UInt8]) {
        let ticket = submit(.write(offset, bytes))
        run(holding: [.commit])
        #expect(ticket.state == .done)
    }

    /// The journal's oldest segment.
    var segmentPath: String? {
        let folder = try? disk.root.directory("volume", create: false)
            .directory("journal", create: false)
        return (try? folder?.list().first).map { "/volume/journal/" + $0 }
    }
}
