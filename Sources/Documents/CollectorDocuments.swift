// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the collector leaves in the store: what a run found unreachable, and what the next run
// decided to delete of it. Both name objects by typed keys, so that nothing else is ever deleted
// because a document said so.

public import Formats

/// Keys of objects that nobody reaches, in the order in which they are deleted: commits first.
public struct CollectedKeys: Equatable, Sendable {
    public var commits: [CommitKey]
    public var packs: [PackID]

    public init(commits: [CommitKey] = [], packs: [PackID] = []) {
        self.commits = commits
        self.packs = packs
    }

    public var count: Int { commits.count + packs.count }
    public var isEmpty: Bool { commits.isEmpty && packs.isEmpty }

    /// All of them, commits first.
    public var keys: [String] { commits.map(\.key) + packs.map(\.key) }

    init(reading reader: inout MemberReader) throws(DocumentError) {
        commits = try Self.read("commits", &reader) { text throws(FormatError) in
            try CommitKey(key: text)
        }
        packs = try Self.read("packs", &reader) { text throws(FormatError) in
            try PackID(key: text)
        }
    }

    private static func read<Key: Hashable>(
        _ key: String, _ reader: inout MemberReader,
        _ parse: (String) throws(FormatError) -> Key
    ) throws(DocumentError) -> [Key] {
        var keys: [Key] = []
        for element in try reader.array(key) {
            guard case .string(let text) = element, let parsed = try? parse(text) else {
                throw reader.badValue(key)
            }
            keys.append(parsed)
        }
        guard Set(keys).count == keys.count else { throw reader.badValue(key) }
        return keys
    }

    var members: [String: JSONValue] {
        [
            "commits": .array(commits.map { .string($0.key) }),
            "packs": .array(packs.map { .string($0.key) }),
        ]
    }
}

/// `gc/<~k>`: what run k of the collector found unreachable. Run k + 1 deletes it if it still is,
/// so that a pin made in between can look here.
public struct CondemnedSet: Document {
    /// What was condemned at one time.
    public struct Group: Equatable, Sendable {
        /// Wall-clock seconds of the run that found it first: the grace period counts from here.
        public let labelSeconds: UInt64
        public let keys: CollectedKeys

        public init(labelSeconds: UInt64, keys: CollectedKeys) {
            self.labelSeconds = labelSeconds
            self.keys = keys
        }
    }

    public static let kind = "condemned"
    public static let bytesMax = 64 << 20
    /// Keys of a set: at about 120 bytes each they stay below `bytesMax`.
    public static let keysMax = 400_000

    public let run: UInt64
    /// By label, ascending; none is empty.
    public let groups: [Group]

    public init(run: UInt64, groups: [Group]) {
        self.run = run
        self.groups = groups
    }

    public var count: Int { groups.reduce(0) { $0 + $1.keys.count } }
    public var commits: Set<CommitKey> { Set(groups.flatMap(\.keys.commits)) }
    public var packs: Set<PackID> { Set(groups.flatMap(\.keys.packs)) }

    public init(reading reader: inout MemberReader) throws(DocumentError) {
        run = try reader.seriesNumber("run")
        groups = try reader.objects("groups") { nested throws(DocumentError) in
            let label = try nested.number("label")
            let keys = try CollectedKeys(reading: &nested)
            guard !keys.isEmpty else { throw nested.badValue("packs") }
            return Group(labelSeconds: label, keys: keys)
        }
        for (left, right) in zip(groups, groups.dropFirst())
        where left.labelSeconds >= right.labelSeconds {
            throw reader.badValue("groups")
        }
        guard count == commits.count + packs.count else { throw reader.badValue("groups") }
    }

    public var members: [String: JSONValue] {
        let groups = self.groups.map { group in
            JSONValue.object(
                group.keys.members.merging(["label": .number(group.labelSeconds)]) { $1 })
        }
        return ["run": .number(run), "groups": .array(groups)]
    }
}

/// `gc-runs/<~k>`: what run k deletes. Created before anything is deleted, so that whoever finishes
/// the run, after a crash too, deletes this and nothing else.
public struct CollectionPlan: Document {
    public static let kind = "collection"
    public static let bytesMax = CondemnedSet.bytesMax
    static let nodeBytesMax = 256

    public let run: UInt64
    /// Who decided it, for people.
    public let node: String
    /// Wall-clock seconds.
    public let labelSeconds: UInt64
    public let keys: CollectedKeys

    public init(run: UInt64, node: String, labelSeconds: UInt64, keys: CollectedKeys) {
        self.run = run
        self.node = String(node.unicodeScalars.prefix(Self.nodeBytesMax / 4))
        self.labelSeconds = labelSeconds
        self.keys = keys
    }

    public init(reading reader: inout MemberReader) throws(DocumentError) {
        run = try reader.seriesNumber("run")
        node = try reader.text("node", limit: Self.nodeBytesMax)
        labelSeconds = try reader.number("label")
        keys = try CollectedKeys(reading: &reader)
    }

    public var members: [String: JSONValue] {
        keys.members.merging(
            ["run": .number(run), "node": .string(node), "label": .number(labelSeconds)]
        ) { $1 }
    }
}
