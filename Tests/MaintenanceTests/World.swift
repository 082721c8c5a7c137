// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A store, nodes with the real control plane, collectors, and what must hold of all of them: every
// commit that is named can be read from the store alone, to the last byte.

import CleanCache
import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import Maintenance
import ObjectStore
import Primitives
import Testing
import VolumeMap

typealias TestPlane = ControlPlane<BuildingHost, ActorStore>
typealias TestCollector = Collector<ActorStore, ManualClock>

final class World {
    static let blockBytes = Limits.grainBytes
    static let blocks: UInt64 = 64

    let store: MemoryStore
    let book = ContentBook()
    let clock = ManualClock()

    init(seed: UInt64 = 1) { store = MemoryStore(seed: seed) }

    func collector(
        grace: UInt64 = 0, deletesMax: Int = .max, isDryRun: Bool = false,
        retention: Retention = Retention(), through store: ActorStore? = nil
    ) -> TestCollector {
        TestCollector(
            store: store ?? ActorStore(self.store), clock: clock,
            options: CollectorOptions(
                node: "test", gracePeriodSeconds: grace, deletesMax: deletesMax,
                isDryRun: isDryRun, retention: retention))
    }

    /// Runs until nothing is left to do; the reports.
    @discardableResult
    func collectAll(retention: Retention = Retention()) throws -> [CollectionReport] {
        var reports: [CollectionReport] = []
        for _ in 0..<8 {
            var collector = self.collector(retention: retention)
            reports.append(try collector.run())
            if reports.last?.outcome == .nothing { return reports }
        }
        Issue.record("the collector does not come to rest")
        return reports
    }

    func keys(_ prefix: String) -> [String] {
        store.objects.keys.filter { $0.hasPrefix(prefix) }.sorted()
    }

    // MARK: What must hold

    /// Reads a commit to the last byte, as a machine without a cache does; false if it cannot be.
    func isWhole(_ commit: Commit) -> Bool {
        guard let content = book.content(of: commit.digest) else { return false }
        let root = Root(commit: commit)
        let cache = CleanCache(capacityBytes: 16 << 20)
        do {
            try MapFetcher(store: store, cache: cache)
                .bring((0..<root.blockCount).map { BlockIndex($0) }, of: root)
        } catch { return false }
        var reader = MapReader(root: root, cache: cache)
        for block in 0..<root.blockCount {
            switch reader.resolve(BlockIndex(block)) {
            case .zeros:
                if content[block] != nil { return false }
            case .missing: return false
            case .cached(let found):
                // The frame's hash vouches for the rest of the block.
                let seed = found.bytes.loadUnaligned(as: UInt64.self)
                if content[block] != seed { return false }
            }
        }
        return true
    }

    func commit(_ pointer: CommitPointer) -> Commit? {
        let found = try? HeadFinder(store: store).commit(of: pointer.volume, pointer.sequence)
        return found?.commit.token == pointer.token ? found?.commit : nil
    }

    /// Every commit that is named by a ref other than a reader's, with the ref's key. Walks the
    /// refs in its own way.
    func named() throws -> [(key: String, commit: Commit?)] {
        var found: [(String, Commit?)] = []
        var series: Set<RefSeries> = []
        for (key, bytes) in store.objects.sorted(by: { $0.key < $1.key }) {
            switch RefKey(parsing: key) {
            case .snapshot: found.append((key, commit(try SnapshotRef(decoding: bytes).commit)))
            case .numbered(.tag(let name), _) where series.insert(.tag(name)).inserted:
                found.append((key, commit(try TagRef(decoding: bytes).commit)))
            case .numbered(.export(let name), _) where series.insert(.export(name)).inserted:
                let export = try ExportRef(decoding: bytes)
                guard export.state == .live || export.state == .detached else { continue }
                found.append((key, try HeadFinder(store: store).head(of: export.volume)?.commit))
            default: continue
            }
        }
        return found
    }

    func expectWhole(_ comment: String = "") throws {
        for (key, commit) in try named() {
            guard let commit else {
                Issue.record("\(key) names a commit that is gone \(comment)")
                continue
            }
            #expect(isWhole(commit), "\(key) \(comment)")
        }
    }

    /// Volumes and packs as they are after a collection.
    struct Account {
        /// Bytes of the packs and commits that a fresh copy of everything named would have, pack by
        /// pack.
        var needed = 0
        var stored = 0
        /// Bytes of heads, of fences and their neighbours, of packs newer than their head.
        var kept = 0
        /// What is there for no reason.
        var garbage: [String] = []
    }

    func account() throws -> Account {
        let objects = store.objects
        var needed: Set<String> = []
        for case (_, let commit?) in try named() {
            needed.insert(commit.key.key)
            let packs = try CommitPacks(store: store).unseen(of: commit).packs
            needed.formUnion(packs.map(\.key))
        }
        var account = Account()
        for (key, bytes) in objects where key.hasPrefix("packs/") || key.hasPrefix("volumes/") {
            account.stored += bytes.count
            if needed.contains(key) {
                account.needed += bytes.count
            } else if try isKept(key) {
                account.kept += bytes.count
            } else {
                account.garbage.append(key)
            }
        }
        return account
    }

    /// True for what stays although nothing names it.
    private func isKept(_ key: String) throws -> Bool {
        let finder = HeadFinder(store: store)
        if let pack = try? PackID(key: key) {
            guard let head = try finder.head(of: pack.volume)?.commit else { return true }
            return (pack.epoch, pack.sequence) > (head.epoch, head.sequence)
        }
        let place = try CommitKey(key: key)
        let isFence = { (sequence: CommitSequence) in
            (try? finder.commit(of: place.volume, sequence))?.commit.isFence == true
        }
        return try finder.headSequence(of: place.volume) == place.sequence
            || isFence(place.sequence) || isFence(place.sequence.next)
    }
}

/// One machine.
final class Node {
    let world: World
    let name: String
    let store: ActorStore
    private let disk: VolatileDisk
    private var seed: UInt64
    private(set) var host: BuildingHost
    private(set) var plane: TestPlane

    init(_ name: String, _ world: World, seed: UInt64 = 1) throws {
        self.world = world
        self.name = name
        self.seed = Self.seed(after: seed &* 1000 &+ UInt64(name.utf8.first ?? 0))
        store = ActorStore(world.store)
        disk = VolatileDisk(seed: seed)
        host = BuildingHost(store: store, book: world.book, seed: self.seed)
        plane = try Self.plane(name, world, disk.root, store, host, self.seed)
        _ = try plane.start()
    }

    private static func plane(
        _ name: String, _ world: World, _ cache: VolatileDirectory, _ store: ActorStore,
        _ host: BuildingHost, _ seed: UInt64
    ) throws -> TestPlane {
        TestPlane(
            configuration: ControlPlaneConfiguration(
                node: try #require(RefName(name)), machineID: "machine-\(name)",
                address: "\(name):8080"),
            cacheDirectory: cache, store: store, host: host, clock: world.clock,
            random: SplitMix64(seed: ~seed))
    }

    /// No two lives of all nodes draw the same tokens.
    private static func seed(after seed: UInt64) -> UInt64 {
        var random = SplitMix64(seed: seed)
        return random.next()
    }

    /// Kills the process and starts it again. What it had sent has arrived, or never will.
    func restart() throws {
        seed = Self.seed(after: seed)
        world.store.landLate()
        store.die(afterMutations: nil)
        disk.kill()
        host = BuildingHost(store: store, book: world.book, seed: seed)
        plane = try Self.plane(name, world, disk.reboot(), store, host, seed)
        _ = try plane.start()
    }

    /// Creates an export and writes to it.
    @discardableResult
    func make(_ name: String, writes: [UInt64] = []) throws -> VolumeID {
        let reply = try plane.put(
            name,
            PutRequest(
                size: ByteCount(World.blocks * UInt64(World.blockBytes)),
                blockBytes: World.blockBytes))
        if !writes.isEmpty { try write(name, writes) }
        return reply.export.volume
    }

    /// Fills the first blocks with noise of these seeds, and commits.
    func write(_ name: String, _ seeds: [UInt64], at first: UInt64 = 0) throws {
        let served = try plane.attach(name).served
        for (index, seed) in seeds.enumerated() {
            try host.write(seed, to: first + UInt64(index), of: served.volume)
        }
        _ = try plane.drain(name)
    }
}

/// The failure of `body`, which must be a `UserError` that says what, why and what to do.
func failure(_ body: () throws -> Void) throws -> UserError {
    do { try body() } catch {
        let error = try #require(error as? UserError)
        #expect(!error.what.isEmpty && !error.why.isEmpty && !error.remedy.isEmpty)
        return error
    }
    throw NoFailure()
}

struct NoFailure: Error, CustomStringConvertible {
    let description = "no failure where one was expected"
}
