// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `refs/exports/<name>/<~n>`: which volume a name means, what was asked for, and what became of it.
// The request is kept as it was made, so that repeating it is recognised whatever has changed
// since.

public import Primitives

/// How an export reaches its clients.
public enum Transport: String, Sendable, CaseIterable {
    case nbd
    case ublk
    case none
}

/// What the creator of an export asked for.
public struct ExportDefinition: Equatable, Sendable {
    public var size: ByteCount
    public var blockBytes: Int
    public var isReadOnly: Bool
    public var transport: Transport
    /// What to fork, in the requester's words; nil for an empty volume.
    public var source: String?

    public static let sourceBytesMax = 300

    public init(
        size: ByteCount, blockBytes: Int, isReadOnly: Bool, transport: Transport,
        source: String? = nil
    ) {
        self.size = size
        self.blockBytes = blockBytes
        self.isReadOnly = isReadOnly
        self.transport = transport
        self.source = source
    }

    init(reading reader: inout MemberReader) throws(DocumentError) {
        size = ByteCount(try reader.number("size_bytes"))
        let block = try reader.number("block_size")
        guard block.nonzeroBitCount == 1,
            (UInt64(Limits.blockBytesMin)...UInt64(Limits.blockBytesMax)).contains(block)
        else { throw reader.badValue("block_size") }
        blockBytes = Int(block)
        isReadOnly = try reader.bool("readonly")
        transport = try reader.choice("transport")
        source =
            reader.has("source") ? try reader.text("source", limit: Self.sourceBytesMax) : nil
    }

    var value: JSONValue {
        var members: [String: JSONValue] = [
            "size_bytes": .scalar(size), "block_size": .number(UInt64(blockBytes)),
            "readonly": .bool(isReadOnly), "transport": .string(transport.rawValue),
        ]
        if let source { members["source"] = .string(source) }
        return .object(members)
    }
}

/// What an export was forked from.
public struct ExportOrigin: Equatable, Sendable {
    /// The source in its one canonical spelling: `export:NAME`, `snapshot:NAME@SEQ`, `tag:T`,
    /// `base:B`.
    public let name: String
    public let commit: CommitPointer

    public init(name: String, commit: CommitPointer) {
        self.name = name
        self.commit = commit
    }
}

public struct ExportRef: Document {
    public enum State: String, Sendable, CaseIterable {
        /// The name is taken, the volume's first commit may not exist yet.
        case creating
        case live
        /// Not served; the volume stays.
        case detached
        /// Purged; the name is free, its numbers are not.
        case deleted
    }

    public static let kind = "export"

    public let name: RefName
    public let number: UInt64
    public let volume: VolumeID
    public var state: State
    /// The request that made the export, grown as later requests grew it.
    public var definition: ExportDefinition
    /// The size now: of a fork the larger of request and source.
    public var size: ByteCount
    /// Whether it is read-only now: a promotion does not change the request.
    public var isReadOnly: Bool
    public var origin: ExportOrigin?
    /// The number of the volume's first commit: above every number that the name has had.
    public let firstSequence: CommitSequence

    public init(
        name: RefName, number: UInt64, volume: VolumeID, state: State,
        definition: ExportDefinition, size: ByteCount, isReadOnly: Bool, origin: ExportOrigin?,
        firstSequence: CommitSequence
    ) {
        self.name = name
        self.number = number
        self.volume = volume
        self.state = state
        self.definition = definition
        self.size = size
        self.isReadOnly = isReadOnly
        self.origin = origin
        self.firstSequence = firstSequence
    }

    public init(reading reader: inout MemberReader) throws(DocumentError) {
        name = try reader.name("name")
        number = try reader.seriesNumber("n")
        volume = try reader.identifier("volume")
        state = try reader.choice("state")
        definition = try reader.object("request") { nested throws(DocumentError) in
            try ExportDefinition(reading: &nested)
        }
        size = ByteCount(try reader.number("size_bytes"))
        isReadOnly = try reader.bool("readonly")
        firstSequence = try reader.sequence("first_sequence")
        guard reader.has("origin") else {
            origin = nil
            return
        }
        origin = try reader.object("origin") { nested throws(DocumentError) in
            ExportOrigin(
                name: try nested.text("name", limit: ExportDefinition.sourceBytesMax),
                commit: try CommitPointer(reading: &nested))
        }
    }

    public var members: [String: JSONValue] {
        var members: [String: JSONValue] = [
            "name": .string(name.text), "n": .number(number), "volume": .identifier(volume),
            "state": .string(state.rawValue), "request": definition.value,
            "size_bytes": .scalar(size), "readonly": .bool(isReadOnly),
            "first_sequence": .scalar(firstSequence),
        ]
        if let origin {
            members["origin"] = .object(
                origin.commit.members(and: ["name": .string(origin.name)]))
        }
        return members
    }

    private static let imagePrefix = "image:"

    /// The source of an export whose content is an image: no fork can be asked for in these words.
    public static func imageSource(_ origin: String) -> String {
        // Bounded in characters so that any of them fit.
        imagePrefix
            + String(
                String.UnicodeScalarView(
                    origin.unicodeScalars.prefix((ExportDefinition.sourceBytesMax - 8) / 4)))
    }

    /// True if the content came, or is still coming, from an image.
    public var isImage: Bool { definition.source?.hasPrefix(Self.imagePrefix) ?? false }

    /// The next document of the series, changed by `change`.
    public func next(_ change: (inout ExportRef) -> Void) -> ExportRef {
        var next = ExportRef(
            name: name, number: number + 1, volume: volume, state: state, definition: definition,
            size: size, isReadOnly: isReadOnly, origin: origin, firstSequence: firstSequence)
        change(&next)
        return next
    }
}
