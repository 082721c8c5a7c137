// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What was written is what a machine without any cache reads, commit after commit, and the commit's
// own accounts are right.

import Committer
import Formats
import Primitives
import Testing
import VolumeMap

@Suite("Content of commits")
struct CommitContentTests {
    /// Block size, bytes of the volume, and whether the committer's cache is emptied between
    /// commits.
    struct Course: Sendable, CustomTestStringConvertible {
        let blockBytes: Int
        let size: Int
        let codec: Codec
        let forgets: Bool

        var testDescription: String {
            "\(blockBytes >> 10) KiB blocks, \(size) bytes, \(codec), forgets: \(forgets)"
        }
    }

    static let courses: [Course] = [
        Course(blockBytes: 4 << 10, size: 1 << 20, codec: .lz4, forgets: true),
        Course(blockBytes: 4 << 10, size: (5 << 20) + 512, codec: .raw, forgets: false),
        Course(blockBytes: 128 << 10, size: 6 << 20, codec: .lz4, forgets: false),
        Course(blockBytes: 128 << 10, size: (6 << 20) + 20_992, codec: .zstd, forgets: true),
        Course(blockBytes: 128 << 10, size: (3 << 20) + 1024, codec: .raw, forgets: true),
        Course(blockBytes: 1 << 20, size: (9 << 20) + 4096, codec: .lz4, forgets: true),
        Course(blockBytes: 1 << 20, size: (7 << 20) + 512, codec: .zstd, forgets: false),
    ]

    @Test("random writes and zeroes over many commits read back exactly", arguments: courses)
    func randomHistory(_ course: Course) throws {
        let volume = try TestVolume(
            TestShape(
                size: course.size, blockBytes: course.blockBytes,
                settings: PackSettings(codec: course.codec), seed: 7))
        for round in 0..<8 {
            try scribble(volume, operations: 24)
            if course.forgets { volume.forget() }
            try volume.commit()
            try volume.expectContent("after commit \(round)")
            try MapAudit(volume.root, store: volume.store).expectExact()
        }
    }

    /// Some writes of unlike sizes and kinds, and some zeroes.
    private func scribble(_ volume: TestVolume, operations: Int) throws {
        let grains = (volume.model.count + Limits.grainBytes - 1) / Limits.grainBytes
        for _ in 0..<operations {
            let first = Int(volume.random.next(below: UInt64(grains)))
            let most = min(grains - first, 1 << volume.random.next(below: 8))
            let count = 1 + Int(volume.random.next(below: UInt64(most)))
            let end = min((first + count) * Limits.grainBytes, volume.model.count)
            let bytes = end - first * Limits.grainBytes
            switch volume.random.next(below: 6) {
            case 0: try volume.zero(grains: first..<(first + count))
            case 1: try volume.write(grain: first, [UInt8](repeating: 0, count: bytes))
            case 2: try volume.write(grain: first, [UInt8](repeating: 0x5A, count: bytes))
            default: try volume.write(grain: first, volume.noise(bytes))
            }
        }
    }

    @Test("a cold block stacks four frames and is merged by the fifth write")
    func stacks() throws {
        let volume = try TestVolume()
        try volume.write(grain: 0, volume.noise(128 << 10))
        try volume.commit()
        for grain in 1...3 {
            try volume.write(grain: grain, volume.noise(4096))
            volume.forget()
            let statistics = try volume.commit()
            #expect(statistics.blocksStacked == 1)
            #expect(statistics.stacksMerged == 0)
            try volume.expectContent()
        }
        let node = try #require(try MapAudit(volume.root, store: volume.store).nodes.first)
        #expect(node[0]?.frames.count == 4)
        try volume.write(grain: 9, volume.noise(4096))
        volume.forget()
        let statistics = try volume.commit()
        #expect(statistics.stacksMerged == 1)
        #expect(statistics.blocksWhole == 1)
        let audit = try MapAudit(volume.root, store: volume.store)
        #expect(audit.nodes.first?[0]?.frames.count == 1)
        try audit.expectExact()
        try volume.expectContent()
    }

    @Test("a frame that newer ones cover leaves the stack")
    func shadowedFrames() throws {
        let volume = try TestVolume()
        try volume.write(grain: 0, volume.noise(128 << 10))
        try volume.commit()
        for _ in 0..<6 {
            try volume.write(grain: 5, volume.noise(4096))
            volume.forget()
            let statistics = try volume.commit()
            #expect(statistics.stacksMerged == 0)
            let audit = try MapAudit(volume.root, store: volume.store)
            #expect(audit.nodes.first?[0]?.frames.count == 2)
            try audit.expectExact()
            try volume.expectContent()
        }
    }

    @Test("a block of zeros loses its stack, and an empty chunk its node")
    func zeroBlocks() throws {
        let volume = try TestVolume()
        try volume.write(grain: 0, volume.noise(256 << 10))
        try volume.commit()
        try volume.write(grain: 0, [UInt8](repeating: 0, count: 128 << 10))
        try volume.commit()
        var audit = try MapAudit(volume.root, store: volume.store)
        #expect(audit.nodes.first?.blockCount == 1)
        try volume.zero(grains: 32..<64)
        volume.forget()
        try volume.commit()
        audit = try MapAudit(volume.root, store: volume.store)
        #expect(audit.nodes.isEmpty)
        #expect(audit.packs.isEmpty)
        #expect(volume.root.commit.digest == Commit.emptyDigest)
        try audit.expectExact()
        try volume.expectContent()
    }

    @Test("a zeroed device refers to nothing, whatever is written to it afterwards")
    func zeroedDevice() throws {
        let volume = try TestVolume(TestShape(size: 300 << 20, blockBytes: 128 << 10))
        for chunk in 0..<3 {
            try volume.write(grain: chunk * 32_768, volume.noise(64 << 10))
        }
        try volume.commit()
        volume.forget()
        try volume.zero(grains: 0..<(300 << 8))
        let zeroed = try volume.commit()
        #expect(zeroed.puts == 0)
        #expect(zeroed.gets == 0)
        #expect(volume.root.commit.digest == Commit.emptyDigest)
        try volume.write(grain: 77, volume.noise(4096))
        try volume.commit()
        try MapAudit(volume.root, store: volume.store).expectExact()
        try volume.expectContent()
    }

    @Test("a whole chunk that is zeroed leaves the table and its packs' accounts")
    func zeroedChunk() throws {
        let volume = try TestVolume(TestShape(size: 384 << 20, blockBytes: 128 << 10))
        for chunk in 0..<3 {
            try volume.write(grain: chunk * 32_768, volume.noise(64 << 10))
        }
        try volume.commit()
        volume.forget()
        try volume.zero(grains: 32_768..<65_536)
        try volume.commit()
        let audit = try MapAudit(volume.root, store: volume.store)
        #expect(audit.nodes.map(\.chunk) == [ChunkIndex(0), ChunkIndex(2)])
        try audit.expectExact()
        try volume.expectContent()
    }

    @Test("a volume that grew reads zeros behind its old, short end")
    func grown() throws {
        let old = (1 << 20) + 1536
        let volume = try TestVolume(TestShape(size: old, blockBytes: 128 << 10))
        try volume.write(grain: 0, volume.noise(old))
        try volume.commit()
        volume.forget()
        try volume.commit(newSize: (2 << 20) + 512)
        try volume.expectContent()
        try volume.write(grain: 257, volume.noise(4096))
        volume.forget()
        try volume.commit()
        try volume.expectContent()
        try MapAudit(volume.root, store: volume.store).expectExact()
    }

    @Test("writing the short last block whole needs no base")
    func shortLastBlock() throws {
        let size = (128 << 10) + 8192 + 512
        let volume = try TestVolume(TestShape(size: size, blockBytes: 128 << 10))
        for _ in 0..<2 {
            try volume.write(grain: 32, volume.noise(8192 + 512))
            volume.forget()
            let statistics = try volume.commit()
            #expect(statistics.blocksWhole == 1)
            try volume.expectContent()
        }
    }
}
