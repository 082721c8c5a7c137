// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the daemon is told: one plain value, filled by ConfigurationLoader. The initial values here
// are the defaults of a daemon without arguments; the table in ConfigurationKeys.swift names every
// field, and everything that speaks of keys (files, environment, documents) is driven by that
// table.

private import Maintenance
internal import Primitives

/// Every setting of the daemon, with the embedded defaults.
public struct Configuration: Equatable, Sendable {
    /// The folder of the embedded defaults, in the working directory.
    public static let dataFolder = "./martlet-data"

    public struct Cache: Equatable, Sendable {
        public var dir = Configuration.dataFolder + "/cache"
        public var diskSizeGB = 10.0
        public var memorySizeGB = 0.5
        public var ssdCacheSizeGB = 0.0

        /// The journals' disk budget in bytes.
        public var diskBytes: UInt64 { UInt64((diskSizeGB * 1e9).rounded()) }
        /// The RAM clean cache in bytes.
        public var memoryBytes: Int { Int((memorySizeGB * 1e9).rounded()) }
    }

    public struct Storage: Equatable, Sendable {
        public var url = "file://" + Configuration.dataFolder + "/store"
        public var endpoint = ""
        public var region = ""
        public var pathStyle = false
        public var connectTimeoutSecs: Int64 = 10
        public var requestTimeoutSecs: Int64 = 60
        public var maxUploads: Int64 = 4
        public var maxDownloads: Int64 = 16
        public var caFile = ""
        public var proxy = ""
        public var readonly = false
    }

    public struct NBD: Equatable, Sendable {
        public var unixSocket = Configuration.dataFolder + "/run/nbd.sock"
        public var addresses = ["127.0.0.1:10809"]
        public var apiAddress = "127.0.0.1:8080"
        public var apiSocket = Configuration.dataFolder + "/run/api.sock"
        public var deadConnTimeoutSecs: Int64 = 60
        public var scrubberBlocksPerSecond: Int64 = 0
        public var shards: Int64 = 0
    }

    public struct Commit: Equatable, Sendable {
        public enum PackCodec: String, CaseIterable, Sendable { case lz4, zstd, none }
        public var maxJournalMB: Int64 = 64
        public var maxAgeSecs: Int64 = 30
        public var maxUnpublishedSecs: Int64 = 0
        public var targetPackMB: Int64 = 32
        public var codec = PackCodec.lz4
        public var zstdLevel: Int64 = 1
    }

    public struct Policy: Equatable, Sendable {
        /// What writers get when they cannot be served: a wait, an error, or a read-only volume.
        public enum Stall: String, CaseIterable, Sendable { case pause, eio, readonly }
        public enum Durability: String, CaseIterable, Sendable { case local }
        public var cacheFull = Stall.pause
        public var storeAway = Stall.pause
        public var readDeadlineSecs: Int64 = 60
        public var shutdownSecs: Int64 = 30
        public var durability = Durability.local
        public var retain = ""
    }

    /// What garbage collection goes by, in the daemon and as a command.
    public struct GC: Equatable, Sendable {
        public var everySecs: Int64 = 0
        public var gracePeriodSecs = Int64(CollectorOptions.gracePeriodSecondsDefault)
        public var maxDeletes: Int64 = 0
        public var snapshotRetentionSecs: Int64 = 0
    }

    /// When blocks are stored again that nobody has written, so that packs become free.
    public struct Compaction: Equatable, Sendable {
        public var automatic = true
        public var everySecs: Int64 = 60
        public var liveShare = 0.5
        public var quietLiveShare = 0.9
        public var quietSecs: Int64 = 600
        public var minDeadMB: Int64 = 32
    }

    /// Dollars for what a store charges. The defaults are those of Amazon S3 Standard in us-east-1
    /// (aws.amazon.com/s3/pricing), as quoted in 2024: PUT and LIST 0.005 for 1,000, GET and HEAD
    /// 0.0004 for 1,000, DELETE free, 0.023 for a GB and month; traffic within the region is free.
    public struct Prices: Equatable, Sendable {
        public var putUSDPerMillion = 5.0
        public var getUSDPerMillion = 0.4
        public var listUSDPerMillion = 5.0
        public var deleteUSDPerMillion = 0.0
        public var sentUSDPerGB = 0.0
        public var receivedUSDPerGB = 0.0
        public var storedUSDPerGBMonth = 0.023
    }

    public struct AWS: Equatable, Sendable {
        public var accessKeyID = ""
        public var secretAccessKey = ""
        public var sessionToken = ""
        public var profile = ""
        public var anonymous = false
    }

    public struct Azure: Equatable, Sendable {
        public var account = ""
        public var accessKey = ""
    }

    public struct GCP: Equatable, Sendable {
        public var credentialsFile = ""
    }

    public var cache = Cache()
    public var storage = Storage()
    public var nbd = NBD()
    public var commit = Commit()
    public var policy = Policy()
    public var gc = GC()
    public var compaction = Compaction()
    public var prices = Prices()
    public var aws = AWS()
    public var azure = Azure()
    public var gcp = GCP()
    /// Exports that the daemon makes sure of at start, as if each had been PUT.
    public var exports: [ExportSetting] = []
    /// The variables that clients of clouds look at, as the loader found them. No settings of ours:
    /// never shown.
    public var cloudEnvironment: [String: String] = [:]

    public init() {}

    /// Where NBD listens. Checked by the loader, so that none is lost here.
    public var nbdEndpoints: [Endpoint] {
        ([nbd.unixSocket].filter { !$0.isEmpty }.map { "unix:" + $0 } + nbd.addresses)
            .compactMap(Endpoint.init(parsing:))
    }

    /// Where the API listens.
    public var apiEndpoints: [Endpoint] {
        ([nbd.apiSocket].filter { !$0.isEmpty }.map { "unix:" + $0 }
            + [nbd.apiAddress].filter { !$0.isEmpty })
            .compactMap(Endpoint.init(parsing:))
    }
}

/// One `[[exports]]` table.
public struct ExportSetting: Equatable, Sendable {
    public enum Transport: String, CaseIterable, Sendable { case nbd, none }
    public var name = ""
    public var sizeGB = 0.0
    public var sizeBytes: Int64 = 0
    public var blockSize = Int64(Limits.blockBytesDefault)
    public var readonly = false
    public var transport = Transport.nbd
    public var from = ""

    public init() {}

    /// The size asked for in bytes; zero if only the source says.
    public var bytes: UInt64 {
        sizeBytes > 0 ? UInt64(sizeBytes) : UInt64((sizeGB * 1e9).rounded())
    }
}
