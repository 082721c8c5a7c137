// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where refs lie in the store. A ref that changes is a *series*: numbered objects, each created
// once; the highest number holds. Keys carry `~n = 2^64-1-n` as 16 hexadecimal digits, so that one
// listing of one key gives the newest. Old numbers are never deleted: a slow writer must meet them.

public import Primitives

/// A ref that changes by growing a number.
public enum RefSeries: Hashable, Sendable {
    case export(RefName)
    case tag(RefName)
    case base(RefName)
    /// A node's beats.
    case node(RefName)
    /// What the collector's runs condemned: one series for the repository.
    case collection
    /// What each run deletes, as it was decided before: the run's claim.
    case collectionPlan

    /// What all keys of the series begin with.
    public var prefix: String {
        switch self {
        case .export(let name): "refs/exports/\(name)/"
        case .tag(let name): "refs/tags/\(name)/"
        case .base(let name): "refs/bases/\(name)/"
        case .node(let name): "nodes/\(name)/"
        case .collection: "gc/"
        case .collectionPlan: "gc-runs/"
        }
    }

    public func key(_ number: UInt64) -> String {
        prefix + fixedHexadecimal(~number)
    }

    /// The number of a key of this series; nil if it is not one.
    public func number(of key: String) -> UInt64? {
        guard case .numbered(let series, let number) = RefKey(parsing: key), series == self else {
            return nil
        }
        return number
    }
}

/// A key under `refs/`, `nodes/`, `gc/`, `gc-runs/` or `gc-stops/`, parsed strictly: parsing and
/// building are inverse.
public enum RefKey: Hashable, Sendable {
    case repository
    case numbered(RefSeries, UInt64)
    case snapshot(RefName, CommitSequence)
    case reader(Token)
    /// A host's objection to the collector.
    case stop(Token)

    public static let snapshotsPrefix = "refs/snapshots/"
    public static let exportsPrefix = "refs/exports/"
    public static let tagsPrefix = "refs/tags/"
    public static let basesPrefix = "refs/bases/"
    public static let readersPrefix = "refs/readers/"
    public static let nodesPrefix = "nodes/"
    public static let stopsPrefix = "gc-stops/"

    public static func snapshotsPrefix(of name: RefName) -> String { "refs/snapshots/\(name)/" }

    public var text: String {
        switch self {
        case .repository: return "martlet.json"
        case .numbered(let series, let number): return series.key(number)
        case .snapshot(let name, let sequence):
            let digits = String(sequence.rawValue)
            return Self.snapshotsPrefix(of: name)
                + String(repeating: "0", count: 20 - digits.count) + digits
        case .reader(let id): return Self.readersPrefix + id.description
        case .stop(let id): return Self.stopsPrefix + id.description
        }
    }

    public init?(parsing key: String) {
        if key == "martlet.json" {
            self = .repository
            return
        }
        let parts = key.parts(between: "/")
        switch (parts.first, parts.count) {
        case ("gc", 2):
            guard let number = invertedNumber(parts[1]) else { return nil }
            self = .numbered(.collection, number)
        case ("gc-runs", 2):
            guard let number = invertedNumber(parts[1]) else { return nil }
            self = .numbered(.collectionPlan, number)
        case ("gc-stops", 2):
            guard let id = Token(hexadecimal: parts[1]), !id.isZero else { return nil }
            self = .stop(id)
        case ("nodes", 3):
            guard let name = RefName(parts[1]), let number = invertedNumber(parts[2]) else {
                return nil
            }
            self = .numbered(.node(name), number)
        case ("refs", 3):
            guard parts[1] == "readers", let id = Token(hexadecimal: parts[2]), !id.isZero else {
                return nil
            }
            self = .reader(id)
        case ("refs", 4):
            guard let name = RefName(parts[2]) else { return nil }
            self.init(folder: parts[1], name: name, last: parts[3])
        default: return nil
        }
    }

    private init?(folder: Substring, name: RefName, last: Substring) {
        if folder == "snapshots" {
            let isDecimal = last.utf8.count == 20 && last.utf8.allSatisfy { (48...57).contains($0) }
            guard isDecimal, let number = UInt64(last), isNumber(number) else { return nil }
            self = .snapshot(name, CommitSequence(number))
            return
        }
        guard let number = invertedNumber(last) else { return nil }
        switch folder {
        case "exports": self = .numbered(.export(name), number)
        case "tags": self = .numbered(.tag(name), number)
        case "bases": self = .numbered(.base(name), number)
        default: return nil
        }
    }
}

/// Sixteen lower-case hexadecimal digits.
func fixedHexadecimal(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}

/// The number behind `~n`.
private func invertedNumber(_ text: Substring) -> UInt64? {
    guard text.utf8.count == 16, let value = UInt64(text, radix: 16),
        fixedHexadecimal(value) == text, isNumber(~value)
    else { return nil }
    return ~value
}

/// Whether a key may have this number.
private func isNumber(_ number: UInt64) -> Bool { (1...Limits.numberMax).contains(number) }
