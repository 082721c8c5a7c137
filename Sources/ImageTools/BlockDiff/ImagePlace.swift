// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A file that somebody named: the open directory it lies in and its name there. New files come to
// be under a temporary name beside their own, and get it when they are whole and durable.

public import HostIO

/// A name in a directory.
public struct ImagePlace<Storage: ExtentDirectory>: Sendable {
    public let directory: Storage
    public let name: String
    /// As it was given, for messages.
    public let path: String

    public init(directory: Storage, name: String, path: String) {
        self.directory = directory
        self.name = name
        self.path = path
    }

    /// Opens the file and says what it is. Only regular files are images here.
    func open() throws(BlockDiffError) -> (file: Storage.File, facts: FileFacts) {
        // A pipe would be waited for; what a link leads to shows once it is open.
        let found = try io { () throws(HostIOError) in try directory.facts(of: name) }
        if let found, found.kind != .regular, found.kind != .symbolicLink {
            throw .notRegular(path)
        }
        let file = try io { () throws(HostIOError) in
            try directory.open(name, writable: false)
        }
        let facts = try io { () throws(HostIOError) in try file.facts() }
        guard facts.kind == .regular else { throw .notRegular(path) }
        return (file, facts)
    }

    /// What has the name now; refuses what may not be replaced.
    func check(replacing: Bool) throws(BlockDiffError) -> FileFacts? {
        let found = try io { () throws(HostIOError) in try directory.facts(of: name) }
        guard let found else { return nil }
        guard found.kind == .regular else { throw .notRegular(path) }
        guard replacing else { throw .exists(path) }
        return found
    }

    /// Makes a file that has the name once `body` and a sync succeeded, and leaves nothing behind
    /// if not. A crash may leave the temporary file, never part of the content under the name.
    ///
    /// - Parameters:
    ///   - replacing: a regular file of that name gives way at once, and leaves its permissions.
    ///   - mode: permissions where no file gives way; nil: what the user's mask leaves.
    ///   - token: makes the temporary name a new one.
    func write<Value>(
        replacing: Bool, mode: UInt32?, token: UInt64,
        _ body: (Storage.File) throws(BlockDiffError) -> Value
    ) throws(BlockDiffError) -> Value {
        let before = try check(replacing: replacing)
        let temporary = ".martlet-\(String(token, radix: 16)).tmp"
        let file = try io { () throws(HostIOError) in try directory.createForUser(temporary) }
        do throws(BlockDiffError) {
            if let mode = before?.mode ?? mode {
                try io { () throws(HostIOError) in try file.setMode(mode & 0o777) }
            }
            let value = try body(file)
            try io { () throws(HostIOError) in try file.sync() }
            try publish(temporary, replacing: replacing)
            return value
        } catch {
            try? directory.remove(temporary)
            throw error
        }
    }

    private func publish(_ temporary: String, replacing: Bool) throws(BlockDiffError) {
        do throws(HostIOError) {
            if replacing {
                try directory.rename(temporary, to: directory, as: name)
            } else {
                // A second name is refused where somebody else took it meanwhile.
                try directory.link(temporary, to: directory, as: name)
                try directory.remove(temporary)
            }
            try directory.sync()
        } catch {
            guard !replacing, error.operation == .link else { throw .io(error) }
            // EEXIST; anything else: a file system that gives a file one name only.
            guard error.code != 17, try check(replacing: false) == nil else { throw .exists(path) }
            try io { () throws(HostIOError) in
                try directory.rename(temporary, to: directory, as: name)
                try directory.sync()
            }
        }
    }
}

extension ImagePlace where Storage == HostDirectory {
    /// A file of the host by its path.
    public init(path: String) throws(BlockDiffError) {
        let cut = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let name = String(cut.map { path[path.utf8.index(after: $0)...] } ?? path[...])
        guard !name.isEmpty, name != ".", name != "..", !name.utf8.contains(0) else {
            throw .notRegular(path)
        }
        let parent = cut.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let directory = try io { () throws(HostIOError) in
            try HostDirectory.open(path: parent, create: false)
        }
        self.init(directory: directory, name: name, path: path)
    }
}
