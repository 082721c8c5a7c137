// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The lines of `martlet inspect` as JSON, and documents as lines. Names become keys with
// underscores. A part whose name ends in a number (`member 3`) becomes an element, with that
// `number`, of an array under the rest of its name; so do the frames of a block.

import Documents
import Primitives

enum InspectJSON {
    /// One object for all the lines.
    static func value(of lines: [String]) -> JSONValue {
        var rest = lines[...]
        return .object(members(&rest, depth: 0))
    }

    private static func members(_ lines: inout ArraySlice<String>, depth: Int) -> [String:
        JSONValue]
    {
        var members: [String: JSONValue] = [:]
        while let line = lines.first {
            let indent = line.prefix { $0 == " " }.count / 2
            guard indent >= depth else { break }
            lines = lines.dropFirst()
            let text = String(line.drop { $0 == " " })
            let field = split(text)
            if let value = field.value {
                add(field.name, scalar(value), to: &members)
            } else if let title = format(text) {
                members["format"] = .string(title.name)
                members["version"] = .number(title.version)
            } else {
                let nested = Self.members(&lines, depth: depth + 1)
                add(text, .object(nested), to: &members)
            }
        }
        return members
    }

    private static func split(_ text: String) -> (name: String, value: String?) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[1].isEmpty || parts[1].hasPrefix(" ") else {
            return (text, nil)
        }
        return (String(parts[0]), String(parts[1].dropFirst()))
    }

    /// `commit, version 1`.
    private static func format(_ text: String) -> (name: String, version: UInt64)? {
        let parts = text.split(separator: ",")
        guard parts.count == 2, parts[1].hasPrefix(" version "),
            let version = UInt64(parts[1].dropFirst(9))
        else { return nil }
        return (String(parts[0]), version)
    }

    private static func scalar(_ text: String) -> JSONValue {
        if let number = UInt64(text), "\(number)" == text { return .number(number) }
        switch text {
        case "true": return .bool(true)
        case "false": return .bool(false)
        default: return .string(text)
        }
    }

    private static func add(
        _ name: String, _ value: JSONValue, to members: inout [String: JSONValue]
    ) {
        if name == "full" || name == "delta" {
            return append(
                .object(["kind": .string(name), "pointer": value]), to: "frame", of: &members)
        }
        let words = name.split(separator: " ")
        guard words.count > 1, let last = words.last, let number = UInt64(last) else {
            members[key(words)] = value
            return
        }
        var element: [String: JSONValue] = ["value": value]
        if case .object(let nested) = value { element = nested }
        element["number"] = .number(number)
        append(.object(element), to: key(words.dropLast()), of: &members)
    }

    private static func append(
        _ value: JSONValue, to key: String, of members: inout [String: JSONValue]
    ) {
        var list: [JSONValue] = []
        if case .array(let present) = members[key] { list = present }
        list.append(value)
        members[key] = .array(list)
    }

    private static func key(_ words: some Sequence<Substring>) -> String {
        String(words.joined(separator: "_").map { $0 == "-" ? "_" : $0 })
    }

    // MARK: Documents as lines

    static func lines(of value: JSONValue) -> [String] {
        guard case .object(let members) = value else { return [value.text] }
        var lines: [String] = []
        for (key, member) in members.sorted(by: { $0.key < $1.key }) {
            switch member {
            case .object:
                lines.append(key)
                lines += Self.lines(of: member).map { "  " + $0 }
            case .string(let text): lines.append("\(key): \(text)")
            default: lines.append("\(key): \(member.text)")
            }
        }
        return lines
    }
}
