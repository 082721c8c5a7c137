// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The one shape of JSON on the API: snake_case, keys sorted, no escaped slashes. Bodies of requests
// are taken apart by hand so that an unknown key or a wrong type is refused by its name.

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

/// A request's JSON object. Each field is taken once; `finish` refuses what nobody took.
struct JSONBody {
    private enum Value: Decodable {
        case null
        case boolean(Bool)
        case unsigned(UInt64)
        case number(Double)
        case text(String)
        case other

        init(from decoder: any Decoder) throws {
            guard let container = try? decoder.singleValueContainer() else {
                self = .other
                return
            }
            if container.decodeNil() {
                self = .null
            } else if let flag = try? container.decode(Bool.self) {
                self = .boolean(flag)
            } else if let number = try? container.decode(UInt64.self) {
                self = .unsigned(number)
            } else if let number = try? container.decode(Double.self) {
                self = .number(number)
            } else if let text = try? container.decode(String.self) {
                self = .text(text)
            } else {
                self = .other
            }
        }
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
        do {
            fields = try JSONDecoder().decode([String: Value].self, from: Data(bytes))
        } catch {
            throw Self.refusal("it is not a JSON object", remedy: "send an object, or nothing")
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
