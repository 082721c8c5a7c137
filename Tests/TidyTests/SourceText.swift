// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A file as the tidy checks see it: its text, and two copies of equal shape in which only the code,
// or only the comments, are left. Line numbers and columns agree between the three.

/// One thing that is wrong with the tree.
struct Finding: Equatable, CustomStringConvertible {
    let path: String
    let line: Int
    let message: String

    var description: String { "\(path):\(line): \(message)" }
}

/// A named file with its text taken apart. Understands Swift's comments (nested), strings (raw,
/// multi-line, interpolated); C differs from it in nothing that matters here.
struct SourceText {
    let path: String
    let lines: [String]
    /// Comments and the contents of strings are blank; interpolated code stays.
    let codeLines: [String]
    /// Everything but comments is blank.
    let commentLines: [String]

    init(path: String, text: String) {
        self.path = path
        var scanner = Scanner(text)
        scanner.run()
        lines = Self.split(Array(text.utf8))
        codeLines = Self.split(scanner.code)
        commentLines = Self.split(scanner.comments)
    }

    private static func split(_ bytes: [UInt8]) -> [String] {
        var parts = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        if parts.last?.isEmpty == true { parts.removeLast() }
        return parts.map { String(decoding: $0, as: UTF8.self) }
    }

    /// The first component below `Sources/`, if the file lies there.
    var module: String? {
        let parts = path.split(separator: "/")
        return parts.count > 2 && parts[0] == "Sources" ? String(parts[1]) : nil
    }
}

/// Sorts each byte into code, comment or string. Newlines are kept in every copy.
private struct Scanner {
    private enum State {
        case code(parentheses: Int)
        case string(hashes: Int, isMultiline: Bool)
        case lineComment
        case blockComment(depth: Int)
    }

    private let input: [UInt8]
    private var position = 0
    private var stack: [State] = [.code(parentheses: 0)]
    private(set) var code: [UInt8]
    private(set) var comments: [UInt8]

    init(_ text: String) {
        input = Array(text.utf8)
        let blank = input.map { $0 == UInt8(ascii: "\n") ? $0 : UInt8(ascii: " ") }
        code = blank
        comments = blank
    }

    mutating func run() {
        while position < input.count, let state = stack.last {
            switch state {
            case .code(let parentheses): stepInCode(parentheses)
            case .string(let hashes, let isMultiline): stepInString(hashes, isMultiline)
            case .lineComment: stepInLineComment()
            case .blockComment(let depth): stepInBlockComment(depth)
            }
        }
    }

    private func looksAt(_ text: StaticString, from start: Int? = nil) -> Bool {
        let start = start ?? position
        guard start + text.utf8CodeUnitCount <= input.count else { return false }
        return text.withUTF8Buffer { wanted in
            wanted.indices.allSatisfy { input[start + $0] == wanted[$0] }
        }
    }

    private func hashes(from start: Int) -> Int {
        var count = 0
        while start + count < input.count, input[start + count] == UInt8(ascii: "#") { count += 1 }
        return count
    }

    private mutating func replaceTop(_ state: State) { stack[stack.count - 1] = state }

    private mutating func keepCode(_ count: Int) {
        for _ in 0..<count where position < input.count {
            code[position] = input[position]
            position += 1
        }
    }

    private mutating func keepComment(_ count: Int) {
        for _ in 0..<count where position < input.count {
            comments[position] = input[position]
            position += 1
        }
    }

    private mutating func stepInCode(_ parentheses: Int) {
        if looksAt("//") {
            stack.append(.lineComment)
            return
        }
        if looksAt("/*") {
            stack.append(.blockComment(depth: 0))
            return
        }
        let hashCount = hashes(from: position)
        if looksAt("\"", from: position + hashCount) {
            let isMultiline = looksAt("\"\"\"", from: position + hashCount)
            keepCode(hashCount + (isMultiline ? 3 : 1))
            stack.append(.string(hashes: hashCount, isMultiline: isMultiline))
            return
        }
        if input[position] == UInt8(ascii: "(") {
            replaceTop(.code(parentheses: parentheses + 1))
        } else if input[position] == UInt8(ascii: ")") {
            if parentheses == 0, stack.count > 1 {
                // The end of an interpolation: back into its string.
                stack.removeLast()
                keepCode(1)
                return
            }
            replaceTop(.code(parentheses: parentheses - 1))
        }
        keepCode(1)
    }

    private mutating func stepInString(_ hashCount: Int, _ isMultiline: Bool) {
        let byte = input[position]
        if byte == UInt8(ascii: "\\"), hashes(from: position + 1) >= hashCount {
            let escaped = position + 1 + hashCount
            if looksAt("(", from: escaped) {
                position = escaped
                keepCode(1)
                stack.append(.code(parentheses: 0))
            } else {
                position = min(escaped + 1, input.count)
            }
            return
        }
        let quotes = isMultiline ? 3 : 1
        let isQuote = isMultiline ? looksAt("\"\"\"") : byte == UInt8(ascii: "\"")
        if isQuote, hashes(from: position + quotes) >= hashCount {
            keepCode(quotes + hashCount)
            stack.removeLast()
        } else if !isMultiline, byte == UInt8(ascii: "\n") {
            // Not Swift (an apostrophe-heavy C comment, a broken file): do not swallow the rest.
            stack.removeLast()
        } else {
            position += 1
        }
    }

    private mutating func stepInLineComment() {
        if input[position] == UInt8(ascii: "\n") {
            stack.removeLast()
        } else {
            keepComment(1)
        }
    }

    private mutating func stepInBlockComment(_ depth: Int) {
        if looksAt("/*") {
            replaceTop(.blockComment(depth: depth + 1))
            keepComment(2)
        } else if looksAt("*/") {
            keepComment(2)
            if depth <= 1 {
                stack.removeLast()
            } else {
                replaceTop(.blockComment(depth: depth - 1))
            }
        } else {
            keepComment(1)
        }
    }
}
