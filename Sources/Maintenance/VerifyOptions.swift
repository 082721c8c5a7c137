// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What to verify, what may go wrong beside faults, and how far a run has come.

public import Documents
import VolumeMap

public struct VerifyOptions: Sendable {
    /// Millionths of a whole: all data is read.
    public static let wholeSample: UInt64 = 1_000_000

    /// Verify this export with its snapshots, or the tag or base of that name; nil: everything.
    public var name: RefName?
    /// Share of the data to read, in millionths, 1 to 1,000,000. What leads to the data (refs,
    /// commits, tables, map nodes, pack indexes) is always read whole.
    public var sample = wholeSample
    /// Faults that are kept with their details, and ranges of disks in all of them.
    public var faultsMax = 10_000
    public var rangesMax = 200_000

    public init() {}
}

/// Why there is no verdict.
public enum VerifyError: Error, Equatable, Sendable {
    /// The store does not answer, or does not allow it.
    case away(key: String, detail: String)
    /// Nothing in the store has the name.
    case unknownName(RefName)

    init(_ error: FetchError) {
        switch error {
        case .away(let key, let detail), .damaged(let key, let detail),
            .refused(let key, let detail):
            self = .away(key: key, detail: detail)
        case .missingObject(let key): self = .away(key: key, detail: "not found")
        }
    }
}

/// How far a run has come.
public struct VerifyProgress: Equatable, Sendable {
    /// Bytes read so far.
    public var bytes: UInt64 = 0
    /// Bytes that there are to read as far as is known: those of the packs in use.
    public var bytesTotal: UInt64 = 0
    public var faults = 0
}

/// Called by the thread that runs the verification.
public typealias VerifyProgressReport = (VerifyProgress) -> Void
