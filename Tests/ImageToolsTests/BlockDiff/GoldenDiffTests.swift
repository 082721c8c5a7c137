// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Diffs built by hand, byte by byte, from docs/formats/bdiff.md alone.

import Formats
import Foundation
import HostIO
import ImageTools
import Primitives
import Testing

private let block = 4096

/// Two ranges of a target of 5 blocks and 100 bytes over a base of 4 blocks: block 1 is zeros where
/// the base has data, and the short last block is new.
private enum ByHand {
    static let base =
        [UInt8](repeating: 0x11, count: block) + [UInt8](repeating: 0x22, count: block)
        + [UInt8](repeating: 0x33, count: block) + [UInt8](repeating: 0x44, count: block)

    static let target =
        [UInt8](repeating: 0x11, count: block) + [UInt8](repeating: 0, count: block)
        + [UInt8](repeating: 0x33, count: block) + [UInt8](repeating: 0x44, count: block)
        + [UInt8](repeating: 0, count: block) + [UInt8](repeating: 0x66, count: 100)

    static let header: [UInt8] = [
        0x42, 0x44, 0x49, 0x46, 0x46, 0x76, 0x31, 0x00,  // BDIFFv1\0
        0x64, 0x50, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // target: 20580 bytes
        0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // base: 16384 bytes
        0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // 2 ranges
        0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // at 4096
        0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // 4096 bytes
        0x00, 0x50, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // at 20480
        0x64, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // 100 bytes
    ]

    static let diff =
        header + [UInt8](repeating: 0, count: block - 64)
        + [UInt8](repeating: 0, count: block) + [UInt8](repeating: 0x66, count: 100)
}

@Suite("block diffs built by hand")
struct GoldenDiffTests {
    @Test("create writes the golden of version 1, holes and written zeros alike")
    func creates() throws {
        let rig = DiffRig(directory: VolatileDisk(hasExtents: true).root)
        try rig.make("base", ByHand.base)
        try rig.make("written", ByHand.target)
        let punched = try rig.clone("base", as: "punched")
        #expect(try punched.punch(at: 4096, count: 4096))
        try punched.write(at: 20480, [UInt8](repeating: 0x66, count: 100))
        expectEqualBytes(try rig.bytes("punched"), ByHand.target)
        for target in ["written", "punched"] {
            try rig.create(target + ".bdiff", target, base: "base")
            expectEqualBytes(try rig.bytes(target + ".bdiff"), ByHand.diff, target)
        }
    }

    @Test("apply makes the target from the golden")
    func applies() throws {
        let rig = DiffRig(directory: VolatileDisk(hasExtents: true).root)
        try rig.make("base", ByHand.base)
        try rig.make("diff", ByHand.diff)
        try rig.apply("diff", "target", base: "base")
        expectEqualBytes(try rig.bytes("target"), ByHand.target)
        // The zeros take no space.
        let data = try rig.directory.open("target", writable: false).nextData(from: 4096)
        #expect(data == 8192..<16384)
    }

    @Test("view lists the ranges of the golden, as text and as JSON")
    func views() throws {
        let rig = DiffRig(directory: VolatileDisk(hasExtents: true).root)
        try rig.make("diff", ByHand.diff)
        var lines: [String] = []
        try DiffText.view(rig.end("diff"), by: rig.tool, isJSON: false) { lines.append($0) }
        #expect(
            lines == [
                "block diff, version 1", "target: 20580 bytes", "base: 16384 bytes",
                "  4096 +4096", "  20480 +100", "ranges: 2, 4196 bytes",
            ])
        lines = []
        try DiffText.view(rig.end("diff"), by: rig.tool, isJSON: true) { lines.append($0) }
        #expect(
            lines.joined() == #"{"version":1,"target_bytes":20580,"base_bytes":16384,"ranges":["#
                + #"{"offset":4096,"length":4096},{"offset":20480,"length":100}],"#
                + #""range_count":2,"changed_bytes":4196}"#)
    }

    @Test("a header that fills whole blocks has no padding, one range more has nearly a block")
    func padding() throws {
        for (count, start) in [(0, 4096), (1, 4096), (254, 4096), (255, 8192)] {
            let ranges = (0..<count).map {
                BlockDiffRange(offset: UInt64($0) * 8192, length: 4096)
            }
            let lead = BlockDiffLead(
                targetBytes: 1 << 30, baseBytes: 0, rangeCount: UInt64(count))
            #expect(lead.dataStart == UInt64(start))
            #expect(lead.encode(ranges: ranges).count == start)
        }
    }

    /// Regenerate with MARTLET_REGENERATE_GOLDENS=1.
    @Test(
        "the fuzzer starts from diffs of both versions",
        arguments: [("one", 1, Codec.raw), ("raw", 2, .raw), ("lz4", 2, .lz4), ("zstd", 2, .zstd)])
    func corpus(name: String, version: Int, codec: Codec) throws {
        let rig = DiffRig(directory: VolatileDisk(hasExtents: true).root)
        try rig.make("base", ByHand.base)
        try rig.make("target", ByHand.target)
        try rig.create("diff", "target", base: "base", version: version, codec: codec)
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../Fuzz/Corpus/FuzzBlockDiff/\(name).bin").standardized
        if ProcessInfo.processInfo.environment["MARTLET_REGENERATE_GOLDENS"] == "1" {
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(try rig.bytes("diff")).write(to: file)
        }
        expectEqualBytes([UInt8](try Data(contentsOf: file)), try rig.bytes("diff"), name)
    }

    /// Version 2 of the same diff, its checksums made here from the description of the format.
    @Test("create writes version 2 as described")
    func second() throws {
        let rig = DiffRig(directory: VolatileDisk(hasExtents: true).root)
        try rig.make("base", ByHand.base)
        let target = try rig.clone("base", as: "target")
        #expect(try target.punch(at: 4096, count: 4096))
        try target.write(at: 20480, [UInt8](repeating: 0x66, count: 100))
        try rig.create("diff", "target", base: "base", version: 2, codec: .raw)

        func little(_ value: UInt64, _ count: Int = 8) -> [UInt8] {
            (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
        }
        func hash(_ bytes: [UInt8], _ seed: UInt64) -> UInt64 {
            bytes.withUnsafeBytes { XXH3.hash($0, seed: seed) }
        }
        func digest(_ bytes: [UInt8]) -> [UInt8] {
            let piece = bytes.withUnsafeBytes { BLAKE3.hash($0, domain: .imagePiece) }
            var whole = BLAKE3(domain: .image)
            whole.update(integer: UInt64(bytes.count))
            whole.update(integer: 0)
            whole.update(piece)
            let found = whole.finish()
            return little(found.low) + little(found.high)
        }
        var expected: [UInt8] = Array("BDIFFv2\0".utf8) + little(20580) + little(16384)
        expected += digest(ByHand.base) + digest(ByHand.target) + little(2)
        expected += [UInt8](repeating: 0, count: 24)
        let seed = hash(expected, 0)
        expected += little(seed)
        let hole = little(4096) + little(4096) + little(0, 4) + [3, 0, 0, 0]
        expected += hole + little(hash([], hash(hole, seed)))
        let data = little(20480) + little(100) + little(100, 4) + [1, 1, 0, 0]
        let bytes = [UInt8](repeating: 0x66, count: 100)
        expected += data + little(hash(bytes, hash(data, seed &+ 1))) + bytes
        expectEqualBytes(try rig.bytes("diff"), expected)
        try rig.apply("diff", "again", base: "base")
        expectEqualBytes(try rig.bytes("again"), ByHand.target)
    }
}
