// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The table of all configuration keys. A key that is not here does not exist; one that is here is
// parsed, checked, overridable, documented and tested without another line of code.

extension Configuration {
    /// The tables of a file, in the order of the documents, each with what it is about.
    public static let sections: [(name: String, summary: String)] = [
        ("cache", "What this host keeps of volumes: journals on disk, clean blocks in memory."),
        ("storage", "The object store that volumes live in."),
        ("servers.nbd", "Where the daemon listens."),
        ("commit", "When the journal is packed and published to the store."),
        ("policy", "What happens when something is full, away or slow."),
        ("gc", "When garbage is collected, and what goes: see `martlet gc`."),
        ("compaction", "When packs that are mostly dead are emptied: see `martlet compact`."),
        (
            "prices",
            "What the store charges, in US dollars; the defaults: S3 Standard in us-east-1, 2024."
        ),
        ("aws", "Credentials for s3:// stores."),
        ("azure", "Credentials for az:// stores."),
        ("gcp", "Credentials for gs:// stores."),
    ]

    /// Every key outside `[[exports]]`, in the order of the documents.
    public static let keys: [SettingKey<Configuration>] =
        cacheKeys + storageKeys + serverKeys + commitKeys + policyKeys + collectionKeys
        + compactionKeys + priceKeys + credentialKeys

    private static let cacheKeys: [SettingKey<Configuration>] = [
        .text(
            "cache", "dir", \.cache.dir,
            "Folder of journals, local roots and cached blocks. One daemon per folder."),
        .decimal(
            "cache", "disk_size_gb", \.cache.diskSizeGB, 0.1...1_000_000,
            "Disk budget for journals, in 10^9 bytes: warned of at 80 %, commits forced at 90 %."),
        .decimal(
            "cache", "memory_size_gb", \.cache.memorySizeGB, 0.135...100_000,
            "Memory for clean blocks and map nodes, in 10^9 bytes."),
        .decimal(
            "cache", "ssd_cache_size_gb", \.cache.ssdCacheSizeGB, 0...1_000_000,
            "Disk for clean blocks, in 10^9 bytes; 0 keeps them in memory only."
        ).awaiting("the SSD tier of the cache"),
    ]

    private static let storageKeys: [SettingKey<Configuration>] = [
        .text(
            "storage", "url", \.storage.url,
            "The store: \"s3://bucket/prefix\", or \"file:///path\", a folder; \"file://./path\" "
                + "starts at the working one."),
        .text(
            "storage", "endpoint", \.storage.endpoint,
            "Address of an S3-compatible service, http://HOST:PORT or https://HOST; empty for "
                + "Amazon's."),
        .text(
            "storage", "region", \.storage.region,
            "Region of the bucket; empty for AWS_REGION, or what the store names."),
        .boolean(
            "storage", "path_style", \.storage.pathStyle,
            "Name the bucket in the path, not the host; always so where the endpoint is an IP "
                + "address or localhost."),
        .integer(
            "storage", "connect_timeout_secs", \.storage.connectTimeoutSecs, 1...600,
            "Seconds until a connection attempt to the store is given up."),
        .integer(
            "storage", "request_timeout_secs", \.storage.requestTimeoutSecs, 1...3600,
            "Seconds until a request to the store is given up; one more for each 256 KiB."),
        .integer(
            "storage", "max_uploads", \.storage.maxUploads, 1...64,
            "Commits that pack and upload, and uploads to the store, at one time, over all "
                + "volumes."),
        .integer(
            "storage", "max_downloads", \.storage.maxDownloads, 1...256,
            "Fetches from the store at one time, over all volumes."),
        .text(
            "storage", "ca_file", \.storage.caFile,
            "Certificates (PEM) that are trusted for the store beside the system's."),
        .text(
            "storage", "proxy", \.storage.proxy,
            "HTTP proxy for the store, http://[USER:PASSWORD@]HOST:PORT; \"none\" for none; empty "
                + "for HTTPS_PROXY and NO_PROXY.", secret: true),
        .boolean(
            "storage", "readonly", \.storage.readonly,
            "Claim nothing and write nothing to the store; without credentials requests go out "
                + "unsigned, as public buckets take them."),
    ]

    private static let serverKeys: [SettingKey<Configuration>] = [
        .text(
            "servers.nbd", "unix_socket", \.nbd.unixSocket,
            "Unix socket for NBD; empty for none."),
        .texts(
            "servers.nbd", "addresses", \.nbd.addresses,
            "TCP addresses for NBD, each HOST:PORT (or unix:PATH); empty for none."),
        .text(
            "servers.nbd", "api_address", \.nbd.apiAddress,
            "TCP address for the HTTP API; empty for none."),
        .text(
            "servers.nbd", "api_socket", \.nbd.apiSocket,
            "Unix socket for the HTTP API; empty for none."),
        .integer(
            "servers.nbd", "dead_conn_timeout_secs", \.nbd.deadConnTimeoutSecs, 0...86_400,
            "Seconds after which a connection that owes bytes and sends none is closed; 0 never."
        ).named(also: "nbd_dead_conn_timeout"),
        .integer(
            "servers.nbd", "scrubber_blocks_per_second", \.nbd.scrubberBlocksPerSecond,
            0...1_000_000, "Blocks verified per second in the background; 0 turns it off."
        ).awaiting("the scrubber"),
        .integer(
            "servers.nbd", "shards", \.nbd.shards, 0...256,
            "Threads that serve volumes; 0 means one per core."),
    ]

    private static let commitKeys: [SettingKey<Configuration>] = [
        .integer(
            "commit", "max_journal_mb", \.commit.maxJournalMB, 1...16_384,
            "A commit starts when a volume's journal holds this many MiB."),
        .integer(
            "commit", "max_age_secs", \.commit.maxAgeSecs, 1...86_400,
            "A commit starts when the oldest unpublished write is this old."),
        .integer(
            "commit", "max_unpublished_secs", \.commit.maxUnpublishedSecs, 0...604_800,
            "Writers stall rather than let an unpublished write get older than this; 0 is no bound."
        ),
        .integer(
            "commit", "target_pack_mb", \.commit.targetPackMB, 1...128,
            "A pack object is closed when it holds this many MiB."),
        .choice("commit", "codec", \.commit.codec, "Compression of packed blocks."),
        .integer(
            "commit", "zstd_level", \.commit.zstdLevel, 1...19, "Level of the zstd codec."),
    ]

    private static let policyKeys: [SettingKey<Configuration>] = [
        .choice(
            "policy", "cache_full", \.policy.cacheFull,
            "What writers get when the disk budget is used up: \"pause\": a wait without deadline; "
                + "\"eio\": ENOSPC, \"readonly\": EPERM, both until there is space again."),
        .choice(
            "policy", "store_away", \.policy.storeAway,
            "What clients get when the store is away and they need it: \"pause\": a wait without "
                + "deadline. Else readers get EIO after read_deadline_secs, and writers, once "
                + "commit.max_unpublished_secs have passed, EIO or, with \"readonly\", EPERM."),
        .integer(
            "policy", "read_deadline_secs", \.policy.readDeadlineSecs, 1...86_400,
            "Seconds a read waits for a store that is away before it gets EIO, unless "
                + "store_away is \"pause\"."),
        .integer(
            "policy", "shutdown_secs", \.policy.shutdownSecs, 0...86_400,
            "Seconds that SIGTERM waits for the last commits before the daemon exits with 1."),
        .choice(
            "policy", "durability", \.policy.durability, later: ["peer", "store"],
            "What a FLUSH waits for: the local disk."),
        .text(
            "policy", "retain", \.policy.retain,
            "Old commits that garbage collection keeps although nothing names them: "
                + "10m:1h,1h:1d,1d:30d keeps one for every ten minutes of the last hour, one for "
                + "every hour of the last day, one for every day of the last thirty."),
    ]

    private static let collectionKeys: [SettingKey<Configuration>] = [
        .integer(
            "gc", "every_secs", \.gc.everySecs, 0...31_536_000,
            "Seconds between two collections by this daemon; 0: it never does."),
        .integer(
            "gc", "grace_period_secs", \.gc.gracePeriodSecs, 0...315_360_000,
            "Seconds between the run that finds something unneeded and the one that deletes it."),
        .integer(
            "gc", "max_deletes", \.gc.maxDeletes, 0...1_000_000_000,
            "Objects that one run deletes at most; 0 is no bound."),
        .integer(
            "gc", "snapshot_retention_secs", \.gc.snapshotRetentionSecs, 0...3_153_600_000,
            "Snapshots older than this are deleted, but for the newest of each name; 0 keeps all."),
    ]

    private static let compactionKeys: [SettingKey<Configuration>] = [
        .boolean(
            "compaction", "automatic", \.compaction.automatic,
            "Volumes served here store again what is live in packs that are mostly dead."),
        .integer(
            "compaction", "every_secs", \.compaction.everySecs, 1...86_400,
            "Seconds between two looks at what the packs of a volume waste, while it is written."),
        .decimal(
            "compaction", "live_share", \.compaction.liveShare, 0...1,
            "A pack is emptied if a smaller share of its bytes is live."),
        .decimal(
            "compaction", "quiet_live_share", \.compaction.quietLiveShare, 0...1,
            "The same for volumes that nobody has written for quiet_secs."),
        .integer(
            "compaction", "quiet_secs", \.compaction.quietSecs, 1...31_536_000,
            "Seconds without a commit of new data after which a volume is quiet."),
        .integer(
            "compaction", "min_dead_mb", \.compaction.minDeadMB, 1...1_048_576,
            "MiB that emptying packs of a volume must free before it is begun."),
    ]

    private static let priceKeys: [SettingKey<Configuration>] = [
        .decimal(
            "prices", "put_usd_per_million", \.prices.putUSDPerMillion, 0...1_000_000,
            "Dollars for a million PUT requests."),
        .decimal(
            "prices", "get_usd_per_million", \.prices.getUSDPerMillion, 0...1_000_000,
            "Dollars for a million GET or HEAD requests."),
        .decimal(
            "prices", "list_usd_per_million", \.prices.listUSDPerMillion, 0...1_000_000,
            "Dollars for a million LIST requests."),
        .decimal(
            "prices", "delete_usd_per_million", \.prices.deleteUSDPerMillion, 0...1_000_000,
            "Dollars for a million DELETE requests."),
        .decimal(
            "prices", "sent_usd_per_gb", \.prices.sentUSDPerGB, 0...1_000,
            "Dollars for 10^9 bytes sent to the store."),
        .decimal(
            "prices", "received_usd_per_gb", \.prices.receivedUSDPerGB, 0...1_000,
            "Dollars for 10^9 bytes received from the store: 0.09 for S3 from outside of AWS."),
        .decimal(
            "prices", "stored_usd_per_gb_month", \.prices.storedUSDPerGBMonth, 0...1_000,
            "Dollars for 10^9 bytes kept for a month."),
    ]

    private static let credentialKeys: [SettingKey<Configuration>] = [
        .text("aws", "access_key_id", \.aws.accessKeyID, "Access key id.", secret: true),
        .text("aws", "secret_access_key", \.aws.secretAccessKey, "Secret key.", secret: true),
        .text("aws", "session_token", \.aws.sessionToken, "Session token.", secret: true),
        .text(
            "aws", "profile", \.aws.profile,
            "Profile of the shared credentials files; goes before the environment's keys."),
        .boolean("aws", "anonymous", \.aws.anonymous, "Never sign requests."),
        .text("azure", "account", \.azure.account, "Storage account.")
            .awaiting("the az:// store"),
        .text("azure", "access_key", \.azure.accessKey, "Account key.", secret: true)
            .awaiting("the az:// store"),
        .text("gcp", "credentials_file", \.gcp.credentialsFile, "Service account file.")
            .awaiting("the gs:// store"),
    ]

    /// The configuration with secrets hidden, one `key = value` per line.
    public var redacted: String {
        Self.keys.map { key in
            let value = key.load(self)
            let shown = key.isSecret && value != .text("") ? "\"(secret)\"" : value.literal
            return "\(key.path) = \(shown)"
        }.joined(separator: "\n")
    }
}

extension Configuration: CustomStringConvertible {
    public var description: String { redacted }
}

extension ExportSetting {
    /// The keys of an `[[exports]]` table.
    public static let keys: [SettingKey<ExportSetting>] = [
        .text("exports", "name", \.name, "Name of the export."),
        .decimal(
            "exports", "size_gb", \.sizeGB, 0...16_000,
            "Size in 10^9 bytes. With `from`, the larger of this and the source."),
        .integer(
            "exports", "size_bytes", \.sizeBytes, 0...16_000_000_000_000,
            "Size in bytes, instead of size_gb."),
        .integer(
            "exports", "block_size", \.blockSize, 4096...1_048_576,
            "Bytes of a block, a power of two; fixed when the volume is made."),
        .boolean("exports", "readonly", \.readonly, "Serve without claiming the volume."),
        .choice(
            "exports", "transport", \.transport, later: ["ublk"], "How it is served."),
        .text(
            "exports", "from", \.from,
            "Fork from `export:NAME`, `snapshot:NAME@SEQ`, `tag:T`, `base:B` or a bare name."),
    ]
}
