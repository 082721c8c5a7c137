// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet.json`, the first object of a repository: its identity and how its content is stored.
// Created once, never changed. A copy in the cache directory tells a cache of this repository from
// one of another when the store is away.

public import Primitives

public struct Repository: Document {
    /// How content is encrypted. A program that does not know the value must not touch the store.
    public enum Encryption: String, Sendable, CaseIterable {
        case none
    }

    public static let kind = "repository"

    public let id: Token
    /// The version of all binary formats of the repository.
    public let formatVersion: UInt64
    public let encryption: Encryption
    /// Wall-clock seconds: a label.
    public let createdSeconds: UInt64

    public static let formatVersionSupported: UInt64 = 1

    public init(id: Token, encryption: Encryption = .none, createdSeconds: UInt64) {
        self.id = id
        formatVersion = Self.formatVersionSupported
        self.encryption = encryption
        self.createdSeconds = createdSeconds
    }

    public init(reading reader: inout MemberReader) throws(DocumentError) {
        id = try reader.identifier("id")
        formatVersion = try reader.number("format_version")
        guard formatVersion == Self.formatVersionSupported else {
            throw .unsupportedVersion(
                kind: "repository format", found: formatVersion,
                supported: Self.formatVersionSupported)
        }
        encryption = try reader.choice("encryption")
        createdSeconds = try reader.number("created")
    }

    public var members: [String: JSONValue] {
        [
            "id": .identifier(id), "format_version": .number(formatVersion),
            "encryption": .string(encryption.rawValue), "created": .number(createdSeconds),
        ]
    }
}
