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
        var parser = JSONParser(bytes: bytes)
        self = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.isAtEnd else { throw parser.failure("bytes behind the value") }
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

/// Reads values from untrusted bytes. Never reads past the end, never recurses beyond `depthMax`.
private struct JSONParser {
    let bytes: [UInt8]
    var offset = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { offset >= bytes.count }

    func failure(_ detail: String) -> DocumentError { .malformed(offset: offset, detail: detail) }

    mutating func skipSpace() {
        while offset < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[offset]) { offset += 1 }
    }

    private func peek() throws(DocumentError) -> UInt8 {
        guard offset < bytes.count else { throw failure("the text ends early") }
        return bytes[offset]
    }

    private mutating func expect(_ word: StaticString) throws(DocumentError) {
        for index in 0..<word.utf8CodeUnitCount {
            guard try peek() == word.utf8Start[index] else { throw failure("expected \(word)") }
            offset += 1
        }
    }

    /// Consumes `byte` if it comes next.
    private mutating func take(_ byte: UInt8) throws(DocumentError) -> Bool {
        skipSpace()
        guard try peek() == byte else { return false }
        offset += 1
        return true
    }

    mutating func value(depth: Int) throws(DocumentError) -> JSONValue {
        guard depth < JSONValue.depthMax else { throw failure("nested too deeply") }
        skipSpace()
        switch try peek() {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"):
            try expect("true")
            return .bool(true)
        case UInt8(ascii: "f"):
            try expect("false")
            return .bool(false)
        case UInt8(ascii: "0")...UInt8(ascii: "9"): return .number(try number())
        default: throw failure("not a value that documents have")
        }
    }

    private mutating func object(depth: Int) throws(DocumentError) -> JSONValue {
        try expect("{")
        var members: [String: JSONValue] = [:]
        if try take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipSpace()
            let key = try string()
            guard members[key] == nil else { throw failure("the key \(key) is there twice") }
            guard try take(UInt8(ascii: ":")) else { throw failure("expected :") }
            members[key] = try value(depth: depth + 1)
            if try take(UInt8(ascii: "}")) { return .object(members) }
            guard try take(UInt8(ascii: ",")) else { throw failure("expected , or }") }
        }
    }

    private mutating func array(depth: Int) throws(DocumentError) -> JSONValue {
        try expect("[")
        var elements: [JSONValue] = []
        if try take(UInt8(ascii: "]")) { return .array(elements) }
        while true {
            elements.append(try value(depth: depth + 1))
            if try take(UInt8(ascii: "]")) { return .array(elements) }
            guard try take(UInt8(ascii: ",")) else { throw failure("expected , or ]") }
        }
    }

    private mutating func number() throws(DocumentError) -> UInt64 {
        let start = offset
        var number: UInt64 = 0
        while offset < bytes.count, (0x30...0x39).contains(bytes[offset]) {
            let (product, overflow) = number.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(UInt64(bytes[offset] - 0x30))
            guard !overflow, !carry else { throw failure("a number above 64 bits") }
            number = sum
            offset += 1
        }
        guard offset - start == 1 || bytes[start] != UInt8(ascii: "0") else {
            throw failure("a number with a leading zero")
        }
        if offset < bytes.count, [0x2E, 0x65, 0x45].contains(bytes[offset]) {
            throw failure("a fraction")
        }
        return number
    }

    private mutating func string() throws(DocumentError) -> String {
        try expect("\"")
        var content: [UInt8] = []
        while true {
            let byte = try peek()
            offset += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: content, as: UTF8.self) else {
                    throw failure("a string that is not UTF-8")
                }
                return text
            case UInt8(ascii: "\\"): try escape(into: &content)
            case 0..<0x20: throw failure("a control character in a string")
            default: content.append(byte)
            }
        }
    }

    /// The escapes that the encoder makes, and no others: one spelling per string.
    private mutating func escape(into content: inout [UInt8]) throws(DocumentError) {
        switch try peek() {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            content.append(bytes[offset])
            offset += 1
        case UInt8(ascii: "u"):
            try expect("u00")
            let high = try hexDigit()
            let low = try hexDigit()
            guard high < 2 else { throw failure("an escape that is not needed") }
            content.append(high << 4 | low)
        default: throw failure("an escape that documents do not have")
        }
    }

    private mutating func hexDigit() throws(DocumentError) -> UInt8 {
        let byte = try peek()
        offset += 1
        switch byte {
        case 0x30...0x39: return byte - 0x30
        case 0x61...0x66: return byte - 0x61 + 10
        default: throw failure("expected a hexadecimal digit")
        }
    }
}
