// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One key of the configuration: its name, what it accepts, what it means, and the field it fills.
// Parsing, the environment, `martlet init` and the documents all read these and nothing else.

/// A value as a file, a variable or a flag gives it.
public enum SettingValue: Equatable, Sendable {
    case text(String)
    case integer(Int64)
    case decimal(Double)
    case boolean(Bool)
    case texts([String])

    /// The word for messages.
    var typeName: String {
        switch self {
        case .text: "a string"
        case .integer: "an integer"
        case .decimal: "a number"
        case .boolean: "true or false"
        case .texts: "a list of strings"
        }
    }

    /// As TOML.
    public var literal: String {
        switch self {
        case .text(let text): Self.quote(text)
        case .integer(let value): String(value)
        case .decimal(let value):
            value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
        case .boolean(let value): String(value)
        case .texts(let list): "[" + list.map(Self.quote).joined(separator: ", ") + "]"
        }
    }

    private static func quote(_ text: String) -> String {
        var quoted = "\""
        for character in text {
            if character == "\"" || character == "\\" { quoted.append("\\") }
            quoted.append(character)
        }
        return quoted + "\""
    }
}

/// What a key accepts.
public enum SettingKind: Sendable {
    case text
    /// Text that is never shown.
    case secret
    case boolean
    case integer(ClosedRange<Int64>)
    case decimal(ClosedRange<Double>)
    case texts
    /// One of `now`; those of `later` are known and refused by name.
    case choice(now: [String], later: [String])

    var typeName: String {
        switch self {
        case .text, .secret: "a string"
        case .boolean: "true or false"
        case .integer(let range): "an integer from \(range.lowerBound) to \(range.upperBound)"
        case .decimal(let range):
            "a number from \(SettingValue.decimal(range.lowerBound).literal) to "
                + SettingValue.decimal(range.upperBound).literal
        case .texts: "a list of strings"
        case .choice(let now, _):
            now.map { "\"\($0)\"" }.joined(separator: " or ")
        }
    }
}

/// A key of `Root`: the configuration, or one table of a list in it.
public struct SettingKey<Root: Sendable>: Sendable {
    /// The table it stands in, for example `servers.nbd`; empty at the root of a listed table.
    public let section: String
    public let name: String
    public let kind: SettingKind
    /// Another accepted name.
    public var alias: String?
    /// What it waits for: until then only its default is accepted.
    public var later: String?
    public let summary: String
    let store: @Sendable (inout Root, SettingValue) -> Void
    let load: @Sendable (Root) -> SettingValue

    public var path: String { section.isEmpty ? name : section + "." + name }

    /// The environment variable that overrides it.
    public var variable: String {
        "MARTLET_"
            + path.map { $0 == "." ? "_" : $0.uppercased() }.joined()
    }

    public var isSecret: Bool {
        if case .secret = kind { true } else { false }
    }

    /// A copy with another accepted name.
    func named(also alias: String) -> Self {
        var copy = self
        copy.alias = alias
        return copy
    }

    /// A copy that accepts nothing but its default until `feature` is built.
    func awaiting(_ feature: String) -> Self {
        var copy = self
        copy.later = feature
        return copy
    }
}

// MARK: Constructors by the type of the field

extension SettingKey {
    static func text(
        _ section: String, _ name: String, _ field: any WritableKeyPath<Root, String> & Sendable,
        _ summary: String, secret: Bool = false
    ) -> Self {
        Self(
            section: section, name: name, kind: secret ? .secret : .text, summary: summary,
            store: { root, value in
                if case .text(let text) = value { root[keyPath: field] = text }
            },
            load: { .text($0[keyPath: field]) })
    }

    static func texts(
        _ section: String, _ name: String, _ field: any WritableKeyPath<Root, [String]> & Sendable,
        _ summary: String
    ) -> Self {
        Self(
            section: section, name: name, kind: .texts, summary: summary,
            store: { root, value in
                if case .texts(let list) = value { root[keyPath: field] = list }
            },
            load: { .texts($0[keyPath: field]) })
    }

    static func boolean(
        _ section: String, _ name: String, _ field: any WritableKeyPath<Root, Bool> & Sendable,
        _ summary: String
    ) -> Self {
        Self(
            section: section, name: name, kind: .boolean, summary: summary,
            store: { root, value in
                if case .boolean(let flag) = value { root[keyPath: field] = flag }
            },
            load: { .boolean($0[keyPath: field]) })
    }

    static func integer(
        _ section: String, _ name: String, _ field: any WritableKeyPath<Root, Int64> & Sendable,
        _ range: ClosedRange<Int64>, _ summary: String
    ) -> Self {
        Self(
            section: section, name: name, kind: .integer(range), summary: summary,
            store: { root, value in
                if case .integer(let number) = value { root[keyPath: field] = number }
            },
            load: { .integer($0[keyPath: field]) })
    }

    static func decimal(
        _ section: String, _ name: String, _ field: any WritableKeyPath<Root, Double> & Sendable,
        _ range: ClosedRange<Double>, _ summary: String
    ) -> Self {
        Self(
            section: section, name: name, kind: .decimal(range), summary: summary,
            store: { root, value in
                if case .decimal(let number) = value { root[keyPath: field] = number }
            },
            load: { .decimal($0[keyPath: field]) })
    }

    static func choice<Choice: RawRepresentable & CaseIterable & Sendable>(
        _ section: String, _ name: String, _ field: any WritableKeyPath<Root, Choice> & Sendable,
        later: [String] = [], _ summary: String
    ) -> Self where Choice.RawValue == String {
        Self(
            section: section, name: name,
            kind: .choice(now: Choice.allCases.map(\.rawValue), later: later), summary: summary,
            store: { root, value in
                if case .text(let text) = value, let choice = Choice(rawValue: text) {
                    root[keyPath: field] = choice
                }
            },
            load: { .text($0[keyPath: field].rawValue) })
    }
}

// MARK: Checking a value

extension SettingKey {
    /// The value in the key's own type, or why it is refused.
    func accept(
        _ value: SettingValue, fallback: SettingValue
    ) -> Result<SettingValue, SettingRefusal> {
        let typed: SettingValue
        switch (kind, value) {
        case (.text, .text), (.secret, .text), (.boolean, .boolean), (.texts, .texts):
            typed = value
        case (.integer(let range), .integer(let number)):
            guard range.contains(number) else { return .failure(.wrong(found: value.literal)) }
            typed = value
        case (.decimal(let range), .integer(let number)):
            guard range.contains(Double(number)) else {
                return .failure(.wrong(found: value.literal))
            }
            typed = .decimal(Double(number))
        case (.decimal(let range), .decimal(let number)):
            guard range.contains(number) else { return .failure(.wrong(found: value.literal)) }
            typed = value
        case (.choice(let now, let later), .text(let text)):
            if later.contains(text) { return .failure(.notBuilt(value.literal)) }
            guard now.contains(text) else { return .failure(.wrong(found: value.literal)) }
            typed = value
        default:
            return .failure(.wrong(found: isSecret ? value.typeName : value.literal))
        }
        if let later, typed != fallback { return .failure(.awaits(later)) }
        return .success(typed)
    }

    /// Reads the text of a variable or a flag as the key's type; nil if it is none.
    func parse(_ text: String) -> SettingValue? {
        switch kind {
        case .text, .secret, .choice: .text(text)
        case .boolean:
            switch text {
            case "true", "1", "yes": .boolean(true)
            case "false", "0", "no": .boolean(false)
            default: nil
            }
        case .integer: Int64(text).map { .integer($0) }
        case .decimal: Double(text).flatMap { $0.isFinite ? .decimal($0) : nil }
        case .texts:
            .texts(
                text.split(separator: ",").map { part in
                    String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
                })
        }
    }
}

/// Why a value is refused.
enum SettingRefusal: Error, Equatable {
    case wrong(found: String)
    case notBuilt(String)
    case awaits(String)
}
