// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Why a document or a key was refused. Facts only; no prose.

/// The closed set of reasons.
public enum DocumentError: Error, Equatable, Sendable {
    /// More bytes than a document of this kind may have.
    case tooLarge(kind: String, bytes: Int, limit: Int)
    /// Not one JSON value of the kind that documents are made of.
    case malformed(offset: Int, detail: String)
    /// The document says that it is something else.
    case wrongKind(expected: String, found: String)
    /// Written by a version of the format that this program does not read.
    case unsupportedVersion(kind: String, found: UInt64, supported: UInt64)
    /// A key that this version of the document does not have.
    case unknownKey(kind: String, key: String)
    case missingKey(kind: String, key: String)
    /// A value that is of the wrong type, out of range, or not valid beside the others.
    case badValue(kind: String, key: String)
    /// The document names another place than the one it lies in: a misdirected read or write.
    case misplaced(key: String, found: String)
    /// A key of the store that no program of ours made.
    case malformedKey(String)
}
