// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a transport knows of a volume. A device lives on one shard and is called by that shard's
// thread alone: no locks, no suspension. A call never blocks: what cannot be answered at once is
// *parked* by the caller and submitted again, whole, when the device says so.
//
//   transport                         device
//   ─────────                         ──────
//   view ───────────────▶ true         (bytes lie there until endView) │ false: read
//   read ───────────────▶ done         (bytes are in the caller's buffer)
//                         parked       ... later: completion .retry(tag) ─▶ read again
//   write ──────────────▶ staged       (bytes lent until endTurn) ... completion .done(tag)
//                         parked       ... later: .retry(tag) ─▶ write again, same bytes
//   flush ──────────────▶ staged       ... completion .done(tag) after the sync
//   endTurn ────────────▶ appends everything staged with one system call
//   nextCompletion ─────▶ what became of staged and parked requests, in order
//
// Starting over, instead of holding a half-done request, is what keeps a read from laying an old
// base under a newer memtable, and a merge from using a base that was overwritten while it waited.

public import Primitives

/// Names one request of one transport session. Opaque to the device.
public struct RequestTag: Hashable, Sendable {
    /// The session's number on its shard, never reused while requests of it are in flight.
    public var session: UInt32
    /// The session's own slot for the request.
    public var slot: UInt32
    /// The client's cookie.
    public var cookie: UInt64

    @inline(__always)
    public init(session: UInt32, slot: UInt32, cookie: UInt64) {
        self.session = session
        self.slot = slot
        self.cookie = cookie
    }
}

/// Why a request failed. Transports translate it once, to their protocol's code.
public enum BlockError: UInt8, Error, Sendable, CaseIterable {
    /// Beyond the end of the device, or not a shape the device takes.
    case outOfRange = 1
    /// The local disk or the object store failed it, or the volume is closed for writing.
    case failed
    /// The device is read-only, or was fenced.
    case readOnly
    /// No space for another write, and the policy is not to wait.
    case noSpace
    /// Cannot be done fast: a FAST_ZERO that would need a backfill.
    case notSupported
    /// The export is being closed.
    case shuttingDown
}

/// What became of a submission, at once.
public enum Submission: Equatable, Sendable {
    /// Complete. For a read: the caller's buffer is filled.
    case done
    /// Accepted: a completion with its tag follows. Payload bytes stay lent until `endTurn`.
    case staged
    /// Not accepted yet and not remembered but for its tag: submit it again after `.retry(tag)`.
    case parked
    case failed(BlockError)
}

/// What the device says later of a request that was staged or parked.
public struct Completion: Sendable {
    public enum Outcome: Equatable, Sendable {
        case done
        case retry
        case failed(BlockError)
    }

    public let tag: RequestTag
    public let outcome: Outcome

    @inline(__always)
    public init(tag: RequestTag, outcome: Outcome) {
        self.tag = tag
        self.outcome = outcome
    }
}

/// How a range of the device is backed, for block status.
public struct Extent: Equatable, Sendable {
    public enum Kind: UInt8, Sendable {
        case data
        /// No storage behind it; reads as zeros.
        case hole
    }
    public let length: ByteCount
    public let kind: Kind

    public init(length: ByteCount, kind: Kind) {
        self.length = length
        self.kind = kind
    }
}

/// How zeros may be written.
public struct ZeroOptions: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Do not leave a hole. Accepted; Martlet never allocates for zeros, it promises space by
    /// policy.
    public static let noHole = ZeroOptions(rawValue: 1)
    /// Fail with `notSupported` rather than be slower than a write.
    public static let fastOnly = ZeroOptions(rawValue: 2)
    /// The range is trimmed: contents become zeros all the same, so that reads are stable.
    public static let trim = ZeroOptions(rawValue: 4)
}

/// The facts a transport announces.
public struct DeviceGeometry: Equatable, Sendable {
    public var size: ByteCount
    /// The map's block, in bytes: what a client may prefer to align to.
    public var blockBytes: Int
    public var isReadOnly: Bool

    public init(size: ByteCount, blockBytes: Int, isReadOnly: Bool) {
        self.size = size
        self.blockBytes = blockBytes
        self.isReadOnly = isReadOnly
    }
}

/// A virtual disk as a transport drives it. Confined to its shard's thread.
///
/// Offsets and lengths are in bytes and may have any alignment. Every method that takes a range
/// fails with `outOfRange` if it leaves the device. A request is never split by recovery: after a
/// crash it is there whole or not at all.
public protocol BlockDevice: ~Copyable {
    var geometry: DeviceGeometry { get }

    /// Fills `buffer` from `offset` on. `done`, `parked` or `failed`; never `staged`. When parked
    /// the buffer's content is undefined.
    mutating func read(
        at offset: ByteOffset, into buffer: UnsafeMutableRawBufferPointer, tag: RequestTag
    ) -> Submission

    /// Appends where the bytes of a range lie to `pieces`, if all of them can be read from memory
    /// as they are. False: they cannot, or the range is not a good one; `pieces` is undefined then,
    /// and `read` does what is to be done. The pieces hold until `endView`, which is to be the next
    /// call to this device.
    mutating func view(at offset: ByteOffset, count: Int, into pieces: inout MemoryPieces) -> Bool

    /// The pieces of the last `view` are not looked at any more.
    mutating func endView()

    /// Stages `payload` for the journal. With `fua` the completion comes after it is synced.
    mutating func write(
        at offset: ByteOffset, payload: UnsafeRawBufferPointer, fua: Bool, tag: RequestTag
    ) -> Submission

    /// Stages zeros over a range of any length, in O(ranges).
    mutating func zero(
        at offset: ByteOffset, count: ByteCount, options: ZeroOptions, fua: Bool, tag: RequestTag
    ) -> Submission

    /// Completes after everything completed before it is on stable local storage.
    mutating func flush(tag: RequestTag) -> Submission

    /// Starts bringing a range into the clean cache; answers at once.
    mutating func prefetch(at offset: ByteOffset, count: ByteCount, tag: RequestTag) -> Submission

    /// Appends extents that cover at most `count` bytes from `offset` on, at least one on `done`,
    /// at most `limit`; neighbours of equal kind are joined.
    mutating func extents(
        at offset: ByteOffset, count: ByteCount, limit: Int, into list: inout [Extent],
        tag: RequestTag
    ) -> Submission

    /// Forgets a parked request, because its session is gone. A staged one still completes.
    mutating func cancel(tag: RequestTag)

    /// Ends the shard's turn: one append of all that was staged.
    mutating func endTurn()

    /// The next completion, or nil. Staged requests of a turn complete in the order of submission.
    mutating func nextCompletion() -> Completion?
}
