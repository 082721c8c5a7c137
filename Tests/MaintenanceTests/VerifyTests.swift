// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What verify says of a whole repository, what it costs, and what it does when the store is away.

import Documents
import Formats
import ObjectStore
import Primitives
import RepositorySupport
import Shard
import Testing

@testable import Maintenance

@Suite("Verification")
struct VerifyTests {
    @Test("a repository as daemons leave it verifies clean, and everything in it is looked at")
    func clean() throws {
        let repository = try SmallRepository.built()
        let report = try repository.verify()
        #expect(report.isWhole, "\(report.faults)")
        #expect(report.notes.isEmpty)
        let objects = repository.store.objects
        #expect(report.counts.commits == objects.keys.count { $0.hasPrefix("volumes/") })
        #expect(report.counts.packs == objects.keys.count { $0.hasPrefix("packs/") })
        #expect(
            report.counts.refs
                == objects.keys.count { !$0.hasPrefix("volumes/") && !$0.hasPrefix("packs/") })
        // The repository is as interesting as the tests of damage need it.
        let stacks = try repository.stackHeights()
        #expect(stacks.contains(4) && stacks.contains(1))
        try repository.expectExact(report, "undamaged", damaged: nil)
    }

    @Test("what forks and history share is read once")
    func sharing() throws {
        let repository = try SmallRepository.built()
        let report = try repository.verify()
        let frames = repository.members(.frame)
        let nodes = repository.members(.node)
        #expect(report.counts.frames == frames)
        #expect(report.counts.nodes == nodes)
    }

    @Test("a run costs a LIST for each folder, a GET for each small object, and few for each pack")
    func costs() throws {
        let repository = try SmallRepository.built()
        let store = CountingStore(repository.store)
        var verifier = Verifier(
            store: store, options: VerifyOptions(), random: SplitMix64(seed: 1))
        let report = try verifier.run()
        let objects = repository.store.objects
        let packs = objects.filter { $0.key.hasPrefix("packs/") }
        let small = objects.count - packs.count
        // volumes/, refs/, nodes/, gc/, gc-runs/, gc-stops/, packs/
        #expect(store.counts.lists == 7)
        #expect(store.counts.heads == 0)
        #expect(store.counts.puts == 0 && store.counts.deletes == 0)
        // A pack of this size is three reads: its nodes, its frames, and the whole of it for its
        // ends, which for a large one are 64 KiB and its header.
        #expect(store.counts.gets <= UInt64(small + 3 * packs.count))
        let smallBytes = objects.reduce(0) { packs[$1.key] == nil ? $0 + $1.value.count : $0 }
        let packBytes = packs.values.reduce(0) { $0 + $1.count }
        #expect(report.counts.bytes == store.counts.bytesReceived)
        #expect(store.counts.bytesReceived <= UInt64(smallBytes + 2 * packBytes))
        #expect(store.counts.bytesReceived >= UInt64(smallBytes + packBytes))
    }

    @Test("threads read side by side and find the same")
    func threads() throws {
        let repository = try SmallRepository.built()
        let key = try #require(repository.packKeys.first)
        repository.store.rot(key, at: 200)
        let pool = WorkerPool(threads: 4, name: "verify")
        defer { pool.stop() }
        var verifier = Verifier(
            store: repository.store, options: VerifyOptions(), random: SplitMix64(seed: 1),
            spread: { pool.spread($0, $1) })
        #expect(try verifier.run() == repository.verify())
    }

    @Test("a sample reads its share of the data, and everything that leads to it")
    func sample() throws {
        let repository = try SmallRepository.built()
        let whole = try repository.verify()
        let report = try repository.verify { $0.sample = 1 }
        #expect(report.isWhole)
        #expect(report.counts.nodes == whole.counts.nodes)
        #expect(report.counts.frames + report.counts.framesSkipped == whole.counts.frames)
        #expect(report.counts.framesSkipped > 0)
        #expect(report.counts.bytes < whole.counts.bytes)
        // A node's damage is found by the smallest sample.
        let (key, index) = try #require(
            repository.packs.first { $0.1.members.contains { $0.kind == .node } })
        let node = try #require(index.members.first { $0.kind == .node })
        repository.store.rot(key, at: Int(node.extent.offset) + 20)
        #expect(try !repository.verify { $0.sample = 1 }.isWhole)
    }

    @Test("a frame that forks share is one fault, with every disk that depends on it")
    func sharedFrame() throws {
        let repository = try SmallRepository.built()
        let (key, index) = try #require(
            repository.packs.first { $0.1.members.count { $0.kind == .frame } > 6 })
        let member = index.members[0]
        repository.store.rot(key, at: Int(member.extent.offset) + 50)
        let report = try repository.verify()
        let fault = try #require(report.faults.first)
        #expect(report.faults.count == 1)
        #expect(fault.kind == .damaged && fault.part == "frame" && fault.key == key)
        #expect(fault.extent == UInt64(member.extent.offset)..<member.extent.end)
        let names = fault.hits.flatMap(\.names)
        for name in ["export prod", "export work", "tag first"] { #expect(names.contains(name)) }
        #expect(names.contains { $0.hasPrefix("snapshot prod@") })
        #expect(Set(fault.hits.map(\.volume)).count == 2)
        #expect(fault.hits.allSatisfy { $0.ranges == [0..<UInt64(SmallRepository.blockBytes)] })
    }

    @Test("answers with a flipped bit now and then are no faults")
    func flippedAnswers() throws {
        let repository = try SmallRepository.built()
        repository.store.injectAtRandom(StoreFault(.flipped, operation: .get), perMille: 50)
        for _ in 0..<5 { #expect(try repository.verify().isWhole) }
    }

    @Test("a store that goes away at any request ends the run without a verdict")
    func away() throws {
        let repository = try SmallRepository.built()
        let requests = repository.store.counts
        _ = try repository.verify()
        let after = repository.store.counts
        let count = Int(after.gets - requests.gets + after.lists - requests.lists)
        for skipping in 0..<count {
            repository.store.inject(StoreFault(.away, skipping: skipping))
            let error = #expect(throws: VerifyError.self) { try repository.verify() }
            guard case .away = error else {
                Issue.record("request \(skipping): \(String(describing: error))")
                return
            }
            repository.store.heal()
        }
    }

    @Test("one name: its volumes alone, and an unknown one is refused")
    func names() throws {
        let repository = try SmallRepository.built()
        let other = try repository.volume("other")
        for key in repository.packKeys where key.contains(other.description) {
            repository.store.rot(key, at: 100)
        }
        let name = try #require(RefName("prod"))
        let report = try repository.verify { $0.name = name }
        #expect(report.isWhole && report.counts.volumes == 1)
        let bad = try repository.verify { $0.name = RefName("other") }
        #expect(bad.faults.flatMap(\.hits).allSatisfy { $0.volume == other } && !bad.isWhole)
        #expect(try repository.verify { $0.name = RefName("first") }.isWhole)
        let unknown = try #require(RefName("nobody"))
        #expect(throws: VerifyError.unknownName(unknown)) {
            try repository.verify { $0.name = unknown }
        }
    }

    @Test("more faults than are kept make the report incomplete, never clean")
    func bounded() throws {
        let repository = try SmallRepository.built()
        for key in repository.packKeys { repository.store.rot(key, at: 100) }
        let report = try repository.verify { $0.faultsMax = 1 }
        #expect(report.faults.count == 1 && !report.isComplete && !report.isWhole)
        let ranges = try repository.verify { $0.rangesMax = 1 }
        #expect(!ranges.isComplete && ranges.faults.flatMap(\.hits).flatMap(\.ranges).count == 1)
    }

    @Test("keys that are not ours are noted and are no faults")
    func foreign() throws {
        let repository = try SmallRepository.built()
        let keys = ["packs/x", "refs/exports/prod/latest", "volumes/notes.txt"]
        for key in keys { _ = try repository.store.putIfAbsent(key, [1]) }
        let report = try repository.verify()
        #expect(report.isWhole && report.notes.map(\.key) == keys)
        #expect(report.notes.allSatisfy { $0.kind == .foreign })
    }
}

extension SmallRepository {
    var packKeys: [String] { store.objects.keys.filter { $0.hasPrefix("packs/") }.sorted() }

    /// Packs with their indexes.
    var packs: [(String, PackIndex)] {
        get throws {
            try packKeys.map { key in
                let bytes = try #require(store.objects[key])
                return (key, try bytes.withUnsafeBytes { try PackIndex.read($0).index })
            }
        }
    }

    func members(_ kind: PackMemberKind) -> Int {
        let packs = try? self.packs
        return packs?.reduce(0) { $0 + $1.1.members.count { $0.kind == kind } } ?? 0
    }

    /// Frames of the blocks of all commits.
    func stackHeights() throws -> Set<Int> {
        var heights = Set<Int>()
        for (key, index) in try packs {
            let bytes = try #require(store.objects[key])
            for member in index.members where member.kind == .node {
                let part = bytes[Int(member.extent.offset)..<Int(member.extent.end)]
                let node = try Array(part).withUnsafeBytes { try MapNode(decoding: $0) }
                heights.formUnion(node.entries.values.map(\.frames.count))
            }
        }
        return heights
    }
}
