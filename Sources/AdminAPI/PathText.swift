// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Paths and queries of requests, taken apart strictly.

internal import Primitives

enum PathText {
    /// The decoded components, or nil if an escape is broken or a component is empty.
    static func components(_ path: String) -> [String]? {
        guard path.first == "/" else { return nil }
        var list: [String] = []
        for part in path.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            guard let decoded = decode(part), !decoded.isEmpty else { return nil }
            list.append(decoded)
        }
        return list
    }

    /// The keys of `known` whose value is `true`, and the values of `numbers`; refuses other keys
    /// and other values.
    static func query(
        _ query: String, flags known: [String], numbers: [String]
    ) throws(UserError) -> (flags: Set<String>, numbers: [String: UInt64]) {
        var flags: Set<String> = []
        var values: [String: UInt64] = [:]
        var seen: Set<String> = []
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let key = parts.first.map(String.init) ?? ""
            guard known.contains(key) || numbers.contains(key) else {
                let all = known + numbers
                throw refusal(
                    "unknown key \(key.prefix(64))",
                    remedy: all.isEmpty ? "send none" : "known are " + all.joined(separator: ", "))
            }
            guard seen.insert(key).inserted else {
                throw refusal("\(key) is there twice", remedy: "send it once")
            }
            let value = parts.count == 2 ? parts[1] : ""
            if numbers.contains(key) {
                guard let number = UInt64(value) else {
                    throw refusal("\(key) is not a number", remedy: "send \(key)=NUMBER")
                }
                values[key] = number
                continue
            }
            switch value {
            case "true": flags.insert(key)
            case "false": break
            default: throw refusal("\(key) is neither true nor false", remedy: "send \(key)=true")
            }
        }
        return (flags, values)
    }

    private static func refusal(_ why: String, remedy: String) -> UserError {
        UserError(.badRequest, what: "cannot take the query", why: why, remedy: remedy)
    }

    private static func decode(_ part: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = part.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == 0x25 else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(digit),
                let low = rest.popFirst().flatMap(digit)
            else { return nil }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }
}
