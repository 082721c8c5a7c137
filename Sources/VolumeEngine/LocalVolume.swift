// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A volume's folder in the cache directory, and the way from there to a running volume: replay the
// journal beyond the root's cut into memtables, seal it, and hand everything to a shard.
//
//   <cache>/volumes/<volume-id>/root/      the newest published commit, the pending one
//   <cache>/volumes/<volume-id>/journal/   segments

public import Committer
import Documents
public import Formats
public import HostIO
public import Journal
public import Primitives
import VolumeMap

/// Why a volume could not be opened from its folder. The files are left as they are.
public enum VolumeOpenError: Error, Equatable, Sendable {
    case local(HostIOError)
    case journal(JournalError)
    case root(CommitError)
    /// The pending commit's cut lies beyond what the journal holds: records it packed are gone.
    case journalEndsEarly(last: RecordSequence, pendingCut: RecordSequence)
}

/// What is known of a volume before its journal is read.
public struct VolumeOpening: Sendable {
    /// The commit to start from.
    public var root: Commit
    /// A commit behind the root whose PUT is not resolved.
    public var pending: LocalRoot?
    /// Whether the journal's records beyond the root's cut are replayed; false: there are none.
    public var adoptsJournal: Bool
    /// False: the head must be seen to equal the root before anything is published.
    public var isHeadConfirmed: Bool
    public var epoch: Epoch
    /// Disk budget, boot and chance, as the journal wants them.
    public var bootID: BootID

    public init(
        root: Commit, pending: LocalRoot?, adoptsJournal: Bool, isHeadConfirmed: Bool,
        epoch: Epoch, bootID: BootID
    ) {
        self.root = root
        self.pending = pending
        self.adoptsJournal = adoptsJournal
        self.isHeadConfirmed = isHeadConfirmed
        self.epoch = epoch
        self.bootID = bootID
    }
}

/// Everything a volume starts with. Made on a worker, consumed by `Volume.init` on its shard.
public struct VolumeSeed<Storage: StorageDirectory>: Sendable {
    let root: Root
    let size: ByteCount
    let epoch: Epoch
    let journal: JournalStart<Storage>
    let active: Memtable
    let frozen: Memtable?
    let pendingRun: CommitRun<Storage>?
    let uncommittedBytes: UInt64
    let frozenBytes: UInt64
    let isReadOnly: Bool
    let isHeadVerified: Bool
    /// What is used of the host's disk budget; nil for what is never written.
    let space: SpaceGauge?

    /// A view of a commit that nobody can write.
    /// `directory` names where a journal would be; it is never touched.
    public static func readOnly(_ commit: Commit, directory: Storage) -> VolumeSeed {
        let journal = JournalStart<Storage>.fresh(
            volume: commit.volume, bootID: .zero, directory: directory, cut: commit.cut)
        return VolumeSeed(
            root: Root(commit: commit), size: commit.size, epoch: commit.epoch,
            journal: journal, active: Memtable(blockBytes: commit.blockBytes),
            frozen: nil, pendingRun: nil, uncommittedBytes: 0, frozenBytes: 0, isReadOnly: true,
            isHeadVerified: true, space: nil)
    }
}

/// The folder of one volume. Calls block; a worker makes them.
public struct LocalVolume<Storage: StorageDirectory>: Sendable {
    public let volume: VolumeID
    public let directory: Storage
    public let roots: RootDirectory<Storage>
    /// The folder `journal/`.
    public let journal: Storage

    /// Makes the folders, durably, where they are absent.
    public init(volume: VolumeID, directory: Storage) throws(VolumeOpenError) {
        self.volume = volume
        self.directory = directory
        do throws(HostIOError) {
            journal = try directory.directory("journal", create: true)
        } catch { throw .local(error) }
        // Syncs this folder, and so the name above with its own: thousands of volumes are opened at
        // a start, and each sync is a flush of the disk.
        do throws(CommitError) { roots = try RootDirectory(volumeDirectory: directory) } catch {
            throw .root(error)
        }
    }

    /// Replays and seals the journal. On return everything that was ever acknowledged beyond the
    /// root is in memtables, and nothing that was not; what may be appended from now on cannot be
    /// confused with a torn tail of before. A crash at any point leaves a folder that recovers to
    /// the same.
    public func open(
        _ opening: VolumeOpening, pool: SegmentPool<Storage>
    ) throws(VolumeOpenError) -> VolumeSeed<Storage> {
        var replay = Replay(opening)
        let start: JournalStart<Storage>
        do throws(JournalError) {
            let recovered = try JournalRecovery.recover(
                directory: journal, volume: volume, cut: opening.root.cut, bootID: opening.bootID
            ) { replay.apply($0) }
            Failpoint.recoveryBeforeSeal.hit()
            start = try recovered.seal(pool: pool)
            Failpoint.recoveryAfterSeal.hit()
        } catch { throw .journal(error) }
        return try replay.finish(start, space: pool.gauge)
    }

    /// Notes durably that the journal was closed by a failure, so that a restart does not trust it.
    /// The note is best effort: the disk that failed is the one it is written to.
    public func recordFailure(_ failure: VolumeFailure, labelSeconds: UInt64) {
        let mark = FailedMark(
            volume: volume, reason: failure.reason, labelSeconds: labelSeconds)
        try? directory.replaceDurably("failed", with: mark.encoded)
    }
}

/// Builds memtables from recovered units.
private struct Replay {
    private let opening: VolumeOpening
    private var active: Memtable
    private var frozen: Memtable?
    private var size: ByteCount
    private var last: RecordSequence
    private var bytes: UInt64 = 0
    private var frozenBytes: UInt64 = 0

    init(_ opening: VolumeOpening) {
        self.opening = opening
        active = Memtable(blockBytes: opening.root.blockBytes)
        size = opening.root.size
        last = opening.root.cut
        // A commit without records of its own (a close, a rollback) freezes nothing.
        freezeIfPendingCutReached()
    }

    mutating func apply(_ unit: RecoveredUnit) {
        for record in unit.records {
            last = record.record.sequence
            switch record.record.kind {
            case .write:
                active.set(
                    firstGrain: GrainIndex(record.record.grains.lowerBound),
                    count: record.record.grains.count, firstPage: record.page)
                bytes += record.record.length
            case .zero, .trim: active.setZero(grains: record.record.grains)
            case .resize: size = max(size, ByteCount(record.record.length))
            case .cut, .published, .epoch: break
            }
        }
        freezeIfPendingCutReached()
    }

    private mutating func freezeIfPendingCutReached() {
        guard let pending = opening.pending, frozen == nil, last >= pending.commit.cut else {
            return
        }
        active.freeze()
        frozen = active
        frozenBytes = bytes
        bytes = 0
        active = Memtable(blockBytes: opening.root.blockBytes)
    }

    func finish<Storage>(
        _ start: JournalStart<Storage>, space: SpaceGauge
    ) throws(VolumeOpenError) -> VolumeSeed<Storage> {
        let root = Root(commit: opening.root)
        var run: CommitRun<Storage>?
        if let pending = opening.pending {
            guard frozen != nil else {
                throw .journalEndsEarly(last: last, pendingCut: pending.commit.cut)
            }
            run = CommitRun(resolving: pending, parent: root)
        }
        return VolumeSeed(
            root: root, size: size, epoch: opening.epoch, journal: start, active: active,
            frozen: frozen, pendingRun: run, uncommittedBytes: bytes, frozenBytes: frozenBytes,
            isReadOnly: false, isHeadVerified: opening.isHeadConfirmed, space: space)
    }
}
