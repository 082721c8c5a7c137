// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Compaction as settings have it, and as it is asked for: what a daemon that serves does to the
// packs of its disks.

import AdminAPI
import ControlPlane
import Foundation
import Primitives
import Testing

@testable import Daemon

@Suite("compaction by settings")
struct CompactionSettingTests {
    /// A disk whose first pack has lost `dead` of its sixteen blocks to the second, and what is on
    /// it. It is looked at each second.
    private func disk(
        dead: Int, _ change: (inout Configuration.Compaction) -> Void = { _ in }
    ) throws -> (daemon: TestDaemon, content: [UInt8]) {
        let daemon = try TestDaemon {
            $0.compaction.everySecs = 1
            $0.compaction.minDeadMB = 1
            change(&$0.compaction)
        }
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        var content = noise(16 * blockBytes, seed: 1)
        try client.write(0, content)
        _ = try daemon.control.drain("disk")
        content.replaceSubrange(..<(dead * blockBytes), with: noise(dead * blockBytes, seed: 2))
        try client.write(0, [UInt8](content[..<(dead * blockBytes)]))
        _ = try daemon.control.drain("disk")
        return (daemon, content)
    }

    private let blockBytes = 128 << 10

    private func counters(_ daemon: TestDaemon) async throws -> [String: UInt64] {
        try await daemon.running.bridge.metrics("disk")
    }

    /// Waits for compaction; the disk stays what it was.
    private func expectCompacted(_ disk: (daemon: TestDaemon, content: [UInt8])) async throws {
        var blocks: UInt64 = 0
        for _ in 0..<600 where blocks == 0 {
            blocks = try await counters(disk.daemon)["compacted_blocks"] ?? 0
            try await Task.sleep(for: .milliseconds(100))
        }
        #expect(blocks > 0)
        let client = try disk.daemon.connect("disk")
        #expect(try client.read(0, disk.content.count) == disk.content)
    }

    /// Waits for a look, which finds nothing to do.
    private func expectLeft(_ disk: (daemon: TestDaemon, content: [UInt8])) async throws {
        var looks: UInt64 = 0
        for _ in 0..<600 where looks == 0 {
            looks = try await counters(disk.daemon)["compaction_looks"] ?? 0
            try await Task.sleep(for: .milliseconds(100))
        }
        #expect(looks > 0)
        try await Task.sleep(for: .seconds(1))
        #expect(try await counters(disk.daemon)["compaction_rounds"] == 0)
    }

    @Test("compaction.automatic, compaction.every_secs")
    func automatic() async throws {
        try await expectCompacted(try disk(dead: 12))
        let never = try disk(dead: 12) { $0.automatic = false }
        let seldom = try disk(dead: 12) { $0.everySecs = 3600 }
        try await Task.sleep(for: .seconds(3))
        #expect(try await counters(never.daemon)["compaction_looks"] == 0)
        #expect(try await counters(seldom.daemon)["compaction_looks"] == 0)
    }

    @Test("compaction.live_share, compaction.min_dead_mb")
    func shares() async throws {
        try await expectLeft(try disk(dead: 4))
        try await expectCompacted(try disk(dead: 8) { $0.liveShare = 0.8 })
        // 1.5 MiB of 2 are dead.
        try await expectLeft(try disk(dead: 12) { $0.minDeadMB = 2 })
    }

    @Test("compaction.quiet_live_share, compaction.quiet_secs")
    func quiet() async throws {
        try await expectCompacted(
            try disk(dead: 8) {
                $0.liveShare = 0
                $0.quietSecs = 1
            })
        try await expectLeft(
            try disk(dead: 8) {
                $0.liveShare = 0
                $0.quietSecs = 1
                $0.quietLiveShare = 0.4
            })
    }

    @Test("a fresh base is one pack of the whole disk, and old packs are nobody's")
    func freshBase() async throws {
        let (daemon, content) = try disk(dead: 2) { $0.automatic = false }
        let bridge = try daemon.running.bridge
        var reply = try await bridge.compact("disk")
        for _ in 0..<600 where reply.state == "running" {
            try await Task.sleep(for: .milliseconds(100))
            reply = try #require(try await bridge.status("disk").compaction)
        }
        #expect(reply.state == "done")
        #expect(try daemon.status("disk").storedBytes ?? 0 < UInt64(content.count) * 11 / 10)
        #expect(try daemon.connect("disk").read(0, content.count) == content)
        await #expect(throws: UserError.self) { try await bridge.compact("nobody") }
    }
}
