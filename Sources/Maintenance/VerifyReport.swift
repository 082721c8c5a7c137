// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a verification found: faults, each with the object, the part of it and the ranges of the
// disks that cannot be read for it; notes, which are no faults; and counts.

public import Primitives

/// A disk that a fault hits.
public struct VerifyHit: Equatable, Sendable {
    public let volume: VolumeID
    /// What people call these states of the volume: `export prod`, `snapshot prod@5`, `tag t`.
    public let names: [String]
    /// Their commits, ascending.
    public let sequences: [CommitSequence]
    /// Bytes of the disk that cannot be read, ascending and apart. None: it depends on the object,
    /// and all of it reads right.
    public let ranges: [Range<UInt64>]
}

public struct VerifyFault: Equatable, Sendable {
    public enum Kind: String, Sendable, CaseIterable {
        /// An object that something names is not in the store.
        case missing
        /// Bytes are not what their checksum, their hash or the pointer to them says.
        case damaged
        /// The bytes are whole and belong elsewhere.
        case misplaced
        /// Two whole objects contradict each other.
        case inconsistent
        /// A key that no program of ours makes.
        case foreign
    }

    public let kind: Kind
    public let key: String
    /// Which part of the object, in the words of docs/formats.
    public let part: String
    /// Where the part lies in the object; nil for the whole object.
    public let extent: Range<UInt64>?
    public let detail: String
    /// The volume that the object was made for, if that is known.
    public let owner: VolumeID?
    public let hits: [VerifyHit]
}

public struct VerifyCounts: Equatable, Sendable {
    public var volumes = 0
    public var commits = 0
    public var refs = 0
    public var packs = 0
    public var pages = 0
    public var nodes = 0
    public var frames = 0
    /// Frames that the sample left out.
    public var framesSkipped = 0
    /// Bytes that came from the store.
    public var bytes: UInt64 = 0
}

public struct VerifyReport: Equatable, Sendable {
    /// The store, without secrets.
    public let url: String
    public let sample: UInt64
    public internal(set) var counts: VerifyCounts
    public internal(set) var faults: [VerifyFault] = []
    /// No faults: keys that are not ours, and old commits whose packs were collected.
    public internal(set) var notes: [VerifyFault] = []
    /// False if there were more faults or ranges than are kept.
    public internal(set) var isComplete = true

    public var isWhole: Bool { faults.isEmpty && isComplete }
}
