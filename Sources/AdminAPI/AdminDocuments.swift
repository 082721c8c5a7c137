// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the API says, as plain values. Property names become snake_case in JSON (see AdminJSON);
// absent optionals are left out. The command line decodes the same types.

/// An export, as listed and described.
public struct ExportReply: Codable, Equatable, Sendable {
    public var name: String
    public var sizeBytes: UInt64
    public var blockSize: Int
    public var readonly: Bool
    public var transport: String
    /// `live`, `detached`, `creating`.
    public var state: String
    /// The volume's id.
    public var volume: String
    /// True if it is loaded on this host.
    public var attached: Bool?
    /// What it was forked from, as it was asked for.
    public var from: String?
    /// Of a fork: the commit it started from.
    public var sourceSequence: UInt64?
    /// In the reply that created the fork: the age of that commit, and whether the source is served
    /// elsewhere, so that writes after that commit are not in the fork.
    public var sourceAgeSecs: UInt64?
    public var sourceIsCurrent: Bool?
    public var device: String?

    public init(
        name: String, sizeBytes: UInt64, blockSize: Int, readonly: Bool, transport: String,
        state: String, volume: String
    ) {
        self.name = name
        self.sizeBytes = sizeBytes
        self.blockSize = blockSize
        self.readonly = readonly
        self.transport = transport
        self.state = state
        self.volume = volume
    }
}

/// The reply to a listing.
public struct ExportList: Codable, Equatable, Sendable {
    public var exports: [ExportReply]
    public init(exports: [ExportReply]) { self.exports = exports }
}

/// A request to create, grow or fork.
public struct PutExportRequest: Codable, Equatable, Sendable {
    public var sizeBytes: UInt64?
    public var blockSize: Int?
    public var readonly: Bool?
    public var transport: String?
    /// A source by its manifest: `bases/NAME`, a tag, or an export (with `snapshotSequence`).
    public var manifestName: String?
    public var snapshotSequence: UInt64?
    /// A source as the command line writes it: `export:NAME`, `snapshot:NAME@SEQ`, `tag:T`,
    /// `base:B`.
    public var from: String?

    public init() {}
}

/// What a PUT did.
public struct PutExportResult: Equatable, Sendable {
    public var isCreated: Bool
    public var info: ExportReply
    public init(isCreated: Bool, info: ExportReply) {
        self.isCreated = isCreated
        self.info = info
    }
}

/// A snapshot: a commit that is kept.
public struct SnapshotReply: Codable, Equatable, Sendable {
    public var sequence: UInt64
    /// The commit's token: tells this commit from any other, for ever.
    public var manifestEtag: String
    public var tag: String?
    /// Seconds since 1970 by the clock of the host that made it. A label.
    public var labelSecs: UInt64?

    public init(
        sequence: UInt64, manifestEtag: String, tag: String? = nil, labelSecs: UInt64? = nil
    ) {
        self.sequence = sequence
        self.manifestEtag = manifestEtag
        self.tag = tag
        self.labelSecs = labelSecs
    }
}

/// A tag and what it names.
public struct TagReply: Codable, Equatable, Sendable {
    public var tag: String
    public var volume: String
    public var sequence: UInt64
    public var export: String?

    public init(tag: String, volume: String, sequence: UInt64, export: String? = nil) {
        self.tag = tag
        self.volume = volume
        self.sequence = sequence
        self.export = export
    }
}

public struct TagList: Codable, Equatable, Sendable {
    public var tags: [TagReply]
    public init(tags: [TagReply]) { self.tags = tags }
}

/// The state of a volume on this host.
public struct StatusReply: Codable, Equatable, Sendable {
    /// A take-over of a volume that was not closed cleanly.
    public struct UncleanTakeover: Codable, Equatable, Sendable {
        public var epoch: UInt32
        public var sequence: UInt64
        public var labelSecs: UInt64
        public init(epoch: UInt32, sequence: UInt64, labelSecs: UInt64) {
            self.epoch = epoch
            self.sequence = sequence
            self.labelSecs = labelSecs
        }
    }

    /// Requests to the store since the volume was opened here, repeated ones included.
    public struct StoreRequests: Codable, Equatable, Sendable {
        public var put: UInt64 = 0
        public var get: UInt64 = 0
        public var head: UInt64 = 0
        public var list: UInt64 = 0
        public var delete: UInt64 = 0
        public var failures: UInt64 = 0
        public var sentBytes: UInt64 = 0
        public var receivedBytes: UInt64 = 0
        public init() {}
    }

    /// Dollars a month by the price table of the settings: an estimate.
    public struct Cost: Codable, Equatable, Sendable {
        /// If requests go on as since the volume was opened here.
        public var requestsUsdPerMonth: Double
        /// Of the packs that the last commit refers to, if it says how large they are.
        public var storedUsdPerMonth: Double?
        public init(requestsUsdPerMonth: Double, storedUsdPerMonth: Double?) {
            self.requestsUsdPerMonth = requestsUsdPerMonth
            self.storedUsdPerMonth = storedUsdPerMonth
        }
    }

    public var name: String
    public var volume: String
    public var sizeBytes: UInt64
    public var blockSize: Int
    public var readonly: Bool
    /// `detached`, `serving`, `committing`, `draining`, `stalled`, `readonly`, `fenced`, `failed`.
    public var operationState: String
    public var sequence: UInt64
    public var epoch: UInt32
    public var journalBytes: UInt64 = 0
    public var journalSegments: UInt64 = 0
    /// Journal segments that could not be given back to the pool yet.
    public var unreturnedSegments: UInt64 = 0
    public var dirtyBlocks: UInt64 = 0
    /// Clients that may only read, and clients that may write.
    public var readers: UInt64 = 0
    public var writers: UInt64 = 0
    public var unpublishedAgeSecs: UInt64 = 0
    public var unpublishedBytes: UInt64 = 0
    /// How hard writers are slowed because the disk budget is short: 0 to 100.
    public var slowdownPercent: UInt64 = 0
    /// How long commits have not come through; 0 if the last one did.
    public var storeAwaySecs: UInt64 = 0
    /// Why writers wait, or get errors by policy.
    public var stalled: String?
    /// What last went wrong and is not over.
    public var lastError: String?
    public var uncleanTakeover: UncleanTakeover?
    public var storeRequests: StoreRequests?
    /// Bytes of the packs that the last commit refers to, shared ones included.
    public var storedBytes: UInt64?
    public var cost: Cost?
    /// The last fresh base that was asked for since the volume was opened here.
    public var compaction: CompactReply?
    /// Why the volume is closed for writing.
    public var failed: String?

    public init(
        name: String, volume: String, sizeBytes: UInt64, blockSize: Int, readonly: Bool,
        operationState: String, sequence: UInt64, epoch: UInt32
    ) {
        self.name = name
        self.volume = volume
        self.sizeBytes = sizeBytes
        self.blockSize = blockSize
        self.readonly = readonly
        self.operationState = operationState
        self.sequence = sequence
        self.epoch = epoch
    }
}

/// The reply of operations that end in a commit.
public struct CommitReply: Codable, Equatable, Sendable {
    public var success = true
    public var sequence: UInt64
    public var manifestEtag: String
    /// Of a rollback: the snapshot that keeps the state before, if that differed.
    public var keptSnapshot: UInt64?

    public init(sequence: UInt64, manifestEtag: String, keptSnapshot: UInt64? = nil) {
        self.sequence = sequence
        self.manifestEtag = manifestEtag
        self.keptSnapshot = keptSnapshot
    }
}

/// How a fresh base goes: a job of the daemon, told again by `status`.
public struct CompactReply: Codable, Equatable, Sendable {
    public var success = true
    /// `running`, `done`, `failed`.
    public var state: String
    public var blocksDone: UInt64?
    public var blocksTotal: UInt64?
    /// Of the last commit: its number and its token.
    public var generation: UInt64?
    public var snapshotId: String?
    public var error: String?
    public init(state: String) { self.state = state }
}

/// What a reset of the cache threw away, and the commit that the export starts from.
public struct ResetReply: Codable, Equatable, Sendable {
    public var success = true
    /// Of acknowledged writes that no commit had; absent if the volume did not run.
    public var discardedUnpublishedBytes: UInt64?
    public var discardedJournalBytes: UInt64
    public var sequence: UInt64
    public var epoch: UInt32
    public init(discardedJournalBytes: UInt64, sequence: UInt64, epoch: UInt32) {
        self.discardedJournalBytes = discardedJournalBytes
        self.sequence = sequence
        self.epoch = epoch
    }
}

/// The reply of operations that only succeed.
public struct DoneReply: Codable, Equatable, Sendable {
    public var success = true
    public init() {}
}

/// Whether the daemon can do its job now, and if not, why.
public struct Readiness: Codable, Equatable, Sendable {
    public var ready: Bool
    public var reasons: [String]
    public init(reasons: [String]) {
        ready = reasons.isEmpty
        self.reasons = reasons
    }
}

/// Any failure.
public struct ErrorReply: Codable, Equatable, Sendable {
    public var success = false
    /// What, why and what to do, joined as on the command line.
    public var error: String
    public var code: String
    public init(error: String, code: String) {
        self.error = error
        self.code = code
    }
}
