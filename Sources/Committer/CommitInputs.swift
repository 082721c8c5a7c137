// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a commit is made of, and what comes out.

public import Formats
public import HostIO
public import Journal
public import Primitives
public import VolumeMap

/// How packs are made.
public struct PackSettings: Equatable, Sendable {
    /// Bytes of frames at which a pack is closed.
    public var targetBytes: Int
    /// How frames are stored, unless they do not shrink.
    public var codec: Codec
    /// How hard zstd tries.
    public var zstdLevel: Int

    public init(
        targetBytes: Int = Limits.packBytesTarget, codec: Codec = .lz4, zstdLevel: Int = 1
    ) {
        precondition(targetBytes > 0 && targetBytes <= Limits.packBytesTarget * 4)
        precondition((1...19).contains(zstdLevel))
        self.targetBytes = targetBytes
        self.codec = codec
        self.zstdLevel = zstdLevel
    }
}

/// Everything that one commit is built from. The parent, the frozen memtable and the frozen journal
/// belong together: the memtable indexes exactly the records after the parent's cut up to `cut`.
public struct CommitInputs<Storage: StorageDirectory>: Sendable {
    public var parent: Root
    /// Frozen: nobody changes it any more.
    public var frozen: Memtable
    public var journal: FrozenJournal<Storage>
    /// The size at the cut: the parent's or larger.
    public var newSize: ByteCount
    public var sequence: CommitSequence
    public var epoch: Epoch
    public var state: CommitState
    public var isFence: Bool
    public var token: Token
    /// The token of the commit at `sequence - 1`: the parent's, unless the map comes from
    /// elsewhere.
    public var parentToken: Token
    public var cut: RecordSequence
    public var labelSeconds: UInt64
    public var uncleanTakeover: UncleanTakeover?
    public var settings: PackSettings
    /// Blocks to be stored again although nobody has written them.
    public var relocation: Relocation?
    /// What earlier tries of this commit have done; nil: there is only this one.
    public var progress: CommitProgress?

    /// The next commit of the parent's own history.
    public init(
        parent: Root, frozen: Memtable, journal: FrozenJournal<Storage>, newSize: ByteCount,
        cut: RecordSequence, state: CommitState, token: Token, labelSeconds: UInt64,
        settings: PackSettings = PackSettings()
    ) {
        self.parent = parent
        self.frozen = frozen
        self.journal = journal
        self.newSize = newSize
        self.cut = cut
        self.state = state
        self.token = token
        self.labelSeconds = labelSeconds
        self.settings = settings
        sequence = parent.commit.sequence.next
        epoch = parent.commit.epoch
        isFence = false
        parentToken = parent.commit.token
        uncleanTakeover = parent.commit.uncleanTakeover
    }
}

/// What a commit did and cost.
public struct CommitStatistics: Equatable, Sendable {
    /// Blocks that the memtable held as leaves.
    public var blocks = 0
    /// Of them: content as before.
    public var blocksUnchanged = 0
    /// Of them: became zeros.
    public var blocksZeroed = 0
    /// Of them: became one full frame.
    public var blocksWhole = 0
    /// Of them: got a delta frame on their stack.
    public var blocksStacked = 0
    /// Stacks whose base was fetched, because a frame more would have been too many.
    public var stacksMerged = 0
    /// Blocks stored again unwritten, and blocks that were not what was gathered any more.
    public var blocksMoved = 0
    public var blocksOutrun = 0
    /// Frames written, and blocks that share one of them.
    public var frames = 0
    public var framesShared = 0
    /// Bytes of frames with their headers, of nodes, and of table pages in packs and commit.
    public var frameBytes = 0
    public var nodes = 0
    public var nodeBytes = 0
    public var pages = 0
    public var pageBytes = 0
    /// Packs put, and their bytes.
    public var packs = 0
    public var packBytes = 0
    /// Bytes of the commit object.
    public var commitBytes = 0
    /// Requests to the store so far; publishing adds one PUT.
    public var puts = 0
    public var gets = 0
    public var getBytes = 0

    public init() {}
}

/// A commit whose packs are in the store and which itself is not.
public struct PreparedCommit: Sendable {
    /// The commit and its exact bytes, for `root/<seq>.pending` and the PUT.
    public let root: LocalRoot
    public let statistics: CommitStatistics

    public init(root: LocalRoot, statistics: CommitStatistics) {
        self.root = root
        self.statistics = statistics
    }
}
