// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Qcow2 files made to do harm: each is refused with a reason, or read without reaching outside.

import HostIO
import ImageTools
import Primitives
import Testing

@Suite("Hostile qcow2")
struct Qcow2HostileTests {
    private static let good: [UInt8] = {
        let noise = diskBytes(4096, seed: 5).map { $0 | 1 }
        return Qcow2Maker(
            diskBytes: 8 << 20,
            clusters: [.data(noise), .deflate(noise), .unallocated, .data(noise)]
        ).make()
    }()

    private func open(_ bytes: [UInt8]) throws -> Qcow2Image<VolatileFile> {
        let file = try VolatileDisk(seed: 1).root.create("disk.qcow2")
        try file.write(at: 0, bytes)
        return try Qcow2Image(file)
    }

    /// Reads what the image says is there, up to a bound.
    private func readAll(_ bytes: [UInt8]) throws {
        let image = try open(bytes)
        var at: UInt64 = 0
        for _ in 0..<64 {
            guard let range = try image.nextData(from: at) else { return }
            var piece = [UInt8](repeating: 0, count: min(8192, range.count))
            try piece.withUnsafeMutableBytes { try image.read(at: range.lowerBound, into: $0) }
            at = range.upperBound
        }
    }

    private func patched(_ offset: Int, _ bytes: [UInt8]) -> [UInt8] {
        var file = Self.good
        file.replaceSubrange(offset..<(offset + bytes.count), with: bytes)
        return file
    }

    private func refusal(_ bytes: [UInt8], _ words: String) throws {
        let error = try #require(throws: ImageError.self, "\(words)") { try readAll(bytes) }
        #expect("\(error)".contains(words), "\(error)")
    }

    @Test("headers that cannot be are refused with the reason")
    func headers() throws {
        try readAll(Self.good)
        try refusal(patched(0, [0]), "does not begin as qcow2")
        try refusal(patched(4, bigEndian(UInt32(1))), "version 1")
        try refusal(patched(4, bigEndian(UInt32(4))), "version 4")
        try refusal(patched(20, bigEndian(UInt32(8))), "clusters of 2^8")
        try refusal(patched(20, bigEndian(UInt32(22))), "clusters of 2^22")
        try refusal(patched(20, bigEndian(UInt32.max)), "clusters of 2^")
        try refusal(patched(24, bigEndian(UInt64(0))), "empty")
        try refusal(patched(24, bigEndian(UInt64.max)), "a disk of")
        try refusal(patched(24, bigEndian(UInt64(1) << 62)), "entries")
        try refusal(patched(32, bigEndian(UInt32(1))), "encrypted (AES)")
        try refusal(patched(32, bigEndian(UInt32(2))), "encrypted (LUKS)")
        try refusal(patched(36, bigEndian(UInt32(0))), "L1 table has 0 entries")
        try refusal(patched(36, bigEndian(UInt32.max)), "L1 table has more than")
        try refusal(patched(40, bigEndian(UInt64(0))), "L1 table at 0")
        try refusal(patched(40, bigEndian(UInt64(100))), "L1 table at 100")
        try refusal(patched(40, bigEndian(UInt64.max & ~0xFFF)), "L1 table at")
        try refusal(patched(8, bigEndian(UInt64.max)), "name of its backing file")
        try refusal(patched(8, bigEndian(UInt64(4000)) + bigEndian(UInt32(200))), "backing file")
        try refusal(patched(100, bigEndian(UInt32(96))), "a header of 96")
        try refusal(patched(100, bigEndian(UInt32(1) << 30)), "a header of")
        try refusal(Array(Self.good[..<60]), "cut off")
        try refusal(Array(Self.good[..<90]), "cut off")
    }

    @Test("features that are not read are named")
    func features() throws {
        func feature(_ bits: UInt64) -> [UInt8] { patched(72, bigEndian(bits)) }
        try readAll(feature(1))
        try refusal(feature(2), "marked as corrupt")
        try refusal(feature(4), "in an external data file")
        try refusal(feature(8), "contradicts its features")
        try refusal(feature(16), "subclusters")
        try refusal(feature(1 << 5 | 1 << 63), "bit 5, bit 63")
        try refusal(patched(104, [1]), "contradicts its features")
        try refusal(patched(104, [2]), "by method 2")
        // A name table: type, length, one entry for bit 40.
        var name = Array("a new thing".utf8)
        name += [UInt8](repeating: 0, count: 46 - name.count)
        var table = bigEndian(UInt32(0x6803_F857)) + bigEndian(UInt32(48)) + [0, 40] + name
        table += bigEndian(UInt32(0)) + bigEndian(UInt32(0))
        var file = feature(1 << 40)
        file.replaceSubrange(112..<(112 + table.count), with: table)
        try refusal(file, "a new thing (bit 40)")
    }

    @Test("maps that loop, overlap or leave the file are refused")
    func maps() throws {
        let l1 = 4096
        let count = UInt64(Self.good.count)
        let l2 = Self.good.withUnsafeBytes {
            Int(
                UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: l1, as: UInt64.self))
                    & ~(1 << 63))
        }
        try refusal(patched(l1, bigEndian(UInt64(l1))), "overlaps")
        try refusal(patched(l1, bigEndian(UInt64(1) << 40)), "is not inside the file")
        try refusal(patched(l1, bigEndian(UInt64(l2 + 512))), "L1 table is")
        try refusal(patched(l1, bigEndian(UInt64(l2) | 1)), "L1 table is")
        try refusal(
            patched(l1, bigEndian(UInt64(l2)) + bigEndian(UInt64(l2))), "two entries")
        try refusal(patched(l2, bigEndian(UInt64(1) << 40)), "is not inside the file")
        try refusal(patched(l2, bigEndian((count + 4095) / 4096 * 4096)), "is not inside the file")
        try refusal(patched(l2, bigEndian(UInt64(512))), "a cluster lies at 512")
        try refusal(patched(l2, bigEndian(UInt64(2))), "an entry of an L2 table")
        try refusal(patched(l2, bigEndian(UInt64(1) << 62 | 16)), "is not inside the file")
        try refusal(
            patched(l2, bigEndian(UInt64(1) << 62 | (count + 1))), "is not inside the file")
    }

    @Test("compressed clusters that yield too little, or nothing but noise, are refused")
    func streams() throws {
        let short = [UInt8](repeating: 7, count: 100)
        for cluster in [Qcow2Maker.Cluster.deflate(short), .zstd(short)] {
            let file = Qcow2Maker(diskBytes: 4096, clusters: [cluster]).make()
            try refusal(file, "does not decode")
            var noise = file
            for place in 8192..<min(8192 + 60, noise.count) { noise[place] = 0xFF }
            try refusal(noise, "does not decode")
        }
    }

    @Test("a compressed cluster that would yield more than a cluster stops there")
    func bomb() throws {
        let bytes = [UInt8](repeating: 7, count: 1 << 20)
        for cluster in [Qcow2Maker.Cluster.zstd(bytes), .deflate(Array(bytes[..<7000]))] {
            let image = try open(Qcow2Maker(diskBytes: 4096, clusters: [cluster]).make())
            var piece = [UInt8](repeating: 0, count: 4096)
            try piece.withUnsafeMutableBytes { try image.read(at: 0, into: $0) }
            #expect(piece.allSatisfy { $0 == 7 })
        }
    }

    @Test("no change of any one byte, and no cut, does more than fail")
    func everyByte() throws {
        for place in 0..<Self.good.count where place < 4400 || place.isMultiple(of: 37) {
            for value: UInt8 in [0xFF, 0x01, 0x80] {
                var file = Self.good
                file[place] ^= value
                do { try readAll(file) } catch is ImageError {}
            }
        }
        for count in stride(from: 0, to: Self.good.count, by: 101) {
            do { try readAll(Array(Self.good[..<count])) } catch is ImageError {}
        }
    }
}
