// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What an import is asked for, and what it tells.

public import Committer
public import Documents
public import Primitives

public struct IngestRequest: Sendable {
    public enum Target: Equatable, Sendable {
        /// A base image. With `replaces` a base of that name that holds something else gets the
        /// image as its next version.
        case base(RefName, replaces: Bool)
        /// A new export.
        case export(RefName)
    }

    public var target: Target
    /// Where the image comes from, for people.
    public var source: String
    /// Who imports, as `martlet gc` names the holder of a pin.
    public var node: RefName
    /// Nil: that of `base`, of what was begun before, or the default.
    public var blockBytes: Int?
    /// A base whose blocks are referred to instead of being stored again.
    public var base: RefName?
    public var settings = PackSettings()

    public init(target: Target, source: String, node: RefName) {
        self.target = target
        self.source = source
        self.node = node
    }
}

/// How far an import has come.
public struct IngestProgress: Equatable, Sendable {
    /// Bytes of the image that were taken in, of those that are not holes.
    public var doneBytes: UInt64 = 0
    public var totalBytes: UInt64 = 0
    /// Bytes of packs so far.
    public var uploadedBytes: UInt64 = 0
}

public struct IngestReport: Equatable, Sendable {
    public enum Outcome: String, Sendable {
        case created
        /// The base has the image as its newest version now.
        case replaced
        /// The very content was there already.
        case unchanged
    }

    public internal(set) var outcome: Outcome
    public internal(set) var name: String
    public internal(set) var commit: CommitPointer
    /// The same for the same content and block size, wherever and however it was imported.
    public internal(set) var digest: Hash128
    public internal(set) var size: ByteCount
    public internal(set) var blockBytes: Int
    public internal(set) var format: String
    /// True if an earlier try had begun it.
    public internal(set) var isResumed = false
    /// Bytes of the image that are not holes.
    public internal(set) var readBytes: UInt64 = 0
    /// Blocks that were stored, and blocks that were in some pack already.
    public internal(set) var blocksStored = 0
    public internal(set) var blocksReused = 0
    /// Packs put now, and their bytes.
    public internal(set) var packs = 0
    public internal(set) var packBytes: UInt64 = 0

    public var lines: [String] {
        [
            "\(outcome.rawValue): \(name), \(size) bytes in blocks of \(blockBytes)"
                + (isResumed ? ", begun by an earlier try" : ""),
            "commit: \(commit.sequence) of volume \(commit.volume)", "digest: \(digest)",
            "read: \(readBytes) bytes of \(format)",
            "stored: \(blocksStored) blocks in \(packs) packs, \(packBytes) bytes; "
                + "\(blocksReused) blocks were there",
        ]
    }

    public var json: JSONValue {
        .object([
            "outcome": .string(outcome.rawValue), "name": .string(name),
            "resumed": .bool(isResumed), "size_bytes": .number(size.rawValue),
            "block_size": .number(UInt64(blockBytes)), "format": .string(format),
            "volume": .string(commit.volume.description),
            "sequence": .number(commit.sequence.rawValue), "digest": .string(digest.description),
            "read_bytes": .number(readBytes), "blocks_stored": .number(UInt64(blocksStored)),
            "blocks_reused": .number(UInt64(blocksReused)), "packs": .number(UInt64(packs)),
            "pack_bytes": .number(packBytes),
        ])
    }
}
