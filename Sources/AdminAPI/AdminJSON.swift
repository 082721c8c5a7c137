// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The one shape of JSON on the API: snake_case, keys sorted, no escaped slashes. Bodies of requests
// are taken apart by hand so that an unknown key or a wrong type is refused by its name.

internal import Documents
private import FoundationEssentials
internal import Primitives

public enum AdminJSON {
    public static func encode(_ value: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Our own values of numbers and text always encode.
        guard let data = try? encoder.encode(value) else { return Array("{}".utf8) }
        return Array(data)
    }

    public static func decode<Value: Decodable>(
        _ type: Value.Type, from bytes: [UInt8]
    ) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(type, from: Data(bytes))
    }
}

/// A request's JSON object. Each field is taken once; `finish` refuses what nobody took. What could
/// be read in two ways is refused: a key that is there twice, a whole number spelled as a fraction,
/// text that is not UTF-8.
struct JSONBody {
    private enum Value {
        case null
        case boolean(Bool)
        case unsigned(UInt64)
        case number(Double)
        case text(String)
    }

    private var fields: [String: Value]
    private var known: [String] = []

    /// An empty body is an empty object.
    init(_ bytes: [UInt8]) throws(UserError) {
        guard bytes.contains(where: { $0 != 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 })
        else {
            fields = [:]
            return
        }
        do throws(DocumentError) {
            fields = try Self.fields(of: bytes)
        } catch {
            var why = "it is not a JSON object"
            if case .malformed(let offset, let detail) = error {
                why += " as requests have it: \(detail), at byte \(offset)"
            }
            throw Self.refusal(why, remedy: "send one object with each key once, or nothing")
        }
    }

    private static func fields(of bytes: [UInt8]) throws(DocumentError) -> [String: Value] {
        var scanner = JSONScanner(bytes, strings: .any)
        var fields: [String: Value] = [:]
        try scanner.members { key, scanner throws(DocumentError) in
            fields[key] = try Self.value(&scanner)
        }
        try scanner.end()
        return fields
    }

    private static func value(_ scanner: inout JSONScanner) throws(DocumentError) -> Value {
        switch try scanner.first() {
        case UInt8(ascii: "\""): return .text(try scanner.string())
        case UInt8(ascii: "n"):
            try scanner.expect("null")
            return .null
        case UInt8(ascii: "t"):
            try scanner.expect("true")
            return .boolean(true)
        case UInt8(ascii: "f"):
            try scanner.expect("false")
            return .boolean(false)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            let text = try scanner.number()
            if let whole = UInt64(text) { return .unsigned(whole) }
            guard let number = Double(text), number.isFinite else {
                throw scanner.failure("a number beyond all bounds")
            }
            return .number(number)
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            throw scanner.failure("no field holds an object or a list")
        default: throw scanner.failure("expected a value")
        }
    }

    mutating func text(_ key: String) throws(UserError) -> String? {
        switch take(key) {
        case nil, .null: return nil
        case .text(let text): return text
        default: throw Self.refusal("\(key) is not a string", remedy: "give a string")
        }
    }

    mutating func boolean(_ key: String) throws(UserError) -> Bool? {
        switch take(key) {
        case nil, .null: return nil
        case .boolean(let flag): return flag
        default: throw Self.refusal("\(key) is not a boolean", remedy: "give true or false")
        }
    }

    mutating func unsigned(_ key: String) throws(UserError) -> UInt64? {
        switch take(key) {
        case nil, .null: return nil
        case .unsigned(let number): return number
        default:
            throw Self.refusal("\(key) is not a whole number", remedy: "give 0 or more")
        }
    }

    /// A number of 10^9 bytes as bytes, rounded to the nearest.
    mutating func gigabytes(_ key: String) throws(UserError) -> UInt64? {
        let giga: UInt64 = 1_000_000_000
        switch take(key) {
        case nil, .null: return nil
        case .unsigned(let number) where number <= UInt64.max / giga: return number * giga
        case .number(let number) where number >= 0 && number < 1e9:
            return UInt64((number * 1e9).rounded())
        default: throw Self.refusal("\(key) is not a size", remedy: "give a number of 10^9 bytes")
        }
    }

    /// Refuses the first field that was not taken.
    func finish() throws(UserError) {
        guard let unknown = fields.keys.sorted().first else { return }
        let remedy =
            known.isEmpty ? "send no fields" : "known fields are " + known.joined(separator: ", ")
        throw Self.refusal("unknown key \(unknown)", remedy: remedy)
    }

    private mutating func take(_ key: String) -> Value? {
        known.append(key)
        return fields.removeValue(forKey: key)
    }

    static func refusal(_ why: String, remedy: String) -> UserError {
        UserError(.badRequest, what: "cannot take the request body", why: why, remedy: remedy)
    }
}
