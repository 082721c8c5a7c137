// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Copies between repositories: what arrives, what is read and stored for it, and what is left when
// they are broken off.

import CleanCache
import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import ImageTools
import Maintenance
import ObjectStore
import Primitives
import Testing
import VolumeMap

/// A source repository and a destination, in memory. Confined to its test.
final class CopyRig {
    let from: ImageRig
    let onto: ImageRig

    init() throws {
        from = try ImageRig()
        onto = try ImageRig(store: MemoryStore(seed: 2), repository: 6)
    }

    @discardableResult
    func copy(
        _ names: String..., snapshots: Bool = true,
        progress: @escaping (CopyProgress) -> Bool = { _ in true }
    ) throws -> CopyReport {
        var request = CopyRequest(
            names: names, takesSnapshots: snapshots, node: try #require(RefName("copier")))
        request.settings = PackSettings(targetBytes: 64 << 10)
        return try RepositoryCopy(
            request, from: from.store, to: onto.store, clock: onto.clock, random: onto.random,
            progress: progress
        ).run()
    }

    /// An export of the source with this content, new.
    func disk(_ bytes: [UInt8], _ name: String = "prod") throws -> Commit {
        let pointer = try from.ingest(from.request(name, isBase: false)).run(from.raw(bytes))
            .commit
        return try commit(pointer)
    }

    func commit(_ pointer: CommitPointer) throws -> Commit {
        try HeadFinder(store: from.store).commit(of: pointer.volume, pointer.sequence).commit
    }

    /// Writes the ranges behind `parent`, as a commit of a host would be, and returns it.
    func write(_ bytes: [UInt8], behind parent: Commit) throws -> Commit {
        let old = try from.content(parent.pointer)
        let block = ImageRig.blockBytes
        let known = KnownFrames()
        var builder = ImageBuilder(
            ImageBuilderSource(parent: Root(commit: parent), keepsRest: true), size: parent.size,
            settings: PackSettings(targetBytes: 64 << 10), store: from.store, uploads: .none,
            cache: CleanCache(capacityBytes: 1 << 20), known: known, random: from.random)
        for start in stride(from: 0, to: bytes.count, by: block) {
            let range = start..<min(start + block, bytes.count)
            if bytes[range] == old[range] { continue }
            let content = bytes[range] + [UInt8](repeating: 0, count: block - range.count)
            let number = BlockIndex(UInt64(start / block))
            guard content.contains(where: { $0 != 0 }) else {
                try builder.clear(number.rawValue..<(number.rawValue + 1))
                continue
            }
            var frame = [UInt8](
                repeating: 0, count: Frame.byteCountMax(grains: block / Limits.grainBytes))
            try content.withUnsafeBytes { content in
                try frame.withUnsafeMutableBytes { frame in
                    let hash = Frame.hash(ofBlock: content)
                    let grains = block / Limits.grainBytes
                    let made = Frame.encode(
                        content, mask: GrainMask(full: grains), hash: hash, grains: grains,
                        codec: .lz4, zstdLevel: 1, into: frame)
                    try builder.add(
                        number, hash: hash,
                        frame: UnsafeRawBufferPointer(rebasing: frame[..<made.count]))
                }
            }
        }
        var random = from.random
        let made = try #require(
            try builder.finish(
                token: Token.random(from: &random), labelSeconds: parent.labelSeconds + 60))
        #expect(try Publisher(store: from.store).publish(made) == .published)
        return made.commit
    }

    func snapshot(_ commit: Commit, _ name: String = "prod", tag: String? = nil) throws {
        let name = try #require(RefName(name))
        let refs = RefStore(store: from.store, what: "snapshot")
        let ref = SnapshotRef(
            name: name, commit: commit.pointer, tag: tag.flatMap { RefName($0) })
        #expect(try refs.create(RefKey.snapshot(name, commit.sequence).text, ref))
        guard let tag = ref.tag else { return }
        let next = TagRef(tag: tag, number: 1, commit: commit.pointer, export: name)
        #expect(try refs.append(next))
    }

    // MARK: What arrived

    func content(_ source: String) throws -> [UInt8] {
        try onto.content(try pointer(source))
    }

    func find(_ source: String) throws -> CommitPointer? {
        let refs = RefStore(store: onto.store, what: "look")
        return try CommitSources(refs: refs).find(try ForkSource(from: source))?.commit
    }

    func pointer(_ source: String) throws -> CommitPointer { try #require(try find(source)) }

    /// Everything that the destination names is whole, and nobody holds anything any more.
    func expectWhole() throws {
        try onto.expectWhole()
        #expect(onto.store.keys(prefix: "refs/readers/").isEmpty)
        #expect(from.store.keys(prefix: "refs/readers/").isEmpty)
        let work = try onto.export("copy.prod")
        #expect(work == nil || work?.state == .deleted)
    }
}

@Suite("Copies between repositories")
struct CopyTests {
    private static let bytes = diskBytes((2 << 20) + 4096 + 512, seed: 1)
    /// Two chunks of blocks.
    private static let large = diskBytes((17 << 20) + 512, seed: 1)

    private func changed(_ bytes: [UInt8], _ seed: UInt64, blocks: [Int]) -> [UInt8] {
        var bytes = bytes
        let block = ImageRig.blockBytes
        for (index, number) in blocks.enumerated() {
            // Equal to no other block.
            var random = SplitMix64(seed: seed + UInt64(number))
            let fresh = (0..<block).map { _ in
                index % 3 == 2 ? 0 : UInt8(truncatingIfNeeded: random.next())
            }
            bytes.replaceSubrange((number * block)..<((number + 1) * block), with: fresh)
        }
        return bytes
    }

    /// prod@2, a change, prod@3 with tag v1, and a change behind it.
    private func history(
        _ rig: CopyRig, _ bytes: [UInt8] = Self.bytes
    ) throws -> (states: [[UInt8]], commits: [Commit]) {
        let end = bytes.count / ImageRig.blockBytes - 1
        var states = [bytes]
        var commits = [try rig.disk(bytes)]
        try rig.snapshot(commits[0])
        states.append(changed(states[0], 100, blocks: [3, 4, 9, end - 1, end]))
        commits.append(try rig.write(states[1], behind: commits[0]))
        try rig.snapshot(commits[1], tag: "v1")
        states.append(changed(states[1], 200, blocks: [4, end / 2, 9]))
        commits.append(try rig.write(states[2], behind: commits[1]))
        return (states, commits)
    }

    @Test("snapshots, tags and the last commit arrive under their names and numbers")
    func history() throws {
        let rig = try CopyRig()
        let (states, commits) = try history(rig, Self.large)
        let report = try rig.copy("prod")
        expectBytes(try rig.content("prod@\(commits[0].sequence)"), states[0], "first")
        expectBytes(try rig.content("prod@\(commits[1].sequence)"), states[1], "second")
        expectBytes(try rig.content("tag:v1"), states[1], "tag")
        expectBytes(try rig.content("export:prod"), states[2], "head")
        #expect(try rig.pointer("export:prod").sequence == commits[2].sequence)
        #expect(try rig.pointer("export:prod").labelSeconds == commits[2].labelSeconds)
        #expect(report.items.map(\.outcome) == [.copied, .copied, .copied, .copied])
        #expect(report.items[1].blocks == 4, "a block that became zeros is not stored")
        #expect(report.items[2].blocks <= 2)
        try rig.expectWhole()
    }

    @Test("a repeated copy stores nothing; a later one reads and stores what changed")
    func incremental() throws {
        let rig = try CopyRig()
        let (states, commits) = try history(rig)
        try rig.copy("prod")
        let before = rig.onto.store.keys(prefix: "packs/")
        let again = try rig.copy("prod")
        #expect(again.items.allSatisfy { $0.outcome == .unchanged })
        #expect(rig.onto.store.keys(prefix: "packs/") == before)

        let state = changed(states[2], 300, blocks: [17, 18])
        let next = try rig.write(state, behind: commits[2])
        let gets = rig.from.store.counts.bytesReceived
        let report = try rig.copy("prod", snapshots: false)
        #expect(report.items.map(\.blocks) == [2])
        #expect(rig.from.store.counts.bytesReceived - gets < UInt64(Self.bytes.count / 8))
        expectBytes(try rig.content("prod"), state)
        #expect(try rig.pointer("prod").sequence == next.sequence)
        expectBytes(try rig.content("prod@\(commits[0].sequence)"), states[0], "first")
        try rig.expectWhole()
    }

    @Test("a fork arrives behind its base and shares its blocks, whatever order is asked for")
    func fork() throws {
        let rig = try CopyRig()
        let base = try rig.from.bless(rig.from.raw(Self.bytes), "debian")
        let refs = RefStore(store: rig.from.store, what: "fork")
        let volume = VolumeID(low: 77, high: 1)
        let first = CommitDrafts.forked(
            from: try rig.commit(base.commit), as: volume,
            stamp: .init(
                epoch: Epoch(1), token: Token(low: 9, high: 9), state: .clean, labelSeconds: 5))
        #expect(try Publisher(store: rig.from.store).publish(first) == .published)
        let name = try #require(RefName("vm"))
        #expect(
            try refs.append(
                ExportRef(
                    name: name, number: 1, volume: volume, state: .live,
                    definition: ExportDefinition(
                        size: first.commit.size, blockBytes: first.commit.blockBytes,
                        isReadOnly: false, transport: .nbd, source: "base:debian"),
                    size: first.commit.size, isReadOnly: false,
                    origin: ExportOrigin(name: "base:debian", commit: base.commit),
                    firstSequence: CommitSequence(1))))
        let state = changed(Self.bytes, 40, blocks: [1, 104])
        _ = try rig.write(state, behind: first.commit)
        let report = try rig.copy("vm", "base:debian")
        #expect(report.items.map(\.name) == ["base debian", "export vm"])
        #expect(report.items[1].blocks == 2)
        expectBytes(try rig.content("vm"), state)
        expectBytes(try rig.content("base:debian"), Self.bytes)
        try rig.expectWhole()
    }

    @Test("broken off anywhere, every name means a whole commit, and no block is stored twice")
    func brokenOff() throws {
        let rig = try CopyRig()
        let (states, commits) = try history(rig, Array(Self.bytes[..<(640 << 10)]))
        var tries = 0
        while true {
            tries += 1
            // A try that ends at its commit leaves a pack of map nodes, which the next one reads.
            rig.onto.store.inject(StoreFault(.away, skipping: 2 * tries, times: 1_000_000))
            var isDone = true
            do { try rig.copy("prod") } catch {
                #expect((error as? UserError)?.kind == .storeAway, "try \(tries): \(error)")
                isDone = false
            }
            rig.onto.store.heal()
            try rig.onto.expectWhole()
            for (number, state) in zip(commits.dropLast(), states) {
                guard let pointer = try rig.find("snapshot:prod@\(number.sequence)") else {
                    continue
                }
                expectBytes(try rig.onto.content(pointer), state, "try \(tries)")
            }
            if let head = try rig.find("export:prod") {
                expectBytes(try rig.onto.content(head), states[2], "try \(tries)")
            }
            if isDone { break }
            try #require(tries < 100)
        }
        #expect(tries > 5)
        #expect(try rig.onto.frames().values.allSatisfy { $0 == 1 }, "nothing is stored twice")
        expectBytes(try rig.content("prod"), states[2])
    }

    @Test("a base that was replaced becomes the next version of its copy, at the price of the news")
    func replacedBase() throws {
        let rig = try CopyRig()
        try rig.from.bless(rig.from.raw(Self.bytes))
        try rig.copy("base:debian")
        let state = changed(Self.bytes, 60, blocks: [5, 70])
        try rig.from.bless(rig.from.raw(state), replaces: true)
        let report = try rig.copy("debian")
        #expect(report.items.map(\.name) == ["base debian"])
        #expect(report.items.map(\.blocks) == [2])
        expectBytes(try rig.content("base:debian"), state)
        #expect(try rig.onto.base()?.number == 2)
        try rig.expectWhole()
    }

    @Test("what its last copy was of is gone in the source: all is read, and only the news stored")
    func originalIsGone() throws {
        let rig = try CopyRig()
        let first = try rig.disk(Self.bytes)
        try rig.copy("prod", snapshots: false)
        let state = changed(Self.bytes, 70, blocks: [8])
        _ = try rig.write(state, behind: first)
        try rig.from.store.delete([first.key.key])
        let report = try rig.copy("prod", snapshots: false)
        #expect(report.items.map(\.blocks) == [1])
        expectBytes(try rig.content("prod"), state)
        try rig.expectWhole()
    }

    @Test("a commit that was copied and not named yet is named before the copy goes on from it")
    func finishedAndUnnamed() throws {
        let rig = try CopyRig()
        let first = try rig.disk(Self.bytes)
        rig.onto.store.inject(
            StoreFault(.away, operation: .put, keyPrefix: "refs/exports/prod/", times: 1_000_000))
        #expect(throws: UserError.self) { try rig.copy("prod", snapshots: false) }
        rig.onto.store.heal()
        #expect(try rig.find("export:prod") == nil)
        let state = changed(Self.bytes, 80, blocks: [11])
        _ = try rig.write(state, behind: first)
        let report = try rig.copy("prod", snapshots: false)
        #expect(report.items.map(\.blocks) == [1], "the rest was there")
        expectBytes(try rig.content("prod"), state)
        try rig.expectWhole()
    }

    @Test("a tag that means something else in the destination stays, and is told")
    func keptTag() throws {
        let rig = try CopyRig()
        _ = try history(rig)
        let other = try rig.onto.ingest(rig.onto.request("other", isBase: false))
            .run(rig.onto.raw([1, 2, 3])).commit
        let name = try #require(RefName("v1"))
        #expect(
            try RefStore(store: rig.onto.store, what: "tag").append(
                TagRef(
                    tag: name, number: 1, commit: other, export: try #require(RefName("other")))))
        let report = try rig.copy("prod")
        #expect(report.items.last?.outcome == .kept)
        #expect(try rig.pointer("tag:v1") == other)
        try rig.expectWhole()
    }

    @Test("an import that goes on under the name of the work is left alone")
    func workNameTaken() throws {
        let rig = try CopyRig()
        _ = try rig.disk(Self.bytes)
        let request = try rig.onto.request("copy.prod", isBase: false)
        #expect(throws: UserError.self) {
            try rig.onto.ingest(request).run(rig.onto.raw(Self.bytes), progress: { _ in false })
        }
        let before = try rig.onto.export("copy.prod")
        let error = try #require(throws: UserError.self) { try rig.copy("prod") }
        #expect(error.kind == .conflict && error.why.contains("copy.prod"))
        #expect(try rig.onto.export("copy.prod") == before)
        _ = try rig.onto.ingest(request).run(rig.onto.raw(Self.bytes))
        expectBytes(try rig.content("copy.prod"), Self.bytes)
    }

    /// Copies until the first progress behind some packs.
    private func breakOff(_ rig: CopyRig) {
        var calls = 0
        #expect(throws: UserError.self) {
            try rig.copy(
                "prod",
                progress: { _ in
                    calls += 1
                    return calls < 3
                })
        }
    }

    @Test("what a broken-off copy stored outlives collections, and so does what is copied")
    func collectedMeanwhile() throws {
        let rig = try CopyRig()
        let (states, commits) = try history(rig)
        breakOff(rig)
        let packs = rig.onto.packCount
        #expect(packs > 3)
        try rig.onto.collect(runs: 4)
        #expect(rig.onto.packCount == packs)
        try rig.copy("prod")
        #expect(try rig.onto.frames().values.allSatisfy { $0 == 1 })
        try rig.onto.collect(runs: 4)
        try rig.from.collect(runs: 4)
        expectBytes(try rig.content("prod@\(commits[0].sequence)"), states[0], "first")
        expectBytes(try rig.content("prod"), states[2], "last")
        #expect(try rig.copy("prod").items.allSatisfy { $0.outcome == .unchanged })
        try rig.expectWhole()
    }

    @Test("an abandoned copy is collected, and begins anew")
    func abandoned() throws {
        let rig = try CopyRig()
        let (states, _) = try history(rig)
        breakOff(rig)
        let work = try #require(try rig.onto.export("copy.prod"))
        var random = rig.onto.random
        _ = try Collector<MemoryStore, ManualClock>.abandon(
            work.volume.description, in: rig.onto.store, clock: rig.onto.clock, random: &random)
        try rig.onto.collect(runs: 4)
        #expect(rig.onto.packCount == 0)
        try rig.copy("prod")
        expectBytes(try rig.content("prod"), states[2])
        try rig.expectWhole()
    }

    @Test("what was written at the destination is never replaced")
    func diverged() throws {
        let rig = try CopyRig()
        let (states, commits) = try history(rig)
        try rig.copy("prod")
        let head = try rig.pointer("prod")
        let there = try HeadFinder(store: rig.onto.store).commit(of: head.volume, head.sequence)
        let fence = CommitDrafts.successor(
            of: there.commit,
            stamp: .init(
                epoch: Epoch(2), token: Token(low: 3, high: 3), state: .open, labelSeconds: 1))
        #expect(fence.commit.copied == nil)
        #expect(try Publisher(store: rig.onto.store).publish(fence) == .published)
        _ = try rig.write(changed(states[2], 7, blocks: [2]), behind: commits[2])
        let before = rig.onto.store.objects.keys.sorted()
        let error = try #require(throws: UserError.self) { try rig.copy("prod") }
        #expect(error.kind == .conflict)
        #expect(error.why.contains("opened for writing"))
        #expect(rig.onto.store.objects.keys.sorted() == before)
    }

    @Test("a name that is no copy, a missing one and the same repository are refused by name")
    func refusals() throws {
        let rig = try CopyRig()
        _ = try rig.disk(Self.bytes)
        _ = try rig.onto.ingest(rig.onto.request("prod", isBase: false))
            .run(rig.onto.raw([1, 2, 3]))
        let taken = try #require(throws: UserError.self) { try rig.copy("prod") }
        #expect(taken.kind == .conflict)
        #expect(taken.why.contains("is no copy"))
        let unknown = try #require(throws: UserError.self) { try rig.copy("nobody") }
        #expect(unknown.kind == .notFound)
        let snapshot = try #require(throws: UserError.self) { try rig.copy("prod@2") }
        #expect(snapshot.kind == .badRequest)
        let request = CopyRequest(
            names: ["prod"], takesSnapshots: false, node: try #require(RefName("copier")))
        let same = try #require(throws: UserError.self) {
            try RepositoryCopy(
                request, from: rig.from.store, to: rig.from.store, clock: rig.from.clock,
                random: rig.from.random
            ).run()
        }
        #expect(same.kind == .badRequest)
    }

    @Test("a last commit that moved on meanwhile goes on with what was uploaded")
    func movedOn() throws {
        let rig = try CopyRig()
        let first = try rig.disk(Self.bytes)
        var calls = 0
        #expect(throws: UserError.self) {
            try rig.copy(
                "prod", snapshots: false,
                progress: { _ in
                    calls += 1
                    return calls < 2
                })
        }
        let state = changed(Self.bytes, 50, blocks: [6])
        let next = try rig.write(state, behind: first)
        let report = try rig.copy("prod", snapshots: false)
        expectBytes(try rig.content("prod"), state)
        #expect(try rig.pointer("prod").sequence <= next.sequence)
        #expect(report.items.count == 1)
        #expect(try rig.onto.frames().values.allSatisfy { $0 == 1 })
        try rig.expectWhole()
    }
}
