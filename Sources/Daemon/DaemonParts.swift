// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Settings turned into things: the cache directory and its lock, the store and whether it keeps its
// promises, the pools. Everything here blocks and belongs to the start.

import CleanCache
import Committer
import ControlPlane
import HostIO
import Journal
import Logging
import Maintenance
import NBDServer
import ObjectStore
import Primitives
import VolumeEngine

/// What a start opens before anything is served.
struct DaemonParts {
    let cacheDirectory: HostDirectory
    /// Held for as long as the daemon lives.
    let lock: HostFile
    let host: HostParts
    /// What was found out about the store; nil if it is away.
    let access: StoreAccess?

    private static let what = "cannot start"

    static func open(
        _ configuration: Configuration, stop: StopFlag, logger: Logger
    ) throws(UserError) -> DaemonParts {
        // A volume holds a few, a client one.
        HostFacts.raiseDescriptorLimit()
        HostFacts.keepFreedMemory()
        let clock = SystemClock()
        let directory = try folder(configuration.cache.dir, "the cache directory")
        guard let lock = try local({ () throws(HostIOError) in try directory.lock("lock") }) else {
            throw UserError(
                .conflict, what: what,
                why: "another daemon uses the cache directory \(configuration.cache.dir)",
                remedy: "stop it, or choose another cache.dir")
        }
        var random = SystemRandom()
        let facts = try local { () throws(HostIOError) in
            try HostFacts.read(fallback: directory, random: &random)
        }
        let store = try self.store(configuration, stop: stop, clock: clock)
        let access = try probe(store, logger: logger)
        let pool = try segments(directory, configuration, facts)
        let views = try local { () throws(HostIOError) in
            try directory.directory("views", create: true)
        }
        let hands = Hands(
            processors: facts.processorCount, downloads: Int(configuration.storage.maxDownloads),
            uploads: Int(configuration.storage.maxUploads))
        let host = HostParts(
            clock: clock, facts: facts, store: store,
            cache: CleanCache(capacityBytes: configuration.cache.memoryBytes), pool: pool,
            hands: hands, settings: packs(configuration.commit),
            options: volumes(configuration), views: views,
            commitWaitSeconds: commitWaitSeconds, log: EventLog(logger: logger),
            prices: configuration.prices, startedAt: clock.now,
            tripwire: Tripwire(store: store, node: facts.hostName),
            pins: NewestPins(store: store))
        return DaemonParts(cacheDirectory: directory, lock: lock, host: host, access: access)
    }

    /// How long a request waits for the store to take a commit before it answers 503.
    static let commitWaitSeconds: UInt64 = 30

    private static func folder(
        _ path: String, _ name: String
    ) throws(UserError) -> HostDirectory {
        do throws(HostIOError) { return try HostDirectory.open(path: path, create: true) } catch {
            throw UserError(
                .failed, what: what, why: "\(name): \(error)",
                remedy: "choose a folder that this user may write")
        }
    }

    private static func local<Value>(
        _ body: () throws(HostIOError) -> Value
    ) throws(UserError) -> Value {
        do throws(HostIOError) { return try body() } catch {
            throw UserError(
                .failed, what: what, why: "\(error)", remedy: "check the cache directory's disk")
        }
    }

    private static func store(
        _ configuration: Configuration, stop: StopFlag, clock: SystemClock
    ) throws(UserError) -> DaemonStore {
        let pause: @Sendable (UInt64) -> Bool = { stop.pause(nanoseconds: $0, clock: clock) }
        let located = try LocatedStore.open(
            configuration, creates: !configuration.storage.readonly, what: what,
            limits: configuration.hostLimits(pause: pause))
        return WriteGuard(
            base: RetryingStore(
                CountingStore(located), clock: clock, random: SystemRandom(), pause: pause),
            isReadOnly: configuration.storage.readonly)
    }

    /// Refuses a store that would let two writers destroy each other.
    private static func probe(
        _ store: DaemonStore, logger: Logger
    ) throws(UserError) -> StoreAccess? {
        if store.isReadOnly { return .readOnly(detail: "storage.readonly is set") }
        var random = SystemRandom()
        do throws(ObjectStoreError) {
            let access = try StoreProbe.run(store, random: &random)
            if case .unfit(let detail) = access {
                throw ObjectStoreError.refused(key: StoreProbe.prefix, detail: detail)
            }
            if case .readOnly(let detail) = access {
                logger.warning("the store may only be read", metadata: ["why": "\(detail)"])
            }
            return access
        } catch {
            guard !error.isRetryable else {
                logger.warning("the store is away", metadata: ["why": "\(error)"])
                return nil
            }
            let what = "cannot use the store \(store.url)"
            guard case .refused(_, let detail) = error else { throw UserError(what, error) }
            throw UserError(
                .failed, what: what, why: detail,
                remedy: "choose a store that creates objects only if they are absent")
        }
    }

    private static func segments(
        _ directory: HostDirectory, _ configuration: Configuration, _ facts: HostFacts
    ) throws(UserError) -> SegmentPool<HostDirectory> {
        try local { () throws(HostIOError) in
            let folder = try directory.durableDirectory("segments")
            let pool = SegmentPool(
                directory: folder, budgetBytes: configuration.cache.diskBytes,
                random: SystemRandom())
            try pool.prepare(bootID: facts.bootID)
            return pool
        }
    }

    static func packs(_ commit: Configuration.Commit) -> PackSettings {
        let codec: Codec =
            switch commit.codec {
            case .lz4: .lz4
            case .zstd: .zstd
            case .none: .raw
            }
        return PackSettings(
            targetBytes: Int(commit.targetPackMB) << 20, codec: codec,
            zstdLevel: Int(commit.zstdLevel))
    }

    private static func volumes(_ configuration: Configuration) -> VolumeOptions {
        var options = VolumeOptions()
        options.commitBytes = UInt64(configuration.commit.maxJournalMB) << 20
        options.commitAgeSeconds = UInt64(configuration.commit.maxAgeSecs)
        let unpublished = configuration.commit.maxUnpublishedSecs
        options.unpublishedSecondsMax = unpublished == 0 ? nil : UInt64(unpublished)
        let policy = configuration.policy
        options.whenFull = stall(policy.cacheFull)
        options.whenUnpublished = stall(policy.storeAway)
        options.readDeadlineSeconds =
            policy.storeAway == .pause ? nil : UInt64(policy.readDeadlineSecs)
        options.compaction = compaction(configuration.compaction)
        return options
    }

    private static func compaction(_ setting: Configuration.Compaction) -> CompactionOptions? {
        guard setting.automatic else { return nil }
        var options = CompactionOptions()
        options.lookSeconds = UInt64(setting.everySecs)
        options.liveShareMin = setting.liveShare
        options.quietLiveShareMin = setting.quietLiveShare
        options.quietSeconds = UInt64(setting.quietSecs)
        options.deadBytesMin = UInt64(setting.minDeadMB) << 20
        return options
    }

    private static func stall(_ policy: Configuration.Policy.Stall) -> StallPolicy {
        switch policy {
        case .pause: .pause
        case .eio: .fail
        case .readonly: .refuse
        }
    }

    static func sessions(_ configuration: Configuration) -> SessionOptions {
        var options = SessionOptions()
        let seconds = configuration.nbd.deadConnTimeoutSecs
        // "Never" is longer than any daemon runs.
        options.deadConnectionSeconds = seconds == 0 ? 1 << 32 : UInt64(seconds)
        return options
    }
}
