// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How the control plane reaches running volumes. The daemon implements it by messages to shards and
// waits for their answers; tests implement it in memory. Calls block, come from any thread, and for
// one volume never overlap but for `status` and `clientCounts`.

public import Committer
public import HostIO
public import Primitives

/// Names a volume that runs on this host.
public struct ServedVolume: Hashable, Sendable {
    public let volume: VolumeID
    /// Nil for the volume itself, as its one writer. Else a read-only view of that commit, which
    /// may run beside it.
    public let snapshot: CommitSequence?

    public init(_ volume: VolumeID, snapshot: CommitSequence? = nil) {
        self.volume = volume
        self.snapshot = snapshot
    }
}

/// Why a commit is asked for: for logs and counters.
public enum CommitReason: String, Sendable, CaseIterable {
    case drain
    case snapshot
    case fork
    case rollback
    case detach
    case shutdown
}

/// A published commit, as a reply shows it.
public struct CommitSummary: Equatable, Sendable {
    public let sequence: CommitSequence
    public let token: Token
    public let labelSeconds: UInt64

    public init(sequence: CommitSequence, token: Token, labelSeconds: UInt64) {
        self.sequence = sequence
        self.token = token
        self.labelSeconds = labelSeconds
    }

    /// The opaque value that API replies call `manifest_etag`.
    public var etag: String { token.description }
}

/// Clients connected to a volume.
public struct ClientCounts: Equatable, Sendable {
    public let readers: Int
    public let writers: Int

    public init(readers: Int, writers: Int) {
        self.readers = readers
        self.writers = writers
    }
}

/// The volumes that run on this host.
public protocol VolumeHost: Sendable {
    associatedtype Storage: StorageDirectory

    /// Recovers what `claim` says is to be recovered, and puts the volume into a shard. On return
    /// it serves. Failure leaves nothing running.
    func attach(_ claim: VolumeClaim<Storage>) throws(UserError)

    /// Publishes everything acknowledged before the call; the head itself if there is nothing.
    /// `deadline` bounds the wait for the store: then `storeAway`, and nothing has changed.
    func commitAll(
        _ volume: VolumeID, reason: CommitReason, deadline: Instant?
    ) throws(UserError) -> CommitSummary

    /// Ends the volume's sessions and takes it off its shard. With `clean` everything is committed
    /// first and the last commit says `clean`; if that fails the volume stays and serves on.
    /// Without, what is not committed stays in the journal. Absent is success (and nil, as it is
    /// for a snapshot).
    @discardableResult
    func detach(
        _ served: ServedVolume, clean: Bool, deadline: Instant?
    ) throws(UserError) -> CommitSummary?

    /// Grows the volume: returns after the journal record is synced.
    func resize(_ volume: VolumeID, to size: ByteCount) throws(UserError)

    /// Publishes a commit with the tables of `target` at the volume's size and block size. No
    /// journal explains it, so one that is pending after a crash must be resolved before the volume
    /// serves. Fails with `conflict` if a client has the volume open for writing, checked in the
    /// turn that does it. Nobody may connect until it is published: also where that is after the
    /// failure `storeAway`.
    func rollback(
        _ volume: VolumeID, to target: LocalRoot
    ) throws(UserError) -> CommitSummary

    /// Publishes a commit without the record of an unclean take-over.
    func acknowledge(_ volume: VolumeID) throws(UserError) -> CommitSummary

    /// Begins to store the whole volume again, as a fresh base; if that has begun it goes on.
    /// Returns at once: `status` says how it goes.
    func compact(_ volume: VolumeID) throws(UserError)

    /// Nil if it does not run here.
    func status(_ served: ServedVolume) -> VolumeStatus?

    func clientCounts(_ served: ServedVolume) -> ClientCounts

    /// Closes all connections to it.
    func disconnect(_ served: ServedVolume)
}
