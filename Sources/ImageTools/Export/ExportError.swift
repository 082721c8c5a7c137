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
    /// The journal cannot be read.
    case journal(HostIOError)
    /// The file, or the stream, cannot be written.
    case output(HostIOError)
    /// The name is taken.
    case exists(path: String)
    /// What has the name is no file that could be replaced.
    case notRegular(path: String)
    /// Somebody asked to stop.
    case stopped
    /// A difference with more ranges than version 1 of its format is written with.
    case tooManyRanges(limit: Int)
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
        case .journal(let error):
            UserError(
                .failed, what: what, why: error.description,
                remedy: "copy the cache directory to a disk that can be read, and try there")
        case .output(let error):
            UserError(
                .failed, what: what, why: error.description,
                remedy: "look at the disk of the file: its space, its permissions")
        case .exists(let path):
            UserError(
                .conflict, what: what, why: "\(path) exists",
                remedy: "choose another name, or replace it with --force")
        case .notRegular(let path):
            UserError(
                .badRequest, what: what, why: "\(path) is not a regular file",
                remedy: "name a file, or - for standard output")
        case .tooManyRanges(let limit):
            UserError(
                .failed, what: what, why: "the difference has more than \(limit) ranges",
                remedy: "use version 2 of the format, --format bdiff-v2, which has no such limit")
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

extension ExportError {
    public init(_ error: ImageFileError) {
        switch error {
        case .io(let error): self = .output(error)
        case .exists(let path): self = .exists(path: path)
        case .notRegular(let path): self = .notRegular(path: path)
        }
    }
}

/// Runs `body` with failures of a file as failures of an export.
func output<Value>(_ body: () throws(HostIOError) -> Value) throws(ExportError) -> Value {
    do throws(HostIOError) { return try body() } catch { throw .output(error) }
}
