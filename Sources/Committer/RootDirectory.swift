// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The local root of a volume: the exact bytes of its newest published commit, and of the one whose
// publishing is not resolved yet. Owns the folder `root/` of the volume's directory:
//
//   root/<seq>            the newest commit known to be in the store
//   root/<seq>.pending    a commit whose PUT may or may not have happened
//
//   (none) ── writePending ──▶ N.pending ── promote ──▶ N        (N - 1 is removed last)
//                                  └─── discardPending ─▶ (none)
//
// A pending file is durable before its PUT and is never rewritten: only those bytes may ever be
// sent for that number again. A name appears whole or not at all: temporary file, sync, rename,
// sync.

public import Formats
public import HostIO
public import Primitives

/// A commit as it lies in `root/`.
public struct LocalRoot: Equatable, Sendable {
    public let commit: Commit
    /// The object's exact bytes: what was, or will be, PUT.
    public let bytes: [UInt8]

    public init(commit: Commit, bytes: [UInt8]) {
        self.commit = commit
        self.bytes = bytes
    }
}

/// Decodes an object's bytes; `key` is where they were read, nil for a local file.
func decodeCommit(_ bytes: [UInt8], key: CommitKey?) throws(FormatError) -> Commit {
    let result = bytes.withUnsafeBytes { raw -> Result<Commit, FormatError> in
        do throws(FormatError) { return .success(try Commit(decoding: raw, key: key)) } catch {
            return .failure(error)
        }
    }
    return try result.get()
}

/// What a start finds in `root/`.
public struct LocalRoots: Sendable {
    /// The newest published commit, if this host ever held one.
    public let current: LocalRoot?
    /// The commit behind it whose fate is unknown.
    public let pending: LocalRoot?
}

/// The folder `root/` of one volume. One committer at a time calls it.
public struct RootDirectory<Storage: StorageDirectory>: Sendable {
    private let directory: Storage

    /// Opens `root/` inside the volume's directory, creating it durably if it is absent.
    public init(volumeDirectory: Storage) throws(CommitError) {
        do throws(HostIOError) {
            directory = try volumeDirectory.durableDirectory("root")
        } catch { throw .local(error) }
    }

    /// Reads the newest root and the pending commit behind it, and removes what a crash left over:
    /// temporary files, older roots, pending files that were promoted. Fails with `damagedLocal` if
    /// a file that matters does not decode: the caller must then look at the store before it
    /// serves. What it returns is durable: who wrote it may have died before it had synced the
    /// directory, and a root that is acted upon must not go back with the power.
    public func load() throws(CommitError) -> LocalRoots {
        var published: [UInt64] = []
        var pending: [UInt64] = []
        do throws(HostIOError) {
            try directory.sync()
            for name in try directory.list() {
                switch RootName(parsing: name) {
                case .published(let sequence): published.append(sequence)
                case .pending(let sequence): pending.append(sequence)
                case .temporary: try directory.remove(name)
                case nil: continue
                }
            }
        } catch { throw .local(error) }
        let newest = published.max()
        let unresolved = pending.filter { $0 > newest ?? 0 }.max()
        let current = try newest.map { sequence throws(CommitError) in
            try read(RootName.published(sequence), sequence)
        }
        let waiting = try unresolved.map { sequence throws(CommitError) in
            try read(RootName.pending(sequence), sequence)
        }
        do throws(HostIOError) {
            for sequence in published where sequence != newest {
                try directory.remove(RootName.published(sequence).text)
            }
            for sequence in pending where sequence != unresolved {
                try directory.remove(RootName.pending(sequence).text)
            }
        } catch { throw .local(error) }
        return LocalRoots(current: current, pending: waiting)
    }

    /// Step 3 of publishing: the bytes are durable under `<seq>.pending` on return.
    public func writePending(
        _ sequence: CommitSequence, bytes: [UInt8]
    ) throws(CommitError) {
        try replace(RootName.pending(sequence.rawValue), with: bytes)
    }

    /// Step 5 of publishing: the pending commit becomes the root, durably; then older roots go.
    /// A second name first and the old one removed later, not a rename: no crash, on any file
    /// system, may leave neither. A second call for the same number is harmless. A pending name
    /// that comes back after a crash is recognised by the root beside it.
    public func promote(_ sequence: CommitSequence) throws(CommitError) {
        let target = RootName.published(sequence.rawValue).text
        let source = RootName.pending(sequence.rawValue).text
        do throws(HostIOError) {
            // Not a rename: after a crash a file system may show neither of its names, and a commit
            // that the store holds would be forgotten here.
            if try !directory.exists(target) {
                try directory.link(source, to: directory, as: target)
            }
            try directory.sync()
            try directory.remove(source)
            try removeRoots(olderThan: sequence.rawValue)
        } catch { throw .local(error) }
    }

    /// Takes a commit that the store already holds as the local root, durably; then older roots go.
    /// For a claim, and for the first attach on a machine.
    public func adopt(_ sequence: CommitSequence, bytes: [UInt8]) throws(CommitError) {
        try replace(RootName.published(sequence.rawValue), with: bytes)
        do throws(HostIOError) { try removeRoots(olderThan: sequence.rawValue) } catch {
            throw .local(error)
        }
    }

    /// Forgets a pending commit that lost its number to another writer. Only for one that is
    /// fenced: an unresolved one must be kept.
    public func discardPending(_ sequence: CommitSequence) throws(CommitError) {
        do throws(HostIOError) {
            try directory.remove(RootName.pending(sequence.rawValue).text)
            try directory.sync()
        } catch { throw .local(error) }
    }

    /// Removes all roots, durably: the next attach must ask the store.
    public func removeAll() throws(CommitError) {
        do throws(HostIOError) {
            for name in try directory.list() { try directory.remove(name) }
            try directory.sync()
        } catch { throw .local(error) }
    }

    private func replace(_ name: RootName, with bytes: [UInt8]) throws(CommitError) {
        do throws(HostIOError) { try directory.replaceDurably(name.text, with: bytes) } catch {
            throw .local(error)
        }
    }

    private func removeRoots(olderThan sequence: UInt64) throws(HostIOError) {
        for name in try directory.list() {
            if case .published(let other) = RootName(parsing: name), other < sequence {
                try directory.remove(name)
            }
        }
    }

    private func read(_ name: RootName, _ sequence: UInt64) throws(CommitError) -> LocalRoot {
        let bytes: [UInt8]
        do throws(HostIOError) {
            bytes = try directory.readAll(name.text, limit: CommitLimits.commitBytesMax) ?? []
        } catch { throw .local(error) }
        let commit: Commit
        do throws(FormatError) { commit = try decodeCommit(bytes, key: nil) } catch {
            throw .damagedLocal(path: "\(directory.path)/\(name.text)", error)
        }
        guard commit.sequence.rawValue == sequence else {
            throw .misplaced(
                name: "\(directory.path)/\(name.text)", expected: sequence,
                found: commit.sequence.rawValue)
        }
        return LocalRoot(commit: commit, bytes: bytes)
    }
}

/// A name in `root/`.
enum RootName: Equatable {
    case published(UInt64)
    case pending(UInt64)
    case temporary

    init?(parsing text: String) {
        if text.hasSuffix(".tmp") {
            self = .temporary
            return
        }
        let digits = text.hasSuffix(".pending") ? String(text.dropLast(8)) : text
        // The canonical form alone, so that no two names mean one number.
        guard let sequence = UInt64(digits), String(sequence) == digits, sequence > 0 else {
            return nil
        }
        self = digits.count == text.count ? .published(sequence) : .pending(sequence)
    }

    var text: String {
        switch self {
        case .published(let sequence): String(sequence)
        case .pending(let sequence): "\(sequence).pending"
        case .temporary: ".tmp"
        }
    }
}
