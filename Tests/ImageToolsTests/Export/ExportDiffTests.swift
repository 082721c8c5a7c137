// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Differences between commits: what they tell, what they read, and that they turn one disk into the
// other.

import ControlPlane
import Formats
import ObjectStore
import Primitives
import RepositorySupport
import Testing
import VolumeMap

@testable import ImageTools

@Suite("a difference of two commits is what changed, and nothing else is read")
struct ExportDiffTests {
    private func told(
        _ target: CommitKey, since base: CommitKey?, _ repository: SmallRepository,
        content: Bool = true
    ) throws -> ToldBlocks {
        let sink = ToldBlocks()
        try ImageReader(
            store: repository.store, target: try repository.commit(target),
            base: try base.map { try repository.commit($0) }, spread: oneByOne
        ).run(into: sink, content: content) { _ in true }
        return sink
    }

    @Test("between any two commits of one block size it turns one disk into the other")
    func everyPair() throws {
        let repository = try SmallRepository.built()
        let keys = try repository.commits
        var pairs = 0
        for target in keys {
            for base in keys {
                let (newer, older) = (try repository.commit(target), try repository.commit(base))
                guard newer.blockBytes == older.blockBytes else {
                    let refusal = exportFailure { () throws(ExportError) in
                        _ = try ImageReader(
                            store: repository.store, target: newer, base: older, spread: oneByOne)
                    }
                    #expect(
                        refusal
                            == .blockSizes(target: newer.blockBytes, base: older.blockBytes))
                    continue
                }
                let told = try told(target, since: base, repository)
                let image = try repository.image(target)
                let applied = told.applied(to: try repository.image(base), size: image.count)
                expectSame(applied, image, "\(base) to \(target)")
                #expect(
                    zip(told.runs, told.runs.dropFirst()).allSatisfy {
                        $0.upperBound <= $1.lowerBound
                    }, "runs ascend")
                // Without content the same ranges are told.
                let ranges = try self.told(target, since: base, repository, content: false)
                #expect(ranges.runs == told.runs)
                if newer.digest == older.digest { #expect(told.runs.isEmpty) }
                pairs += 1
            }
        }
        #expect(pairs > 50)
    }

    @Test("a grain that was written takes two nodes and its own frame, and no other data")
    func oneGrain() throws {
        let repository = try SmallRepository()
        try repository.create("prod", blockBytes: 64 << 10)
        // 32 MiB of data in one chunk.
        for part: UInt64 in 0..<8 {
            try repository.running("prod").write(part << 22, repository.fresh(4 << 20))
        }
        _ = try repository.plane.snapshot("prod", tag: nil)
        let base = try #require(try repository.history(of: "prod").last)
        try repository.reopen("prod")
        let place: UInt64 = (100 << 16) + 8192
        try repository.running("prod").write(place, repository.fresh(4096))
        _ = try repository.plane.snapshot("prod", tag: nil)
        let target = try #require(try repository.history(of: "prod").last)
        let counting = CountingStore(repository.store)
        let sink = ToldBlocks()
        try ImageReader(
            store: counting, target: try repository.commit(target),
            base: try repository.commit(base), spread: oneByOne
        ).run(into: sink) { _ in true }
        #expect(sink.runs == [place..<(place + 4096)])
        #expect(try repository.running("prod").read(place, 4096) == sink.bytes.first)
        #expect(counting.counts.gets == 3)
        // Nodes of 512 blocks, 36 bytes each, twice, and a delta frame.
        #expect(counting.counts.bytesReceived < 48 << 10, "\(counting.counts.bytesReceived)")
    }

    @Test("equal states take no request at all, also where a fork has a name of its own")
    func equalStates() throws {
        let repository = try SmallRepository.built()
        _ = try repository.plane.put("twin", PutRequest(source: try ForkSource(from: "tag:first")))
        let twin = try #require(try repository.history(of: "twin").first)
        let volume = try repository.volume("prod")
        let origin = try #require(
            try repository.commits.first {
                guard $0.volume == volume else { return false }
                return try repository.commit($0).digest == repository.commit(twin).digest
            })
        let (newer, older) = (try repository.commit(twin), try repository.commit(origin))
        let counting = CountingStore(repository.store)
        let sink = ToldBlocks()
        try ImageReader(store: counting, target: newer, base: older, spread: oneByOne)
            .run(into: sink) { _ in true }
        #expect(sink.runs.isEmpty)
        #expect(counting.counts.gets == 0)
    }

    @Test(
        "a trimmed block is told as zeros, and a block that is written back as it was is not told")
    func looks() throws {
        let repository = try SmallRepository()
        try repository.create("prod")
        let block = SmallRepository.blockBytes
        let content = repository.fresh(block)
        try repository.running("prod").write(0, content)
        try repository.running("prod").write(UInt64(block), content)
        _ = try repository.plane.snapshot("prod", tag: nil)
        // A stack: the block is not cached any more.
        try repository.reopen("prod")
        let patch = repository.fresh(4096)
        try repository.running("prod").write(4096, patch)
        _ = try repository.plane.snapshot("prod", tag: nil)
        let stacked = try #require(try repository.history(of: "prod").last)
        // The same content as one whole frame; and the other block is trimmed.
        var whole = content
        whole.replaceSubrange(4096..<8192, with: patch)
        try repository.running("prod").write(0, whole)
        try repository.running("prod").trim(UInt64(block)..<UInt64(2 * block))
        _ = try repository.plane.snapshot("prod", tag: nil)
        let flat = try #require(try repository.history(of: "prod").last)
        let told = try told(flat, since: stacked, repository)
        #expect(told.runs == [UInt64(block)..<UInt64(2 * block)])
        #expect(told.contents == 0, "zeros have no content")
        // And back: the block returns, the stack is no change.
        let back = try self.told(stacked, since: flat, repository)
        #expect(back.byteCount == block)
    }
}
