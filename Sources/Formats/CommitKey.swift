// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The key of a commit: `volumes/<volume-id>/commits/<~seq:016x>.<seq>` with ~seq = 2^64-1-seq, so
// that a listing in key order gives the newest commit first. The same sequence number twice in one
// key makes it readable and lets a stray key be told from ours.

public import Primitives

/// A commit's volume and sequence, and its place in the object store.
public struct CommitKey: Hashable, Sendable, CustomStringConvertible {
    public var volume: VolumeID
    public var sequence: CommitSequence

    private static let folder = "volumes/"
    private static let commits = "/commits/"

    public init(volume: VolumeID, sequence: CommitSequence) {
        self.volume = volume
        self.sequence = sequence
    }

    /// What the keys of all commits of `volume` start with.
    public static func prefix(of volume: VolumeID) -> String {
        folder + volume.description + commits
    }

    public static func key(_ volume: VolumeID, _ sequence: CommitSequence) -> String {
        CommitKey(volume: volume, sequence: sequence).key
    }

    public var key: String {
        Self.prefix(of: volume) + hexadecimal(~sequence.rawValue, digits: 16) + "."
            + sequence.description
    }

    public var description: String { key }

    /// Whether a decoder takes it: see `Limits.numberMax`.
    private var isValid: Bool {
        !volume.isZero && (1...Limits.numberMax).contains(sequence.rawValue)
    }

    /// Parses exactly what `key` prints.
    public init(key: String) throws(FormatError) {
        guard let parsed = Self.parse(key), parsed.isValid, parsed.key == key else {
            throw .malformedKey(.commitKey, key: key)
        }
        self = parsed
    }

    private static func parse(_ key: String) -> CommitKey? {
        guard key.utf8.count <= 256, key.hasPrefix(folder) else { return nil }
        let parts = key.parts(between: "/")
        guard parts.count == 4, parts[2] == "commits",
            let volume = VolumeID(hexadecimal: parts[1]),
            let sequence = parts[3].parts(between: ".").dropFirst().first.flatMap({ UInt64($0) })
        else { return nil }
        return CommitKey(volume: volume, sequence: CommitSequence(sequence))
    }

    /// Refuses a commit that was read from another key than its own.
    func check(_ expected: CommitKey) throws(FormatError) {
        guard volume == expected.volume else {
            throw .wrongIdentity(
                .commit, field: "volume", found: volume.low, expected: expected.volume.low)
        }
        guard sequence == expected.sequence else {
            throw .wrongIdentity(
                .commit, field: "sequence", found: sequence.rawValue,
                expected: expected.sequence.rawValue)
        }
    }
}
