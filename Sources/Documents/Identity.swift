// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `identity.json` of a volume's directory in the cache: where this journal and root were made. A
// copy of the directory on another machine, or in another cache directory, does not match, and is
// then never served without asking the store.

public import Primitives

public struct Identity: Document {
    public static let kind = "identity"

    public let volume: VolumeID
    /// The machine's own id, as the host tells it.
    public let machine: String
    /// The inode of the cache directory.
    public let cacheDirectory: UInt64
    /// Wall-clock seconds: a label.
    public let createdSeconds: UInt64

    public init(
        volume: VolumeID, machine: String, cacheDirectory: UInt64, createdSeconds: UInt64
    ) {
        self.volume = volume
        self.machine = machine
        self.cacheDirectory = cacheDirectory
        self.createdSeconds = createdSeconds
    }

    public init(reading reader: inout MemberReader) throws(DocumentError) {
        volume = try reader.identifier("volume")
        machine = try reader.text("machine", limit: Limits.nameCharactersMax)
        cacheDirectory = try reader.number("cache_directory")
        createdSeconds = try reader.number("created")
    }

    public var members: [String: JSONValue] {
        [
            "volume": .identifier(volume), "machine": .string(machine),
            "cache_directory": .number(cacheDirectory), "created": .number(createdSeconds),
        ]
    }

    /// True if both were made in one place: the label does not count.
    public func isSamePlace(as other: Identity) -> Bool {
        volume == other.volume && machine == other.machine
            && cacheDirectory == other.cacheDirectory
    }
}

/// `failed` of a volume's directory: why it was closed for writing. While it is there no start
/// serves the volume for writing, since its journal may lack what was flushed.
public struct FailedMark: Document {
    public static let kind = "failed"
    static let reasonBytesMax = 4096

    public let volume: VolumeID
    public let reason: String
    /// Wall-clock seconds: a label.
    public let labelSeconds: UInt64

    public init(volume: VolumeID, reason: String, labelSeconds: UInt64) {
        self.volume = volume
        self.reason = String(reason.unicodeScalars.prefix(Self.reasonBytesMax / 4))
        self.labelSeconds = labelSeconds
    }

    public init(reading reader: inout MemberReader) throws(DocumentError) {
        volume = try reader.identifier("volume")
        reason = try reader.text("reason", limit: Self.reasonBytesMax)
        labelSeconds = try reader.number("label")
    }

    public var members: [String: JSONValue] {
        [
            "volume": .identifier(volume), "reason": .string(reason),
            "label": .number(labelSeconds),
        ]
    }
}
