// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The tidy checks on the tree itself. Each finding is one issue with its path, line and remedy; the
// checks are tested on planted violations in the files beside this one.

import Testing

@Suite("the tree is tidy")
struct TidyTests {
    private func report(_ findings: [Finding]) {
        for finding in findings { Issue.record("\(finding)") }
    }

    private func sources(
        in folders: [String], endingIn suffixes: [String] = [".swift"]
    ) throws -> [SourceText] {
        let paths = Tree.files(in: folders, endingIn: suffixes)
        #expect(!paths.isEmpty)
        return try paths.map { SourceText(path: $0, text: try Tree.text(of: $0)) }
    }

    @Test("modules import only what the layer table allows")
    func imports() throws {
        report(try sources(in: ["Sources"]).flatMap(ImportRules.check))
    }

    @Test("files, lines and functions keep to their sizes")
    func sizes() throws {
        let ours = ["Sources", "Tests", "Fuzz", "Benchmarks", ""]
        report(
            try sources(in: ours, endingIn: [".swift", ".c", ".h"]).flatMap(SizeRules.check))
    }

    @Test("clock, chance, environment and ways to give up stay out of the code")
    func bans() throws {
        let ours = ["Sources", "Tests", "Fuzz", "Benchmarks", ""]
        report(try sources(in: ours, endingIn: [".swift", ".c", ".h"]).flatMap(BanRules.check))
    }

    @Test("every file opens with its licence and what it owns")
    func headers() throws {
        for path in Tree.paths where TextRules.commentMark(of: path) != nil {
            report(TextRules.checkHeader(path: path, text: try Tree.text(of: path)))
        }
    }

    @Test("every local link of the documents leads to a file")
    func links() throws {
        for path in Tree.files(in: ["", "docs", "changelog", "Benchmarks"], endingIn: [".md"]) {
            report(
                TextRules.checkLinks(
                    path: path, text: try Tree.text(of: path), exists: Tree.exists))
        }
    }

    @Test("every module of the layer table is in the architecture's table, and has its folder")
    func tables() throws {
        let page = try Tree.text(of: "docs/ARCHITECTURE.md")
        for module in ImportRules.rows.joined() where Tree.exists("Sources/\(module)") {
            #expect(page.contains("`\(module)`"), "\(module) is not in docs/ARCHITECTURE.md")
        }
        #expect(Tree.exists("Sources/Primitives"))
    }

    @Test("exceptions name files that exist, so that none outlives its reason")
    func exceptions() {
        let keys = Array(SizeRules.longTables.keys) + Array(BanRules.ambientExceptions.keys)
        for key in keys {
            #expect(Tree.exists(String(key.prefix { $0 != ":" })), "\(key)")
        }
        for path in TextRules.withoutHeader.keys { #expect(Tree.exists(path), "\(path)") }
    }
}
