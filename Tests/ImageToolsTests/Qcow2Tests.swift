// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Qcow2 images: what right ones hold, and that wrong ones are refused and never overrun anything.

import HostIO
import ImageTools
import Primitives
import Testing

@Suite("Qcow2")
struct Qcow2Tests {
    private static let clusterBytes = 4096

    private func file(_ bytes: [UInt8]) throws -> VolatileFile {
        let file = try VolatileDisk(seed: 1).root.create("disk.qcow2")
        try file.write(at: 0, bytes)
        return file
    }

    private func open(
        _ bytes: [UInt8], backing: (any DiskImage)? = nil
    ) throws -> Qcow2Image<VolatileFile> {
        try Qcow2Image(file(bytes), backing: backing)
    }

    /// All bytes, by the extents that the image tells, in pieces of several sizes.
    private func content(_ image: some DiskImage, piece: Int = 10_000) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(image.size.rawValue))
        var at: UInt64 = 0
        while let range = try image.nextData(from: at) {
            #expect(range.lowerBound >= at && !range.isEmpty)
            try bytes.withUnsafeMutableBytes { buffer in
                for start in stride(
                    from: Int(range.lowerBound), to: Int(range.upperBound), by: piece)
                {
                    let end = min(start + piece, Int(range.upperBound))
                    try image.read(
                        at: UInt64(start),
                        into: UnsafeMutableRawBufferPointer(rebasing: buffer[start..<end]))
                }
            }
            at = range.upperBound
        }
        return bytes
    }

    private static func noise(_ seed: UInt64, _ count: Int = clusterBytes) -> [UInt8] {
        diskBytes(count, seed: seed).map { $0 | 1 }
    }

    /// An image with every kind of cluster in two L2 tables, and what it holds.
    private func mixed(
        version: UInt32, isZstd: Bool = false
    ) -> (maker: Qcow2Maker, bytes: [UInt8]) {
        let count = 600
        var maker = Qcow2Maker(version: version, diskBytes: UInt64(count * Self.clusterBytes - 512))
        var bytes: [UInt8] = []
        for index in 0..<count {
            let noise = Self.noise(UInt64(index + 1))
            let zeros = [UInt8](repeating: 0, count: Self.clusterBytes)
            switch index % 7 {
            case 0, 1:
                maker.clusters.append(.data(noise))
                bytes += noise
            case 2, 3:
                maker.clusters.append(isZstd ? .zstd(noise) : .deflate(noise))
                bytes += noise
            case 4:
                maker.clusters.append(version == 2 ? .unallocated : .zeros)
                bytes += zeros
            default:
                maker.clusters.append(.unallocated)
                bytes += zeros
            }
        }
        return (maker, Array(bytes[..<Int(maker.diskBytes)]))
    }

    @Test(
        "data, zeros, holes and compressed clusters are read, in any pieces",
        arguments: [
            (UInt32(2), false), (3, false), (3, true),
        ])
    func kinds(version: UInt32, isZstd: Bool) throws {
        let (maker, bytes) = mixed(version: version, isZstd: isZstd)
        let image = try open(maker.make())
        #expect(image.size == ByteCount(UInt64(bytes.count)))
        for piece in [512, 4096, 10_000, 1 << 20] {
            expectBytes(try content(image, piece: piece), bytes, "pieces of \(piece)")
        }
    }

    @Test("clusters of every size are read", arguments: [UInt32(9), 10, 16, 21])
    func clusterSizes(bits: UInt32) throws {
        let count = 1 << Int(bits)
        let noise = Self.noise(UInt64(bits), count)
        let maker = Qcow2Maker(
            clusterBits: bits, diskBytes: UInt64(4 * count),
            clusters: [.data(noise), .deflate(noise), .unallocated, .data(noise)])
        let zeros = [UInt8](repeating: 0, count: count)
        expectBytes(
            try content(open(maker.make()), piece: 1 << 20), noise + noise + zeros + noise)
    }

    @Test("a backing file is read only if the user names it, and zeros follow its end")
    func backing() throws {
        let below = Self.noise(50, 3 * Self.clusterBytes + 512)
        let noise = Self.noise(51)
        let maker = Qcow2Maker(
            diskBytes: UInt64(6 * Self.clusterBytes), backingName: "/etc/passwd",
            clusters: [.unallocated, .data(noise), .zeros])
        let bytes = maker.make()
        let refusal = try #require(throws: ImageError.self) { try open(bytes) }
        guard case .unsupported(let feature, let remedy) = refusal else {
            Issue.record("\(refusal)")
            return
        }
        #expect(feature.contains("/etc/passwd") && remedy.contains("--backing"))
        let image = try ImageFile.open([file(bytes), file(below)])
        var expected = Array(below[..<Self.clusterBytes]) + noise
        expected += [UInt8](repeating: 0, count: Self.clusterBytes)
        expected += below[(3 * Self.clusterBytes)...]
        expected += [UInt8](repeating: 0, count: 6 * Self.clusterBytes - expected.count)
        expectBytes(try content(image), expected)
        #expect(throws: ImageError.self) {
            try ImageFile.open([file(below), file(below)])
        }
        let alone = Qcow2Maker(diskBytes: 4096, clusters: [.data(noise)]).make()
        #expect(throws: ImageError.self) { try ImageFile.open([file(alone), file(below)]) }
    }

    @Test("the first bytes tell the format, unless the user does")
    func probing() throws {
        let noise = Self.noise(3)
        let bytes = Qcow2Maker(diskBytes: 4096, clusters: [.data(noise)]).make()
        #expect(try ImageFile.open([file(bytes)]).format == "qcow2")
        #expect(try ImageFile.open([file(bytes)], format: .raw).format == "raw")
        #expect(try ImageFile.open([file(noise)]).format == "raw")
        #expect(throws: ImageError.self) { try ImageFile.open([file(noise)], format: .qcow2) }
    }

    @Test("a blessed qcow2 image has the digest of the raw one", arguments: [0, 2])
    func digest(threads: Int) throws {
        let (maker, bytes) = mixed(version: 3)
        let rig = try ImageRig()
        let raw = try rig.bless(rig.raw(bytes), "raw", threads: threads)
        let report = try rig.bless(open(maker.make()), "qcow2", threads: threads)
        #expect(report.digest == raw.digest)
        expectBytes(try rig.content(report.commit), bytes)
    }
}
