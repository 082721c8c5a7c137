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
    public var text: String { String(decoding: encoded, as: UTF8.self) }

    /// The bytes of `text`.
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        write(to: &bytes)
        return bytes
    }

    private func write(to bytes: inout [UInt8]) {
        switch self {
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            for (index, key) in members.keys.sorted(by: utf8Order).enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                writeQuoted(key, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                members[key]?.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        case .array(let elements):
            bytes.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                element.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .string(let string): writeQuoted(string, to: &bytes)
        case .number(let number): bytes.append(contentsOf: String(number).utf8)
        case .bool(let flag): bytes.append(contentsOf: (flag ? "true" : "false").utf8)
        }
    }
}

/// Swift's own string order is by Unicode normal form; keys are ordered by their bytes.
private func utf8Order(_ left: String, _ right: String) -> Bool {
    left.utf8.lexicographicallyPrecedes(right.utf8)
}

private let hexDigits = Array("0123456789abcdef".utf8)

private func writeQuoted(_ string: String, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    for byte in string.utf8 {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            bytes.append(UInt8(ascii: "\\"))
            bytes.append(byte)
        case 0x00...0x1F:
            bytes.append(contentsOf: "\\u00".utf8)
            bytes.append(hexDigits[Int(byte >> 4)])
            bytes.append(hexDigits[Int(byte & 15)])
        default: bytes.append(byte)
        }
    }
    bytes.append(UInt8(ascii: "\""))
}
