// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The import table on planted lines.

import Testing

@Suite("the import check")
struct ImportRulesTests {
    private func findings(_ path: String, _ text: String) -> [Finding] {
        ImportRules.check(SourceText(path: path, text: text))
    }

    @Test("accepts an import from a lower row, in every spelling")
    func accepts() {
        let text = """
            public import Primitives
            @preconcurrency internal import Formats
            private import struct HostIO.HostIOError
            import Glibc; import Synchronization
            """
        #expect(findings("Sources/Journal/A.swift", text).isEmpty)
    }

    @Test("refuses an import from its own row or above")
    func upwards() {
        let found = findings("Sources/Journal/A.swift", "import Shard\nimport VolumeEngine\n")
        #expect(found.map(\.line) == [1, 2])
        #expect(found.allSatisfy { $0.message.contains("only lower rows") })
    }

    @Test("refuses the engine to a transport though it lies lower")
    func transport() {
        let found = findings("Sources/NBDServer/A.swift", "import VolumeEngine\n")
        #expect(found.count == 1)
        #expect(found.first?.message.contains("a transport knows BlockDevice") == true)
    }

    @Test("keeps row 4 in its order")
    func ordered() {
        #expect(findings("Sources/Committer/A.swift", "import VolumeMap").isEmpty)
        #expect(findings("Sources/VolumeMap/A.swift", "import Committer").count == 1)
    }

    @Test(
        "refuses Foundation below the control plane",
        arguments: [
            "Formats", "NBDProtocol", "Primitives", "BlockDevice", "HostIO", "Shard", "Journal",
            "CleanCache", "VolumeMap", "Committer", "VolumeEngine", "NBDServer", "Documents",
            "ObjectStore",
        ])
    func foundation(module: String) {
        #expect(findings("Sources/\(module)/A.swift", "import Foundation").count == 1)
        #expect(findings("Sources/\(module)/A.swift", "import struct Foundation.Data").count == 1)
    }

    @Test("allows Foundation's essentials to Documents and all of it from the control plane up")
    func essentials() {
        #expect(findings("Sources/Documents/A.swift", "import FoundationEssentials").isEmpty)
        #expect(findings("Sources/HostIO/A.swift", "import FoundationEssentials").count == 1)
        #expect(findings("Sources/ControlPlane/A.swift", "import Foundation").isEmpty)
    }

    @Test("keeps the pure modules from the C library and from threads")
    func pure() {
        #expect(findings("Sources/Formats/A.swift", "import Glibc").count == 1)
        #expect(findings("Sources/NBDProtocol/A.swift", "import Synchronization").count == 1)
        #expect(findings("Sources/HostIO/A.swift", "import Glibc").isEmpty)
    }

    @Test("keeps the HTTP stack in the composition")
    func packages() {
        #expect(findings("Sources/AdminAPI/A.swift", "import Hummingbird").isEmpty)
        #expect(findings("Sources/ControlPlane/A.swift", "import NIOCore").count == 1)
    }

    @Test("asks for a row when a module is new, and leaves other folders alone")
    func unknown() {
        #expect(findings("Sources/Novelty/A.swift", "import Primitives").count == 1)
        #expect(findings("Tests/JournalTests/A.swift", "import Foundation").isEmpty)
    }

    @Test("does not take a comment or a string for an import")
    func comments() {
        let text =
            "// import Foundation\n/* \nimport Foundation\n*/ let x = \"import Foundation\"\n"
        #expect(findings("Sources/Journal/A.swift", text).isEmpty)
    }

    @Test("sideways imports and refusals name modules of the table, and no two point at each other")
    func consistent() {
        for edge in Array(ImportRules.sideways.keys) + Array(ImportRules.refused.keys) {
            #expect(ImportRules.row(of: edge.from) != nil)
            #expect(ImportRules.row(of: edge.to) != nil)
        }
        for edge in ImportRules.sideways.keys {
            #expect(ImportRules.row(of: edge.from) == ImportRules.row(of: edge.to))
            #expect(ImportRules.sideways[ImportRules.Edge(edge.to, edge.from)] == nil)
        }
    }
}
