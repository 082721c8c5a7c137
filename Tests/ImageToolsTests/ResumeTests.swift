// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Imports that are broken off: at every request to the store, by a process that dies, by an image
// that cannot be read; and what the collector makes of them meanwhile.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import ImageTools
import Maintenance
import ObjectStore
import Primitives
import Synchronization
import TestSupport
import Testing

/// An image that fails from the nth read on.
private final class FailingImage: DiskImage {
    let base: RawDisk<VolatileFile>
    /// Relaxed: only the count matters.
    private let left: Atomic<Int>
    var format: String { base.format }
    var size: ByteCount { base.size }
    var pieceBytes: Int { base.pieceBytes }

    init(_ base: RawDisk<VolatileFile>, after reads: Int) {
        self.base = base
        left = Atomic(reads)
    }

    func nextData(from offset: UInt64) throws(ImageError) -> Range<UInt64>? {
        try base.nextData(from: offset)
    }

    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) {
        guard left.wrappingSubtract(1, ordering: .relaxed).newValue >= 0 else {
            throw .file(HostIOError(.read, path: "disk.img", code: 5))
        }
        try base.read(at: offset, into: buffer)
    }
}

/// An image that is refused for its size or its map.
private struct RefusedImage: DiskImage {
    let size: ByteCount
    var format: String { "none" }
    var pieceBytes: Int { 4096 }

    func nextData(from offset: UInt64) throws(ImageError) -> Range<UInt64>? {
        throw .damaged(detail: "its map is torn")
    }

    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) {
        throw .damaged(detail: "it is not read")
    }
}

@Suite("Resumed ingest")
struct ResumeTests {
    private static let bytes = diskBytes(3 << 20, seed: 9)
    /// For tests that run it a hundred times.
    private static let small = diskBytes(640 << 10, seed: 9)

    /// Runs a bless that meets `fault` at each request in turn, and the one that finishes it.
    private func interruptEverywhere(
        against: String?, _ fault: (Int) -> StoreFault, frameCountMax: Int
    ) throws {
        var request = 0
        while true {
            let rig = try ImageRig()
            if against != nil {
                try rig.bless(rig.raw(Array(Self.small[(128 << 10)...])), "old")
            }
            rig.store.inject(fault(request))
            var isOver = false
            do { try rig.bless(rig.raw(Self.small), against: against) } catch {
                #expect((error as? UserError)?.kind == .storeAway, "request \(request): \(error)")
                isOver = true
            }
            if !isOver, rig.store.counts.failures == 0 { break }
            rig.store.heal()
            let again = try rig.bless(rig.raw(Self.small), against: against)
            expectBytes(try rig.content(again.commit), Self.small, "request \(request)")
            #expect(try rig.base()?.commit == again.commit)
            #expect(try rig.export("bless.debian")?.state == .deleted)
            let most = try rig.frames().values.max() ?? 0
            #expect(most <= frameCountMax, "request \(request): a frame was stored \(most) times")
            rig.store.landLate()
            try rig.expectWhole()
            request += 1
        }
        #expect(request > 15, "\(request) requests were interrupted")
    }

    @Test("broken off by any request that fails, the next try stores no frame twice")
    func failedOnce() throws {
        try interruptEverywhere(against: nil, { StoreFault(.away, skipping: $0) }, frameCountMax: 1)
    }

    @Test("killed before any request, the next try stores no frame twice")
    func killed() throws {
        try interruptEverywhere(
            against: nil, { StoreFault(.away, skipping: $0, times: 1_000_000) }, frameCountMax: 1)
    }

    @Test("with any PUT's answer lost, the next try stores no frame twice")
    func answersLost() throws {
        try interruptEverywhere(
            against: nil, { StoreFault(.replyLost, operation: .put, skipping: $0 / 4) },
            frameCountMax: 1)
    }

    @Test("broken off against a base, the next try stores no frame twice")
    func killedAgainstBase() throws {
        try interruptEverywhere(
            against: "old", { StoreFault(.away, skipping: $0, times: 1_000_000) },
            frameCountMax: 1)
    }

    @Test("killed while several packs are on their way, the next try stores no frame twice")
    func killedInParallel() throws {
        for request in stride(from: 6, to: 60, by: 5) {
            let rig = try ImageRig()
            rig.store.inject(StoreFault(.away, skipping: request, times: 1_000_000))
            do { try rig.bless(rig.raw(Self.bytes), threads: 3) } catch {}
            rig.store.heal()
            let again = try rig.bless(rig.raw(Self.bytes), threads: 3)
            expectBytes(try rig.content(again.commit), Self.bytes, "request \(request)")
            #expect(try rig.frames().values.allSatisfy { $0 == 1 }, "request \(request)")
            try rig.expectWhole()
        }
    }

    @Test("a try that dies and one that finishes upload what one whole try does, but for map nodes")
    func bytesUploaded() throws {
        let whole = try ImageRig()
        try whole.bless(whole.raw(Self.bytes))
        let expected = whole.store.counts.bytesSent
        let rig = try ImageRig()
        let image = FailingImage(try rig.raw(Self.bytes), after: 2)
        let error = try #require(throws: UserError.self) { try rig.bless(image) }
        #expect(error.kind == .failed)
        let packs = rig.packCount
        #expect(packs > 3)
        let again = try rig.bless(rig.raw(Self.bytes))
        #expect(again.isResumed)
        #expect(again.blocksReused > 0)
        // Nodes name slots of packs, and the pack that was open is begun anew.
        #expect(rig.store.counts.bytesSent < expected + 24_000)
        try rig.expectWhole()
    }

    @Test("an image that is too large, or whose map is damaged, leaves nothing in the store")
    func refusedFirst() throws {
        let rig = try ImageRig()
        let keys = rig.store.keys(prefix: "")
        for (size, why) in [(UInt64(1) << 20, "its map is torn"), (1 << 50, "are more than")] {
            let error = try #require(throws: UserError.self) {
                try rig.bless(RefusedImage(size: ByteCount(size)))
            }
            #expect(error.why.contains(why), "\(error)")
            #expect(rig.store.keys(prefix: "") == keys)
        }
    }

    @Test("interrupted by its user, it says how to go on, and goes on", arguments: [0, 3])
    func interrupted(threads: Int) throws {
        let rig = try ImageRig()
        let request = try rig.request("debian")
        let error = try #require(throws: UserError.self) {
            _ = try rig.ingest(request, threads: threads).run(rig.raw(Self.bytes)) {
                $0.doneBytes < 2 << 20
            }
        }
        #expect(error.why == "it was interrupted")
        #expect(try rig.base() == nil)
        #expect(rig.packCount > 3, "what was on its way has arrived")
        let again = try rig.bless(rig.raw(Self.bytes), threads: threads)
        #expect(again.isResumed && again.blocksReused > 0)
        #expect(try rig.frames().values.allSatisfy { $0 == 1 })
        expectBytes(try rig.content(again.commit), Self.bytes)
        // To look whether the content is the same is to read it: that ends, too.
        #expect(throws: UserError.self) {
            _ = try rig.ingest(request).run(rig.raw(Self.bytes)) { _ in false }
        }
        try rig.expectWhole()
    }

    @Test("what the second try reads may have changed: it is what counts")
    func otherImage() throws {
        let rig = try ImageRig()
        #expect(throws: UserError.self) {
            try rig.bless(FailingImage(rig.raw(Self.bytes), after: 2))
        }
        let other = diskBytes(5 << 20, seed: 10)
        let report = try rig.bless(rig.raw(other))
        expectBytes(try rig.content(report.commit), other)
        try rig.expectWhole()
    }

    @Test("a pack that was damaged meanwhile is not relied on")
    func damagedPack() throws {
        let rig = try ImageRig()
        #expect(throws: UserError.self) {
            try rig.bless(FailingImage(rig.raw(Self.bytes), after: 2))
        }
        let key = try #require(rig.store.keys(prefix: "packs/").first)
        rig.store.rot(key, at: (rig.store.byteCount(of: key) ?? 0) - 1)
        let report = try rig.bless(rig.raw(Self.bytes))
        expectBytes(try rig.content(report.commit), Self.bytes)
    }

    // MARK: With the collector

    @Test("what an unfinished import uploaded outlives collections")
    func collectedMeanwhile() throws {
        let rig = try ImageRig()
        try rig.bless(rig.raw(Array(Self.bytes[..<(1 << 20)])), "old")
        #expect(throws: UserError.self) {
            try rig.bless(FailingImage(rig.raw(Self.bytes), after: 2), against: "old")
        }
        let packs = rig.packCount
        try rig.collect(runs: 4)
        #expect(rig.packCount == packs)
        let report = try rig.bless(rig.raw(Self.bytes), against: "old")
        #expect(report.isResumed)
        #expect(try rig.frames().values.allSatisfy { $0 == 1 })
        try rig.collect(runs: 4)
        expectBytes(try rig.content(report.commit), Self.bytes)
        try rig.expectWhole()
    }

    @Test("an abandoned import is fenced and collected, and its name may be used again")
    func abandoned() throws {
        let rig = try ImageRig()
        #expect(throws: UserError.self) {
            try rig.bless(FailingImage(rig.raw(Self.bytes), after: 2))
        }
        let work = try #require(try rig.export("bless.debian"))
        var random = rig.random
        _ = try Collector<MemoryStore, ManualClock>.abandon(
            work.volume.description, in: rig.store, clock: rig.clock, random: &random)
        try rig.collect(runs: 4)
        #expect(rig.packCount == 0)
        let report = try rig.bless(rig.raw(Self.bytes))
        #expect(!report.isResumed)
        try rig.collect(runs: 4)
        expectBytes(try rig.content(report.commit), Self.bytes)
    }

    @Test("abandoned while it runs, an import fails and names nothing")
    func abandonedMeanwhile() throws {
        let rig = try ImageRig()
        let request = try rig.request("debian")
        var isFirst = true
        let error = try #require(throws: UserError.self) {
            _ = try rig.ingest(request).run(rig.raw(Self.bytes)) { _ in
                guard isFirst, let work = try? rig.export("bless.debian") else { return true }
                isFirst = false
                var random = rig.random
                _ = try? Collector<MemoryStore, ManualClock>.abandon(
                    work.volume.description, in: rig.store, clock: rig.clock, random: &random)
                return true
            }
        }
        #expect(error.kind == .conflict)
        #expect(try rig.base() == nil)
        try rig.collect(runs: 4)
        #expect(rig.packCount == 0)
    }

    @Test("on a store of files")
    func directoryStore() throws {
        let scratch = try ScratchDirectory()
        let folder = try HostDirectory.open(path: scratch.path, create: true)
        let store = try DirectoryStore(
            root: folder.directory("store", create: true), token: Token(low: 1, high: 1))
        let repository = Repository(id: Token(low: 5, high: 5), createdSeconds: 1)
        _ = try store.putIfAbsent(RefKey.repository.text, repository.encoded)
        let file = try folder.create("disk.img")
        try file.resize(64 << 20)
        try file.write(at: 40 << 20, Self.bytes)
        let image = try RawDisk(file)
        var request = IngestRequest(
            target: .base(try #require(RefName("debian")), replaces: false), source: "disk.img",
            node: try #require(RefName("tester")))
        request.settings = PackSettings(targetBytes: 256 << 10)
        let random = SharedRandom(seed: 3)
        func run() throws -> IngestReport {
            try Ingest(
                request, store: store, clock: ManualClock(), random: random,
                resources: IngestResources(threads: 2, uploads: 2)
            ).run(image)
        }
        let report = try run()
        #expect(report.outcome == .created)
        #expect(report.readBytes <= 4 << 20, "holes are not read")
        #expect(try run().outcome == .unchanged)
        var verifier = Verifier(
            store: store, options: VerifyOptions(), random: SplitMix64(seed: 3))
        #expect(try verifier.run().isWhole)
    }
}
