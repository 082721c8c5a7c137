// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What callers ask of the control plane and what they get, in the domain's types. The API and the
// command line translate to and from their own spellings.

public import Documents
public import Primitives

/// PUT of an export. What is nil is not asked for: a new export takes the default, an existing one
/// stays.
public struct PutRequest: Equatable, Sendable {
    public var size: ByteCount?
    public var blockBytes: Int?
    public var isReadOnly: Bool?
    public var transport: Transport?
    public var source: ForkSource?

    public init(
        size: ByteCount? = nil, blockBytes: Int? = nil, isReadOnly: Bool? = nil,
        transport: Transport? = nil, source: ForkSource? = nil
    ) {
        self.size = size
        self.blockBytes = blockBytes
        self.isReadOnly = isReadOnly
        self.transport = transport
        self.source = source
    }
}

/// An export as lists and replies show it.
public struct ExportInfo: Equatable, Sendable {
    public let name: String
    public let volume: VolumeID
    public let size: ByteCount
    public let blockBytes: Int
    public let isReadOnly: Bool
    public let transport: Transport
    public let state: ExportRef.State
    /// True if the volume runs on this host.
    public let isAttached: Bool
    /// What it was forked from, in the one canonical spelling, and at which commit.
    public let origin: ExportOrigin?
}

/// The commit that a fork was made from.
public struct ForkPoint: Equatable, Sendable {
    public let name: String
    public let sequence: CommitSequence
    /// Seconds since that commit was made, by the clocks of two hosts. Zero if it was made for the
    /// fork.
    public let ageSeconds: UInt64
    /// False if the source is served elsewhere: writes after that commit are not in the fork.
    public let isCurrent: Bool
}

public struct PutReply: Equatable, Sendable {
    public enum Outcome: Equatable, Sendable {
        /// 201
        case created
        /// 200
        case unchanged
        /// 200
        case grown
    }
    public let outcome: Outcome
    public let export: ExportInfo
    /// Of a fork that this request created.
    public let forkedFrom: ForkPoint?
}

public struct SnapshotInfo: Equatable, Sendable {
    public let name: String
    public let sequence: CommitSequence
    public let volume: VolumeID
    public let token: Token
    public let labelSeconds: UInt64
    public let tag: String?

    public var etag: String { token.description }
}

public struct TagInfo: Equatable, Sendable {
    public let tag: String
    /// The export that the commit was of.
    public let export: String
    public let sequence: CommitSequence
    public let volume: VolumeID
    public let token: Token
    public let labelSeconds: UInt64
}

/// What a manifest name stands for.
public struct ManifestInfo: Equatable, Sendable {
    public enum Kind: String, Sendable {
        case base
        case tag
        case snapshot
        case export
    }
    public let kind: Kind
    public let name: String
    public let commit: CommitPointer
    public var etag: String { commit.token.description }
}

public struct RollbackReply: Equatable, Sendable {
    /// The commit that holds the old content again.
    public let sequence: CommitSequence
    public let etag: String
    /// The snapshot that keeps the state before; nil if content was the same already.
    public let keptSnapshot: CommitSequence?
}

/// What a client's attach leads to.
public struct Attachment: Equatable, Sendable {
    public let served: ServedVolume
    public let size: ByteCount
    public let blockBytes: Int
    public let isReadOnly: Bool
}

/// What start found.
public struct StartReport: Equatable, Sendable {
    public let repository: Token?
    /// False if the store is away: only what the cache directory knows can be served until
    /// `refresh`.
    public let isStoreReachable: Bool
    public let exports: Int
}

/// How a shutdown ended. The process exits 0 if `left` is empty.
public struct ShutdownReport: Equatable, Sendable {
    /// Exports that are closed cleanly.
    public var clean: [String] = []
    /// Exports that are left open, with the reason; their journals are kept.
    public var left: [String: UserError] = [:]

    public init() {}
}

/// Runs jobs, all of them, and returns when the last has ended. The caller decides on how many
/// threads.
public typealias JobRunner = @Sendable (_ jobs: [@Sendable () -> Void]) -> Void
