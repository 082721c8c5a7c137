// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The qcow2 writer, judged by QEMU, and its places and counts by themselves.

import Formats
import HostIO
import ObjectStore
import Primitives
import RepositorySupport
import TestSupport
import Testing
import VolumeMap

@testable import ImageTools

@Suite("a qcow2 export is one that QEMU takes")
struct QcowTests {
    private let token = Token(low: 1, high: 2)

    private func qemu(_ words: String...) throws -> String {
        let outcome = try Command.run(["qemu-img"] + words)
        #expect(outcome.status == 0, "\(words): \(outcome.output)")
        return outcome.output
    }

    @Test(
        "check finds nothing, and the content is the disk's",
        .enabled(if: Requires.tools("qemu-img")),
        arguments: [QcowCompression?.none, .zstd])
    func qemuImage(_ compression: QcowCompression?) throws {
        let repository = try SmallRepository.built()
        let scratch = try ScratchDirectory()
        let folder = try HostDirectory.open(path: scratch.path, create: false)
        for key in try repository.commits {
            let source = try repository.source(key)
            _ = try ImageExport(source, from: repository.store, as: .qcow2(compression))
                .write("image", in: folder, replaces: true, token: token)
            let path = "\(scratch.path)/image"
            let checked = try qemu("check", "-f", "qcow2", path)
            #expect(checked.contains("No errors were found"), "\(checked)")
            _ = try qemu("convert", "-f", "qcow2", "-O", "raw", path, path + ".raw")
            expectSame(try folder.content("image.raw"), try repository.image(key), "\(key)")
            // The same bytes from any number of threads.
            let alone = try folder.content("image")
            _ = try ImageExport(
                source, from: repository.store, as: .qcow2(compression), spread: Crew().spread
            ).write("image", in: folder, replaces: true, token: token)
            expectSame(try folder.content("image"), alone, "by threads")
        }
    }

    @Test(
        "compressed and not, over the first region of refcounts and past the first table",
        .enabled(if: Requires.tools("qemu-img")),
        arguments: [QcowCompression?.none, .zstd])
    func regions(_ compression: QcowCompression?) throws {
        // Clusters of 4 KiB: a table covers 2 MiB, a refcount block 8 MiB of the file.
        let clusterBytes = 4096
        let size: UInt64 = 1 << 30
        let layout = QcowLayout(
            size: ByteCount(size), blockBytes: clusterBytes, compression: compression)
        let scratch = try ScratchDirectory()
        let folder = try HostDirectory.open(path: scratch.path, create: false)
        let file = try folder.create("image")
        let sink = QcowFile(file, layout: layout, spread: Crew().spread)
        let raw = try folder.create("raw")
        var random = SplitMix64(seed: 4)
        var cluster: UInt64 = 0
        let window = FetchBuffer(byteCount: 64 * clusterBytes)
        for _ in 0..<100 {
            var blocks: [ImageBlock] = []
            for slot in 0..<64 {
                cluster += 1 + (random.next(below: 40) == 0 ? random.next(below: 700) : 0)
                let part = UnsafeMutableRawBufferPointer(
                    rebasing: window.bytes[(slot * clusterBytes)..<((slot + 1) * clusterBytes)])
                // Noise in front, so that compressed lengths are of every kind.
                let noise = Int(random.next(below: UInt64(clusterBytes + 1)))
                part.initializeMemory(as: UInt8.self, repeating: 7)
                for word in 0..<(noise / 8) {
                    part.storeBytes(of: random.next(), toByteOffset: word * 8, as: UInt64.self)
                }
                try raw.write(
                    at: cluster * UInt64(clusterBytes), UnsafeRawBufferPointer(part))
                blocks.append(
                    ImageBlock(
                        offset: cluster * UInt64(clusterBytes), grains: GrainMask(full: 1),
                        content: UnsafeRawBufferPointer(part), byteCount: clusterBytes))
            }
            try sink.take(blocks)
        }
        try sink.finish()
        try raw.resize(size)
        #expect(try file.size() > (compression == nil ? 16 : 8) << 20, "too small to prove much")
        let path = "\(scratch.path)/image"
        let checked = try qemu("check", "-f", "qcow2", path)
        #expect(checked.contains("No errors were found"), "\(checked)")
        _ = try qemu("compare", "-f", "qcow2", "-F", "raw", path, "\(scratch.path)/raw")
    }

    @Test("the header is that of docs/formats/qcow2.md")
    func header() {
        let layout = QcowLayout(
            size: ByteCount(10 << 30), blockBytes: 128 << 10, compression: .zstd)
        let bytes = layout.header()
        let words: [UInt8] = [
            0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 17,
            0, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 6, 0, 0,
            0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 4, 0, 0, 0, 112, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ]
        #expect(bytes == words)
        let plain = QcowLayout(size: ByteCount(10 << 30), blockBytes: 128 << 10, compression: nil)
        #expect(plain.header()[79] == 0 && plain.header()[104] == 0)
    }

    @Test("the largest volume of every block size has its tables in front, within QEMU's limits")
    func limits() {
        for bits in 12...20 {
            let block = 1 << bits
            let layout = QcowLayout(
                size: ByteCount(UInt64(block) << 27), blockBytes: block, compression: nil)
            _ = QcowClusters(layout)
            #expect(layout.firstTableEntries * 8 <= 32 << 20)
            #expect(layout.refcountTableClusters * block <= 8 << 20)
        }
    }

    @Test("no byte of the file is given twice, and every refcount is the number of users")
    func clusters() {
        let clusterBytes = 4096
        let layout = QcowLayout(
            size: ByteCount(1 << 34), blockBytes: clusterBytes, compression: .zstd)
        var clusters = QcowClusters(layout)
        var users: [UInt64: UInt16] = [:]
        var whole: Set<UInt64> = []
        var blocks: [QcowClusters.RefcountBlock] = []
        var random = SplitMix64(seed: 9)
        var end: UInt64 = 0
        for cluster in 0..<layout.frontClusters { users[cluster] = 1 }
        for _ in 0..<60_000 {
            if random.next(below: 4) == 0 {
                let cluster = clusters.one() / UInt64(clusterBytes)
                #expect(users[cluster] == nil)
                users[cluster] = 1
                whole.insert(cluster)
            } else {
                let count = 1 + Int(random.next(below: UInt64(clusterBytes - 1)))
                let offset = clusters.room(for: count)
                #expect(offset >= end)
                end = offset + UInt64(count)
                for cluster in (offset / 4096)...((end - 1) / 4096) {
                    #expect(!whole.contains(cluster))
                    users[cluster, default: 0] += 1
                }
            }
            blocks += clusters.takeFinished()
        }
        let fileClusters = clusters.fileBytes / UInt64(clusterBytes)
        blocks += clusters.finish()
        #expect(blocks.map(\.offset) == clusters.refcountBlocks)
        #expect(blocks.count > 5)
        for (region, block) in blocks.enumerated() {
            for (index, count) in block.counts.enumerated() {
                let cluster = UInt64(region) * layout.regionClusters + UInt64(index)
                let isOwn = cluster * UInt64(clusterBytes) == block.offset
                let expected = isOwn ? 1 : users[cluster] ?? 0
                if count != expected { Issue.record("cluster \(cluster): \(count), \(expected)") }
                if cluster >= fileClusters { #expect(count == 0) }
            }
        }
    }
}
