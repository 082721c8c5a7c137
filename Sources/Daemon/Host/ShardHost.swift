// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The running volumes of this host, as the control plane reaches them: every call becomes mail to
// the volume's shard, and blocks until the shard answers. Never called by a shard.

import CleanCache
import Committer
import ControlPlane
import HostIO
import Journal
import Maintenance
import NBDServer
import Primitives
import Shard
import Synchronization
import VolumeEngine
import VolumeMap

/// Where a volume runs.
struct Location: Sendable, Equatable {
    let shard: Int
    let place: Place
    let name: String
}

/// What the host's volumes share.
struct HostParts: Sendable {
    let clock: SystemClock
    let facts: HostFacts
    let store: DaemonStore
    let cache: CleanCache
    let pool: SegmentPool<HostDirectory>
    let hands: Hands
    let settings: PackSettings
    let options: VolumeOptions
    /// Where views of commits find the folders that they never use.
    let views: HostDirectory
    let commitWaitSeconds: UInt64
    let log: EventLog
    let prices: Configuration.Prices
    let startedAt: Instant
    let tripwire: Tripwire<DaemonStore>
    /// Who needs the packs of whom.
    let pins: NewestPins<DaemonStore>
    let absence = StoreAbsence()
    /// How many volumes may gather for their compaction at one time.
    let compactionPlaces = CompactionPlaces()
}

final class ShardHost: VolumeHost {
    typealias Storage = HostDirectory

    /// Acknowledging needs a moment without writes; writers make it wait for a few commits.
    static let quietAttemptsMax = 8

    let parts: HostParts
    private let shards: [Shard<VolumeShard>]
    private let table: Lock<Table>

    private struct Table {
        var locations: [ServedVolume: Location] = [:]
        /// Volumes of each shard, those on their way to it included: many are opened at one time.
        var loads: [Int]
    }

    init(
        _ parts: HostParts, shards count: Int, sessions: SessionOptions,
        onIdleView: @escaping @Sendable (ServedVolume) -> Void
    ) {
        self.parts = parts
        table = Lock(Table(loads: [Int](repeating: 0, count: count)))
        shards = (0..<count).map { index in
            let setting = VolumeShardSetting(
                index: index, hands: parts.hands, clock: parts.clock, cache: parts.cache,
                sessions: sessions, log: parts.log, onIdleView: onIdleView)
            return Shard(name: "shard-\(index)", clock: parts.clock) { context in
                VolumeShard(setting, context)
            }
        }
    }

    var shardCount: Int { shards.count }

    /// Ends the shards. Volumes that are still there keep their journals.
    func stop() {
        for shard in shards { shard.stop() }
        for shard in shards { shard.join() }
    }

    func handOver(_ connection: NegotiatedConnection) {
        let index = connection.placement.shard
        guard index < shards.count else { return }
        shards[index].mailbox.send(.adopt(connection))
    }

    func send(_ event: ShardEvent, _ shard: Int) -> Bool { shards[shard].mailbox.send(event) }

    /// The shard for one more volume, which counts as there from now on.
    private func takeLeastLoaded() -> Int {
        table.withLock { table in
            let index = table.loads.indices.min { table.loads[$0] < table.loads[$1] } ?? 0
            table.loads[index] += 1
            return index
        }
    }

    /// Notes where a volume runs, or with nil that it does not run any more.
    private func setLocation(_ location: Location?, of served: ServedVolume) {
        table.withLock { table in
            if let old = table.locations[served] { table.loads[old.shard] -= 1 }
            table.locations[served] = location
        }
    }

    func location(_ served: ServedVolume) -> Location? { table.withLock { $0.locations[served] } }

    /// All volumes that run here, by name.
    var running: [(served: ServedVolume, location: Location)] {
        table.withLock { table in
            table.locations.map { (served: $0.key, location: $0.value) }
        }.sorted { $0.location.name < $1.location.name }
    }

    // MARK: Volume host

    func attach(_ claim: VolumeClaim<HostDirectory>) throws(UserError) {
        let what = "cannot open \(claim.name)"
        guard claim.writer == nil || location(claim.served) == nil else {
            throw UserError(
                .conflict, what: what, why: "its volume \(claim.served.volume) runs here already",
                remedy: "restart the daemon, and report this")
        }
        let (seed, worker) = try open(claim, what)
        let index = takeLeastLoaded()
        let arrival = Arrival(
            served: claim.served, name: claim.name, seed: seed, options: parts.options,
            worker: worker)
        let answer = Answer<Place?>()
        guard shards[index].mailbox.send(.insert(arrival, answer)), let place = answer.wait()
        else {
            table.withLock { $0.loads[index] -= 1 }
            throw Self.stopping(what)
        }
        setLocation(Location(shard: index, place: place, name: claim.name), of: claim.served)
    }

    func commitAll(
        _ volume: VolumeID, reason: CommitReason, deadline: Instant?
    ) throws(UserError) -> CommitSummary {
        let what = "cannot publish the volume \(volume) (\(reason.rawValue))"
        return summary(
            try committed(try ask(ServedVolume(volume), .commit, deadline, what), what))
    }

    @discardableResult
    func detach(
        _ served: ServedVolume, clean: Bool, deadline: Instant?
    ) throws(UserError) -> CommitSummary? {
        guard let location = location(served) else { return nil }
        let what = "cannot close \(location.name)"
        let isClean = clean && served.snapshot == nil
        // While the store is away this fails and nothing has changed: clients stay connected.
        if isClean { _ = try commitAll(served.volume, reason: .detach, deadline: deadline) }
        let result = ask(location, .leave(clean: isClean), deadline)
        switch result {
        case .failed: break
        default: setLocation(nil, of: served)
        }
        switch result {
        case .left, .absent: return nil
        default: return summary(try committed(result, what))
        }
    }

    func resize(_ volume: VolumeID, to size: ByteCount) throws(UserError) {
        let what = "cannot grow the volume \(volume)"
        let result = try ask(ServedVolume(volume), .resize(size), nil, what)
        if case .resized = result { return }
        throw failure(of: result, what)
    }

    func rollback(
        _ volume: VolumeID, to target: LocalRoot
    ) throws(UserError) -> CommitSummary {
        let what = "cannot roll the volume \(volume) back"
        let root = Root(commit: target.commit)
        return try whenQuiet(volume, .rollback(root), reason: .rollback, what)
    }

    func acknowledge(_ volume: VolumeID) throws(UserError) -> CommitSummary {
        let what = "cannot acknowledge the take-over of the volume \(volume)"
        return try whenQuiet(volume, .acknowledge, reason: .drain, what)
    }

    func compact(_ volume: VolumeID) throws(UserError) {
        let what = "cannot compact the volume \(volume)"
        let result = try ask(ServedVolume(volume), .compact, nil, what)
        if case .begun = result { return }
        throw failure(of: result, what)
    }

    func status(_ served: ServedVolume) -> VolumeStatus? {
        report(served).map { StatusText.status(of: $0, served, parts.prices) }
    }

    func clientCounts(_ served: ServedVolume) -> ClientCounts {
        guard let report = report(served) else { return ClientCounts(readers: 0, writers: 0) }
        return ClientCounts(
            readers: report.connections - report.writers, writers: report.writers)
    }

    func disconnect(_ served: ServedVolume) {
        guard let location = location(served) else { return }
        shards[location.shard].mailbox.send(.disconnect(location.place))
    }

    /// A moment's state, from the shard; nil if it does not run here.
    func report(_ served: ServedVolume) -> PlaceReport? {
        guard let location = location(served) else { return nil }
        let answer = Answer<PlaceReport?>()
        guard shards[location.shard].mailbox.send(.report(location.place, answer)) else {
            return nil
        }
        return answer.wait()
    }
}
