// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Why building or publishing a commit failed. Facts only; the engine decides what a volume does
// then: what `isRetryable` says is worth another try, everything else stops committing and keeps
// the journal.

public import Formats
public import HostIO
public import Journal
public import ObjectStore
public import VolumeMap

/// The committer's closed set of failures.
public enum CommitError: Error, Equatable, Sendable {
    /// Local storage failed.
    case local(HostIOError)
    /// The object store failed or refused a call.
    case store(ObjectStoreError)
    /// The frozen journal does not hold what was written to it, whole and right.
    case journal(JournalError)
    /// Map nodes, pages or frames that a merge needs could not be brought.
    case fetch(FetchError)
    /// A file of `root/` does not decode.
    case damagedLocal(path: String, FormatError)
    /// An object of the store does not decode.
    case damagedObject(key: String, FormatError)
    /// A commit lies under the name of another.
    case misplaced(name: String, expected: UInt64, found: UInt64)
    /// A pack key with our random token holds other bytes than ours.
    case packClash(key: String)
    /// The parent's tables contradict its nodes: a reference that is not counted.
    case miscounted(slot: UInt32, live: UInt64)
    /// No pack slot is free: compaction is overdue.
    case packTableFull
    /// One commit needs more packs than it can number.
    case tooManyPacks

    /// True if the same call may succeed later without anybody's doing.
    public var isRetryable: Bool {
        switch self {
        case .store(let error): error.isRetryable
        case .fetch(let error): error.isRetryable
        default: false
        }
    }
}

extension CommitError {
    /// True if the store does not have what the call needs.
    public var isMissingObject: Bool {
        switch self {
        case .store(.notFound), .fetch(.missingObject): true
        default: false
        }
    }
}

/// As operators read it, in a status or a log.
extension CommitError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .local(let error): "\(error)"
        case .store(let error): "\(error)"
        case .journal(let error): "the journal cannot be read: \(error)"
        case .fetch(let error): "\(error)"
        case .damagedLocal(let path, let error): "\(path) is damaged: \(error)"
        case .damagedObject(let key, let error): "\(key) is damaged: \(error)"
        case .misplaced(let name, let expected, let found):
            "\(name) holds commit \(found), not \(expected)"
        case .packClash(let key): "\(key) holds other bytes than were sent"
        case .miscounted(let slot, let live):
            "pack slot \(slot) is referred to, but counted with \(live)"
        case .packTableFull: "no pack slot is free: compaction is overdue"
        case .tooManyPacks: "one commit cannot have more than 65,535 packs"
        }
    }
}

/// Bounds of the committer's own.
public enum CommitLimits {
    /// Bytes of a commit object: page lists of 16 TB with room to spare.
    public static let commitBytesMax = 16 << 20
}
