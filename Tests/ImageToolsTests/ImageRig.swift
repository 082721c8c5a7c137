// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A repository in memory, images in volatile files, and what a commit really holds, read back
// through the map as a host reads it.

import CleanCache
import Committer
import ControlPlane
import Documents
import Formats
import Glibc
import HostIO
import ImageTools
import Maintenance
import ObjectStore
import Primitives
import Testing
import VolumeMap

/// Bytes of a small pseudo-random disk: data, zeros, repeated blocks and compressible ones.
func diskBytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var random = SplitMix64(seed: seed)
    var bytes = [UInt8](repeating: 0, count: count)
    bytes.withUnsafeMutableBytes { target in
        var offset = 0
        while offset < count {
            let length = min(count - offset, 4096 * (1 + Int(random.next(below: 12))))
            let kind = random.next(below: 4)
            let word = random.next(below: 3) &* 0x0101_0101_0101_0101
            for place in offset..<(offset + length) where kind > 0 {
                target[place] =
                    kind == 1
                    ? UInt8(truncatingIfNeeded: random.next())
                    : UInt8(truncatingIfNeeded: word &+ UInt64(place / 1024))
            }
            offset += length
        }
    }
    return bytes
}

/// Confined to its test.
final class ImageRig {
    static let blockBytes = 16 << 10

    let store: MemoryStore
    let clock = ManualClock()
    let random = SharedRandom(seed: 11)
    private let folder = VolatileDisk(seed: 1).root
    private var files = 0

    init(store: MemoryStore = MemoryStore(seed: 1), repository: UInt64 = 5) throws {
        self.store = store
        let repository = Repository(
            id: Token(low: repository, high: repository), createdSeconds: 1)
        _ = try store.putIfAbsent(RefKey.repository.text, repository.encoded)
    }

    func file(_ bytes: [UInt8]) throws -> VolatileFile {
        files += 1
        let file = try folder.create("image-\(files)")
        try file.write(at: 0, bytes)
        return file
    }

    func raw(_ bytes: [UInt8]) throws -> RawDisk<VolatileFile> { try RawDisk(file(bytes)) }

    func request(
        _ name: String, isBase: Bool = true, replaces: Bool = false, against: String? = nil
    ) throws -> IngestRequest {
        let name = try #require(RefName(name))
        var request = IngestRequest(
            target: isBase ? .base(name, replaces: replaces) : .export(name), source: "disk.img",
            node: try #require(RefName("tester")))
        request.blockBytes = Self.blockBytes
        request.base = try against.map { try #require(RefName($0)) }
        // Several packs for a small image.
        request.settings = PackSettings(targetBytes: 64 << 10)
        return request
    }

    func ingest(
        _ request: IngestRequest, threads: Int = 0
    ) -> Ingest<MemoryStore, ManualClock, SharedRandom> {
        Ingest(
            request, store: store, clock: clock, random: random,
            resources: IngestResources(threads: threads, uploads: threads))
    }

    @discardableResult
    func bless(
        _ image: some DiskImage, _ name: String = "debian", threads: Int = 0,
        replaces: Bool = false, against: String? = nil
    ) throws -> IngestReport {
        try ingest(request(name, replaces: replaces, against: against), threads: threads)
            .run(image)
    }

    // MARK: What is there

    func base(_ name: String = "debian") throws -> BaseRef? {
        try RefStore(store: store, what: "look").newest(.base(try #require(RefName(name))))
    }

    func export(_ name: String) throws -> ExportRef? {
        try RefStore(store: store, what: "look").newest(.export(try #require(RefName(name))))
    }

    /// The bytes of a commit, from the store alone.
    func content(_ pointer: CommitPointer) throws -> [UInt8] {
        let commit = try HeadFinder(store: store).commit(of: pointer.volume, pointer.sequence)
            .commit
        #expect(commit.token == pointer.token)
        let root = Root(commit: commit)
        let fetcher = MapFetcher(store: store, cache: CleanCache(capacityBytes: 64 << 20))
        var bytes: [UInt8] = []
        for block in 0..<root.blockCount {
            if let content = try fetcher.content(of: BlockIndex(block), in: root) {
                bytes += Array(content.bytes)
            } else {
                bytes += [UInt8](repeating: 0, count: root.blockBytes)
            }
        }
        let size = Int(root.size.rawValue)
        #expect(bytes[size...].allSatisfy { $0 == 0 }, "the short last block is padded with zeros")
        return Array(bytes[..<size])
    }

    /// Verifies the whole repository: counts, hashes, digests, references.
    func expectWhole() throws {
        var verifier = Verifier(
            store: store, options: VerifyOptions(), random: SplitMix64(seed: 3))
        let report = try verifier.run()
        #expect(report.isWhole, "\(report.lines.joined(separator: "\n"))")
    }

    func collect(runs: Int) throws {
        for _ in 0..<runs {
            var collector = Collector(
                store: store, clock: clock,
                options: CollectorOptions(
                    node: "tester", gracePeriodSeconds: 0, deletesMax: .max, isDryRun: false,
                    retention: Retention()))
            _ = try collector.run()
        }
    }

    /// How often each frame lies in the packs of the store: by the hash of its content.
    func frames() throws -> [Hash128: Int] {
        var count: [Hash128: Int] = [:]
        for (key, bytes) in store.objects where key.hasPrefix("packs/") {
            let index = try bytes.withUnsafeBytes { try PackIndex.read($0).index }
            for member in index.members where member.kind == .frame {
                count[member.hash, default: 0] += 1
            }
        }
        return count
    }

    var packCount: Int { store.keys(prefix: "packs/").count }
}

/// Not an expectation of two arrays, which would print them.
func expectBytes(_ found: [UInt8], _ expected: [UInt8], _ comment: String = "") {
    guard found != expected else { return }
    let place = zip(found, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    let first = place.map { "\($0)" } ?? "the end"
    Issue.record(
        "\(comment): \(found.count) bytes, not \(expected.count); they differ at \(first)")
}
