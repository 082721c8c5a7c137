// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Bytes that are not what their pointer says: reads fail and say where, commits fail and change
// nothing, and wrong data is never served. And a store that comes and goes.

import CleanCache
import Committer
import Formats
import Glibc
import HostIO
import Journal
import ObjectStore
import Primitives
import Testing
import VolumeMap

@Suite("Damage and absence")
struct DamageTests {
    /// A volume with full frames, a stack, nodes, and tables in packs.
    private func built() throws -> TestVolume {
        let volume = try TestVolume(TestShape(size: 1 << 20, blockBytes: 16 << 10))
        try volume.write(grain: 0, volume.noise(64 << 10))
        try volume.write(grain: 100, [UInt8](repeating: 9, count: 32 << 10))
        try volume.commit()
        volume.forget()
        try volume.write(grain: 1, volume.noise(4096))
        try volume.write(grain: 101, volume.noise(4096))
        try volume.commit()
        try volume.expectContent()
        return volume
    }

    /// Reads every block on its own: what comes must be right, what does not come must be an error.
    private func readAll(_ volume: TestVolume, _ root: Root) throws -> Int {
        let cache = CleanCache(capacityBytes: 64 << 20)
        let fetcher = MapFetcher(store: volume.store, cache: cache)
        var reader = MapReader(root: root, cache: cache)
        var failures = 0
        let zeros = UnsafeMutableRawBufferPointer.allocate(
            byteCount: root.blockBytes, alignment: 16)
        defer { zeros.deallocate() }
        _ = zeros.initializeMemory(as: UInt8.self, repeating: 0)
        for block in 0..<root.blockCount {
            let index = BlockIndex(block)
            do throws(FetchError) { try fetcher.bring([index], of: root) } catch {
                guard case .damaged = error else {
                    Issue.record("\(error)")
                    continue
                }
                failures += 1
            }
            let start = Int(block) * root.blockBytes
            let isRight = volume.model.withUnsafeBytes { model -> Bool in
                let expected = UnsafeRawBufferPointer(
                    rebasing: model[start..<(start + root.blockBytes)])
                switch reader.resolve(index) {
                case .missing: return true
                case .zeros: return isSame(expected, UnsafeRawBufferPointer(zeros))
                case .cached(let content): return isSame(expected, content.bytes)
                }
            }
            #expect(isRight, "block \(block)")
        }
        return failures
    }

    private func isSame(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        guard let first = left.baseAddress, let second = right.baseAddress else { return false }
        return left.count == right.count && memcmp(first, second, left.count) == 0
    }

    @Test("a flipped byte anywhere in a pack makes reads fail or does not matter; never wrong data")
    func flippedPackBytes() throws {
        let volume = try built()
        var detected = 0
        var tried = 0
        for (key, bytes) in volume.store.objects where key.hasPrefix("packs/") {
            // Every byte of headers, nodes and indexes would take minutes: a stride that is coprime
            // to all sizes visits every kind of field.
            for offset in stride(from: 0, to: bytes.count, by: 97) {
                volume.store.rot(key, at: offset)
                detected += try readAll(volume, volume.root) > 0 ? 1 : 0
                tried += 1
                volume.store.rot(key, at: offset)
            }
        }
        #expect(tried > 500)
        #expect(detected > tried / 2)
        #expect(try readAll(volume, volume.root) == 0)
    }

    @Test("a flipped byte anywhere in a commit makes it unreadable")
    func flippedCommitBytes() throws {
        let volume = try built()
        let key = volume.root.commit.key.key
        let bytes = try #require(volume.store.objects[key])
        for offset in bytes.indices {
            volume.store.rot(key, at: offset)
            #expect(throws: CommitError.self) {
                try HeadFinder(store: volume.store).head(of: volume.id)
            }
            volume.store.rot(key, at: offset)
        }
    }

    @Test("answers with a flipped bit now and then never become wrong data")
    func flippedAnswers() throws {
        let volume = try built()
        volume.store.injectAtRandom(StoreFault(.flipped, operation: .get), perMille: 300)
        for _ in 0..<40 { _ = try readAll(volume, volume.root) }
        volume.store.heal()
        #expect(try readAll(volume, volume.root) == 0)
    }

    @Test("a pack that is gone is named")
    func missingPack() throws {
        let volume = try built()
        let key = try #require(volume.store.objects.keys.first { $0.hasPrefix("packs/") })
        try volume.store.delete([key])
        let fetcher = MapFetcher(store: volume.store, cache: CleanCache(capacityBytes: 64 << 20))
        let blocks = (0..<volume.root.blockCount).map { BlockIndex($0) }
        #expect(throws: FetchError.missingObject(key: key)) {
            try fetcher.bring(blocks, of: volume.root)
        }
    }

    @Test("one damaged frame does not keep its neighbours from being brought")
    func neighbours() throws {
        let volume = try TestVolume(TestShape(size: 1 << 20, blockBytes: 16 << 10))
        try volume.write(grain: 0, volume.noise(64 << 10))
        try volume.commit()
        let key = try #require(volume.store.objects.keys.first { $0.hasPrefix("packs/") })
        volume.store.rot(key, at: 64 + 20_000)
        let cache = CleanCache(capacityBytes: 64 << 20)
        let fetcher = MapFetcher(store: volume.store, cache: cache)
        #expect(throws: FetchError.self) {
            try fetcher.bring((0..<4).map { BlockIndex($0) }, of: volume.root)
        }
        var reader = MapReader(root: volume.root, cache: cache)
        var brought = 0
        for block: UInt64 in 0..<4 {
            if case .cached = reader.resolve(BlockIndex(block)) { brought += 1 }
        }
        #expect(brought == 3)
    }

    @Test("a pack that ends early takes only what lies behind its end")
    func truncatedPack() throws {
        let volume = try TestVolume(TestShape(size: 1 << 20, blockBytes: 16 << 10))
        try volume.write(grain: 0, volume.noise(64 << 10))
        try volume.commit()
        let key = try #require(volume.store.objects.keys.first { $0.hasPrefix("packs/") })
        let bytes = try #require(volume.store.objects[key])
        let cache = CleanCache(capacityBytes: 64 << 20)
        let fetcher = MapFetcher(store: volume.store, cache: cache)
        let blocks = (0..<4).map { BlockIndex($0) }
        try fetcher.bringMap(for: blocks, of: volume.root)
        try volume.store.delete([key])
        _ = try volume.store.putIfAbsent(key, Array(bytes[..<(64 + 40_000)]))
        #expect(throws: FetchError.self) { try fetcher.bring(blocks, of: volume.root) }
        var reader = MapReader(root: volume.root, cache: cache)
        var brought: [Bool] = []
        for block in blocks {
            if case .cached = reader.resolve(block) {
                brought.append(true)
            } else {
                brought.append(false)
            }
        }
        #expect(brought == [true, true, false, false])
    }

    @Test("a commit on a damaged node fails and leaves everything for another try")
    func damagedParentNode() throws {
        let volume = try built()
        let node = try #require(
            volume.store.objects.filter { $0.key.hasPrefix("packs/") }
                .compactMap { key, bytes -> (String, Int)? in
                    let index = try? bytes.withUnsafeBytes { try PackIndex.read($0).index }
                    let last = index?.members.last { $0.kind == .node }
                    return last.map { (key, Int($0.extent.offset) + 40) }
                }.max { $0.0 < $1.0 })
        volume.forget()
        try volume.write(grain: 2, volume.noise(4096))
        let inputs = volume.inputs()
        volume.store.rot(node.0, at: node.1)
        #expect(throws: CommitError.self) { try volume.build(inputs) }
        volume.store.rot(node.0, at: node.1)
        try volume.publish(try volume.build(inputs).root)
        try volume.expectContent()
        try MapAudit(volume.root, store: volume.store).expectExact()
    }

    @Test("a store that is away at any request leaves all as it was, and the next try succeeds")
    func awayAtEachRequest() throws {
        var request = 0
        while true {
            let volume = try TestVolume(
                TestShape(size: 1 << 20, settings: PackSettings(targetBytes: 128 << 10)))
            try volume.write(grain: 0, volume.noise(512 << 10))
            try volume.commit()
            volume.forget()
            try volume.write(grain: 60, volume.noise(400 << 10))
            let inputs = volume.inputs()
            volume.store.inject(StoreFault(.away, skipping: request))
            let result = Result { try volume.build(inputs) }
            if case .success(let prepared) = result {
                volume.store.heal()
                try volume.publish(prepared.root)
                try volume.expectContent()
                break
            }
            guard case .failure(let error as CommitError) = result, error.isRetryable else {
                Issue.record("not worth a retry: \(result)")
                return
            }
            try volume.publish(try volume.build(inputs).root)
            try volume.expectContent("away at request \(request)")
            try MapAudit(volume.root, store: volume.store).expectExact()
            request += 1
        }
        #expect(request >= 4)
    }

    @Test("a pack whose answer was lost is found again by its length and not sent twice")
    func packAnswerLost() throws {
        let volume = try TestVolume()
        try volume.write(grain: 0, volume.noise(4096))
        volume.store.inject(StoreFault(.replyLost, operation: .put, keyPrefix: "packs/"))
        let retrying = OneMoreTry(base: volume.store)
        let prepared = try CommitBuilder(store: retrying, cache: volume.cache).build(
            volume.inputs(), random: &volume.random)
        #expect(prepared.statistics.packs == 1)
        try volume.publish(prepared.root)
        try volume.expectContent()
    }

    @Test("a journal page that rotted is not packed")
    func rottenJournal() throws {
        let volume = try TestVolume()
        try volume.write(grain: 0, volume.noise(4096))
        let inputs = volume.inputs()
        volume.disk.rot("journal/" + (try volume.segmentName), at: 2 * 4096 + 100)
        volume.store.record(true)
        let error = #expect(throws: CommitError.self) { try volume.build(inputs) }
        guard case .journal = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(volume.store.requests.isEmpty)
    }
}

/// Sends a PUT a second time if its fate is unknown, as the retrying store does.
private struct OneMoreTry: ForwardingStore {
    let base: MemoryStore

    func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        do throws(ObjectStoreError) { return try base.putIfAbsent(key, body) } catch {
            return try base.putIfAbsent(key, body)
        }
    }
}
