// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The fuzzers start from valid objects: each golden lies in the corpus of the targets that decode
// it. Regenerate together with the goldens.

import Formats
import Foundation
import Primitives
import Testing

/// One input of one fuzz target.
struct FuzzSeed: Sendable, CustomTestStringConvertible {
    let target: String
    let name: String
    let bytes: [UInt8]

    var testDescription: String { "\(target)/\(name)" }

    var file: URL {
        GoldenCase.folder.appendingPathComponent("../../../Fuzz/Corpus/\(target)/\(name).bin")
            .standardized
    }

    static let all: [FuzzSeed] = binary + documents

    private static let documents: [FuzzSeed] = DocumentCase.all.map { sample in
        FuzzSeed(target: "FuzzDocuments", name: sample.name, bytes: sample.encoded)
    }

    private static let binary: [FuzzSeed] = GoldenCase.all.flatMap { golden in
        switch golden.name.prefix(4) {
        case "fram": [FuzzSeed(target: "FuzzFrame", name: golden.name, bytes: golden.encoded)]
        case "node": [FuzzSeed(target: "FuzzNode", name: golden.name, bytes: golden.encoded)]
        case "chun",
            "pack" where golden.name != "pack":
            [FuzzSeed(target: "FuzzPages", name: golden.name, bytes: golden.encoded)]
        case "pack": packSeeds(golden)
        default: commitSeeds(golden)
        }
    }

    /// The whole pack, its index alone, its trailer alone, its key.
    private static func packSeeds(_ golden: GoldenCase) -> [FuzzSeed] {
        let bytes = golden.encoded
        guard
            let (trailer, index) = try? lend(
                bytes, { lent throws(FormatError) in try PackIndex.read(lent) })
        else { return [] }
        let extent = Int(trailer.index.offset)..<Int(trailer.index.end)
        let commit = CommitKey(volume: index.pack.volume, sequence: index.pack.sequence)
        return [
            FuzzSeed(target: "FuzzPackIndex", name: "pack", bytes: bytes),
            FuzzSeed(target: "FuzzPackIndex", name: "index", bytes: Array(bytes[extent])),
            FuzzSeed(target: "FuzzPackIndex", name: "trailer", bytes: bytes.suffix(64)),
            FuzzSeed(target: "FuzzPackIndex", name: "pack-key", bytes: Array(index.pack.key.utf8)),
            FuzzSeed(target: "FuzzPackIndex", name: "commit-key", bytes: Array(commit.key.utf8)),
        ]
    }

    /// The whole commit, and its body alone.
    private static func commitSeeds(_ golden: GoldenCase) -> [FuzzSeed] {
        [
            FuzzSeed(target: "FuzzCommit", name: golden.name, bytes: golden.encoded),
            FuzzSeed(
                target: "FuzzCommit", name: golden.name + "-body",
                bytes: commitBody(golden.encoded)),
        ]
    }
}

/// The decompressed body of a commit's bytes; empty if they are none.
func commitBody(_ sealed: [UInt8]) -> [UInt8] {
    let rawBytes = sealed[12..<16].reversed().reduce(0) { $0 << 8 | Int($1) }
    guard sealed[10] == Codec.zstd.rawValue else { return Array(sealed[64...]) }
    var body = [UInt8](repeating: 0, count: rawBytes)
    let isWhole = sealed.withUnsafeBytes { lent in
        body.withUnsafeMutableBytes { room in
            (try? Compression.decompress(
                UnsafeRawBufferPointer(rebasing: lent[64...]), into: room, codec: .zstd)) != nil
        }
    }
    return isWhole ? body : []
}

@Suite("Fuzz corpus")
struct FuzzCorpusTests {
    @Test("the fuzzers start from the goldens", arguments: FuzzSeed.all)
    func startsFromGoldens(_ seed: FuzzSeed) throws {
        if ProcessInfo.processInfo.environment["MARTLET_REGENERATE_GOLDENS"] == "1" {
            try FileManager.default.createDirectory(
                at: seed.file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(seed.bytes).write(to: seed.file)
        }
        #expect(try Data(contentsOf: seed.file) == Data(seed.bytes))
    }
}
