// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Block diffs that become exports: of both versions, over a base and from nothing, refused and
// broken off.

import ControlPlane
import Documents
import Formats
import HostIO
import ImageTools
import ObjectStore
import Primitives
import Testing

/// Diffs of files, made by the tool, applied to a repository. Confined to its test.
private struct DiffBench {
    let rig: ImageRig
    let folder = VolatileDisk(seed: 3).root
    let tool = BlockDiffTool<VolatileDirectory>(token: 7) { _, _ in true }

    init() throws { rig = try ImageRig() }

    func place(_ name: String) -> ImagePlace<VolatileDirectory> {
        ImagePlace(directory: folder, name: name, path: name)
    }

    func write(_ name: String, _ bytes: [UInt8]) throws {
        let file = try folder.create(name)
        try file.write(at: 0, bytes)
    }

    /// A diff from `base` to `target`.
    func diff(
        _ target: [UInt8], base: [UInt8]?, version: Int, digests: Bool = true
    ) throws -> DiffEnd<VolatileDirectory> {
        for name in ["target", "base", "diff"] { try? folder.remove(name) }
        try write("target", target)
        if let base { try write("base", base) }
        var options = DiffCreation()
        options.version = version
        options.takesDigests = digests
        _ = try tool.create(
            .file(place("diff")), target: place("target"), base: base.map { _ in place("base") },
            options)
        return .file(place("diff"))
    }

    @discardableResult
    func apply(
        _ diff: DiffEnd<VolatileDirectory>, base: String?, name: String = "copy", threads: Int = 0,
        trusts: Bool = false, progress: @escaping (UInt64, UInt64) -> Bool = { _, _ in true }
    ) throws -> IngestReport {
        var request = try rig.request(name, isBase: false)
        request.blockBytes = nil
        return try rig.ingest(request, threads: threads).apply(
            diff, base: base, trustsBase: trusts, progress: progress)
    }
}

@Suite("Block diffs into exports")
struct DiffIngestTests {
    private static let bytes = diskBytes((2 << 20) + 4096 + 512, seed: 21)

    /// Changes of all kinds: inside a sector, over the edge of blocks, whole blocks, zeros, the
    /// end.
    private static let changed: [UInt8] = {
        var bytes = Self.bytes
        var random = SplitMix64(seed: 5)
        func put(_ range: Range<Int>) {
            for place in range { bytes[place] = UInt8(truncatingIfNeeded: random.next()) }
        }
        put(100..<107)
        put((3 * 16_384 - 5000)..<(3 * 16_384 + 9000))
        put((10 * 16_384)..<(14 * 16_384))
        for place in (20 * 16_384)..<(23 * 16_384 + 4096) { bytes[place] = 0 }
        put((bytes.count - 600)..<bytes.count)
        return bytes
    }()

    @Test(
        "an export is its base with what the diff changes, whichever way it is written",
        arguments: [1, 2], [0, 3])
    func applies(version: Int, threads: Int) throws {
        let bench = try DiffBench()
        try bench.rig.bless(bench.rig.raw(Self.bytes))
        let diff = try bench.diff(Self.changed, base: Self.bytes, version: version)
        let report = try bench.apply(diff, base: "base:debian", threads: threads)
        expectBytes(try bench.rig.content(report.commit), Self.changed)
        #expect(report.blocksStored < 16, "\(report.blocksStored) blocks")
        let export = try #require(try bench.rig.export("copy"))
        #expect(export.state == .live)
        #expect(export.origin?.name == "base:debian")
        #expect(bench.rig.store.keys(prefix: "refs/readers/").isEmpty)
        try bench.rig.expectWhole()
        expectBytes(
            try bench.rig.content(try #require(try bench.rig.base()).commit), Self.bytes, "base")
    }

    @Test("a diff without a base makes a disk of its own, and one may make the disk larger")
    func growsAndStandsAlone() throws {
        let bench = try DiffBench()
        let first = try bench.apply(
            try bench.diff(Self.bytes, base: nil, version: 2), base: nil, name: "one")
        expectBytes(try bench.rig.content(first.commit), Self.bytes)
        let larger = Self.changed + diskBytes(300_032, seed: 8)
        let second = try bench.apply(
            try bench.diff(larger, base: Self.bytes, version: 1), base: "one", name: "two")
        expectBytes(try bench.rig.content(second.commit), larger)
        #expect(second.size == ByteCount(UInt64(larger.count)))
        try bench.rig.expectWhole()
    }

    @Test("zeros over many chunks, some of them empty, take what was there", arguments: [1, 2])
    func longZeros(version: Int) throws {
        let bench = try DiffBench()
        // Chunks of 16 MiB; the second holds nothing.
        var base = [UInt8](repeating: 0, count: (66 << 20) + 512)
        for start in [0, 33 << 20, 49 << 20, (66 << 20) - 8192] {
            base.replaceSubrange(start..<(start + 8192), with: [UInt8](repeating: 7, count: 8192))
        }
        var target = base
        let zeros = 4096..<((66 << 20) - 4096)
        target.replaceSubrange(zeros, with: [UInt8](repeating: 0, count: zeros.count))
        try bench.rig.bless(bench.rig.raw(base))
        let diff = try bench.diff(target, base: base, version: version, digests: false)
        let report = try bench.apply(diff, base: "debian")
        expectBytes(try bench.rig.content(report.commit), target)
        try bench.rig.expectWhole()
    }

    @Test("a file that ends inside a sector is known by its digest all the same")
    func endsInsideSector() throws {
        let bench = try DiffBench()
        let base = Array(Self.bytes[..<((1 << 20) + 100)])
        var target = base
        target[70_000] ^= 1
        try bench.rig.bless(bench.rig.raw(base))
        let diff = try bench.diff(target, base: base, version: 2)
        let report = try bench.apply(diff, base: "debian")
        expectBytes(
            try bench.rig.content(report.commit), target + [UInt8](repeating: 0, count: 412))
    }

    @Test("another base, a smaller disk, a used name and a missing base are refused by name")
    func refusals() throws {
        let bench = try DiffBench()
        try bench.rig.bless(bench.rig.raw(Self.bytes))
        try bench.rig.bless(bench.rig.raw(Self.changed), "other")
        func kind(_ body: () throws -> IngestReport) throws -> UserError.Kind {
            try #require(throws: UserError.self) { try body() }.kind
        }
        let diff = try bench.diff(Self.changed, base: Self.bytes, version: 2)
        let objects = bench.rig.store.objects.keys.sorted()
        #expect(try kind { try bench.apply(diff, base: "base:other") } == .conflict)
        #expect(try kind { try bench.apply(diff, base: nil) } == .badRequest)
        #expect(try kind { try bench.apply(diff, base: "nobody") } == .notFound)
        #expect(bench.rig.store.objects.keys.sorted() == objects, "nothing is left")
        try bench.apply(diff, base: "debian")
        #expect(try kind { try bench.apply(diff, base: "debian") } == .conflict)
        let short = try bench.diff(
            Array(Self.bytes[..<(1 << 20)]), base: Self.bytes, version: 1)
        #expect(try kind { try bench.apply(short, base: "debian", name: "x") } == .badRequest)
        let sizes = try bench.diff([1, 2, 3], base: [1, 2, 4], version: 1)
        #expect(try kind { try bench.apply(sizes, base: "debian", name: "x") } == .conflict)
    }

    @Test("broken off by any request, the next try makes it, and another diff starts anew")
    func brokenOff() throws {
        var request = 0
        while true {
            let bench = try DiffBench()
            try bench.rig.bless(bench.rig.raw(Self.bytes))
            let other = try bench.diff(Self.changed, base: Self.bytes, version: 1)
            bench.rig.store.inject(StoreFault(.away, skipping: request, times: 1_000_000))
            var isOver = true
            do { try bench.apply(other, base: "debian") } catch {
                #expect((error as? UserError)?.kind == .storeAway, "request \(request): \(error)")
                isOver = false
            }
            bench.rig.store.heal()
            if isOver { break }
            // The next try brings less: nothing of the first may show.
            var less = Self.bytes
            less[40_000] ^= 1
            let diff = try bench.diff(less, base: Self.bytes, version: 2)
            let found = try bench.rig.export("copy")
            guard found?.state != .live else {
                request += 1
                continue
            }
            let report = try bench.apply(diff, base: "debian")
            expectBytes(try bench.rig.content(report.commit), less, "request \(request)")
            try bench.rig.expectWhole()
            request += 1
        }
        #expect(request > 10, "\(request) requests were interrupted")
    }

    @Test("interrupted by its user, it names nothing")
    func interrupted() throws {
        let bench = try DiffBench()
        try bench.rig.bless(bench.rig.raw(Self.bytes))
        let diff = try bench.diff(Self.changed, base: Self.bytes, version: 1)
        #expect(throws: UserError.self) {
            try bench.apply(diff, base: "debian", progress: { _, _ in false })
        }
        #expect(try bench.rig.export("copy")?.state == .creating)
        try bench.apply(diff, base: "debian")
        expectBytes(try bench.rig.content(try #require(try pointer(bench))), Self.changed)
    }

    private func pointer(_ bench: DiffBench) throws -> CommitPointer? {
        let refs = RefStore(store: bench.rig.store, what: "look")
        return try CommitSources(refs: refs).find(try ForkSource(from: "copy"))?.commit
    }
}
