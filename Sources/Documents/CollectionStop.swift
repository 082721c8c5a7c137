// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A host's objection to the collector, written where every collector looks before it deletes.

public import Formats
public import Primitives

/// `gc-stops/<id>`: a host serves a disk that needs what the collector means to delete. Nothing is
/// deleted while one is there; a person takes it away.
public struct CollectionStop: Document {
    public static let kind = "stop"
    static let nodeBytesMax = 256
    private static let keyBytesMax = 512

    public let id: Token
    /// Who objects, for people.
    public let node: String
    /// What was read, and is condemned.
    public let pack: PackID
    /// The run whose set lists it.
    public let run: UInt64
    /// The commit that needs it.
    public let commit: CommitPointer

    public init(id: Token, node: String, pack: PackID, run: UInt64, commit: CommitPointer) {
        self.id = id
        self.node = String(node.unicodeScalars.prefix(Self.nodeBytesMax / 4))
        self.pack = pack
        self.run = run
        self.commit = commit
    }

    public init(reading reader: inout MemberReader) throws(DocumentError) {
        id = try reader.identifier("id")
        node = try reader.text("node", limit: Self.nodeBytesMax)
        let key = try reader.text("pack", limit: Self.keyBytesMax)
        guard let pack = try? PackID(key: key) else { throw reader.badValue("pack") }
        self.pack = pack
        run = try reader.seriesNumber("run")
        commit = try CommitPointer(reading: &reader)
    }

    public var members: [String: JSONValue] {
        commit.members(and: [
            "id": .identifier(id), "node": .string(node), "pack": .string(pack.key),
            "run": .number(run),
        ])
    }
}
