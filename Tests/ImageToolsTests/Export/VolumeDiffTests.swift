// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Block diffs of commits: applied to the older disk they give the newer one, byte for byte, and
// what both have in common is not read.

import ControlPlane
import Formats
import HostIO
import ObjectStore
import Primitives
import RepositorySupport
import Testing
import VolumeMap

@testable import ImageTools

/// Commits of blocks of one size, as a few days make them.
private struct DiffHistory {
    static let blockBytes = 16 << 10
    /// The last grain and the last block are short.
    static let size = UInt64(40 * blockBytes + 1536)

    let repository: SmallRepository
    let keys: [CommitKey]

    init() throws {
        let made = try SmallRepository()
        repository = made
        var keys: [CommitKey] = []
        func keep(_ name: String) throws {
            _ = try made.plane.snapshot(name, tag: name == "disk" ? "last" : nil)
            keys.append(try #require(try made.history(of: name).last))
            // Nothing is cached any more: partial writes become deltas.
            try made.reopen(name)
        }
        let block = UInt64(Self.blockBytes)
        _ = try made.plane.put(
            "disk", PutRequest(size: ByteCount(Self.size), blockBytes: Self.blockBytes))
        try keep("disk")
        try made.running("disk").write(0, made.fresh(6 * Self.blockBytes))
        try made.running("disk").write(30 * block, made.fresh(10 * Self.blockBytes + 1536))
        try keep("disk")
        // Deltas, one below the other; the short grain at the end.
        try made.running("disk").write(block + 4096, made.fresh(4096))
        try made.running("disk").write(40 * block, made.fresh(512))
        try keep("disk")
        try made.running("disk").write(block + 8192, made.fresh(6000))
        try made.running("disk").write(20 * block + 512, made.fresh(100))
        try keep("disk")
        _ = try made.plane.put("fork", PutRequest(source: try ForkSource(from: "tag:last")))
        // Holes, zeros that were written, and what was there before.
        try made.running("disk").trim(block..<4 * block)
        try made.running("disk").write(4 * block, [UInt8](repeating: 0, count: Self.blockBytes))
        try keep("disk")
        try made.running("fork").write(2 * block, made.fresh(3 * Self.blockBytes))
        try keep("fork")
        _ = try made.plane.put("fork", PutRequest(size: ByteCount(Self.size + 3 * block + 512)))
        try keep("fork")
        try made.running("fork").write(Self.size - 1024, made.fresh(Self.blockBytes))
        try keep("fork")
        self.keys = keys
    }

    func image(_ key: CommitKey) throws -> [UInt8] {
        let stream = CollectedStream()
        _ = try ImageExport(try repository.source(key), from: repository.store, as: .raw)
            .write(to: stream)
        return stream.bytes
    }
}

private let token = Token(low: 3, high: 4)
private let forms: [BlockDiffForm] = [
    .v1, .v2(.raw, hasDigests: false), .v2(.zstd, hasDigests: true), .v2(.lz4, hasDigests: false),
]

@Suite("a block diff of two commits turns one disk into the other")
struct VolumeDiffTests {
    private func rig() -> DiffRig<VolatileDirectory> {
        DiffRig(directory: VolatileDisk(hasExtents: true).root)
    }

    @Test("every pair of a history with deltas, holes, a fork and sizes that grew, in every form")
    func everyPair() throws {
        let history = try DiffHistory()
        let repository = history.repository
        let images = try history.keys.map { try history.image($0) }
        #expect(Set(images.map(\.count)).count == 2 && images.count == 8)
        var changed = 0
        for (newer, target) in history.keys.enumerated() {
            for (older, base) in history.keys.enumerated() {
                let source = try repository.source(target, since: base)
                let rig = rig()
                try rig.make("base", images[older])
                for form in forms {
                    let comment = "\(older) to \(newer) as \(form)"
                    let summary = try ImageExport(
                        source, from: repository.store, as: .blockDiff(form)
                    ).write("diff", in: rig.directory, replaces: true, token: token)
                    let applied = try rig.apply("diff", "target", base: "base", replaces: true)
                    expectSame(try rig.bytes("target"), images[newer], comment)
                    #expect(applied.changedBytes == summary.dataBytes, "\(comment)")
                    #expect(older != newer || applied.changedBytes == 0)
                    changed += applied.changedBytes > 0 ? 1 : 0
                    let stream = CollectedStream()
                    _ = try ImageExport(source, from: repository.store, as: .blockDiff(form))
                        .write(to: stream)
                    expectSame(stream.bytes, try rig.bytes("diff"), "\(comment), as a stream")
                }
            }
        }
        #expect(changed > 180)
    }

    @Test("changed bytes cover all that differs, and are the ranges of a diff")
    func changedBytes() throws {
        let history = try DiffHistory()
        let images = try history.keys.map { try history.image($0) }
        for (newer, target) in history.keys.enumerated() {
            for (older, base) in history.keys.enumerated() {
                let source = try history.repository.source(target, since: base)
                let ranges = try ChangedBytes.ranges(of: source, from: history.repository.store)
                var patched = images[older]
                patched += [UInt8](
                    repeating: 0, count: max(0, images[newer].count - patched.count))
                patched.removeLast(patched.count - images[newer].count)
                for range in ranges {
                    let bytes = Int(range.lowerBound)..<Int(range.upperBound)
                    patched.replaceSubrange(bytes, with: images[newer][bytes])
                }
                expectSame(patched, images[newer], "\(older) to \(newer)")
                #expect(older != newer || ranges.isEmpty)
                let rig = rig()
                _ = try ImageExport(source, from: history.repository.store, as: .blockDiff(.v1))
                    .write("diff", in: rig.directory, replaces: false, token: token)
                #expect(
                    try rig.ranges("diff").map { $0.offset..<$0.end } == ranges,
                    "\(older) to \(newer)")
            }
        }
    }

    @Test("without a base it is the disk by itself, and holes of the disk are not in it")
    func alone() throws {
        let history = try DiffHistory()
        for key in history.keys {
            for form in forms {
                let rig = rig()
                _ = try ImageExport(
                    try history.repository.source(key), from: history.repository.store,
                    as: .blockDiff(form)
                ).write("diff", in: rig.directory, replaces: false, token: token)
                try rig.apply("diff", "target", base: nil)
                expectSame(try rig.bytes("target"), try history.image(key), "\(key) \(form)")
            }
        }
    }

    @Test("ranges touch nowhere in version 1; version 2 has holes where the disk has")
    func shapes() throws {
        let history = try DiffHistory()
        let (block, rig) = (UInt64(DiffHistory.blockBytes), rig())
        let source = try history.repository.source(history.keys[4], since: history.keys[3])
        for (name, form) in [("one", forms[0]), ("two", forms[2])] {
            _ = try ImageExport(source, from: history.repository.store, as: .blockDiff(form))
                .write(name, in: rig.directory, replaces: false, token: token)
        }
        #expect(try rig.ranges("one") == [ChangedRange(.data, offset: block, length: 4 * block)])
        let pieces = try rig.ranges("two")
        let first = try #require(pieces.first)
        #expect(first.kind == .hole && first.offset == block && first.length >= 3 * block)
        #expect(pieces.last?.end == 5 * block)
        #expect(pieces.allSatisfy { $0.kind != .zeros })
    }

    @Test("digests are those of the disks as files, and refuse another base")
    func digests() throws {
        let history = try DiffHistory()
        let rig = rig()
        for (name, key) in [("new", history.keys[7]), ("old", history.keys[2])] {
            try rig.make(name, try history.image(key))
        }
        _ = try ImageExport(
            try history.repository.source(history.keys[7], since: history.keys[2]),
            from: history.repository.store, as: .blockDiff(.v2(.lz4, hasDigests: true))
        ).write("diff", in: rig.directory, replaces: false, token: token)
        let ours = try rig.create("files", "new", base: "old", version: 2)
        #expect(try rig.tool.check(rig.end("diff")).head == ours.head)
        let other = try rig.directory.open("old", writable: true)
        try other.write(at: 25 << 14, [1])
        guard
            case .wrongBase("old", _, _)? = diffError({
                try rig.apply("diff", "applied", base: "old")
            })
        else {
            Issue.record("another base was taken")
            return
        }
    }

    @Test("pieces of version 2 are cut at 1 MiB, joined where they touch, and counted before")
    func pieces() {
        var cutter = PieceCutter()
        var pieces: [ChangedRange] = []
        var parts: [Range<UInt64>] = []
        let limit = BlockDiffPiece.dataBytesMax
        for range in [
            ChangedRange(.data, offset: 4096, length: limit - 4096),
            ChangedRange(.data, offset: limit, length: 12288),
            ChangedRange(.hole, offset: limit + 12288, length: 1 << 40),
            ChangedRange(.hole, offset: limit + 12288 + 1 << 40, length: 1 << 40),
            ChangedRange(.data, offset: 1 << 50, length: 512),
        ] {
            cutter.add(
                range, whole: { piece, _ in pieces.append(piece) }, part: { parts.append($0) })
        }
        cutter.end { piece, _ in pieces.append(piece) }
        #expect(cutter.count == 4 && pieces.count == 4)
        #expect(pieces[0] == ChangedRange(.data, offset: 4096, length: limit))
        #expect(pieces[1] == ChangedRange(.data, offset: limit + 4096, length: 8192))
        #expect(parts[0] == 4096..<limit && parts[1] == limit..<(limit + 4096))
    }

    @Test(
        "more ranges than version 1 may have are refused with a way out, and version 2 takes them")
    func ranges() throws {
        let history = try DiffHistory()
        let repository = history.repository
        let (newer, older) = (
            try repository.commit(history.keys[7]), try repository.commit(history.keys[0])
        )
        let diff = VolumeDiff(
            try ImageReader(
                store: repository.store, target: newer, base: older, spread: oneByOne),
            targetBytes: newer.size.rawValue, baseBytes: older.size.rawValue, rangesMax: 1
        ) { _ in true }
        let refusal = exportFailure { () throws(ExportError) in
            _ = try diff.writeV1(StreamSink(stream: CollectedStream()))
        }
        #expect(refusal == .tooManyRanges(limit: 1))
        #expect(refusal?.userError("").remedy.contains("bdiff-v2") == true)
        let stream = CollectedStream()
        _ = try diff.writeV2(
            StreamSink(stream: stream), codec: .raw, targetDigest: nil, baseDigest: nil)
        #expect(stream.bytes.count > 100_000)
    }
}

@Suite("what a block diff of commits reads, and what stops it")
struct VolumeDiffReadTests {
    private func written(
        _ source: ExportSource, _ store: some ObjectStore, _ form: BlockDiffForm,
        progress: @escaping ExportProgressReport = { _ in true }
    ) throws(ExportError) -> [UInt8] {
        let stream = CollectedStream()
        _ = try ImageExport(source, from: store, as: .blockDiff(form), progress: progress)
            .write(to: stream)
        return stream.bytes
    }

    @Test("a grain that was written takes the two nodes twice and its own frame")
    func oneGrain() throws {
        let repository = try SmallRepository()
        try repository.create("prod", blockBytes: 64 << 10)
        // 32 MiB of data in one chunk.
        for part: UInt64 in 0..<8 {
            try repository.running("prod").write(part << 22, repository.fresh(4 << 20))
        }
        _ = try repository.plane.snapshot("prod", tag: "base")
        let base = try #require(try repository.history(of: "prod").last)
        // On a fork: what is shared with another volume is not read either.
        _ = try repository.plane.put("fork", PutRequest(source: try ForkSource(from: "tag:base")))
        try repository.running("fork").write((100 << 16) + 8192, repository.fresh(4096))
        _ = try repository.plane.drain("fork")
        let target = try #require(try repository.history(of: "fork").last)
        let source = try repository.source(target, since: base)
        for form in [BlockDiffForm.v1, .v2(.raw, hasDigests: false)] {
            let counting = CountingStore(repository.store)
            let diff = try written(source, counting, form)
            #expect(diff.count == (form == .v1 ? 2 * 4096 : 96 + 32 + 4096))
            #expect(counting.counts.gets == 5)
            // Nodes of 512 blocks, 36 bytes each, four times, and a delta frame.
            #expect(counting.counts.bytesReceived < 90 << 10, "\(counting.counts.bytesReceived)")
        }
        // Equal states: nothing at all.
        let counting = CountingStore(repository.store)
        let nothing = try written(try repository.source(base, since: base), counting, .v1)
        #expect(nothing.count == 4096 && counting.counts.gets == 0)
        // Digests cost both disks.
        let whole = CountingStore(repository.store)
        _ = try written(source, whole, .v2(.raw, hasDigests: true))
        #expect(whole.counts.bytesReceived > 1 << 20)
    }

    @Test("blocks of other sizes are refused")
    func blockSizes() throws {
        let repository = try SmallRepository.built()
        let prod = try #require(try repository.history(of: "prod").last)
        let other = try #require(try repository.history(of: "other").last)
        let source = try repository.source(prod, since: other)
        let refusal = exportFailure { () throws(ExportError) in
            _ = try ImageExport(source, from: repository.store, as: .blockDiff(.v1))
                .write(to: CollectedStream())
        }
        #expect(refusal == .blockSizes(target: 16 << 10, base: 64 << 10))
    }

    @Test("a pack that is damaged ends the diff by its name, or was not needed")
    func damaged() throws {
        let history = try DiffHistory()
        let repository = history.repository
        let (target, base) = (history.keys[7], history.keys[1])
        let source = try repository.source(target, since: base)
        var noticed = 0
        let right = try forms.map { try written(source, repository.store, $0) }
        for (pack, whole) in repository.store.objects.sorted(by: { $0.key < $1.key })
        where pack.hasPrefix("packs/") {
            for damage in 0..<10 {
                var bytes: [UInt8]? = whole
                if damage == 0 { bytes = nil }
                if damage == 1 { bytes = Array(whole.prefix(whole.count / 2)) }
                if damage > 1 { bytes?[whole.count * damage / 10] ^= 0x10 }
                try repository.replace(pack, bytes)
                for (form, expected) in zip(forms, right) {
                    let rig = DiffRig(directory: VolatileDisk(hasExtents: true).root)
                    let failure = exportFailure { () throws(ExportError) in
                        try ImageExport(source, from: repository.store, as: .blockDiff(form))
                            .write("diff", in: rig.directory, replaces: false, token: token)
                    }
                    guard let failure else {
                        expectSame(try rig.bytes("diff"), expected, "\(pack) \(damage) \(form)")
                        continue
                    }
                    noticed += 1
                    #expect("\(failure)".contains(pack), "\(failure) does not name \(pack)")
                    #expect(try rig.directory.list().isEmpty)
                }
                try repository.replace(pack, whole)
            }
        }
        #expect(noticed > 20, "\(noticed) damages were noticed")
    }

    @Test("a diff that is stopped at any point, or whose disk is full, leaves nothing behind")
    func nothingLeft() throws {
        let history = try DiffHistory()
        let repository = history.repository
        let source = try repository.source(history.keys[7], since: history.keys[0])
        for form in forms {
            var count = 0
            while true {
                let root = VolatileDisk(hasExtents: true).root
                var left = count
                let failure = exportFailure { () throws(ExportError) in
                    try ImageExport(
                        source, from: repository.store, as: .blockDiff(form),
                        progress: { _ in
                            left -= 1
                            return left >= 0
                        }
                    ).write("diff", in: root, replaces: false, token: token)
                }
                if failure == nil { break }
                #expect(failure == .stopped)
                #expect(try root.list().isEmpty)
                count += 1
            }
            #expect(count >= 4)
            let root = VolatileDisk(seed: 1, capacityBytes: 8 << 10).root
            let full = exportFailure { () throws(ExportError) in
                try ImageExport(source, from: repository.store, as: .blockDiff(form))
                    .write("diff", in: root, replaces: false, token: token)
            }
            guard case .output(let error)? = full, error.isOutOfSpace else {
                Issue.record("\(String(describing: full)) instead of a full disk")
                continue
            }
            #expect(try root.list().isEmpty)
        }
    }
}
