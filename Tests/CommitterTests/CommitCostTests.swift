// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What commits cost: requests, bytes, and what is not sent at all. Exact counts.

import CleanCache
import Committer
import Formats
import ObjectStore
import Primitives
import Testing
import VolumeMap

@Suite("Cost of commits")
struct CommitCostTests {
    @Test("up to a pack's target a commit is two PUTs and no GET", arguments: [1, 31, 32])
    func twoPuts(mebibytes: Int) throws {
        let volume = try TestVolume(TestShape(size: 40 << 20))
        try volume.write(grain: 0, volume.noise(mebibytes << 20))
        volume.store.record(true)
        let statistics = try volume.commit()
        let operations = volume.store.requests.map(\.operation)
        #expect(operations == [.put, .put])
        #expect(statistics.packs == 1)
    }

    @Test("above the target packs are closed as they fill")
    func manyPacks() throws {
        let volume = try TestVolume(
            TestShape(size: 8 << 20, settings: PackSettings(targetBytes: 1 << 20)))
        try volume.write(grain: 0, volume.noise(8 << 20))
        let statistics = try volume.commit()
        #expect(statistics.packs == 8)
        try volume.expectContent()
        try MapAudit(volume.root, store: volume.store).expectExact()
    }

    @Test("nothing written is one PUT of the commit alone")
    func nothingWritten() throws {
        let volume = try TestVolume()
        try volume.write(grain: 0, volume.noise(4096))
        try volume.commit()
        volume.forget()
        volume.store.record(true)
        let parent = volume.root.commit
        let statistics = try volume.commit()
        #expect(volume.store.requests.map(\.operation) == [.put])
        #expect(statistics.packs == 0)
        #expect(volume.root.commit.digest == parent.digest)
        #expect(volume.root.commit.parentToken == parent.token)
    }

    @Test("a cold 4 KiB write to a forked block reads its node and nothing else")
    func coldWriteToFork() throws {
        let source = try TestVolume()
        try source.write(grain: 0, source.noise(1 << 20))
        try source.commit()
        let fork = try TestVolume(TestShape(seed: 99), fork: source)
        try fork.expectContent()
        try fork.write(grain: 40, fork.noise(4096))
        fork.store.record(true)
        let statistics = try fork.commit()
        // One GET: the node. The base block is not read.
        #expect(fork.store.requests.map(\.operation) == [.get, .put, .put])
        #expect(statistics.blocksStacked == 1)
        #expect(statistics.frameBytes < 4096 + 128)
        try fork.expectContent()
        try MapAudit(fork.root, store: fork.store).expectExact()
        // With the node at hand: none at all.
        fork.store.record(true)
        try fork.write(grain: 80, fork.noise(4096))
        try fork.commit()
        #expect(fork.store.requests.map(\.operation) == [.put, .put])
        try fork.expectContent()
        try source.expectContent()
    }

    @Test("equal blocks of one commit are stored once")
    func equalBlocks() throws {
        let volume = try TestVolume()
        let block = volume.noise(128 << 10)
        for index in 0..<20 { try volume.write(grain: index * 32, block) }
        let statistics = try volume.commit()
        #expect(statistics.frames == 1)
        #expect(statistics.framesShared == 19)
        try volume.expectContent()
        let audit = try MapAudit(volume.root, store: volume.store)
        #expect(audit.packs.values.map(\.live) == [21])
        try audit.expectExact()
    }

    @Test("a block written with what it held is dropped, cold or warm", arguments: [true, false])
    func unchanged(cold: Bool) throws {
        let volume = try TestVolume()
        let bytes = volume.noise(256 << 10)
        try volume.write(grain: 0, bytes)
        try volume.commit()
        if cold { volume.forget() }
        try volume.write(grain: 0, bytes)
        let statistics = try volume.commit()
        #expect(statistics.blocksUnchanged == 2)
        #expect(statistics.packs == 0)
        // Part of a block needs the base to compare with.
        try volume.write(grain: 4, Array(bytes[16_384..<20_480]))
        let partial = try volume.commit()
        #expect(partial.blocksUnchanged == (cold ? 0 : 1))
        try volume.expectContent()
    }

    @Test("what does not shrink stays raw, what does is compressed")
    func codecs() throws {
        for codec in [Codec.lz4, .zstd] {
            let volume = try TestVolume(TestShape(settings: PackSettings(codec: codec)))
            try volume.write(grain: 0, volume.noise(128 << 10))
            let noise = try volume.commit()
            #expect(noise.frameBytes >= 128 << 10)
            #expect(noise.frameBytes < (128 << 10) + 128)
            try volume.write(grain: 32, [UInt8](repeating: 7, count: 128 << 10))
            let plain = try volume.commit()
            #expect(plain.frameBytes < 2048)
            try volume.expectContent()
        }
    }

    @Test("the committer leaves what it packed whole in the cache")
    func warmAfterCommit() throws {
        let volume = try TestVolume()
        try volume.write(grain: 0, volume.noise(256 << 10))
        try volume.commit()
        var reader = MapReader(root: volume.root, cache: volume.cache)
        for block: UInt64 in 0..<2 {
            guard case .cached = reader.resolve(BlockIndex(block)) else {
                Issue.record("block \(block) is cold")
                continue
            }
        }
    }

    @Test("digests follow content: equal histories agree, other content differs")
    func digests() throws {
        let first = try TestVolume(TestShape(seed: 3))
        let second = try TestVolume(TestShape(seed: 4))
        let bytes = first.noise(512 << 10)
        try first.write(grain: 0, bytes)
        try first.commit()
        // The same content by other ways: in two commits, through something else.
        try second.write(grain: 0, second.noise(256 << 10))
        try second.commit()
        #expect(second.root.commit.digest != first.root.commit.digest)
        try second.write(grain: 0, bytes)
        try second.commit()
        #expect(second.root.commit.digest == first.root.commit.digest)
        try second.zero(grains: 0..<1)
        try second.commit()
        #expect(second.root.commit.digest != first.root.commit.digest)
    }
}
