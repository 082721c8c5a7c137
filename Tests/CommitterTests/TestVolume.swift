// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A volume driven as an engine drives it, journal and all, beside an array of bytes that says what
// must be there.

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

/// What the volumes of a test are like.
struct TestShape {
    var size = 8 << 20
    var blockBytes = 128 << 10
    var settings = PackSettings()
    var seed: UInt64 = 1
    var cacheBytes = 256 << 20
}

/// Confined to its test.
final class TestVolume {
    let id: VolumeID
    let store: MemoryStore
    let disk: VolatileDisk
    let folder: VolatileDirectory
    let roots: RootDirectory<VolatileDirectory>
    let settings: PackSettings
    let cacheBytes: Int
    /// The committer's cache; replace it to make the host forget.
    var cache: CleanCache
    var uploads = PackUploads.none
    var spread: FetchSpread = oneByOne
    var root: Root
    var random: SplitMix64
    var model: [UInt8]
    private(set) var memtable: Memtable
    private var journal: Journal<VolatileDirectory>
    private let pool: SegmentPool<VolatileDirectory>

    /// Creates a volume, its first commit published; or forks another; or goes on from `imported`,
    /// whose content is not looked at.
    init(
        _ shape: TestShape = TestShape(), store: MemoryStore? = nil, fork: TestVolume? = nil,
        imported: LocalRoot? = nil
    ) throws {
        var random = SplitMix64(seed: shape.seed)
        let id = imported?.commit.volume ?? VolumeID.random(from: &random)
        self.id = id
        self.store = store ?? fork?.store ?? MemoryStore()
        disk = VolatileDisk(seed: shape.seed)
        folder = disk.root
        roots = try RootDirectory(volumeDirectory: folder)
        settings = shape.settings
        cacheBytes = shape.cacheBytes
        cache = CleanCache(capacityBytes: shape.cacheBytes)
        let stamp = CommitDrafts.Stamp(
            epoch: Epoch(1), token: .random(from: &random), state: .open, labelSeconds: 1)
        let first =
            imported ?? fork.map { CommitDrafts.forked(from: $0.root.commit, as: id, stamp: stamp) }
            ?? CommitDrafts.first(
                of: id, size: ByteCount(UInt64(shape.size)), blockBytes: shape.blockBytes,
                stamp: stamp)
        root = Root(commit: first.commit)
        let modelled = imported == nil ? shape.size : 0
        model = fork?.model ?? [UInt8](repeating: 0, count: modelled)
        memtable = Memtable(blockBytes: root.blockBytes)
        let segments = try folder.directory("segments", create: true)
        pool = SegmentPool(directory: segments, budgetBytes: 1 << 40, random: random)
        let bootID = BootID(low: 1, high: 1)
        try pool.prepare(bootID: bootID)
        journal = Journal(
            starting: .fresh(
                volume: id, bootID: bootID,
                directory: try folder.directory("journal", create: true),
                cut: RecordSequence(0)))
        self.random = random
        try publish(first)
    }

    var blockCount: Int { Int(root.blockCount) }
    var cut: RecordSequence { journal.lastAppended }

    /// The journal's only segment.
    var segmentName: String {
        get throws { try #require(try journal.directory.list().first) }
    }

    // MARK: Guest requests

    /// Writes whole grains; the last one of the volume may be short.
    func write(grain: Int, _ bytes: [UInt8]) throws {
        let start = grain * Limits.grainBytes
        if !model.isEmpty {
            model.withUnsafeMutableBytes { target in
                UnsafeMutableRawBufferPointer(rebasing: target[start..<(start + bytes.count)])
                    .copyBytes(from: bytes)
            }
        }
        let over = bytes.count % Limits.grainBytes
        var padded = bytes
        if over > 0 { padded += [UInt8](repeating: 0, count: Limits.grainBytes - over) }
        var next = 0
        while next < padded.count {
            let count = min(padded.count - next, 64 * Limits.grainBytes)
            let first = GrainIndex(UInt64(grain + next / Limits.grainBytes))
            try padded.withUnsafeMutableBytes { buffer in
                try stage(
                    first, UnsafeMutableRawBufferPointer(rebasing: buffer[next..<(next + count)]))
            }
            next += count
        }
    }

    private func stage(_ first: GrainIndex, _ bytes: UnsafeMutableRawBufferPointer) throws {
        let pages = bytes.count / Limits.grainBytes
        try makeRoom(pages: pages)
        var piece = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
        let staged = withUnsafePointer(to: &piece) {
            journal.stageWrite(
                firstGrain: first, pieces: UnsafeBufferPointer(start: $0, count: 1),
                epoch: Epoch(1), continues: false)
        }
        guard case .at(let page) = staged else { preconditionFailure("one record a batch") }
        try journal.append()
        memtable.set(firstGrain: first, count: pages, firstPage: page)
    }

    /// Zeroes whole grains.
    func zero(grains: Range<Int>) throws {
        let end = min(grains.upperBound * Limits.grainBytes, model.count)
        let start = min(grains.lowerBound * Limits.grainBytes, end)
        model.withUnsafeMutableBytes { bytes in
            _ = UnsafeMutableRawBufferPointer(rebasing: bytes[start..<end])
                .initializeMemory(as: UInt8.self, repeating: 0)
        }
        try mark(
            .zero, offset: grains.lowerBound * Limits.grainBytes,
            length: grains.count * Limits.grainBytes)
        memtable.setZero(grains: UInt64(grains.lowerBound)..<UInt64(grains.upperBound))
    }

    private func mark(_ kind: JournalRecord.Kind, offset: Int, length: Int) throws {
        try makeRoom(pages: 0)
        _ = journal.stageMark(
            kind: kind, offset: UInt64(offset), length: UInt64(length), epoch: Epoch(1),
            continues: false)
        try journal.append()
    }

    private func makeRoom(pages: Int) throws {
        while !journal.room(forPages: pages, records: 1) {
            journal.offer(
                try pool.take(
                    into: journal.directory, number: journal.reserveSegmentNumber()))
        }
    }

    /// Random bytes that no codec shrinks.
    func noise(_ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: (count + 7) / 8 * 8)
        bytes.withUnsafeMutableBytes { target in
            for offset in stride(from: 0, to: target.count, by: 8) {
                target.storeBytes(of: random.next(), toByteOffset: offset, as: UInt64.self)
            }
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    // MARK: Commits

    func inputs(state: CommitState = .open, newSize: Int? = nil) -> CommitInputs<VolatileDirectory>
    {
        memtable.freeze()
        return CommitInputs(
            parent: root, frozen: memtable, journal: journal.frozen(),
            newSize: newSize.map { ByteCount(UInt64($0)) } ?? root.size, cut: journal.lastAppended,
            state: state, token: .random(from: &random), labelSeconds: 2, settings: settings)
    }

    func build(_ inputs: CommitInputs<VolatileDirectory>) throws -> PreparedCommit {
        try CommitBuilder(store: store, cache: cache, uploads: uploads, spread: spread)
            .build(inputs, random: &random)
    }

    /// Cuts, builds and publishes.
    @discardableResult
    func commit(newSize: Int? = nil) throws -> CommitStatistics {
        if let newSize {
            try mark(.resize, offset: 0, length: newSize)
            model += [UInt8](repeating: 0, count: newSize - model.count)
        }
        let prepared = try build(inputs(newSize: newSize))
        try publish(prepared.root)
        return prepared.statistics
    }

    func publish(_ next: LocalRoot) throws {
        try roots.writePending(next.commit.sequence, bytes: next.bytes)
        let outcome = try Publisher(store: store).publish(next)
        #expect(outcome == .published)
        try roots.promote(next.commit.sequence)
        adopt(next)
    }

    func adopt(_ next: LocalRoot) {
        root = Root(commit: next.commit)
        memtable = Memtable(blockBytes: root.blockBytes)
        _ = journal.retire(upTo: next.commit.cut)
    }

    /// Makes the host forget everything that it holds of the store.
    func forget() { cache = CleanCache(capacityBytes: cacheBytes) }

    // MARK: Looking

    /// What a machine without a cache reads: the whole volume from the store.
    func content(of root: Root? = nil) throws -> [UInt8] {
        let root = root ?? self.root
        let cache = CleanCache(capacityBytes: 1 << 30)
        let fetcher = MapFetcher(store: store, cache: cache)
        try fetcher.bring((0..<root.blockCount).map { BlockIndex($0) }, of: root)
        var reader = MapReader(root: root, cache: cache)
        var bytes = [UInt8](repeating: 0, count: Int(root.blockCount) * root.blockBytes)
        bytes.withUnsafeMutableBytes { target in
            for block in 0..<root.blockCount {
                switch reader.resolve(BlockIndex(block)) {
                case .zeros: continue
                case .missing: Issue.record("block \(block) was not brought")
                case .cached(let content):
                    let start = Int(block) * root.blockBytes
                    UnsafeMutableRawBufferPointer(
                        rebasing: target[start..<(start + root.blockBytes)]
                    ).copyMemory(from: content.bytes)
                }
            }
        }
        bytes.removeLast(bytes.count - Int(root.size.rawValue))
        return bytes
    }

    func expectContent(_ comment: Comment? = nil) throws {
        let found = try content()
        let isEqual =
            found.count == model.count && memcmp(found, model, found.count) == 0
        #expect(isEqual, comment)
        if !isEqual {
            let at = zip(found, model).enumerated().first { $0.element.0 != $0.element.1 }?.offset
            Issue.record("first difference at \(at ?? -1)")
        }
    }
}
