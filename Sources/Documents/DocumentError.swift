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
    /// Its checksum is another one's.
    case damaged(kind: String)
    /// The document names another place than the one it lies in: a misdirected read or write.
    case misplaced(key: String, found: String)
    /// A key of the store that no program of ours made.
    case malformedKey(String)
}

extension DocumentError {
    /// One line for people, without the key of the object.
    public var explanation: String {
        switch self {
        case .unsupportedVersion(let kind, let found, let supported):
            "a \(kind) of version \(found), this program reads \(supported)"
        case .tooLarge(_, let bytes, let limit): "\(bytes) bytes, at most \(limit) are valid"
        case .malformed(let offset, let detail): "at byte \(offset): \(detail)"
        case .wrongKind(let expected, let found): "it says \(found) instead of \(expected)"
        case .unknownKey(let kind, let name): "the \(kind) has an unknown key \(name)"
        case .missingKey(let kind, let name): "the \(kind) lacks the key \(name)"
        case .badValue(let kind, let name): "the \(kind) has a bad value for \(name)"
        case .damaged(let kind): "the \(kind) is damaged: its checksum is wrong"
        case .misplaced(_, let found): "it belongs to \(found)"
        case .malformedKey: "no program of ours makes such a key"
        }
    }
}
