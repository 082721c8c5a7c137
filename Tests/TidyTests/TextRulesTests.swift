// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The header and link checks on planted texts.

import Testing

@Suite("the header and link checks")
struct TextRulesTests {
    private static let good = """
        // SPDX-License-Identifier: Apache-2.0
        // SPDX-FileCopyrightText: 2026 The Martlet authors
        //
        // What this file owns.

        let a = 1
        """

    private func headerLine(_ text: String, path: String = "Sources/A/A.swift") -> Int? {
        TextRules.checkHeader(path: path, text: text).first?.line
    }

    @Test("accepts two licence lines and a paragraph")
    func accepts() {
        #expect(headerLine(Self.good) == nil)
        let script = "#!/bin/sh\n" + Self.good.replacing("//", with: "#")
        #expect(headerLine(script, path: "scripts/a.sh") == nil)
        #expect(headerLine("anything", path: "docs/a.md") == nil)
    }

    @Test("refuses a file without header, licence, copyright or paragraph")
    func refuses() {
        #expect(headerLine("let a = 1\n") == 1)
        #expect(headerLine("\n" + Self.good) == 1)
        #expect(headerLine(Self.good.replacing("Apache-2.0", with: "MIT")) == 1)
        #expect(headerLine(Self.good.replacing("SPDX-File", with: "File")) == 2)
        #expect(headerLine(Self.good.replacing("// What this file owns.", with: "")) == 3)
        #expect(headerLine("#!/bin/sh\necho\n\n\n\n", path: "scripts/a.sh") == 2)
    }

    @Test("finds a dead link and passes living ones, addresses and anchors")
    func links() {
        let text = """
            [a](b.md) [c](../README.md#part) [d](https://x/y) [e](#here)
            `[f](gone.md)` and [g](gone.md "title")
            ```
            [h](gone.md)
            ```
            """
        let found = TextRules.checkLinks(path: "docs/a.md", text: text) {
            ["docs/b.md", "README.md"].contains($0)
        }
        #expect(found.map(\.line) == [2])
    }

    @Test("a link that leaves the tree is dead")
    func outside() {
        let found = TextRules.checkLinks(path: "a.md", text: "[x](../b.md)") { $0 == "b.md" }
        #expect(found.count == 1)
    }
}
