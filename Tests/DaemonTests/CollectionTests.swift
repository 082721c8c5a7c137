// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The collector as settings have it: as a command on the store of a daemon that serves, and on the
// daemon's own schedule.

import AdminAPI
import ControlPlane
import Foundation
import HostIO
import Maintenance
import ObjectStore
import Primitives
import Testing

@testable import Daemon

@Suite("garbage collection by settings")
struct CollectionTests {
    /// A disk of four commits, of which the last holds everything.
    private func make(_ change: (inout Configuration) -> Void = { _ in }) throws -> TestDaemon {
        let daemon = try TestDaemon(nil, isStarted: true, change)
        try daemon.create("disk")
        try overwrite(daemon, times: 4)
        return daemon
    }

    private func overwrite(_ daemon: TestDaemon, times: UInt64) throws {
        let client = try daemon.connect("disk")
        for seed in 1...times {
            try client.write(0, noise(1 << 20, seed: seed))
            _ = try daemon.control.drain("disk")
        }
    }

    private func collect(
        _ daemon: TestDaemon, _ change: (inout Configuration) -> Void = { _ in }
    ) throws -> CollectionResult {
        var configuration = daemon.configuration
        change(&configuration)
        return try GarbageCollection.collect(
            try CollectionOrder(configuration), node: "test",
            in: try daemon.running.host.parts.store, clock: SystemClock(), isStopping: { false })
    }

    @Test("gc.grace_period_secs, gc.max_deletes")
    func bounds() throws {
        let daemon = try make()
        let condemned = try collect(daemon) { $0.gc.gracePeriodSecs = 0 }.report.condemned
        #expect(condemned.packs >= 3 && condemned.bytes > 3 << 20)
        #expect(try collect(daemon).report.waiting == condemned)
        let one = try collect(daemon) {
            $0.gc.gracePeriodSecs = 0
            $0.gc.maxDeletes = 1
        }.report.deleted
        #expect(one.packs + one.commits == 1)
        let rest = try collect(daemon) { $0.gc.gracePeriodSecs = 0 }.report.deleted
        #expect(rest.packs + rest.commits == condemned.packs + condemned.commits - 1)
        #expect(try daemon.connect("disk").read(0, 1 << 20) == noise(1 << 20, seed: 4))
    }

    @Test("policy.retain")
    func retain() throws {
        let daemon = try make()
        let plain = try collect(daemon).report
        let retained = try collect(daemon) { $0.policy.retain = "1s:1h" }.report
        #expect(retained.roots > plain.roots)
    }

    @Test("gc.snapshot_retention_secs")
    func snapshots() throws {
        let daemon = try make()
        let first = try daemon.control.snapshot("disk", tag: nil).sequence
        try overwrite(daemon, times: 1)
        let second = try daemon.control.snapshot("disk", tag: nil).sequence
        #expect(try collect(daemon).expiry == nil)
        #expect(try collect(daemon) { $0.gc.snapshotRetentionSecs = 3600 }.expiry?.kept == 2)
        Thread.sleep(forTimeInterval: 3)
        let expiry = try collect(daemon) { $0.gc.snapshotRetentionSecs = 1 }.expiry
        #expect(expiry?.expired.map(\.sequence) == [first.rawValue])
        #expect(try daemon.control.snapshots("disk").map(\.sequence) == [second])
    }

    @Test("gc.every_secs: the daemon collects by itself, and its metrics tell")
    func schedule() throws {
        let daemon = try make {
            $0.gc.everySecs = 1
            $0.gc.gracePeriodSecs = 0
        }
        let running = try daemon.running
        let collection = try #require(running.collection)
        #expect(try daemon.eventually { collection.tally.deletedBytes > 3 << 20 })
        #expect(collection.tally.failures == 0 && collection.tally.lastSuccessSeconds != nil)
        let families = Gauges(host: running.host, collection: collection).families()
        #expect(families.first { $0.name == "martlet_gc_runs_total" }?.samples[0].value ?? 0 >= 2)
        #expect(try daemon.connect("disk").read(0, 1 << 20) == noise(1 << 20, seed: 4))
        // One that cannot know what is needed says so, and goes on when it can.
        let store = running.host.parts.store
        _ = try store.putIfAbsent("packs/foreign", [1])
        #expect(try daemon.eventually { collection.tally.failures > 0 })
        try store.delete(["packs/foreign"])
        let runs = collection.tally.runs
        #expect(
            try daemon.eventually {
                let tally = collection.tally
                return tally.runs > runs + 1 && tally.runs - tally.failures > 3
            })
    }

    @Test("without gc.every_secs nothing is collected, and no metric pretends to")
    func off() throws {
        let running = try make().running
        #expect(running.collection == nil)
        let names = Gauges(host: running.host, collection: nil).families().map(\.name)
        #expect(!names.contains { $0.hasPrefix("martlet_gc_") })
    }
}
