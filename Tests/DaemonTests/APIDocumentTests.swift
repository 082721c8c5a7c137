// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// docs/operations/api.md against the table of routes: none is missing, each has an example.

import Foundation
import Primitives
import Testing

@testable import AdminAPI

@Suite("the API's document")
struct APIDocumentTests {
    private static func document() throws -> String {
        let root = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        return try String(
            contentsOf: root.appending(path: "docs/operations/api.md"), encoding: .utf8)
    }

    @Test("every endpoint is described, and has an example with curl")
    func routes() throws {
        let sections = try Self.document().components(separatedBy: "\n### ")
        for route in AdminRoute.table {
            let path = "/" + route.pattern.joined(separator: "/")
            let parts = path.components(separatedBy: "*").map(NSRegularExpression.escapedPattern)
            let title = try Regex(parts.joined(separator: #"\{[a-z]+\}"#) + #"(?=[,\n`])"#)
            let section = sections.first { section in
                let head = section.prefix { $0 != "\n" } + "\n"
                return head.hasPrefix(route.method + " ") && head.contains(title)
            }
            let found = try #require(section, "\(route.method) \(path)")
            #expect(found.contains("\napi ") || found.contains("\ncurl "), "\(path)")
            for key in route.numbers { #expect(found.contains(key + "="), "\(path)") }
            for flag in route.flags { #expect(found.contains(flag + "=true"), "\(path)") }
        }
    }

    @Test("every code of an error is listed")
    func codes() throws {
        let document = try Self.document()
        for code in UserError.Kind.allCases.map(\.rawValue) + ["method_not_allowed"] {
            #expect(document.contains("| `\(code)` |"))
        }
    }
}
