// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The composed daemon while its store is away, and when it returns.

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
