// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a copy between repositories is asked for, and what it tells.

public import Committer
public import Documents
import Primitives

public struct CopyRequest: Sendable {
    /// `NAME` or `export:NAME`: an export; `base:NAME`, or a name that is no export: a base.
    public var names: [String]
    /// Snapshots come along under their numbers, and tags of what is copied.
    public var takesSnapshots: Bool
    /// Who copies, as `martlet gc` names the holder of a pin in either repository.
    public var node: RefName
    public var settings = PackSettings()

    public init(names: [String], takesSnapshots: Bool, node: RefName) {
        self.names = names
        self.takesSnapshots = takesSnapshots
        self.node = node
    }
}

/// How far the commit at hand has come.
public struct CopyProgress: Sendable {
    /// `prod@7` or the like.
    public let name: String
    /// Bytes of blocks that were looked at, of those that may be needed.
    public let doneBytes: UInt64
    public let totalBytes: UInt64
}

public struct CopyReport: Equatable, Sendable {
    public struct Item: Equatable, Sendable {
        public enum Outcome: String, Sendable {
            case copied
            /// It was there.
            case unchanged
            /// A tag of the destination that means something else was left alone.
            case kept
        }

        public let outcome: Outcome
        /// `snapshot prod@7`, `export prod`, `base debian`, `tag v1`.
        public let name: String
        /// In the destination.
        public let commit: CommitPointer?
        /// What was stored for it.
        public var blocks = 0
        public var packBytes: UInt64 = 0
    }

    public internal(set) var items: [Item] = []

    public var lines: [String] {
        items.map { item in
            var line = "\(item.outcome.rawValue): \(item.name)"
            if let commit = item.commit, item.outcome == .copied {
                line += ", commit \(commit.sequence) of volume \(commit.volume)"
            }
            if item.blocks > 0 { line += ", \(item.blocks) blocks, \(item.packBytes) bytes" }
            if item.outcome == .kept { line += " means something else in the destination" }
            return line
        }
    }

    public var json: JSONValue {
        .object([
            "items": .array(
                items.map { item in
                    var members: [String: JSONValue] = [
                        "outcome": .string(item.outcome.rawValue), "name": .string(item.name),
                        "blocks_stored": .number(UInt64(item.blocks)),
                        "pack_bytes": .number(item.packBytes),
                    ]
                    if let commit = item.commit {
                        members["volume"] = .string(commit.volume.description)
                        members["sequence"] = .number(commit.sequence.rawValue)
                    }
                    return .object(members)
                })
        ])
    }
}
