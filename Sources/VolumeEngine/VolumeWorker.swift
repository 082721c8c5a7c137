// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Carries out a volume's effects, blocking, on whatever thread the shell gives it. Stateless but
// for what it was made with: the simulator and the daemon run the same code.

public import CleanCache
public import Committer
import Formats
import Glibc
public import HostIO
public import Journal
public import ObjectStore
public import Primitives
public import VolumeMap

/// The hands of one volume.
public struct VolumeWorker<Storage: StorageDirectory, Store: ObjectStore>: Sendable {
    public let local: LocalVolume<Storage>
    public let store: Store
    private let cache: CleanCache
    private let pool: SegmentPool<Storage>
    private let fetcher: MapFetcher<Store>
    private let settings: PackSettings
    private let uploads: PackUploads
    private let packing: FetchSpread
    private let random: any RandomSource
    private let compactor: Compactor<Store>
    private let makeups = PackMakeups()
    private let places: CompactionPlaces
    private let pinned: PinnedCommit

    public init(
        local: LocalVolume<Storage>, store: Store, cache: CleanCache, pool: SegmentPool<Storage>,
        settings: PackSettings, uploads: PackUploads = .none,
        packing: @escaping FetchSpread = oneByOne, random: any RandomSource,
        spread: @escaping FetchSpread = oneByOne, places: CompactionPlaces = CompactionPlaces(),
        pinned: @escaping PinnedCommit = { _ throws(FetchError) in nil }
    ) {
        self.local = local
        self.store = store
        self.cache = cache
        self.pool = pool
        self.settings = settings
        self.uploads = uploads
        self.packing = packing
        self.random = random
        self.places = places
        self.pinned = pinned
        fetcher = MapFetcher(store: store, cache: cache, spread: spread)
        compactor = Compactor(
            store: store, cache: cache, bounds: CompactionBounds(stepBytes: settings.targetBytes),
            spread: spread)
    }

    /// Does the work of one effect. nil for effects that end in no event. `answer` is not for a
    /// worker.
    public func perform(
        _ effect: VolumeEffect<Storage>, labelSeconds: UInt64
    ) -> VolumeEvent<Storage>? {
        switch effect {
        case .sync(let work):
            do throws(HostIOError) { try work.perform() } catch {
                return .synced(work, failure: error)
            }
            return .synced(work, failure: nil)
        case .startWriteback(let segment, let offset, let count):
            segment.file.startWriteback(at: offset, count: count)
            return nil
        case .takeSegments(let numbers): return takeSegments(numbers)
        case .retire(let segments):
            Failpoint.segmentsBeforeRecycle.hit()
            do throws(GiveBackFailure<Storage>) { try pool.give(back: segments) } catch {
                return .retired(left: error.left, failure: error.reason)
            }
            return .retired(left: [], failure: nil)
        case .fetch(let order): return fetch(order)
        case .warm(let order): return warm(order)
        case .commit(let run): return .commitEnded(run, perform(run))
        case .gather(let order): return .gathered(order, gather(order))
        case .recordFailure(let failure):
            local.recordFailure(failure, labelSeconds: labelSeconds)
            return nil
        case .answer: return nil
        }
    }

    /// The volume is gone, and these segments of its journal stay where they are.
    public func disown(segments count: Int) { pool.disown(count) }

    private func takeSegments(_ numbers: [UInt64]) -> VolumeEvent<Storage> {
        var taken: [SegmentFile<Storage>] = []
        do throws(JournalError) {
            for number in numbers {
                taken.append(try pool.take(into: local.journal, number: number))
            }
        } catch {
            guard case .io(let failure) = error else {
                return .segmentsTaken(taken, isFull: true, failure: nil)
            }
            return .segmentsTaken(
                taken, isFull: failure.isOutOfSpace, failure: failure)
        }
        return .segmentsTaken(taken, isFull: false, failure: nil)
    }

    private func fetch(_ order: FetchOrder) -> VolumeEvent<Storage> {
        do throws(FetchError) {
            if order.mapOnly {
                try fetcher.bringMap(for: order.blocks, of: order.root)
            } else {
                try fetcher.bring(order.blocks, of: order.root)
            }
        } catch { return .fetched(order.number, failure: error) }
        return .fetched(order.number, failure: nil)
    }

    private func warm(_ order: WarmOrder<Storage>) -> VolumeEvent<Storage> {
        let scratch = UnsafeMutableRawBufferPointer.allocate(
            byteCount: order.count, alignment: Limits.grainBytes)
        defer { scratch.deallocate() }
        do throws(HostIOError) {
            _ = try order.segment.file.read(at: order.offset, into: scratch)
        } catch { return .warmed(order.number, failure: error) }
        return .warmed(order.number, failure: nil)
    }

    /// Takes a run as far as it goes. Every step is durable before the next begins, so a crash or
    /// an absent store between two of them is retried from where it stopped.
    private func perform(_ run: CommitRun<Storage>) -> CommitOutcome {
        do throws(CommitError) {
            if run.step == .build {
                // Later the head may be this very run's commit, published by a PUT whose reply was
                // lost.
                if !run.isHeadVerified, let other = try contradiction(of: run) {
                    return .fenced(other)
                }
                let built = try build(run)
                run.built = built
                run.step = .pending
            }
            guard let built = run.built else { return .postponed("nothing was built") }
            if run.step == .pending {
                Failpoint.commitBeforePending.hit()
                try local.roots.writePending(built.commit.sequence, bytes: built.bytes)
                Failpoint.commitAfterPending.hit()
                run.step = .publish
            }
            if run.step == .publish {
                switch try Publisher(store: store).publish(built) {
                case .published: run.step = .promote
                case .fenced(let other): return .fenced(describe(other))
                case .unresolved(let detail): return .postponed(detail)
                }
                Failpoint.commitAfterPut.hit()
            }
            try local.roots.promote(built.commit.sequence)
            Failpoint.commitAfterPromote.hit()
            return .published(Root(commit: built.commit))
        } catch {
            // A writer that was fenced may need what only its old root held: without a commit to
            // PUT it would never meet the fence.
            if error.isMissingObject, run.step == .build, let other = try? contradiction(of: run) {
                return .fenced(other)
            }
            return outcome(of: error)
        }
    }

    /// Before anything of a run was sent: the head must be the local root.
    private func contradiction(of run: CommitRun<Storage>) throws(CommitError) -> String? {
        let parent = run.parent.commit
        guard let head = try HeadFinder(store: store).head(of: parent.volume) else {
            return "the store holds no commit of volume \(parent.volume)"
        }
        if head.commit.sequence == parent.sequence && head.commit.token == parent.token {
            return nil
        }
        return describe(FencedBy(head.commit))
    }

    private func build(_ run: CommitRun<Storage>) throws(CommitError) -> LocalRoot {
        run.progress.begin()
        var random = RepeatedChance(run.progress, AnyRandom(source: self.random))
        let token = Token.random(from: &random)
        switch run.content {
        case .frozen(let memtable, let journal):
            var inputs = CommitInputs(
                parent: run.parent, frozen: memtable, journal: journal, newSize: run.size,
                cut: run.cut, state: run.state, token: token, labelSeconds: run.labelSeconds,
                settings: settings)
            inputs.epoch = run.epoch
            inputs.relocation = run.relocation
            inputs.progress = run.progress
            return try CommitBuilder<Storage, Store>(
                store: store, cache: cache, uploads: uploads, spread: packing
            )
            .build(inputs, random: &random).root
        case .unchanged: return run.successor(with: run.parent.commit, token: token)
        case .tables(let source): return run.successor(with: source.commit, token: token)
        }
    }

    private func gather(_ order: GatherOrder) -> GatherOutcome {
        do throws(FetchError) {
            let round: CompactionRound
            switch order.task {
            case .step(let next): round = next
            case .look(let rules, let spent):
                let found = try compactor.look(
                    at: order.root, rules: rules, spent: spent, makeups: makeups
                ) { () throws(FetchError) in try pinned(order.root.commit.volume) }
                guard let found else { return .nothing }
                round = found
            }
            guard let place = places.take() else { return .crowded }
            let step = try compactor.step(round, of: order.root, place: place) {
                order.stop.isSet
            }
            guard let step else { return .stopped }
            return .gathered(step)
        } catch { return .failed(error) }
    }

    private func outcome(of error: CommitError) -> CommitOutcome {
        if error.isRetryable { return .postponed("\(error)") }
        switch error {
        // Nothing is lost, and each step can be taken again when there is room.
        case .local(let failure) where failure.isOutOfSpace: return .postponed("\(failure)")
        case .local(let failure): return .failed(.journal(failure))
        case .journal(let failure): return .failed(.journalRotted("\(failure)"))
        default: return .postponed("\(error)")
        }
    }

    private func describe(_ other: FencedBy) -> String {
        "commit \(other.sequence) of epoch \(other.epoch) was published by another writer"
    }
}

/// Any source of chance as one type.
private struct AnyRandom: RandomSource {
    var source: any RandomSource

    mutating func next() -> UInt64 { source.next() }
}
