// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Why a block diff could not be made, read or applied: facts here, words for people at the end.

public import Formats
public import HostIO
public import Primitives

public enum BlockDiffError: Error, Equatable, Sendable {
    /// A call on a file failed.
    case io(HostIOError)
    /// The diff is not one, or damaged. `offset`: where what was being decoded begins.
    case format(FormatError, diff: String, offset: UInt64)
    /// The diff ends before its last byte, or goes on after it.
    case wrongLength(diff: String, found: UInt64, expected: UInt64)
    case trailing(diff: String)
    /// The diff needs a base and none was named, or the other way round.
    case baseMissing(bytes: UInt64)
    case baseNotWanted(String)
    case wrongBaseSize(String, found: UInt64, expected: UInt64)
    case wrongBase(String, found: Hash128, expected: Hash128)
    case exists(String)
    case notRegular(String)
    /// A file was written while it was read.
    case changed(String)
    case sameFile(String)
    /// Standard output is a terminal.
    case terminal
    /// A pipe was closed by its reader, or another call on standard input or output failed.
    case stream(HostIOError)
    case cancelled

    /// For people. `what`: what was tried, for example "cannot apply disk.bdiff".
    public func forUser(_ what: String) -> UserError {
        let (kind, why, remedy): (UserError.Kind, String, String) = words
        return UserError(kind, what: what, why: why, remedy: remedy)
    }

    private var words: (UserError.Kind, String, String) {
        switch self {
        case .io(let error): Self.words(error)
        case .stream(let error):
            (.failed, error.description, "look at the program at the other end of the pipe")
        case .format(.wrongMagic, let diff, _):
            (.failed, "\(diff) is not a block diff", "name a file that martlet diff create made")
        case .format(let error, let diff, let offset):
            (
                .failed, "\(diff) is damaged: at \(offset): \(error.explanation)",
                "get the diff again from where it was made"
            )
        case .wrongLength(let diff, let found, let expected):
            (
                .failed, "\(diff) has \(found) bytes, its header speaks of \(expected)",
                "get the diff again from where it was made"
            )
        case .trailing(let diff):
            (
                .failed, "\(diff) goes on after its last range",
                "get the diff again from where it was made"
            )
        case .baseMissing(let bytes):
            (
                .badRequest, "the diff is against a base of \(bytes) bytes and none is named",
                "name it with --base"
            )
        case .baseNotWanted(let base):
            (
                .badRequest, "the diff stands for itself and \(base) is named as its base",
                "leave out --base"
            )
        case .wrongBaseSize(let base, let found, let expected):
            (
                .conflict, "\(base) has \(found) bytes, the base of the diff has \(expected)",
                "name the file that the diff was made against"
            )
        default: words2
        }
    }

    private var words2: (UserError.Kind, String, String) {
        switch self {
        case .wrongBase(let base, let found, let expected):
            (
                .conflict,
                "\(base) is not the base of the diff: its digest is \(found), not \(expected)",
                "name the file that the diff was made against"
            )
        case .exists(let path):
            (.conflict, "\(path) exists", "choose another name, or give --force to replace it")
        case .notRegular(let path):
            (.badRequest, "\(path) is not a regular file", "name a regular file")
        case .changed(let path):
            (
                .conflict, "\(path) was written meanwhile",
                "stop what writes to it, or work on a reflink of it, and run this again"
            )
        case .sameFile(let path):
            (.badRequest, "\(path) would be read and replaced", "choose another name")
        case .terminal:
            (.badRequest, "standard output is a terminal", "send it to a file or a pipe")
        default: (.failed, "it was interrupted", "run it again; nothing was left behind")
        }
    }

    private static func words(_ error: HostIOError) -> (UserError.Kind, String, String) {
        let remedy =
            switch error.operation {
            case .open, .stat: "check the path and your rights to it"
            default:
                error.isOutOfSpace ? "make room on its file system" : "look at the disk below it"
            }
        return (error.code == 2 ? .notFound : .failed, error.description, remedy)
    }
}

extension BlockDiffError {
    public init(_ error: ImageFileError) {
        switch error {
        case .io(let error): self = .io(error)
        case .exists(let path): self = .exists(path)
        case .notRegular(let path): self = .notRegular(path)
        }
    }
}

/// Runs `body` with failures of named files as failures of a diff.
func named<Value>(_ body: () throws(ImageFileError) -> Value) throws(BlockDiffError) -> Value {
    do throws(ImageFileError) { return try body() } catch { throw BlockDiffError(error) }
}

/// Calls on files, with this module's error.
func io<Value: ~Copyable>(
    _ body: () throws(HostIOError) -> Value
) throws(BlockDiffError) -> Value {
    do throws(HostIOError) { return try body() } catch { throw .io(error) }
}
