// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What clients get that cannot be served for now, by policy, and that it ends when it can.

import ControlPlane
import HostIO
import Journal
import Primitives
import Testing

@testable import Daemon

@Suite("stalls")
struct StallTests {
    typealias Stall = Configuration.Policy.Stall

    @Test("commit.max_unpublished_secs, policy.store_away for writers", arguments: Stall.allCases)
    func unpublished(policy: Stall) throws {
        let daemon = try TestDaemon {
            $0.commit.maxAgeSecs = 1
            $0.commit.maxUnpublishedSecs = 2
            $0.policy.storeAway = policy
        }
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        try client.write(0, noise(4096, seed: 1))
        daemon.takeStoreAway()
        try client.write(4096, noise(4096, seed: 2))
        #expect(try daemon.eventually { try daemon.status("disk").state == .stalled })
        // What needs neither the store nor room goes on.
        #expect(try client.read(4096, 4096) == noise(4096, seed: 2))
        try client.flush()
        switch policy {
        case .pause:
            try client.submit(1, 0, 8192, 1, [1])
            #expect(client.isKeptWaiting(milliseconds: 500))
            daemon.bringStoreBack()
            client.wait(seconds: 40)
            try client.reply()
        case .eio:
            #expect(throws: Refused.failed) { try client.write(8192, [1]) }
        case .readonly:
            #expect(throws: Refused.notPermitted) { try client.trim(8192, 4096) }
        }
        daemon.bringStoreBack()
        #expect(
            try daemon.eventually(seconds: 40) { (try? client.write(8192, [1])) != nil })
    }

    @Test("policy.cache_full", arguments: Stall.allCases)
    func full(policy: Stall) throws {
        let daemon = try TestDaemon {
            $0.cache.diskSizeGB = 0.1
            $0.policy.cacheFull = policy
        }
        try daemon.create("disk", size: 1 << 30)
        let client = try daemon.connect("disk")
        daemon.takeStoreAway()
        let megabyte = noise(1 << 20, seed: 1)
        var outcome: (any Error)?
        // A pause is a silence; a slow disk must not pass for one.
        client.wait(seconds: policy == .pause ? 8 : 40)
        var count: UInt64 = 0
        while outcome == nil, count < 200 {
            do { try client.write(count << 20, megabyte) } catch { outcome = error }
            count += 1
        }
        // Of a budget of 100 MB most is used before.
        #expect(count > 50)
        let expected: any Error & Sendable =
            switch policy {
            case .pause: Silence(isClosed: false)
            case .eio: Refused.noSpace
            case .readonly: Refused.notPermitted
            }
        #expect("\(outcome.map { "\($0)" } ?? "nothing")" == "\(expected)")
        daemon.bringStoreBack()
        client.wait(seconds: 40)
        if policy == .pause { try client.reply() }
        #expect(
            try daemon.eventually(seconds: 40) {
                (try? client.write(count << 20, megabyte)) != nil
            })
    }

    @Test("writers are slowed ahead of a full budget, many volumes at once, and none starves")
    func slowed() throws {
        let daemon = try TestDaemon { $0.cache.diskSizeGB = 1.5 }
        let parts = try daemon.running.host.parts
        let names = (0..<6).map { "disk\($0)" }
        for name in names { try daemon.create(name) }
        let clients = try names.map { try daemon.connect($0) }
        for client in clients { try client.write(0, [1]) }
        // Another user of the budget leaves 2 % of it: 1.5 MiB/s for each volume.
        daemon.takeStoreAway()
        let folder = try HostDirectory.open(path: daemon.cache + "/other", create: true)
        var number: UInt64 = 0
        while parts.pool.gauge.slowdown < 0.6 {
            number += 1
            _ = try parts.pool.take(into: folder, number: number)
        }
        let block = noise(65_536, seed: 1)
        let clock = parts.clock
        let start = clock.now
        var answered = [Int](repeating: 0, count: clients.count)
        for client in clients {
            for index in 0..<8 as Range<UInt64> {
                try client.submit(1, 0, index << 16, 65_536, block)
            }
            client.wait(seconds: 0, milliseconds: 5)
        }
        while clock.now.nanoseconds(since: start) < 3_000_000_000 {
            for (index, client) in clients.enumerated() {
                while (try? client.reply()) != nil {
                    answered[index] += 1
                    try client.submit(1, 0, UInt64(answered[index] % 8) << 16, 65_536, block)
                }
            }
        }
        let rates = answered.map { Double($0) / 16 / 3 }
        #expect(rates.allSatisfy { (0.1...12).contains($0) }, "MiB/s: \(rates)")
        #expect((rates.max() ?? 0) < 4 * (rates.min() ?? 0), "MiB/s: \(rates)")
        let status = try daemon.status("disk0")
        #expect((55...100).contains(status.slowdownPercent) && status.state != .stalled)
        daemon.bringStoreBack()
        #expect(daemon.stop(within: 60).isEmpty)
    }

    @Test("policy.read_deadline_secs, policy.store_away for readers", arguments: Stall.allCases)
    func reads(policy: Stall) throws {
        let daemon = try TestDaemon {
            $0.policy.storeAway = policy
            $0.policy.readDeadlineSecs = 1
        }
        try daemon.create("disk")
        try daemon.connect("disk").write(0, noise(4096, seed: 1))
        #expect(daemon.stop().isEmpty)
        try daemon.start()
        let client = try daemon.connect("disk")
        daemon.takeStoreAway()
        if policy == .pause {
            try client.submit(0, 0, 0, 4096)
            #expect(client.isKeptWaiting(milliseconds: 4000))
            daemon.bringStoreBack()
            client.wait(seconds: 40)
            try client.reply()
            #expect(try client.receive(4096) == noise(4096, seed: 1))
        } else {
            let clock = try daemon.running.host.parts.clock
            let start = clock.now
            #expect(throws: Refused.failed) { try client.read(0, 4096) }
            #expect(clock.now.nanoseconds(since: start) >= 900_000_000)
            // Writes do not need the store.
            try client.write(4096, noise(4096, seed: 2))
            daemon.bringStoreBack()
            #expect(try client.read(0, 4096) == noise(4096, seed: 1))
        }
    }
}
