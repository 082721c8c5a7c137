// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A host whose volumes are made of the engine's real parts below the shard: journal, memtable,
// commit builder, root directory, publisher. What a guest wrote is a number for each block; the
// content of a commit is known by its digest.

import CleanCache
import Committer
import ControlPlane
import Documents
import Formats
import Glibc
import HostIO
import Journal
import ObjectStore
import Primitives
import Synchronization
import VolumeMap

/// Which content a digest stands for: the seed of each block that is not zeros.
final class ContentBook: Sendable {
    private let contents = Lock<[Hash128: [UInt64: UInt64]]>([Commit.emptyDigest: [:]])

    func enter(_ content: [UInt64: UInt64], as digest: Hash128) {
        contents.withLock { $0[digest] = content }
    }

    func content(of digest: Hash128) -> [UInt64: UInt64]? { contents.withLock { $0[digest] } }
}

/// A block that no codec shrinks; its seed stands in front.
func noiseBlock(_ seed: UInt64, bytes: Int) -> [UInt8] {
    var random = SplitMix64(seed: seed)
    var block = [UInt8](repeating: 0, count: bytes)
    block.withUnsafeMutableBytes { target in
        for offset in stride(from: 0, to: bytes, by: 8) {
            let word = offset == 0 ? seed : random.next()
            target.storeBytes(of: word, toByteOffset: offset, as: UInt64.self)
        }
    }
    return block
}

final class BuildingHost: VolumeHost {
    typealias Storage = VolatileDirectory

    private final class Running {
        var root: LocalRoot
        let writer: WriterClaim<VolatileDirectory>?
        var isConfirmed: Bool
        var pending: LocalRoot?
        var content: [UInt64: UInt64]
        var state: OperationState
        var memtable: Memtable
        var journal: Journal<VolatileDirectory>
        let pool: SegmentPool<VolatileDirectory>
        var size: ByteCount

        init(
            _ claim: VolumeClaim<VolatileDirectory>, content: [UInt64: UInt64], seed: UInt64
        ) throws {
            root = claim.root
            writer = claim.writer
            isConfirmed = claim.writer?.isHeadConfirmed ?? true
            pending = claim.writer?.pending
            self.content = content
            state = claim.writer == nil ? .readOnly : .serving
            memtable = Memtable(blockBytes: claim.root.commit.blockBytes)
            size = claim.root.commit.size
            // What was written and not committed dies with the process here: a journal's own tests
            // are elsewhere.
            let disk = VolatileDisk(seed: seed).root
            pool = SegmentPool(
                directory: try disk.directory("segments", create: true), budgetBytes: 1 << 30,
                random: SplitMix64(seed: seed))
            try pool.prepare(bootID: BootID(low: 1, high: 1))
            journal = Journal(
                starting: .fresh(
                    volume: claim.root.commit.volume, bootID: BootID(low: 1, high: 1),
                    directory: try disk.directory("journal", create: true),
                    cut: (claim.writer?.pending ?? claim.root).commit.cut))
        }
    }

    // Confined to the test's one thread; the planes' calls are made on it too.
    nonisolated(unsafe) private var running: [ServedVolume: Running] = [:]
    nonisolated(unsafe) private var random: SplitMix64
    private let store: ActorStore
    private let book: ContentBook

    init(store: ActorStore, book: ContentBook, seed: UInt64) {
        self.store = store
        self.book = book
        random = SplitMix64(seed: seed)
    }

    private static func failure(_ kind: UserError.Kind, _ why: String) -> UserError {
        UserError(kind, what: "cannot serve", why: why, remedy: "look at the test")
    }

    private func found(_ served: ServedVolume) throws(UserError) -> Running {
        guard let found = running[served] else {
            throw Self.failure(.notFound, "it does not run")
        }
        return found
    }

    // MARK: What tests do

    func root(of served: ServedVolume) -> Commit? { running[served]?.root.commit }

    /// Writes noise to a block.
    func write(_ seed: UInt64, to block: UInt64, of volume: VolumeID) throws {
        let volume = try found(ServedVolume(volume))
        guard volume.state == .serving else { return }
        let bytes = volume.root.commit.blockBytes
        while !volume.journal.room(forPages: 1, records: 1) {
            volume.journal.offer(
                try volume.pool.take(
                    into: volume.journal.directory,
                    number: volume.journal.reserveSegmentNumber()))
        }
        precondition(bytes == Limits.grainBytes)
        var noise = noiseBlock(seed, bytes: bytes)
        let grain = GrainIndex(block)
        let staged = try noise.withUnsafeMutableBytes { buffer in
            var piece = iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
            let staged = withUnsafePointer(to: &piece) {
                volume.journal.stageWrite(
                    firstGrain: grain, pieces: UnsafeBufferPointer(start: $0, count: 1),
                    epoch: volume.root.commit.epoch, continues: false)
            }
            try volume.journal.append()
            return staged
        }
        guard case .at(let page) = staged else { preconditionFailure("one record a batch") }
        volume.memtable.set(firstGrain: grain, count: 1, firstPage: page)
        volume.content[block] = seed
    }

    // MARK: VolumeHost

    func attach(_ claim: VolumeClaim<VolatileDirectory>) throws(UserError) {
        let newest = claim.writer?.pending ?? claim.root
        guard let content = book.content(of: newest.commit.digest) else {
            throw Self.failure(.failed, "a commit that nobody made")
        }
        do {
            running[claim.served] = try Running(claim, content: content, seed: random.next())
        } catch { throw Self.failure(.failed, "\(error)") }
    }

    func commitAll(
        _ volume: VolumeID, reason: CommitReason, deadline: Instant?
    ) throws(UserError) -> CommitSummary {
        try commit(found(ServedVolume(volume)), state: .open)
    }

    @discardableResult
    func detach(
        _ served: ServedVolume, clean: Bool, deadline: Instant?
    ) throws(UserError) -> CommitSummary? {
        guard clean, served.snapshot == nil, let volume = running[served] else {
            running[served] = nil
            return nil
        }
        let summary = try commit(volume, state: .clean)
        running[served] = nil
        return summary
    }

    func resize(_ volume: VolumeID, to size: ByteCount) throws(UserError) {
        try found(ServedVolume(volume)).size = size
    }

    func rollback(_ volume: VolumeID, to target: LocalRoot) throws(UserError) -> CommitSummary {
        let volume = try found(ServedVolume(volume))
        try settle(volume)
        guard let content = book.content(of: target.commit.digest) else {
            throw Self.failure(.failed, "a commit that nobody made")
        }
        var next = volume.root.commit
        next.chunkPages = target.commit.chunkPages
        next.packPages = target.commit.packPages
        next.slotCount = target.commit.slotCount
        next.digest = target.commit.digest
        next.isFence = false
        next.sequence = next.sequence.next
        next.parentToken = next.token
        next.token = Token.random(from: &random)
        let made = LocalRoot(commit: next, bytes: next.encode())
        try publish(made, volume)
        volume.content = content
        volume.memtable = Memtable(blockBytes: next.blockBytes)
        return summary(volume)
    }

    func acknowledge(_ volume: VolumeID) throws(UserError) -> CommitSummary {
        try commit(found(ServedVolume(volume)), state: .open)
    }

    /// All of it, a commit for each step; steps are small.
    func compact(_ volume: VolumeID) throws(UserError) {
        let running = try found(ServedVolume(volume))
        _ = try commit(running, state: .open)
        let compactor = Compactor(
            store: store, cache: CleanCache(capacityBytes: Limits.cacheBytesMin),
            bounds: CompactionBounds(stepBytes: 16 * Limits.grainBytes))
        var next: CompactionRound? = CompactionRound(
            freshBaseAfter: running.root.commit.sequence)
        while let round = next {
            let step: CompactionStep?
            do throws(FetchError) {
                step = try compactor.step(round, of: Root(commit: running.root.commit))
            } catch {
                // Whoever was taken over and does not know may look for packs that are gone.
                throw Self.failure(error.isRetryable ? .storeAway : .conflict, "\(error)")
            }
            if let relocation = step?.relocation, !relocation.isEmpty {
                _ = try commit(running, state: .open, moving: relocation)
            }
            next = step?.rest
        }
    }

    func status(_ served: ServedVolume) -> VolumeStatus? {
        guard let volume = running[served] else { return nil }
        let commit = volume.root.commit
        return VolumeStatus(
            volume: served.volume, size: volume.size, blockBytes: commit.blockBytes,
            isReadOnly: volume.writer == nil, state: volume.state, sequence: commit.sequence,
            epoch: commit.epoch)
    }

    func clientCounts(_ served: ServedVolume) -> ClientCounts {
        ClientCounts(readers: 0, writers: 0)
    }

    func disconnect(_ served: ServedVolume) {}

    // MARK: Publishing

    private func summary(_ volume: Running) -> CommitSummary {
        let commit = volume.root.commit
        return CommitSummary(
            sequence: commit.sequence, token: commit.token, labelSeconds: commit.labelSeconds)
    }

    /// Publishes what is pending, and makes sure that the head is what the volume continues.
    private func settle(_ volume: Running) throws(UserError) {
        guard volume.state == .serving else { throw Self.failure(.fenced, "it was taken over") }
        if let pending = volume.pending { try publish(pending, volume) }
        guard !volume.isConfirmed else { return }
        let head: LocalRoot?
        do throws(CommitError) {
            head = try HeadFinder(store: store).head(of: volume.root.commit.volume)
        } catch { throw Self.explain(error) }
        guard head?.commit.token == volume.root.commit.token else {
            volume.state = .fenced
            throw Self.failure(.fenced, "another host owns it")
        }
        volume.isConfirmed = true
    }

    private func commit(
        _ volume: Running, state: CommitState, moving relocation: Relocation? = nil
    ) throws(UserError) -> CommitSummary {
        try settle(volume)
        let parent = volume.root.commit
        let isChanged =
            volume.journal.lastAppended > parent.cut || state != parent.state
            || parent.uncleanTakeover != nil || relocation != nil
        guard isChanged else { return summary(volume) }
        let frozen = volume.memtable
        frozen.freeze()
        var inputs = CommitInputs(
            parent: Root(commit: parent), frozen: frozen, journal: volume.journal.frozen(),
            newSize: volume.size, cut: volume.journal.lastAppended, state: state,
            token: Token.random(from: &random), labelSeconds: parent.labelSeconds + 60)
        inputs.uncleanTakeover = nil
        inputs.relocation = relocation
        let made: PreparedCommit
        do throws(CommitError) {
            made = try CommitBuilder(
                store: store, cache: CleanCache(capacityBytes: Limits.cacheBytesMin)
            ).build(inputs, random: &random)
        } catch {
            // Its memtable is frozen: the next attach begins with the root.
            running[ServedVolume(parent.volume)] = nil
            // Another host has the volume, and a collector was behind its commits.
            if error.isMissingObject,
                let head = try? HeadFinder(store: store).head(of: parent.volume),
                head.commit.token != parent.token
            {
                throw Self.failure(.fenced, "another host owns it")
            }
            throw Self.explain(error)
        }
        book.enter(volume.content, as: made.root.commit.digest)
        try publish(made.root, volume)
        volume.memtable = Memtable(blockBytes: parent.blockBytes)
        _ = volume.journal.retire(upTo: made.root.commit.cut)
        return summary(volume)
    }

    private func publish(_ root: LocalRoot, _ volume: Running) throws(UserError) {
        guard let writer = volume.writer else { throw Self.failure(.failed, "it is read-only") }
        do throws(CommitError) {
            let roots = try RootDirectory(volumeDirectory: writer.directory)
            if volume.pending == nil {
                try roots.writePending(root.commit.sequence, bytes: root.bytes)
                volume.pending = root
            }
            switch try Publisher(store: store).publish(root) {
            case .published:
                try roots.promote(root.commit.sequence)
                volume.root = root
                volume.isConfirmed = true
            case .fenced:
                volume.state = .fenced
                try roots.discardPending(root.commit.sequence)
                throw .store(.refused(key: root.commit.key.key, detail: "fenced"))
            case .unresolved(let detail):
                // Its next attach finds the pending commit in the directory.
                running[ServedVolume(root.commit.volume)] = nil
                throw .store(.away(key: root.commit.key.key, detail: detail))
            }
            volume.pending = nil
        } catch {
            if volume.state == .fenced { throw Self.failure(.fenced, "another host owns it") }
            throw Self.explain(error)
        }
    }

    private static func explain(_ error: CommitError) -> UserError {
        failure(error.isRetryable ? .storeAway : .failed, "\(error)")
    }
}
