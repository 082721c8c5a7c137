// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A volume: the synchronous state machine behind one virtual disk. Confined to its shard's thread:
// no locks, no suspension, no clock of its own. Requests come in by `BlockDevice`, effects go out
// by `nextEffect`, their results come back by `handle`.
//
//   write  ─▶ staged ─▶ endTurn: one append ─▶ active memtable ─▶ completion
//   read   ─▶ active ─▶ frozen ─▶ map (clean cache) ─▶ missing: effect fetch, request parked
//   flush  ─▶ one sync for all that wait ─▶ completions
//   commit ─▶ cut record ─▶ freeze ─▶ sync ─▶ effect commit ─▶ new root, frozen dropped
//
// Invariants, restored after every call:
//   1. active, frozen and root, in that order, are together exactly what was acknowledged.
//   2. A record is applied to the active memtable only after the append that holds it returned.
//   3. At most one commit runs; the frozen memtable exists exactly while one does.
//   4. A segment is given back only after a commit whose cut is at or past its last record is root.
// The parts: Volume+Read, +Write, +Zero, +Flush, +Fetch, +Commit, +Compact, +Returns, +Events,
// +Status.

public import BlockDevice
public import CleanCache
import Committer
import Formats
public import HostIO
import Journal
public import Primitives
public import VolumeMap

/// When a volume commits, and how.
public struct VolumeOptions: Sendable {
    /// Bytes of uncommitted journal at which a commit starts.
    public var commitBytes: UInt64 = 64 << 20
    /// Weight of the memtable at which a commit starts, and at which writers wait for one. Zeros
    /// and trims make entries and next to no journal bytes, so neither the disk budget nor
    /// `commitBytes` bounds them. A quarter of the journal's bytes comes on top of both: that much
    /// the leaves of written blocks may take, and those the disk budget bounds.
    public var commitIndexBytes: UInt64 = 16 << 20
    public var indexBytesMax: UInt64 = 64 << 20
    /// Age of the oldest uncommitted write at which a commit starts.
    public var commitAgeSeconds: UInt64 = 30
    /// Age of the oldest unpublished write beyond which writers wait; nil: never.
    public var unpublishedSecondsMax: UInt64?
    /// What writers get when the disk budget is used up.
    public var whenFull = StallPolicy.pause
    /// What writers get when an unpublished write is older than `unpublishedSecondsMax`.
    public var whenUnpublished = StallPolicy.pause
    /// How long the store may be away before reads that need it fail; nil: they wait for ever.
    public var readDeadlineSeconds: UInt64?
    /// When blocks are stored again that nobody has written; nil: only if it is asked for.
    public var compaction: CompactionOptions?
    public init() {}
}

/// What a writer gets that cannot be served for now.
public enum StallPolicy: Sendable {
    /// It waits, without a deadline.
    case pause
    /// An error, until there is room again.
    case fail
    /// As of a read-only device, until there is room again.
    case refuse
}

/// Whether writes are taken.
enum WriteGate {
    case open
    case closed(VolumeFailure)
}

/// Where the running commit stands.
enum CommitPhase<Storage: StorageDirectory> {
    case idle
    /// Cut and frozen; waits for the journal to be synced up to `batch`.
    case syncing(CommitRun<Storage>, batch: BatchNumber)
    /// With a worker.
    case running
    /// The store is away or the run was refused for now; tried again at `until`.
    case backingOff(CommitRun<Storage>, until: Instant)
}

public struct Volume<Storage: StorageDirectory>: BlockDevice, ~Copyable {
    public let id: VolumeID
    public let blockBytes: Int
    let blockShift: UInt64
    let cache: CleanCache
    let options: VolumeOptions
    /// What is used of the host's disk budget.
    let space: SpaceGauge?

    // What was acknowledged (invariant 1).
    public internal(set) var size: ByteCount
    var active: Memtable
    var frozen: Memtable?
    var map: MapReader
    var journal: Journal<Storage>
    let epoch: Epoch

    // Staged in the present turn (Volume+Write).
    var staged = StagedTurn()
    var edges = EdgePages()
    /// How writers are slowed while the disk budget is short.
    var pace = WritePace()

    // Flushes and resizes that wait for a sync (Volume+Flush).
    var flushWaiting: [SyncWaiter] = []
    var flushInFlight: [SyncWaiter] = []
    var isSyncInFlight = false
    var resizesWaiting: [(request: ControlRequest, size: ByteCount)] = []

    /// Blocks whose bytes a `view` told of, until it ends.
    var viewed: [CachedBlock] = []

    // Parked requests and what they wait for (Volume+Fetch).
    var parks = ParkTable()
    var fetches = FetchTable()
    var readAhead = ReadAhead()
    var segmentsOrdered = 0
    var returns = SegmentReturns<Storage>()
    /// Payload pages of the largest request that waits for room.
    var pagesWanted = 0

    // Commits (Volume+Commit).
    var phase: CommitPhase<Storage> = .idle
    var commitWaiters: [CommitWaiter] = []
    var closing: CommitState?
    var isHeadVerified: Bool
    var uncommittedBytes: UInt64 = 0
    var frozenBytes: UInt64 = 0
    /// Of the active memtable, after the last append.
    var indexWeight: UInt64 = 0
    var oldestActive: Instant?
    var oldestFrozen: Instant?
    var backoffSeconds: UInt64 = 0
    /// When the first commit did not come through, with none after it that did.
    var storeAwaySince: Instant?

    /// What is stored again unwritten (Volume+Compact).
    var compaction: Compaction

    var gate: WriteGate
    var now: Instant
    /// Seconds since 1970, a label in commits.
    var wallSeconds: UInt64 = 0
    /// A commit without records of its own was pending at the start and may change the content when
    /// it is resolved: nothing is served before.
    var isResolving = false
    /// The disk budget was used up at the last look.
    var isFull = false
    /// The disk budget was used up, and nothing says that it is not any more.
    var isShortOfDisk = false
    /// With it: not the budget, the disk itself.
    var isDiskFull = false
    /// A writer waits on a full disk: one commit, which may free segments, is due.
    var wantsSpace = false
    /// The pool had no segment or failed: it is asked again after a tick or a commit.
    var isPoolResting = false
    var lastError: String?
    var counters = VolumeCounters()

    var completions = RingQueue<Completion>()
    var effects = RingQueue<VolumeEffect<Storage>>()

    /// Takes over what `LocalVolume` recovered or the control plane claimed. If a pending commit
    /// was found, its resolution is the first effect.
    public init(
        _ seed: consuming VolumeSeed<Storage>, cache: CleanCache, options: VolumeOptions,
        now: Instant
    ) {
        let root = seed.root
        id = root.commit.volume
        blockBytes = root.blockBytes
        blockShift = UInt64(blockBytes.trailingZeroBitCount)
        self.cache = cache
        self.options = options
        space = seed.space
        self.now = now
        compaction = Compaction(now: now, options: options.compaction)
        size = seed.size
        active = seed.active
        frozen = seed.frozen
        epoch = seed.epoch
        gate = seed.isReadOnly ? .closed(.readOnly) : .open
        isHeadVerified = seed.isHeadVerified
        map = MapReader(root: root, cache: cache)
        let pendingRun = seed.pendingRun
        uncommittedBytes = seed.uncommittedBytes
        frozenBytes = seed.frozenBytes
        indexWeight = seed.active.weight
        oldestActive = seed.active.isEmpty && seed.size == root.size ? nil : now
        oldestFrozen = seed.frozen == nil ? nil : now
        journal = Journal(starting: seed.journal)
        if let pendingRun {
            let isSame = pendingRun.built?.commit.keepsContent ?? false
            isResolving = (seed.frozen?.isEmpty ?? true) && !(isSame && pendingRun.state == .open)
            phase = .running
            effects.append(.commit(pendingRun))
        }
    }

    public var root: Root { map.root }

    public var geometry: DeviceGeometry {
        var isReadOnly = false
        if case .closed(.readOnly) = gate { isReadOnly = true }
        return DeviceGeometry(size: size, blockBytes: blockBytes, isReadOnly: isReadOnly)
    }

    /// Ends the turn: appends what was staged, starts the sync that waiters need, starts a commit
    /// that is due, asks for journal segments ahead of need.
    public mutating func endTurn() {
        appendStaged()
        startCommitIfDue()
        startSyncIfNeeded()
        orderSegmentsIfWanted()
    }

    /// True while something is staged and not appended: payloads are still lent.
    public var hasStaged: Bool { journal.hasStaged && journal.failure == nil }

    /// Tells the time. Called at least once a second while anything is uncommitted or parked.
    public mutating func tick(_ time: Instant, wallSeconds: UInt64) {
        now = max(now, time)
        self.wallSeconds = wallSeconds
        if case .backingOff(let run, let until) = phase, until <= now {
            phase = .running
            effects.append(.commit(run))
        }
        isPoolResting = false
        isFull = false
        let isInBudget =
            space.map { $0.usedBytes + journal.segmentBytes <= $0.budgetBytes } ?? false
        if isDiskFull ? parks.count == 0 : isInBudget { isShortOfDisk = false }
        fetches.forgetDamaged()
        sendReturns()
        wakeStalled()
        releaseAnswers()
        endTurn()
        releaseIfIdle()
        considerCompaction()
    }

    /// True if `tick` has something to do that only time brings.
    public var needsTicks: Bool {
        if case .backingOff = phase { return true }
        if isPoolResting || returns.retryAt != nil || !fetches.damaged.isEmpty { return true }
        return oldestActive != nil || parks.count > 0 || holdsAnswers || compactionWantsTicks
    }

    /// Answers to writers are held back: `releaseAnswers` is to be called every 10 ms.
    @inline(__always)
    public var holdsAnswers: Bool { pace.held.count > 0 }

    /// Tells the time to the answers that are held back, and gives out those that are due.
    public mutating func releaseAnswers(_ time: Instant) {
        now = max(now, time)
        releaseAnswers()
    }

    /// Gives out all answers that are held back: clients are leaving, or nothing can be written any
    /// more.
    public mutating func releaseAllAnswers() {
        while let tag = pace.next() {
            completions.append(Completion(tag: tag, outcome: .done))
        }
    }

    mutating func releaseAnswers() {
        if !holdsAnswers { return }
        pace.look(at: space)
        while let tag = pace.next(now: now) {
            completions.append(Completion(tag: tag, outcome: .done))
        }
    }

    @inline(__always)
    public mutating func nextCompletion() -> Completion? { completions.popFirst() }

    /// The next thing to be done outside the shard, in order.
    public mutating func nextEffect() -> VolumeEffect<Storage>? { effects.popFirst() }

    public mutating func cancel(tag: RequestTag) { parks.cancel(tag) }

    /// True if a range of `count` bytes at `offset` lies on the device.
    @inline(__always)
    func contains(_ offset: ByteOffset, _ count: UInt64) -> Bool {
        offset.rawValue <= size.rawValue && count <= size.rawValue - offset.rawValue
    }

    /// Closes the volume for writing, for good. The first reason stays.
    mutating func fail(_ failure: VolumeFailure) {
        if case .closed(let earlier) = gate, earlier != .closing { return }
        gate = .closed(failure)
        lastError = failure.reason
        releaseAllAnswers()
        if case .journal = failure { effects.append(.recordFailure(failure)) }
        for waiter in flushWaiting { completeSync(of: waiter, failure: failure) }
        flushWaiting.removeAll(keepingCapacity: true)
        // Each learns by itself what it gets now: writes an error, reads perhaps their data.
        wakeRoomWaiters()
        for (request, _) in resizesWaiting { effects.append(.answer(request, .failed(failure))) }
        resizesWaiting.removeAll()
        for waiter in commitWaiters { effects.append(.answer(waiter.request, .failed(failure))) }
        commitWaiters.removeAll()
        endCompaction(failure)
    }
}
