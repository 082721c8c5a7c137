// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How long things may be. A file has at most 500 lines, a line at most 100 columns, and a function
// at most 60 lines: from the line of its keyword to the line of its closing brace, both counted,
// blank lines and comments too. Functions are `func`, `init`, `deinit`, `subscript` and computed
// `var`; one that is nested in another counts for both.

enum SizeRules {
    static let fileLinesMax = 500
    static let functionLinesMax = 60
    static let columnsMax = 100

    /// Functions that are one table and may be longer: "path: name", with the reason.
    static let longTables: [String: String] = [:]

    static func check(_ source: SourceText) -> [Finding] {
        var findings: [Finding] = []
        if source.lines.count > fileLinesMax {
            findings.append(
                Finding(
                    path: source.path, line: fileLinesMax + 1,
                    message: "\(source.lines.count) lines: split the file (\(fileLinesMax) at most)"
                ))
        }
        for (number, line) in source.lines.enumerated() where line.count > columnsMax {
            findings.append(
                Finding(
                    path: source.path, line: number + 1,
                    message: "\(line.count) columns (\(columnsMax) at most)"))
        }
        guard source.path.hasSuffix(".swift") else { return findings }
        for function in functions(of: source)
        where function.lines > functionLinesMax
            && longTables["\(source.path): \(function.name)"] == nil
        {
            findings.append(
                Finding(
                    path: source.path, line: function.firstLine,
                    message: "\(function.name) has \(function.lines) lines"
                        + " (\(functionLinesMax) at most)"))
        }
        return findings
    }

    struct Function: Equatable {
        let name: String
        let firstLine: Int
        let lines: Int
    }

    /// All functions with a body, in the order of their keywords.
    static func functions(of source: SourceText) -> [Function] {
        var finder = FunctionFinder(source)
        return finder.run()
    }
}

/// Walks the code copy of a file word by word and measures each function body by its braces.
private struct FunctionFinder {
    private let code: [UInt8]
    private let lineOf: [Int]
    private let closing: [Int: Int]

    init(_ source: SourceText) {
        code = Array(source.codeLines.joined(separator: "\n").utf8)
        var line = 1
        var lines: [Int] = []
        lines.reserveCapacity(code.count)
        var open: [Int] = []
        var pairs: [Int: Int] = [:]
        for (position, byte) in code.enumerated() {
            lines.append(line)
            if byte == UInt8(ascii: "\n") { line += 1 }
            if byte == UInt8(ascii: "{") { open.append(position) }
            if byte == UInt8(ascii: "}"), let start = open.popLast() { pairs[start] = position }
        }
        lineOf = lines
        closing = pairs
    }

    mutating func run() -> [SizeRules.Function] {
        var found: [SizeRules.Function] = []
        var position = 0
        while position < code.count {
            guard isWord(code[position]) else {
                position += 1
                continue
            }
            let start = position
            while position < code.count, isWord(code[position]) { position += 1 }
            let word = String(decoding: code[start..<position], as: UTF8.self)
            guard let brace = body(of: word, from: start, after: position),
                let end = closing[brace]
            else { continue }
            found.append(
                SizeRules.Function(
                    name: name(of: word, after: position), firstLine: lineOf[start],
                    lines: lineOf[end] - lineOf[start] + 1))
        }
        return found
    }

    private func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"), 0x80...0xFF: true
        default: false
        }
    }

    private func name(of keyword: String, after position: Int) -> String {
        guard keyword == "func" || keyword == "var" else { return keyword }
        let rest = code[position...].drop { $0 == UInt8(ascii: " ") }
        let name = rest.prefix(while: isWord)
        // An operator's name ends at the space before its parameters.
        let symbol = rest.prefix { byte in !Array(" (\n".utf8).contains(byte) }
        return String(decoding: name.isEmpty ? symbol : name, as: UTF8.self)
    }

    /// The opening brace of the body that a declaration keyword introduces; nil if the word is no
    /// such keyword here, or the declaration has no body.
    private func body(of word: String, from start: Int, after end: Int) -> Int? {
        let before = start > 0 ? code[start - 1] : UInt8(ascii: "\n")
        if before == UInt8(ascii: ".") || before == UInt8(ascii: "`") { return nil }
        switch word {
        case "func", "init", "subscript": return braceAfterSignature(end)
        case "deinit": return braceOnSameLine(end, stopAt: "=")
        case "var": return braceOnSameLine(end, stopAt: "=")
        default: return nil
        }
    }

    private func braceOnSameLine(_ start: Int, stopAt stop: Character) -> Int? {
        var position = start
        while position < code.count, code[position] != UInt8(ascii: "\n") {
            if code[position] == UInt8(ascii: "{") { return position }
            if code[position] == stop.asciiValue { return nil }
            position += 1
        }
        return nil
    }

    /// Skips parameters and what may follow them. A line that neither ends in a way that must go on
    /// nor is followed by one that continues it ends a declaration without a body.
    private func braceAfterSignature(_ start: Int) -> Int? {
        var depth = 0
        var sawParameters = false
        var position = start
        while position < code.count {
            switch code[position] {
            case UInt8(ascii: "("), UInt8(ascii: "["):
                depth += 1
            case UInt8(ascii: ")"), UInt8(ascii: "]"):
                depth -= 1
                if depth < 0 { return nil }
                sawParameters = true
            case UInt8(ascii: "{") where depth == 0:
                return sawParameters ? position : nil
            case UInt8(ascii: "}") where depth == 0:
                return nil
            case UInt8(ascii: "\n") where depth == 0 && sawParameters:
                if !continues(afterLineEnd: position) { return nil }
            default: break
            }
            position += 1
        }
        return nil
    }

    private func continues(afterLineEnd position: Int) -> Bool {
        let space = Array(" \n\t".utf8)
        if let last = code[..<position].last(where: { !space.contains($0) }),
            Array(",:&>".utf8).contains(last), !endsInClosedType(position)
        {
            return true
        }
        let next = code[position...].drop { space.contains($0) }
        let followers = ["{", "->", "where", "throws", "async", "rethrows"]
        return followers.contains { next.starts(with: Array($0.utf8)) }
    }

    /// A line that ends in `>` goes on if that is an arrow, not the end of a generic type.
    private func endsInClosedType(_ position: Int) -> Bool {
        let line = code[..<position].reversed().drop { $0 == UInt8(ascii: " ") }
        return line.starts(with: Array(">".utf8)) && !line.starts(with: Array(">-".utf8))
    }
}
