// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a repair did: what was found, what became of each damaged object, and what is left, as lines
// for people and as JSON.

public import Documents

/// What became of one object.
public struct RepairOutcome: Equatable, Sendable {
    public enum Result: String, Sendable {
        /// Its bytes are whole again, in the store.
        case repaired
        /// An export has the content of an older commit.
        case fellBack = "fell back"
        /// Nothing was written.
        case notRepaired = "not repaired"
    }

    public let key: String
    public let result: Result
    /// The sources of what was missing or damaged.
    public let sources: [String]
    /// How it was done, or why not.
    public let detail: String
}

public struct RepairReport: Equatable, Sendable {
    /// Before anything was written.
    public let found: VerifyReport
    /// By key.
    public let outcomes: [RepairOutcome]
    /// Read from the store after the last write; what was found, if nothing was written.
    public let left: VerifyReport

    public var isWhole: Bool { left.isWhole }

    public var lines: [String] {
        guard !outcomes.isEmpty else { return left.lines }
        var lines = found.lines.dropLast().map { "found: " + $0 }
        for outcome in outcomes {
            let sources = outcome.sources.joined(separator: ", ")
            lines.append(
                "\(outcome.result.rawValue)\(sources.isEmpty ? "" : " from \(sources)"): "
                    + "\(outcome.key): \(outcome.detail)")
        }
        return lines + left.lines
    }

    /// The report of what is left, with `found`, the faults from before, and `repairs`.
    public var json: JSONValue {
        guard case .object(var members) = left.json, case .object(let before) = found.json else {
            return left.json
        }
        members["found"] = before["faults"] ?? .array([])
        members["repairs"] = .array(
            outcomes.map { outcome in
                .object([
                    "key": .string(outcome.key),
                    "result": .string(outcome.result.rawValue),
                    "sources": .array(outcome.sources.map(JSONValue.string)),
                    "detail": .string(outcome.detail),
                ])
            })
        return .object(members)
    }
}
