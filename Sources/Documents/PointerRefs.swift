// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Refs that point at one commit and keep it from collection: snapshots, tags, base images, readers.

public import Primitives

/// A commit by name, wherever a ref points at one. The token makes sure that it is that commit.
public struct CommitPointer: Hashable, Sendable {
    public let volume: VolumeID
    public let sequence: CommitSequence
    public let token: Token
    /// The commit's own label, wall-clock seconds.
    public let labelSeconds: UInt64

    public init(volume: VolumeID, sequence: CommitSequence, token: Token, labelSeconds: UInt64) {
        self.volume = volume
        self.sequence = sequence
        self.token = token
        self.labelSeconds = labelSeconds
    }

    init(reading reader: inout MemberReader) throws(DocumentError) {
        volume = try reader.identifier("volume")
        sequence = try reader.sequence("sequence")
        token = try reader.identifier("token")
        labelSeconds = try reader.number("label")
    }

    /// The pointer's members beside those of the ref that holds it.
    func members(and others: [String: JSONValue]) -> [String: JSONValue] {
        var members = others
        members["volume"] = .identifier(volume)
        members["sequence"] = .scalar(sequence)
        members["token"] = .identifier(token)
        members["label"] = .number(labelSeconds)
        return members
    }
}

/// `refs/snapshots/<name>/<seq>`: created once.
public struct SnapshotRef: Document {
    public static let kind = "snapshot"

    public let name: RefName
    public let commit: CommitPointer
    /// The tag that was given with it.
    public let tag: RefName?

    public init(name: RefName, commit: CommitPointer, tag: RefName?) {
        self.name = name
        self.commit = commit
        self.tag = tag
    }

    public init(reading reader: inout MemberReader) throws(DocumentError) {
        name = try reader.name("name")
        commit = try CommitPointer(reading: &reader)
        tag = reader.has("tag") ? try reader.name("tag") : nil
    }

    public var members: [String: JSONValue] {
        var members = commit.members(and: ["name": .string(name.text)])
        if let tag { members["tag"] = .string(tag.text) }
        return members
    }
}

/// `refs/tags/<tag>/<~n>`: a series, since a tag moves.
public struct TagRef: Document {
    public static let kind = "tag"

    public let tag: RefName
    public let number: UInt64
    public let commit: CommitPointer
    /// The export that the commit was of.
    public let export: RefName

    public init(tag: RefName, number: UInt64, commit: CommitPointer, export: RefName) {
        self.tag = tag
        self.number = number
        self.commit = commit
        self.export = export
    }

    public init(reading reader: inout MemberReader) throws(DocumentError) {
        tag = try reader.name("tag")
        number = try reader.seriesNumber("n")
        commit = try CommitPointer(reading: &reader)
        export = try reader.name("export")
    }

    public var members: [String: JSONValue] {
        commit.members(and: [
            "tag": .string(tag.text), "n": .number(number), "export": .string(export.text),
        ])
    }
}

/// `refs/bases/<name>/<~n>`: a base image; a series, since it is replaced by a newer one.
public struct BaseRef: Document {
    public static let kind = "base"
    static let sourceBytesMax = 4096

    public let name: RefName
    public let number: UInt64
    public let commit: CommitPointer
    /// Where the image came from, for people.
    public let source: String

    public init(name: RefName, number: UInt64, commit: CommitPointer, source: String) {
        self.name = name
        self.number = number
        self.commit = commit
        self.source = String(source.unicodeScalars.prefix(Self.sourceBytesMax / 4))
    }

    public init(reading reader: inout MemberReader) throws(DocumentError) {
        name = try reader.name("name")
        number = try reader.seriesNumber("n")
        commit = try CommitPointer(reading: &reader)
        source = try reader.text("source", limit: Self.sourceBytesMax)
    }

    public var members: [String: JSONValue] {
        commit.members(and: [
            "name": .string(name.text), "n": .number(number), "source": .string(source),
        ])
    }
}

/// `refs/readers/<id>`: somebody reads a commit, or is about to make another ref to it.
public struct ReaderRef: Document {
    public enum Purpose: String, Sendable, CaseIterable {
        case read
        case fork
        case rollback
        case tag
    }

    public static let kind = "reader"

    public let id: Token
    public let node: RefName
    public let commit: CommitPointer
    public let purpose: Purpose

    public init(id: Token, node: RefName, commit: CommitPointer, purpose: Purpose) {
        self.id = id
        self.node = node
        self.commit = commit
        self.purpose = purpose
    }

    public init(reading reader: inout MemberReader) throws(DocumentError) {
        id = try reader.identifier("id")
        node = try reader.name("node")
        commit = try CommitPointer(reading: &reader)
        purpose = try reader.choice("purpose")
    }

    public var members: [String: JSONValue] {
        commit.members(and: [
            "id": .identifier(id), "node": .string(node.text),
            "purpose": .string(purpose.rawValue),
        ])
    }
}
