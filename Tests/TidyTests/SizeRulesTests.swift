// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The size checks on planted files.

import Testing

@Suite("the size check")
struct SizeRulesTests {
    private func findings(_ text: String, path: String = "Sources/Journal/A.swift") -> [Finding] {
        SizeRules.check(SourceText(path: path, text: text))
    }

    private func functions(_ text: String) -> [SizeRules.Function] {
        SizeRules.functions(of: SourceText(path: "Sources/Journal/A.swift", text: text))
    }

    private func statements(_ count: Int) -> String {
        String(repeating: "    work()\n", count: count)
    }

    @Test("accepts a file of 500 lines and refuses 501")
    func fileLines() {
        #expect(findings(String(repeating: "\n", count: 500)).isEmpty)
        #expect(findings(String(repeating: "\n", count: 501)).map(\.line) == [501])
    }

    @Test("accepts a line of 100 columns and refuses 101, counting characters")
    func columns() {
        #expect(findings(String(repeating: "é", count: 100)).isEmpty)
        #expect(findings("\n" + String(repeating: "x", count: 101)).map(\.line) == [2])
    }

    @Test("accepts a function of 60 lines and refuses 61")
    func functionLines() {
        #expect(findings("func a() {\n" + statements(58) + "}\n").isEmpty)
        let found = findings("\nfunc a() {\n" + statements(59) + "}\n")
        #expect(found.map(\.line) == [2])
        #expect(found.first?.message.contains("a has 61 lines") == true)
    }

    @Test("measures initialisers, subscripts, deinitialisers and computed properties")
    func kinds() {
        for head in ["init(a: Int)", "init?()", "subscript(i: Int) -> Int", "deinit", "var x: Int"]
        {
            #expect(findings(head + " {\n" + statements(59) + "}\n").count == 1, "\(head)")
        }
    }

    @Test("follows a signature over several lines, typed throws and where clauses")
    func signatures() {
        let text = """
            func long<Value: FixedWidthInteger>(
                _ value: Value, then body: (Int) -> Void = { _ in }
            ) throws(ByteReaderOverrun)
                -> [Value]
            where Value: Sendable {
                body(1)
            }
            static func < (left: A, right: A) -> Bool {
                true
            }
            """
        #expect(functions(text).map(\.name) == ["long", "<"])
        #expect(functions(text).map(\.lines) == [7, 3])
    }

    @Test("does not give a protocol's requirement the next body")
    func requirements() {
        let text = """
            protocol A {
                func one() throws(E) -> Result<Int, E>
                init(a: Int)
                var two: Int { get }
                func three(
                    a: Int
                ) -> Int
            }
            struct B {
                let x = 1
            }
            """
        #expect(functions(text).map(\.name) == ["two"])
    }

    @Test("does not take a call of an initialiser for a declaration")
    func calls() {
        let text = "func a() {\n    self.init(x: 1)\n    let b = C.init(2)\n    if b { c() }\n}\n"
        #expect(functions(text).map(\.name) == ["a"])
    }

    @Test("is not misled by braces in strings, comments and interpolations")
    func braces() {
        let text = #"""
            func a() {
                let x = "}" // }
                /* } /* } */ } */
                let y = "\(dictionary["}"] ?? { "}" }())}"
                let z = #"\" } "#
            }
            func b() {
            }
            """#
        #expect(functions(text).map(\.lines) == [6, 2])
    }

    @Test("is not misled by a multi-line string")
    func multiline() {
        let text = "func a() {\n    let x = \"\"\"\n        } \"\n        \"\"\"\n}\n"
        #expect(functions(text).map(\.lines) == [5])
    }
}
