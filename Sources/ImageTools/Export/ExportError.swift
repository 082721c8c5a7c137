// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Why an image of a volume could not be made.

public import HostIO
public import Primitives
public import VolumeMap

/// The export's closed set of failures. Facts; `userError` makes the sentence.
public enum ExportError: Error, Equatable, Sendable {
    /// An object that these bytes of the volume need is missing or damaged.
    case unreadable(
        volume: VolumeID, sequence: CommitSequence, bytes: Range<UInt64>, FetchError)
    /// The store does not answer.
    case away(FetchError)
    /// The file, or the stream, cannot be written.
    case output(HostIOError)
    /// The name is taken.
    case exists(path: String)
    /// Somebody asked to stop.
    case stopped
    /// The two commits have blocks of different sizes.
    case blockSizes(target: Int, base: Int)

    public func userError(_ what: String) -> UserError {
        switch self {
        case .unreadable(let volume, let sequence, let bytes, let cause):
            UserError(
                .failed, what: what,
                why: "bytes \(bytes.lowerBound)-\(bytes.upperBound - 1) of commit \(sequence) of "
                    + "volume \(volume) cannot be read: \(cause)",
                remedy: "run martlet verify, which names all that is hit, and export a snapshot "
                    + "that is whole")
        case .away(let cause):
            UserError(
                .storeAway, what: what, why: "\(cause)",
                remedy: "try again when the store is back; no file was left behind")
        case .output(let error):
            UserError(
                .failed, what: what, why: error.description,
                remedy: "look at the disk of the file: its space, its permissions")
        case .exists(let path):
            UserError(
                .conflict, what: what, why: "\(path) exists",
                remedy: "choose another name, or replace it with --force")
        case .stopped:
            UserError(
                .failed, what: what, why: "it was interrupted",
                remedy: "run it again; no file was left behind")
        case .blockSizes(let target, let base):
            UserError(
                .badRequest, what: what,
                why: "the two commits have blocks of \(target) and of \(base) bytes",
                remedy: "export both as raw files, and compare those with martlet diff create")
        }
    }
}

/// Runs `body` with failures of a file as failures of an export.
func output<Value>(_ body: () throws(HostIOError) -> Value) throws(ExportError) -> Value {
    do throws(HostIOError) { return try body() } catch { throw .output(error) }
}
