// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What `status` says of a volume.

public import Formats
public import ObjectStore
public import Primitives

/// What a volume is doing.
public enum OperationState: String, Sendable, CaseIterable {
    /// Known by name, not running here.
    case detached
    case serving
    case committing
    case draining
    /// Writes wait: for space, or for the store.
    case stalled
    case readOnly = "readonly"
    /// Another host owns the volume now.
    case fenced
    /// Closed for writing; `failure` says why.
    case failed
}

/// What became of the last request for a fresh base.
public enum FreshBaseState: Equatable, Sendable {
    case running(blocksDone: UInt64, blocksTotal: UInt64)
    /// The last of its commits.
    case done(sequence: CommitSequence, etag: String)
    case failed(String)
}

/// A snapshot of a volume's state. Counts are those of this host.
public struct VolumeStatus: Equatable, Sendable {
    public var volume: VolumeID
    public var size: ByteCount
    public var blockBytes: Int
    public var isReadOnly: Bool
    public var state: OperationState
    /// The newest commit; none if it is not known here.
    public var sequence: CommitSequence
    public var epoch: Epoch
    /// Bytes of journal held on local disk.
    public var journalBytes: UInt64 = 0
    public var journalSegments: Int = 0
    /// Segments that hold nothing any more and that the disk would not let go of: tried again.
    public var unreturnedSegments: Int = 0
    /// Blocks with acknowledged content that no commit has.
    public var dirtyBlocks: UInt64 = 0
    /// Age of the oldest acknowledged write that is not published; zero if there is none.
    public var unpublishedAgeSeconds: UInt64 = 0
    public var unpublishedBytes: UInt64 = 0
    /// How hard writers are slowed because the disk budget is short: 0 to 100.
    public var slowdownPercent: Int = 0
    /// Why writers wait or get errors by policy.
    public var stall: String?
    /// How long commits have not come through; zero if the last one did.
    public var storeAwaySeconds: UInt64 = 0
    /// What last went wrong and is not over.
    public var lastError: String?
    public var uncleanTakeover: UncleanTakeover?
    /// Why it is failed or fenced.
    public var failure: String?
    /// What it asked of the store since it was opened here.
    public var requests = StoreCounts()
    /// Bytes of the packs that its last commit refers to, if that is known.
    public var storedBytes: UInt64?
    /// What those requests, going on as since it was opened, and those bytes cost a month.
    public var requestDollarsPerMonth = 0.0
    public var storedDollarsPerMonth: Double?
    /// Nil: none was asked for since it was opened here.
    public var freshBase: FreshBaseState?
    public var readers: Int = 0
    public var writers: Int = 0

    public init(
        volume: VolumeID, size: ByteCount, blockBytes: Int, isReadOnly: Bool,
        state: OperationState, sequence: CommitSequence = .none, epoch: Epoch = Epoch(0)
    ) {
        self.volume = volume
        self.size = size
        self.blockBytes = blockBytes
        self.isReadOnly = isReadOnly
        self.state = state
        self.sequence = sequence
        self.epoch = epoch
    }
}
