// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Every documented key is set and its effect observed, here or in one of the files next to this
// one; the last test compares the list with the table of keys.

import AdminAPI
import CLinux
import CleanCache
import ControlPlane
import Documents
import Foundation
import HostIO
import Journal
import ObjectStore
import Primitives
import Shard
import TestSupport
import Testing

@testable import Daemon

@Suite("effects of settings")
struct SettingEffectTests {
    @Test("cache.dir, cache.disk_size_gb, cache.memory_size_gb, storage.url")
    func places() throws {
        let daemon = try TestDaemon {
            $0.cache.diskSizeGB = 0.25
            $0.cache.memorySizeGB = 0.2
        }
        for path in [daemon.cache + "/lock", daemon.cache + "/segments", daemon.store] {
            #expect(FileManager.default.fileExists(atPath: path))
        }
        let parts = try daemon.running.host.parts
        #expect(parts.pool.usage.budgetBytes == 250_000_000)
        #expect((190_000_000...200_000_000).contains(parts.cache.statistics.capacityBytes))
        try daemon.create("disk")
        #expect(FileManager.default.fileExists(atPath: daemon.store + "/martlet.json"))
        try daemon.connect("disk").write(0, [1])
        #expect(FileManager.default.fileExists(atPath: daemon.cache + "/volumes"))
    }

    @Test("storage.max_uploads, storage.max_downloads, servers.nbd.shards")
    func threads() throws {
        let daemon = try TestDaemon {
            $0.storage.maxUploads = 3
            $0.storage.maxDownloads = 5
            $0.nbd.shards = 3
        }
        let host = try daemon.running.host
        #expect(host.parts.hands.commit.threadCount == 3)
        #expect(host.parts.hands.fetch.threadCount == 5)
        #expect(host.shardCount == 3)
    }

    @Test("servers.nbd.unix_socket, servers.nbd.addresses")
    func listeners() throws {
        let daemon = try TestDaemon { $0.nbd.addresses = ["127.0.0.1:0"] }
        try daemon.create("disk")
        #expect(try daemon.connect("disk").size == 64 << 20)
        let tcp = try #require(try daemon.running.nbdAddresses.last)
        let port = try #require(tcp.split(separator: ":").last.flatMap { UInt16($0) })
        let fd = clinux_connect_tcp("127.0.0.1", port)
        #expect(fd >= 0)
        close(fd)
    }

    @Test("servers.nbd.dead_conn_timeout_secs")
    func deadConnection() throws {
        let daemon = try TestDaemon { $0.nbd.deadConnTimeoutSecs = 1 }
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        let idle = try daemon.connect("disk")
        try client.send([0x25, 0x60, 0x95])
        #expect(throws: Silence(isClosed: true)) { try client.receive(1) }
        // One that owes nothing stays.
        try idle.write(0, [1])
    }

    @Test("commit.max_journal_mb")
    func commitBySize() throws {
        let daemon = try TestDaemon {
            $0.commit.maxJournalMB = 1
            $0.commit.maxAgeSecs = 86_400
        }
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        let sequence = try daemon.status("disk").sequence
        try client.write(0, noise(512 << 10, seed: 1))
        #expect(try daemon.status("disk").sequence == sequence)
        try client.write(1 << 20, noise(1 << 20, seed: 2))
        #expect(try daemon.eventually { try daemon.status("disk").sequence > sequence })
    }

    @Test("commit.max_age_secs")
    func commitByAge() throws {
        let daemon = try TestDaemon { $0.commit.maxAgeSecs = 1 }
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        let sequence = try daemon.status("disk").sequence
        try client.write(0, [1])
        #expect(try daemon.eventually { try daemon.status("disk").sequence > sequence })
    }

    @Test("commit.target_pack_mb")
    func packSize() throws {
        let daemon = try TestDaemon { $0.commit.targetPackMB = 1 }
        try daemon.create("disk")
        try daemon.connect("disk").write(0, noise(4 << 20, seed: 1))
        _ = try daemon.control.drain("disk")
        #expect(try daemon.keys(under: "packs/").count >= 3)
    }

    /// The frames that a daemon of these settings writes for text: their codecs and stored bytes.
    private func frames(
        _ codec: Configuration.Commit.PackCodec, level: Int64 = 1
    ) throws -> (codecs: Set<String>, bytes: Int) {
        let daemon = try TestDaemon {
            $0.commit.codec = codec
            $0.commit.zstdLevel = level
        }
        try daemon.create("disk")
        let words = noise(1 << 18, seed: 1).map { "word\($0 % 61) " }.joined()
        try daemon.connect("disk").write(0, Array(words.utf8.prefix(1 << 20)))
        _ = try daemon.control.drain("disk")
        let key = try #require(try daemon.keys(under: "packs/").first)
        let source = OfflineSource(key, verb: "inspect", configuration: daemon.configuration)
        let lines = try Inspector(source).pack(members: true).lines
        func values(_ name: String) -> [Substring] {
            lines.filter { $0.hasPrefix("  \(name): ") }.map { $0.dropFirst(name.count + 4) }
        }
        return (
            Set(values("codec").map(String.init)),
            values("stored").compactMap { Int($0) }.reduce(0, +)
        )
    }

    @Test("commit.codec, commit.zstd_level")
    func codec() throws {
        let raw = try frames(.none)
        let lz4 = try frames(.lz4)
        let fast = try frames(.zstd, level: 1)
        let slow = try frames(.zstd, level: 19)
        #expect(raw.codecs == ["raw"] && raw.bytes == 1 << 20)
        #expect(lz4.codecs == ["lz4"] && lz4.bytes < raw.bytes)
        #expect(fast.codecs == ["zstd"] && fast.bytes < lz4.bytes)
        #expect(slow.codecs == ["zstd"] && slow.bytes < fast.bytes)
    }

    private func isNear(_ value: Double, _ expected: Double) -> Bool {
        abs(value - expected) <= expected * 1e-9
    }

    @Test("prices: what requests and stored bytes cost a month, by volume, in status and metrics")
    func prices() throws {
        var counts = StoreCounts()
        (counts.puts, counts.gets, counts.heads) = (1_000_000, 2_000_000, 500_000)
        (counts.lists, counts.deletes) = (3_000_000, 4_000_000)
        (counts.bytesSent, counts.bytesReceived) = (5_000_000_000, 6_000_000_000)
        var prices = Configuration().prices
        #expect(isNear(prices.dollars(counts), 5 + 2.5 * 0.4 + 15))
        (prices.putUSDPerMillion, prices.getUSDPerMillion) = (1, 10)
        (prices.listUSDPerMillion, prices.deleteUSDPerMillion) = (100, 1000)
        (prices.sentUSDPerGB, prices.receivedUSDPerGB) = (10_000, 100_000)
        #expect(isNear(prices.dollars(counts), 1 + 25 + 300 + 4000 + 50_000 + 600_000))
        // Half a month of them, and a second of them, which counts as a minute.
        let half = UInt64(Configuration.Prices.monthSeconds / 2 * 1e9)
        #expect(isNear(prices.dollarsPerMonth(counts, in: half), 2 * prices.dollars(counts)))
        let minutes = Configuration.Prices.monthSeconds / 60
        #expect(isNear(prices.dollarsPerMonth(counts, in: 1), minutes * prices.dollars(counts)))
        #expect(isNear(Configuration().prices.dollarsPerMonth(storedBytes: 1_000_000_000_000), 23))

        let daemon = try TestDaemon {
            $0.prices.putUSDPerMillion = 1e6
            $0.prices.storedUSDPerGBMonth = 1000
        }
        try daemon.create("busy")
        try daemon.create("idle")
        try daemon.connect("idle").write(0, [1])
        _ = try daemon.control.drain("idle")
        let client = try daemon.connect("busy")
        for round in 0..<3 as Range<UInt64> {
            try client.write(round << 20, noise(1 << 20, seed: round))
            _ = try daemon.control.drain("busy")
        }
        let (busy, idle) = (try daemon.status("busy"), try daemon.status("idle"))
        // A pack and a commit each.
        #expect(busy.requests.puts == 6 && idle.requests.puts == 2)
        #expect(busy.requests.bytesSent > 3 << 20 && busy.requests.lists == 0)
        // For as long as it is open, or a minute.
        #expect(busy.requestDollarsPerMonth > 0 && busy.requestDollarsPerMonth < 6.01 * minutes)
        let stored = try #require(busy.storedBytes)
        #expect(stored > 3 << 20 && stored < busy.requests.bytesSent)
        #expect(isNear(busy.storedDollarsPerMonth ?? 0, Double(stored) / 1e6))
        let families = Gauges(host: try daemon.running.host, collection: nil).families()
        func value(_ name: String, _ export: String) -> Double? {
            families.first { $0.name == name }?.samples.first { $0.labels[0].value == export }?
                .value
        }
        let dollars = value("martlet_volume_requests_usd_per_month", "busy") ?? 0
        #expect(dollars > 0 && dollars < 6.01 * minutes)
        #expect(value("martlet_volume_store_puts_total", "idle") == 2)
        #expect(value("martlet_volume_stored_bytes", "busy") == Double(stored))
        let all = families.first { $0.name == "martlet_store_usd_per_month" }?.samples.first?.value
        #expect(all ?? 0 > dollars)
    }

    @Test("policy.durability: a FLUSH waits for the local disk, not for the store")
    func durability() throws {
        let daemon = try TestDaemon()
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        daemon.takeStoreAway()
        try client.write(0, [1], fua: true)
        try client.flush()
    }

    @Test("policy.shutdown_secs")
    func shutdown() throws {
        let daemon = try TestDaemon { $0.policy.shutdownSecs = 2 }
        try daemon.create("disk")
        try daemon.connect("disk").write(0, [1])
        let clock = try daemon.running.host.parts.clock
        daemon.takeStoreAway()
        let start = clock.now
        #expect(daemon.stop().count == 1)
        let seconds = Double(clock.now.nanoseconds(since: start)) / 1e9
        #expect((1.9...12).contains(seconds))
    }

    @Test("[[exports]]: name, size_gb, size_bytes, block_size, readonly, transport, from")
    func exports() throws {
        let daemon = try TestDaemon()
        try daemon.create("source", size: 1 << 20)
        try daemon.connect("source").write(0, noise(4096, seed: 1))
        _ = try daemon.control.snapshot("source", tag: "t")
        daemon.stop()
        var plain = ExportSetting()
        plain.name = "plain"
        plain.sizeGB = 0.512
        plain.blockSize = 65_536
        plain.transport = .none
        var fork = ExportSetting()
        fork.name = "fork"
        fork.sizeBytes = 2 << 20
        fork.from = "tag:t"
        fork.readonly = true
        daemon.configuration.exports = [plain, fork]
        try daemon.start()
        for name in ["plain", "fork"] {
            #expect(
                try daemon.eventually { (try? daemon.control.info(name).state) == .live })
        }
        let made = try daemon.control.info("plain")
        #expect(made.size.rawValue == 512_000_000 && made.blockBytes == 65_536)
        #expect(made.transport == .none)
        #expect(throws: (any Error).self) { try daemon.connect("plain") }
        let client = try daemon.connect("fork")
        #expect(client.isReadOnly && client.size == 2 << 20)
        #expect(try client.read(0, 4096) == noise(4096, seed: 1))
    }

    /// Every key that is built, by the test that shows its effect.
    private static let shown: Set<String> = [
        // Here.
        "cache.dir", "cache.disk_size_gb", "cache.memory_size_gb", "storage.url",
        "storage.max_uploads", "storage.max_downloads", "servers.nbd.shards",
        "servers.nbd.unix_socket", "servers.nbd.addresses",
        "servers.nbd.dead_conn_timeout_secs", "commit.max_journal_mb", "commit.max_age_secs",
        "commit.target_pack_mb", "commit.codec", "commit.zstd_level", "policy.durability",
        "policy.shutdown_secs",
        "prices.put_usd_per_million", "prices.get_usd_per_million",
        "prices.list_usd_per_million", "prices.delete_usd_per_million", "prices.sent_usd_per_gb",
        "prices.received_usd_per_gb", "prices.stored_usd_per_gb_month",
        // CollectionTests.
        "policy.retain", "gc.every_secs", "gc.grace_period_secs", "gc.max_deletes",
        "gc.snapshot_retention_secs",
        // CompactionSettingTests.
        "compaction.automatic", "compaction.every_secs", "compaction.live_share",
        "compaction.quiet_live_share", "compaction.quiet_secs", "compaction.min_dead_mb",
        // StallTests.
        "commit.max_unpublished_secs", "policy.store_away", "policy.cache_full",
        "policy.read_deadline_secs",
        // StoreSettingTests.
        "storage.endpoint", "storage.region", "storage.path_style",
        "storage.connect_timeout_secs", "storage.request_timeout_secs", "storage.ca_file",
        "storage.proxy", "storage.readonly", "aws.access_key_id", "aws.secret_access_key",
        "aws.session_token", "aws.profile", "aws.anonymous",
        // ProcessTests.
        "servers.nbd.api_address", "servers.nbd.api_socket",
    ]

    @Test("no key is left out; those that are not built are refused by name")
    func complete() {
        let built = Configuration.keys.filter { $0.later == nil }.map(\.path)
        #expect(Set(built) == Self.shown)
        #expect(
            Set(ExportSetting.keys.map(\.name)) == [
                "name", "size_gb", "size_bytes", "block_size", "readonly", "transport", "from",
            ])
    }
}
