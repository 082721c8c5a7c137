// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One commit on its way: cut and frozen by the shard, carried by workers from build to promotion.
// It remembers how far it came, so that a store that was away is asked again with the same bytes
// and a commit is never built twice once its bytes may have reached the store.

public import Committer
public import Formats
public import HostIO
public import Journal
public import Primitives
public import VolumeMap

/// What the new root is to hold.
public enum CommitContent<Storage: StorageDirectory>: Sendable {
    /// The parent with a frozen memtable on top.
    case frozen(Memtable, FrozenJournal<Storage>)
    /// The parent's tables unchanged: only state, size or cut differ.
    case unchanged
    /// Another commit's tables at the present size: a rollback.
    case tables(Root)
}

/// Where a run stands; each step is durable before the next begins.
public enum CommitStep: Equatable, Sendable {
    case build
    /// The bytes exist, and no request has carried them.
    case pending
    /// They lie in `root/N.pending`, durably, and may have been PUT.
    case publish
    /// In the store; the local root is still to be renamed.
    case promote
}

/// How a run ended.
public enum CommitOutcome: Sendable {
    case published(Root)
    /// The store or a needed object is away: run it again, later.
    case postponed(String)
    case fenced(String)
    case failed(VolumeFailure)
}

public final class CommitRun<Storage: StorageDirectory>: @unchecked Sendable {
    // Confined: to the worker that performs it, between its effect and its event; the shard that
    // passes it on reads only the constants.
    public let parent: Root
    public let content: CommitContent<Storage>
    public let sequence: CommitSequence
    public let epoch: Epoch
    public let state: CommitState
    public let size: ByteCount
    public let cut: RecordSequence
    public let labelSeconds: UInt64
    /// False for the first commit after a start without the store: the head must still be the
    /// parent.
    public let isHeadVerified: Bool
    /// It was begun in an earlier life.
    let isFound: Bool
    /// Blocks that the commit stores again although nobody has written them.
    let relocation: Relocation?
    /// Whether the parent's record of an unclean take-over is copied.
    public let keepsTakeover: Bool

    var step = CommitStep.build
    /// Of the tries to build.
    let progress = CommitProgress()
    var built: LocalRoot?

    init(
        parent: Root, content: CommitContent<Storage>, epoch: Epoch, state: CommitState,
        size: ByteCount, cut: RecordSequence, labelSeconds: UInt64, isHeadVerified: Bool,
        keepsTakeover: Bool, relocation: Relocation? = nil
    ) {
        self.parent = parent
        self.content = content
        sequence = parent.commit.sequence.next
        self.epoch = epoch
        self.state = state
        self.size = size
        self.cut = cut
        self.labelSeconds = labelSeconds
        self.isHeadVerified = isHeadVerified
        isFound = false
        self.keepsTakeover = keepsTakeover
        self.relocation = relocation
    }

    /// The next commit of this history, with the tables of `tables`, which may be another volume's.
    func successor(with tables: Commit, token: Token) -> LocalRoot {
        var commit = tables
        commit.volume = parent.commit.volume
        commit.sequence = sequence
        commit.epoch = epoch
        commit.token = token
        commit.parentToken = parent.commit.token
        commit.state = state
        commit.isFence = false
        commit.keepsContent = false
        commit.copied = nil
        commit.size = size
        commit.cut = cut
        commit.labelSeconds = labelSeconds
        commit.uncleanTakeover = keepsTakeover ? parent.commit.uncleanTakeover : nil
        return LocalRoot(commit: commit, bytes: commit.encode())
    }

    /// A run found half done after a restart: only ever retried with the pending bytes.
    public init(resolving pending: LocalRoot, parent: Root) {
        self.parent = parent
        content = .unchanged
        sequence = pending.commit.sequence
        epoch = pending.commit.epoch
        state = pending.commit.state
        size = pending.commit.size
        cut = pending.commit.cut
        labelSeconds = pending.commit.labelSeconds
        isHeadVerified = true
        isFound = true
        keepsTakeover = true
        relocation = nil
        built = pending
        step = .publish
    }
}
