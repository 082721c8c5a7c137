// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One file of bytes for each kind of object, fixed for ever for its version. Regenerate with
// MARTLET_REGENERATE_GOLDENS=1 after a deliberate change of a format, and read the difference.

import Formats
import Foundation
import Primitives
import Testing

/// An object whose bytes are kept under Goldens.
struct GoldenCase: Sendable, CustomTestStringConvertible {
    let name: String
    /// What the sample encodes to today.
    let encoded: [UInt8]
    /// Where the version is, and how many bytes it has.
    let version: (offset: Int, bytes: Int)
    /// True if the decoder itself finds every flipped bit; otherwise the pointer's hash does.
    let isSealed: Bool
    /// Decodes and encodes again.
    let again: @Sendable (UnsafeRawBufferPointer) throws(FormatError) -> [UInt8]
    /// The check that whoever follows a pointer makes.
    let verify: @Sendable (UnsafeRawBufferPointer) throws(FormatError) -> Void

    var testDescription: String { name }

    static var folder: URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Goldens")
    }

    func golden() throws -> [UInt8] {
        let file = Self.folder.appendingPathComponent(name + ".bin")
        if ProcessInfo.processInfo.environment["MARTLET_REGENERATE_GOLDENS"] == "1" {
            try Data(encoded).write(to: file)
        }
        return [UInt8](try Data(contentsOf: file))
    }

    /// Nil if the bytes are accepted by decoder and pointer.
    func refusal(of bytes: [UInt8]) -> FormatError? {
        FormatsTests.refusal(of: bytes) { lent throws(FormatError) in
            _ = try again(lent)
            try verify(lent)
        }
    }

    static let all: [GoldenCase] = {
        var samples = Samples(seed: 20_261_120)
        return frames(&samples) + nodes(&samples) + pages(&samples) + packs(&samples)
            + commits(&samples) + [copiedCommit(&samples)]
    }()

    private static func frames(_ samples: inout Samples) -> [GoldenCase] {
        let kinds: [(String, Bool, Codec)] = [
            ("frame-full-lz4", true, .lz4), ("frame-delta-zstd", false, .zstd),
            ("frame-delta-raw", false, .raw),
        ]
        return kinds.map { name, full, codec in
            let made = samples.frameBytes(grains: 4, full: full, codec: codec)
            let pointer = made.pointer
            return GoldenCase(
                name: name, encoded: made.frame, version: (2, 1), isSealed: true,
                again: { lent throws(FormatError) in
                    let header = try FrameHeader(decoding: lent)
                    return header.encode(
                        with: UnsafeRawBufferPointer(rebasing: lent[header.byteCount...]))
                },
                verify: { lent throws(FormatError) in
                    let room = UnsafeMutableRawBufferPointer.allocate(
                        byteCount: pointer.mask.count * Limits.grainBytes, alignment: 16)
                    defer { room.deallocate() }
                    try Frame.decode(lent, pointer: pointer, grains: 4, into: room)
                })
        }
    }

    private static func nodes(_ samples: inout Samples) -> [GoldenCase] {
        [("node-128k", 128 << 10), ("node-4k", 4 << 10), ("node-1m", 1 << 20)].map {
            name, blockBytes in
            let encoded = samples.node(blockBytes: blockBytes, blocks: 8).encode()
            let hash = encoded.withUnsafeBytes { Pack.hash(ofNode: $0) }
            return GoldenCase(
                name: name, encoded: encoded, version: (8, 2), isSealed: false,
                again: { lent throws(FormatError) in try MapNode(decoding: lent).encode() },
                verify: { lent throws(FormatError) in
                    try Pack.verify(lent, hash: hash, kind: .node)
                })
        }
    }

    private static func pages(_ samples: inout Samples) -> [GoldenCase] {
        let chunks = samples.chunkPage(index: 3, blockBytes: 128 << 10, entries: 9).encode()
        let packs = samples.packPage(index: 2, entries: 9).encode()
        let hashes = [chunks, packs].map { $0.withUnsafeBytes { Pack.hash(ofPage: $0) } }
        return [
            GoldenCase(
                name: "chunk-page", encoded: chunks, version: (8, 2), isSealed: false,
                again: { lent throws(FormatError) in try ChunkTablePage(decoding: lent).encode() },
                verify: { lent throws(FormatError) in
                    try Pack.verify(lent, hash: hashes[0], kind: .chunkPage)
                }),
            GoldenCase(
                name: "pack-page", encoded: packs, version: (8, 2), isSealed: false,
                again: { lent throws(FormatError) in try PackTablePage(decoding: lent).encode() },
                verify: { lent throws(FormatError) in
                    try Pack.verify(lent, hash: hashes[1], kind: .packPage)
                }),
        ]
    }

    private static func packs(_ samples: inout Samples) -> [GoldenCase] {
        let encoded = samples.pack(frames: 3)
        return [
            GoldenCase(
                name: "pack", encoded: encoded, version: (8, 2), isSealed: false,
                again: { lent throws(FormatError) in try repack(lent) },
                verify: { lent throws(FormatError) in
                    for member in try PackIndex.read(lent).index.members {
                        let extent = Int(member.extent.offset)..<Int(member.extent.end)
                        try Pack.verify(
                            UnsafeRawBufferPointer(rebasing: lent[extent]), hash: member.hash,
                            kind: member.kind)
                    }
                })
        ]
    }

    private static func commits(_ samples: inout Samples) -> [GoldenCase] {
        [("commit-inline", true, false), ("commit-packed", false, true)].map {
            name, inline, takeover in
            golden(name, samples.commit(inline: inline, takeover: takeover))
        }
    }

    private static func copiedCommit(_ samples: inout Samples) -> GoldenCase {
        var commit = samples.commit(inline: true, takeover: false)
        commit.copied = CopiedCommit(
            volume: samples.identifier(), sequence: CommitSequence(41),
            token: samples.identifier())
        return golden("commit-copied", commit)
    }

    private static func golden(_ name: String, _ commit: Commit) -> GoldenCase {
        GoldenCase(
            name: name, encoded: commit.encode(), version: (8, 2), isSealed: true,
            again: { lent throws(FormatError) in
                try Commit(decoding: lent, key: nil).encode()
            },
            verify: { _ in })
    }
}

/// Takes a pack apart and packs its members again.
func repack(_ bytes: UnsafeRawBufferPointer) throws(FormatError) -> [UInt8] {
    let index = try PackIndex.read(bytes).index
    var writer = PackWriter(pack: index.pack)
    for member in index.members {
        let extent = Int(member.extent.offset)..<Int(member.extent.end)
        let content = Array(bytes[extent])
        switch member.kind {
        case .frame: _ = writer.append(frame: content, hash: member.hash)
        case .node: _ = writer.append(node: content)
        case .chunkPage: _ = writer.append(chunkPage: content)
        case .packPage: _ = writer.append(packPage: content)
        }
    }
    return writer.finish()
}

@Suite("Goldens")
struct GoldenTests {
    @Test("an object encodes to the bytes of its golden", arguments: GoldenCase.all)
    func encodes(_ golden: GoldenCase) throws {
        #expect(try golden.golden() == golden.encoded)
    }

    @Test("a golden decodes, and encodes to itself", arguments: GoldenCase.all)
    func decodes(_ golden: GoldenCase) throws {
        let bytes = try golden.golden()
        #expect(try lend(bytes, golden.again) == bytes)
        #expect(golden.refusal(of: bytes) == nil)
    }

    @Test("every damaged byte is refused on the way that a reader takes", arguments: GoldenCase.all)
    func flipped(_ golden: GoldenCase) throws {
        let bytes = try golden.golden()
        for offset in bytes.indices {
            for bits in [0x01, 0x80, 0xFF] as [UInt8] {
                var damaged = bytes
                damaged[offset] ^= bits
                #expect(golden.refusal(of: damaged) != nil, "byte \(offset) ^ \(bits)")
                guard !golden.isSealed, golden.name != "pack" else { continue }
                // Not checked by a hash, damage must still decode to something whole, or not at
                // all.
                if let again = try? lend(damaged, golden.again) { #expect(again == damaged) }
            }
        }
    }

    @Test("every truncation is refused", arguments: GoldenCase.all)
    func truncated(_ golden: GoldenCase) throws {
        let bytes = try golden.golden()
        for count in bytes.indices {
            #expect(refusal(of: Array(bytes[..<count]), golden.again) != nil, "\(count) bytes")
        }
        #expect(refusal(of: bytes + [0], golden.again) != nil)
    }

    @Test("versions 0 and 2 are refused by name", arguments: GoldenCase.all)
    func versions(_ golden: GoldenCase) throws {
        for version in [0, 2] as [UInt8] {
            var bytes = try golden.golden()
            #expect(bytes[golden.version.offset] == 1)
            bytes[golden.version.offset] = version
            guard case .unsupportedVersion(_, let found, 1)? = golden.refusal(of: bytes) else {
                Issue.record("version \(version) of \(golden.name) is not refused by name")
                continue
            }
            #expect(found == UInt64(version))
        }
    }
}
