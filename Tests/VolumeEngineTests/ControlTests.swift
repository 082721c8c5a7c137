// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the control plane asks of a running volume: more size, an older content, an acknowledgement.

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
import VolumeMap

@testable import VolumeEngine

@Suite("Control requests")
struct ControlTests {
    private func resize(_ rig: EngineRig, to size: UInt64) -> UInt64 {
        rig.control { $0.requestResize($1, to: ByteCount(size)) }
    }

    private func isResized(_ rig: EngineRig, _ request: UInt64, to size: UInt64) -> Bool {
        if case .resized(let found) = rig.answers[request] { return found.rawValue == size }
        return false
    }

    @Test("a grow is answered after its sync and survives a power cut")
    func resize() throws {
        let rig = try EngineRig()
        rig.write(0, noise(4096, 1))
        let grow = resize(rig, to: 9 << 20)
        rig.turn()
        #expect(rig.answers[grow] == nil && rig.waiting(.sync) == 1)
        rig.run()
        #expect(isResized(rig, grow, to: 9 << 20))
        try rig.restart(keeping: VolatileDisk.Keeping.none)
        #expect(rig.host.volume.geometry.size.rawValue == 9 << 20)
        rig.write(9 << 20 - 4096, noise(4096, 2))
        let root = try rig.commit()
        #expect(root.size.rawValue == 9 << 20)
        let smaller = resize(rig, to: 1 << 20)
        #expect(isResized(rig, smaller, to: 9 << 20), "never shrinks")
    }

    @Test("a grow of a volume without journal waits for a segment, and is published by itself")
    func resizeIdle() throws {
        let rig = try EngineRig()
        let grow = resize(rig, to: 9 << 20)
        #expect(rig.answers[grow] == nil)
        rig.run()
        #expect(isResized(rig, grow, to: 9 << 20))
        rig.tick(seconds: 30)
        rig.run()
        #expect(rig.root.size.rawValue == 9 << 20)
        #expect(rig.report.journalSegments == 0)
    }

    @Test("a grow that was recovered is published by age")
    func resizeRecovered() throws {
        let rig = try EngineRig()
        _ = resize(rig, to: 9 << 20)
        rig.run()
        try rig.restart()
        #expect(rig.root.size.rawValue == 8 << 20)
        rig.tick(seconds: 31)
        rig.run()
        #expect(rig.root.size.rawValue == 9 << 20)
    }

    @Test("a grow that waits is answered when the volume fails or is closed")
    func resizeRefused() throws {
        let rig = try EngineRig()
        let grow = resize(rig, to: 9 << 20)
        let close = rig.askClose()
        rig.run()
        #expect(rig.failure(grow) == .closing || isResized(rig, grow, to: 9 << 20))
        #expect(rig.committed(close) != nil)

        let other = try EngineRig()
        let waits = resize(other, to: 9 << 20)
        other.host.volume.fail(.refused("a test"))
        other.run()
        #expect(other.failure(waits) != nil)
    }

    @Test("a rollback restores an older content at the present size, and is refused while dirty")
    func rollback() throws {
        let rig = try EngineRig()
        rig.write(0, noise(300_000, 1))
        let old = try rig.commit()
        rig.write(0, noise(100_000, 2))
        rig.write(4 << 20, noise(4096, 3))
        let refused = rig.control { $0.requestRollback($1, to: old) }
        guard case .refused = rig.failure(refused) else {
            Issue.record("rolled back over uncommitted writes")
            return
        }
        _ = resize(rig, to: 9 << 20)
        rig.run()
        let newest = try rig.commit()
        let asked = rig.control { $0.requestRollback($1, to: old) }
        rig.run()
        let root = try #require(rig.committed(asked))
        #expect(root.commit.sequence == newest.commit.sequence.next)
        #expect(root.size.rawValue == 9 << 20)
        #expect(root.commit.digest == old.commit.digest)
        for _ in 0..<2 {
            rig.expect(0, noise(300_000, 1) + zeros(4096))
            rig.expect(4 << 20, zeros(4096))
            try rig.restart()
        }
        rig.write(4096, noise(512, 4))
        try rig.commit()
        rig.expect(0, laid(noise(512, 4), at: 4096, over: noise(300_000, 1)))
    }

    @Test("a rollback to a commit of an earlier volume of the name stays in its own history")
    func rollbackAcrossVolumes() throws {
        let rig = try EngineRig()
        rig.write(0, noise(100_000, 1))
        let old = try rig.commit()
        rig.write(0, noise(100_000, 2))
        let newest = try rig.commit()
        var target = old.commit
        target.volume = VolumeID(low: 7, high: 7)
        let asked = rig.control { $0.requestRollback($1, to: Root(commit: target)) }
        rig.run()
        let made = try #require(rig.committed(asked)).commit
        #expect(made.volume == newest.commit.volume)
        #expect(made.parentToken == newest.commit.token)
        #expect(rig.store.objects[made.key.key] == made.encode())
        for _ in 0..<2 {
            rig.expect(0, noise(100_000, 1))
            try rig.restart()
        }
    }

    @Test("an acknowledgement strikes the record of an unclean take-over, which commits copy")
    func acknowledge() throws {
        var shape = EngineShape()
        shape.takeover = UncleanTakeover(
            epoch: Epoch(1), sequence: CommitSequence(1), labelSeconds: 5)
        let rig = try EngineRig(shape)
        rig.write(0, noise(4096, 1))
        #expect(try rig.commit().commit.uncleanTakeover == shape.takeover)
        rig.write(0, noise(4096, 2))
        let refused = rig.control { $0.requestAcknowledge($1) }
        #expect(rig.failure(refused) != nil)
        try rig.commit()
        let asked = rig.control { $0.requestAcknowledge($1) }
        rig.run()
        #expect(rig.committed(asked)?.commit.uncleanTakeover == nil)
        #expect(rig.committed(asked) != nil)
        rig.write(0, noise(4096, 3))
        #expect(try rig.commit().commit.uncleanTakeover == nil)
    }
}
