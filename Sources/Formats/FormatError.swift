// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Why bytes were refused. Every decoder of this module throws exactly this error: facts, no prose.
// Offsets are from the start of the object that is being decoded.

public import Primitives

/// The formats of Martlet, by the names that `docs/formats` uses.
public enum FormatName: String, Sendable, CaseIterable {
    case segment = "journal segment"
    case batch = "journal batch"
    case record = "journal record"
    case pack
    case packIndex = "pack index"
    case packTrailer = "pack trailer"
    case packKey = "pack key"
    case frame
    case node = "map node"
    case chunkPage = "chunk table page"
    case packPage = "pack table page"
    case commit
    case commitKey = "commit key"
    case blockDiff = "block diff"
}

/// What is wrong with the bytes at hand.
public enum FormatError: Error, Equatable, Sendable {
    /// Fewer bytes than a field needs.
    case truncated(FormatName, offset: Int, wanted: Int, available: Int)
    /// More bytes than the object has.
    case trailingBytes(FormatName, offset: Int, count: Int)
    /// The object does not start with its magic: these are other bytes.
    case wrongMagic(FormatName, found: UInt64, expected: UInt64)
    /// Written by a version of the format that this program does not read.
    case unsupportedVersion(FormatName, found: UInt64, supported: UInt64)
    /// A 64-bit checksum inside the object does not match: torn or rotten.
    case wrongChecksum(FormatName, offset: Int, found: UInt64, expected: UInt64)
    /// The content does not have the hash by which it was asked for, or that it carries.
    case wrongHash(FormatName, found: Hash128, expected: Hash128)
    /// A field that must be zero is not.
    case reservedNotZero(FormatName, offset: Int)
    /// A field holds a value that is never valid, or not valid beside the others.
    case badValue(FormatName, field: String, offset: Int, found: UInt64)
    /// An identity in the object is not the one that was asked for: a misdirected read or write.
    case wrongIdentity(FormatName, field: String, found: UInt64, expected: UInt64)
    /// The stored bytes are not a whole stream of their codec, or not of the size they claim.
    case corruptCompression(FormatName, storedBytes: Int, expectedBytes: Int)
    /// A key of the object store that no program of ours made.
    case malformedKey(FormatName, key: String)

    /// The format that was being decoded.
    public var format: FormatName {
        switch self {
        case .truncated(let format, _, _, _), .trailingBytes(let format, _, _),
            .wrongMagic(let format, _, _), .unsupportedVersion(let format, _, _),
            .wrongChecksum(let format, _, _, _), .wrongHash(let format, _, _),
            .reservedNotZero(let format, _), .badValue(let format, _, _, _),
            .wrongIdentity(let format, _, _, _), .corruptCompression(let format, _, _),
            .malformedKey(let format, _):
            return format
        }
    }
}
