// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a volume asks of the world, and what it hears back. The volume itself never blocks: it hands
// out effects, workers carry them out (`VolumeWorker`), and each ends in one event in the shard's
// mailbox. The simulator does the same from one thread, in an order that its seed decides.

public import HostIO
public import Journal
public import Primitives
public import VolumeMap

/// Names a request of the control plane to one volume, so that its answer finds the way back.
public struct ControlRequest: Hashable, Sendable {
    public let number: UInt64
    public init(number: UInt64) { self.number = number }
}

/// How a request of the control plane ended.
public enum ControlAnswer: Sendable {
    /// Everything acknowledged before the request is in this commit.
    case committed(Root)
    /// The device has the new size, durably.
    case resized(ByteCount)
    case failed(VolumeFailure)
}

/// Names one fetch of one volume.
public struct FetchNumber: Hashable, Sendable {
    public let number: UInt64
}

/// Blocks to bring into the clean cache.
public struct FetchOrder: Sendable {
    public let number: FetchNumber
    public let root: Root
    /// Ascending. With `mapOnly`, their map nodes are enough.
    public let blocks: [BlockIndex]
    public let mapOnly: Bool
}

/// Journal pages to bring into the page cache, because a read found them cold.
public struct WarmOrder<Storage: StorageDirectory>: Sendable {
    public let number: FetchNumber
    public let segment: SegmentFile<Storage>
    public let offset: UInt64
    public let count: Int
}

/// Work for a worker thread. Every case but `answer` ends in exactly one event, except
/// `startWriteback` and `recordFailure`, which end in none.
public enum VolumeEffect<Storage: StorageDirectory>: Sendable {
    case sync(SyncWork<Storage>)
    case startWriteback(SegmentFile<Storage>, offset: UInt64, count: UInt64)
    /// Move segments from the pool into the volume's journal directory, under these numbers.
    case takeSegments(numbers: [UInt64])
    /// Give segments back to the pool, in this order.
    case retire([SegmentFile<Storage>])
    case fetch(FetchOrder)
    case warm(WarmOrder<Storage>)
    case commit(CommitRun<Storage>)
    case gather(GatherOrder)
    /// Note durably that the journal can no longer be trusted.
    case recordFailure(VolumeFailure)
    /// For the shell itself: wake the control request.
    case answer(ControlRequest, ControlAnswer)
}

/// What became of an effect.
public enum VolumeEvent<Storage: StorageDirectory>: Sendable {
    case synced(SyncWork<Storage>, failure: HostIOError?)
    /// Fewer than asked for, with `isFull`: the disk budget is used up; with a failure too: the
    /// disk itself is full.
    case segmentsTaken([SegmentFile<Storage>], isFull: Bool, failure: HostIOError?)
    case fetched(FetchNumber, failure: FetchError?)
    case warmed(FetchNumber, failure: HostIOError?)
    /// With a failure: what is left, in the order given.
    case retired(left: [SegmentFile<Storage>], failure: HostIOError?)
    case commitEnded(CommitRun<Storage>, CommitOutcome)
    case gathered(GatherOrder, GatherOutcome)
}

/// Why a volume does not serve writes (or anything) any more. Sticky until it is opened anew.
public enum VolumeFailure: Error, Equatable, Sendable {
    /// The journal could not be written or synced; that file is never trusted again.
    case journal(HostIOError)
    /// The journal's content did not match its checksums when it was to be packed.
    case journalRotted(String)
    /// Another writer has taken the volume; ours is kept for salvage.
    case fenced(String)
    /// The volume is being closed.
    case closing
    case readOnly
    case refused(String)

    /// One line for people.
    public var reason: String {
        switch self {
        case .journal(let error): "the journal failed: \(error)"
        case .journalRotted(let detail): "the journal does not match its checksums: \(detail)"
        case .fenced(let detail): "fenced: \(detail)"
        case .closing: "the volume is being closed"
        case .readOnly: "the volume is read-only"
        case .refused(let detail): detail
        }
    }
}
