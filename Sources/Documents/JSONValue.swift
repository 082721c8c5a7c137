// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The subset of JSON that documents are written in, with one encoding per value: objects with
// sorted keys, arrays, strings, whole numbers of 64 bits, booleans; no null, no fractions, no
// signs, no duplicate keys. Own code because documents are formats: their bytes must not depend on
// the release of a library, and their decoder refuses what a general one forgives.

/// A value of a document.
public indirect enum JSONValue: Equatable, Sendable {
    case object([String: JSONValue])
    case array([JSONValue])
    case string(String)
    case number(UInt64)
    case bool(Bool)

    /// Arrays and objects within one another: documents have three levels.
    static let depthMax = 8

    /// Parses exactly one value; white space between tokens is allowed.
    public init(parsing bytes: [UInt8]) throws(DocumentError) {
        var scanner = JSONScanner(bytes, strings: .canonical)
        self = try Self(reading: &scanner, depth: 0)
        try scanner.end()
    }

    /// Takes the next value. Never recurses beyond `depthMax`.
    private init(reading scanner: inout JSONScanner, depth: Int) throws(DocumentError) {
        guard depth < Self.depthMax else { throw scanner.failure("nested too deeply") }
        switch try scanner.first() {
        case UInt8(ascii: "{"):
            var members: [String: JSONValue] = [:]
            try scanner.members { key, scanner throws(DocumentError) in
                members[key] = try JSONValue(reading: &scanner, depth: depth + 1)
            }
            self = .object(members)
        case UInt8(ascii: "["):
            var elements: [JSONValue] = []
            try scanner.elements { scanner throws(DocumentError) in
                elements.append(try JSONValue(reading: &scanner, depth: depth + 1))
            }
            self = .array(elements)
        case UInt8(ascii: "\""): self = .string(try scanner.string())
        case UInt8(ascii: "t"):
            try scanner.expect("true")
            self = .bool(true)
        case UInt8(ascii: "f"):
            try scanner.expect("false")
            self = .bool(false)
        case UInt8(ascii: "0")...UInt8(ascii: "9"):
            let text = try scanner.number()
            guard let number = UInt64(text) else {
                throw scanner.failure("\(text.prefix(64)) is not a whole number of 64 bits")
            }
            self = .number(number)
        default: throw scanner.failure("not a value that documents have")
        }
    }

    /// The one encoding: no white space, keys in byte order, only `"`, `\` and control characters
    /// escaped.
    public var text: String {
        var text = ""
        write(to: &text)
        return text
    }

    private func write(to text: inout String) {
        switch self {
        case .object(let members):
            text += "{"
            for (index, key) in members.keys.sorted(by: utf8Order).enumerated() {
                if index > 0 { text += "," }
                writeQuoted(key, to: &text)
                text += ":"
                members[key]?.write(to: &text)
            }
            text += "}"
        case .array(let elements):
            text += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { text += "," }
                element.write(to: &text)
            }
            text += "]"
        case .string(let string): writeQuoted(string, to: &text)
        case .number(let number): text += String(number)
        case .bool(let flag): text += flag ? "true" : "false"
        }
    }
}

/// Swift's own string order is by Unicode normal form; keys are ordered by their bytes.
private func utf8Order(_ left: String, _ right: String) -> Bool {
    left.utf8.lexicographicallyPrecedes(right.utf8)
}

private let hexDigits = Array("0123456789abcdef")

private func writeQuoted(_ string: String, to text: inout String) {
    text += "\""
    for scalar in string.unicodeScalars {
        switch scalar {
        case "\"": text += "\\\""
        case "\\": text += "\\\\"
        case "\u{00}"..."\u{1F}":
            text += "\\u00"
            text.append(hexDigits[Int(scalar.value >> 4)])
            text.append(hexDigits[Int(scalar.value & 15)])
        default: text.unicodeScalars.append(scalar)
        }
    }
    text += "\""
}
