// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A small repository as daemons make one: volumes, a fork, snapshots, tags, stacks of deltas,
// trimmed ranges, a rollback, a purge, a short last block. And what each commit of it holds, read
// block by block before anything was damaged.

import CleanCache
import Committer
package import ControlPlane
import Documents
package import Formats
import Glibc
package import HostIO
package import ObjectStore
package import Primitives
import Testing
package import VolumeMap

/// Confined to its test.
package final class SmallRepository {
    package static let blockBytes = 16 << 10
    /// Two chunks and one block of three sectors.
    package static let size: UInt64 = (32 << 20) + 1536

    package let store = MemoryStore(seed: 1)
    package let clock = ManualClock()
    package let host: EngineHost
    package let plane: ControlPlane<EngineHost, MemoryStore>
    private var noiseSeed: UInt64 = 1
    /// What a commit holds: blocks with data, and some without.
    package private(set) var contents: [CommitKey: [UInt64: [UInt8]]] = [:]
    package private(set) var roots: [CommitKey: Root] = [:]
    /// Objects that reading a commit takes.
    package private(set) var needs: [CommitKey: Set<String>] = [:]

    package init() throws {
        let disk = VolatileDisk(seed: 1)
        let random = SharedRandom(seed: 7)
        host = try EngineHost(store: store, folder: disk.root, clock: clock, random: random)
        plane = ControlPlane(
            configuration: ControlPlaneConfiguration(
                node: try #require(RefName("a")), machineID: "machine-a", address: ""),
            cacheDirectory: disk.root, store: store, host: host, clock: clock, random: random)
        let repository = Repository(id: Token(low: 5, high: 5), createdSeconds: 1)
        _ = try store.putIfAbsent(RefKey.repository.text, repository.encoded)
        _ = try plane.start()
    }

    // MARK: Guests

    /// Bytes that no other write has; half of them compress.
    package func fresh(_ count: Int) -> [UInt8] {
        noiseSeed += 1
        var random = SplitMix64(seed: noiseSeed)
        let word = random.next()
        return (0..<count).map { index in
            let byte = UInt8(truncatingIfNeeded: word >> UInt64(index % 8 * 8))
            return index % 512 < 24 ? UInt8(truncatingIfNeeded: random.next()) : byte
        }
    }

    package func volume(_ name: String) throws -> VolumeID {
        try plane.attach(name).served.volume
    }

    package func running(_ name: String) throws -> RunningVolume {
        let volume = try volume(name)
        return try #require(host[volume])
    }

    package func create(_ name: String, blockBytes: Int = SmallRepository.blockBytes) throws {
        _ = try plane.put(
            name, PutRequest(size: ByteCount(Self.size), blockBytes: blockBytes))
    }

    /// Closes and opens, so that nothing is cached and partial writes become deltas.
    package func reopen(_ name: String) throws {
        let volume = try volume(name)
        try host.detach(ServedVolume(volume), clean: true, deadline: nil)
        plane.release(ServedVolume(volume))
        _ = try plane.attach(name)
    }

    /// The usual repository.
    package static func built() throws -> SmallRepository {
        let repository = try SmallRepository()
        try repository.build()
        try repository.readAll()
        return repository
    }

    private func build() throws {
        let block = UInt64(Self.blockBytes)
        try create("prod")
        var guest = try running("prod")
        try guest.write(0, fresh(6 * Self.blockBytes))
        try guest.write(1030 * block, fresh(2 * Self.blockBytes))
        try guest.write(2048 * block, fresh(1536))
        _ = try plane.snapshot("prod", tag: "first")
        for number: UInt64 in 0..<3 {
            try reopen("prod")
            guest = try running("prod")
            try guest.write(block + number * 4096, fresh(4096))
            try guest.write((3 + number) * block + 4096, fresh(4096))
            _ = try plane.drain("prod")
        }
        try guest.trim((4 * block)..<(5 * block))
        _ = try plane.snapshot("prod", tag: nil)
        _ = try plane.put("work", PutRequest(source: try ForkSource(from: "tag:first")))
        try running("work").write(2 * block, fresh(3 * Self.blockBytes))
        _ = try plane.drain("work")
        try create("other", blockBytes: 64 << 10)
        try running("other").write(70_000, fresh(9000))
        _ = try plane.snapshot("other", tag: nil)
        try create("old")
        try running("old").write(0, fresh(4096))
        _ = try plane.drain("old")
        try plane.delete("old", purge: true)
        try reopen("prod")
        try plane.beat()
    }

    // MARK: What is there

    package var commits: [CommitKey] {
        get throws {
            try store.listAll(prefix: "volumes/").map { try CommitKey(key: $0.key) }
        }
    }

    private func readAll() throws {
        for key in try commits {
            store.record(true)
            let root = Root(
                commit: try HeadFinder(store: store).commit(
                    of: key.volume, key.sequence
                ).commit)
            roots[key] = root
            var blocks: [UInt64: [UInt8]] = [:]
            let cache = CleanCache(capacityBytes: Limits.cacheBytesMin)
            let fetcher = MapFetcher(store: store, cache: cache)
            var reader = MapReader(root: root, cache: cache)
            try fetcher.bringMap(
                for: (0..<root.chunkCount).map { ChunkIndex($0).firstBlock }, of: root)
            for block in 0..<root.blockCount {
                let isProbe = block % 1024 == 700 || block == root.blockCount - 1
                guard isProbe || reader.presence(of: BlockIndex(block)) != .hole else { continue }
                let content = try fetcher.content(of: BlockIndex(block), in: root)
                blocks[block] = content.map { Array($0.bytes) } ?? []
            }
            contents[key] = blocks
            needs[key] = Set(store.requests.map(\.key))
            store.record(false)
        }
    }

    /// Reads the blocks of a commit from the store alone, each as if it were the first; nil: it
    /// failed. `isRight` is false if anything came that should not have.
    package func readBack(_ key: CommitKey) throws -> (failed: Set<UInt64>, isRight: Bool) {
        let expected = try #require(contents[key])
        let root: Root
        do throws(CommitError) {
            root = Root(
                commit: try HeadFinder(store: store).commit(of: key.volume, key.sequence).commit)
        } catch { return (Set(expected.keys), true) }
        let fetcher = MapFetcher(
            store: store, cache: CleanCache(capacityBytes: Limits.cacheBytesMin))
        var failed = Set<UInt64>()
        var isRight = true
        for (block, bytes) in expected {
            do throws(FetchError) {
                let content = try fetcher.content(of: BlockIndex(block), in: root)
                if !Self.isSame(content?.bytes, bytes) { isRight = false }
            } catch { failed.insert(block) }
        }
        return (failed, isRight)
    }

    private static func isSame(_ found: UnsafeRawBufferPointer?, _ bytes: [UInt8]) -> Bool {
        guard let found, let start = found.baseAddress else { return bytes.isEmpty }
        return found.count == bytes.count
            && bytes.withUnsafeBytes { $0.baseAddress.map { memcmp($0, start, found.count) } == 0 }
    }

    // MARK: Damage

    package func replace(_ key: String, _ bytes: [UInt8]?) throws {
        try store.delete([key])
        if let bytes { _ = try store.putIfAbsent(key, bytes) }
    }
}
