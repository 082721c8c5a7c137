// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a person sees of an object: every golden's lines are kept beside its bytes.

import Formats
import Foundation
import Primitives
import Testing

/// The lines of one object.
struct InspectCase: Sendable, CustomTestStringConvertible {
    let name: String
    let lines: [String]

    var testDescription: String { name }

    static let all: [InspectCase] = GoldenCase.all.compactMap { golden in
        let bytes = golden.encoded
        let lines = try? lend(bytes) { lent throws(FormatError) -> [String] in
            switch golden.name.prefix(8) {
            case "chunk-pa": InspectText.inspectChunkPage(try ChunkTablePage(decoding: lent))
            case "pack-pag": InspectText.inspectPackPage(try PackTablePage(decoding: lent))
            case "pack": try pack(lent)
            case "commit-c", "commit-i", "commit-p":
                InspectText.inspectCommit(try Commit(decoding: lent, key: nil))
            case "node-128", "node-4k", "node-1m":
                InspectText.inspectNode(try MapNode(decoding: lent))
            default: InspectText.inspectFrame(try FrameHeader(decoding: lent))
            }
        }
        return lines.map { InspectCase(name: golden.name, lines: $0) }
    }

    private static func pack(_ bytes: UnsafeRawBufferPointer) throws(FormatError) -> [String] {
        let (trailer, index) = try PackIndex.read(bytes)
        return InspectText.inspectPack(trailer, index)
    }
}

@Suite("Inspecting objects")
struct InspectTests {
    @Test("every golden can be shown")
    func isComplete() {
        #expect(InspectCase.all.count == GoldenCase.all.count)
    }

    @Test("an object is shown as its golden text", arguments: InspectCase.all)
    func shows(_ inspect: InspectCase) throws {
        let file = GoldenCase.folder.appendingPathComponent(inspect.name + ".txt")
        let text = inspect.lines.joined(separator: "\n") + "\n"
        if ProcessInfo.processInfo.environment["MARTLET_REGENERATE_GOLDENS"] == "1" {
            try Data(text.utf8).write(to: file)
        }
        #expect(try String(contentsOf: file, encoding: .utf8) == text)
    }
}
