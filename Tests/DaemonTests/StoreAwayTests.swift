// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The composed daemon while its store is away, and when it returns.

import AdminAPI
import ControlPlane
import Documents
import Primitives
import TestSupport
import Testing

@testable import Daemon

@Suite("store away")
struct StoreAwayTests {
    @Test("writers go on without the store; when it returns, everything is published")
    func writersGoOn() throws {
        let daemon = try TestDaemon { $0.commit.maxAgeSecs = 1 }
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        try client.write(0, noise(100_000, seed: 1))
        _ = try daemon.control.drain("disk")
        let sequence = try daemon.status("disk").sequence

        daemon.takeStoreAway()
        for round in 0..<20 {
            try client.write(UInt64(round) * 100_000, noise(100_000, seed: UInt64(round + 10)))
        }
        try client.flush()
        #expect(try client.read(0, 100_000) == noise(100_000, seed: 10))
        #expect(try daemon.eventually { try daemon.status("disk").unpublishedAgeSeconds >= 2 })
        #expect(try daemon.status("disk").sequence == sequence)
        #expect(throws: UserError.self) { try daemon.control.snapshot("disk", tag: nil) }

        daemon.bringStoreBack()
        #expect(
            try daemon.eventually(seconds: 40) {
                let status = try daemon.status("disk")
                return status.sequence > sequence && status.unpublishedBytes == 0
            })
    }

    @Test("status, readiness and metrics tell of an absent store, and of its return")
    func told() throws {
        let daemon = try TestDaemon {
            $0.commit.maxAgeSecs = 1
            $0.commit.maxUnpublishedSecs = 2
        }
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        try client.write(0, noise(4096, seed: 1))
        _ = try daemon.control.drain("disk")
        let gauges = Gauges(host: try daemon.running.host, collection: nil)
        func value(_ name: String) -> Double? {
            gauges.families().first { $0.name == name }?.samples.first?.value
        }
        #expect(value("martlet_store_away") == 0)
        daemon.takeStoreAway()
        try client.write(0, noise(4096, seed: 2))
        #expect(
            try daemon.eventually { try daemon.status("disk").storeAwaySeconds > 1 })
        #expect(try daemon.eventually { value("martlet_store_away_secs") ?? 0 > 1 })
        let status = try daemon.status("disk")
        #expect(status.state == .stalled && status.stall?.contains("too old") == true)
        #expect(status.lastError?.contains("commit") == true)
        #expect(status.unpublishedBytes > 0 && status.unpublishedAgeSeconds > 1)
        #expect(value("martlet_volume_stalled") == 1)
        #expect(
            try daemon.eventually {
                try daemon.running.health.reasons.contains {
                    $0.contains("away for") && $0.contains("bytes are unpublished")
                        && $0.contains("1 volumes")
                }
            })
        daemon.bringStoreBack()
        // Nobody asks the store for anything but the commit.
        #expect(try daemon.eventually(seconds: 40) { try daemon.running.health.reasons.isEmpty })
        #expect(
            try daemon.eventually(seconds: 40) {
                let status = try daemon.status("disk")
                return status.lastError == nil && status.state == .serving
            })
        #expect(value("martlet_store_away") == 0)
    }

    @Test("a shutdown that the store does not take in time leaves the export open, named")
    func shutdownTooLate() throws {
        let daemon = try TestDaemon { $0.policy.shutdownSecs = 1 }
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        try client.write(0, noise(100_000, seed: 1))
        try client.flush()
        daemon.takeStoreAway()
        let left = daemon.stop()
        #expect(left.keys.sorted() == ["disk"])
        daemon.bringStoreBack()

        try daemon.start()
        // Open here when the last daemon ended: it is opened without a client.
        #expect(try daemon.eventually { try !daemon.running.host.running.isEmpty })
        #expect(try daemon.connect("disk").read(0, 100_000) == noise(100_000, seed: 1))
        #expect(daemon.stop().isEmpty)
    }

    @Test("an export that was open here is served after a start without the store")
    func startWithoutStore() throws {
        let daemon = try TestDaemon()
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        try client.write(0, noise(100_000, seed: 1))
        try client.flush()
        daemon.takeStoreAway()
        daemon.stop(within: 0)
        try daemon.start()
        #expect(try daemon.running.health.reasons.contains { $0.contains("store") })
        let again = try daemon.connect("disk")
        #expect(try again.read(0, 100_000) == noise(100_000, seed: 1))
        try again.write(100_000, noise(100_000, seed: 2))
        daemon.bringStoreBack()
        #expect(
            try daemon.eventually(seconds: 40) { (try? daemon.control.drain("disk")) != nil })
    }

    @Test("exports of the configuration are made when the store returns")
    func exportsRetried() throws {
        let daemon = try TestDaemon()
        try daemon.create("first")
        #expect(daemon.stop().isEmpty)
        var setting = ExportSetting()
        setting.name = "second"
        setting.sizeBytes = 1 << 20
        daemon.configuration.exports = [setting]
        daemon.takeStoreAway()
        try daemon.start()
        #expect(throws: (any Error).self) { try daemon.connect("second") }
        daemon.bringStoreBack()
        #expect(
            try daemon.eventually(seconds: 40) {
                (try? daemon.control.info("second").state) == .live
            })
        try daemon.connect("second").write(0, [1])
    }
}
