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

    /// The keys whose value is `true`; refuses others than `known` and other values.
    static func flags(_ query: String, known: [String]) throws(UserError) -> Set<String> {
        var flags: Set<String> = []
        var seen: Set<String> = []
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let key = parts.first.map(String.init) ?? ""
            guard known.contains(key) else {
                throw refusal(
                    "unknown key \(key.prefix(64))",
                    remedy: known.isEmpty
                        ? "send none" : "known are " + known.joined(separator: ", "))
            }
            guard seen.insert(key).inserted else {
                throw refusal("\(key) is there twice", remedy: "send it once")
            }
            switch parts.count == 2 ? parts[1] : "" {
            case "true": flags.insert(key)
            case "false": break
            default: throw refusal("\(key) is neither true nor false", remedy: "send \(key)=true")
            }
        }
        return flags
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
