// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A file that somebody named: the open directory it lies in and its name there. Only regular files
// are read or replaced: a device, a pipe or a link of that name is never written through, and never
// taken away.

public import HostIO

/// Why a file that somebody named could not be read or made.
public enum ImageFileError: Error, Equatable, Sendable {
    /// A call on it failed.
    case io(HostIOError)
    /// The name is taken, and not to be replaced.
    case exists(String)
    /// What has the name is no file that could be read or replaced.
    case notRegular(String)
}

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
    func open() throws(ImageFileError) -> (file: Storage.File, facts: FileFacts) {
        // A pipe would be waited for; what a link leads to shows once it is open.
        let found = try onFile { () throws(HostIOError) in try directory.facts(of: name) }
        if let found, found.kind != .regular, found.kind != .symbolicLink {
            throw .notRegular(path)
        }
        let file = try onFile { () throws(HostIOError) in
            try directory.open(name, writable: false)
        }
        let facts = try onFile { () throws(HostIOError) in try file.facts() }
        guard facts.kind == .regular else { throw .notRegular(path) }
        return (file, facts)
    }

    /// What has the name now; refuses what may not be replaced.
    func check(replacing: Bool) throws(ImageFileError) -> FileFacts? {
        let found = try onFile { () throws(HostIOError) in try directory.facts(of: name) }
        guard let found else { return nil }
        guard found.kind == .regular else { throw .notRegular(path) }
        guard replacing else { throw .exists(path) }
        return found
    }
}

extension ImagePlace where Storage == HostDirectory {
    /// A file of the host by its path.
    public init(path: String) throws(ImageFileError) {
        let cut = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let name = String(cut.map { path[path.utf8.index(after: $0)...] } ?? path[...])
        guard !name.isEmpty, name != ".", name != "..", !name.utf8.contains(0) else {
            throw .notRegular(path)
        }
        let parent = cut.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let directory = try onFile { () throws(HostIOError) in
            try HostDirectory.open(path: parent, create: false)
        }
        self.init(directory: directory, name: name, path: path)
    }
}

/// Runs `body` with failures of a call as failures of a file.
func onFile<Value>(_ body: () throws(HostIOError) -> Value) throws(ImageFileError) -> Value {
    do throws(HostIOError) { return try body() } catch { throw .io(error) }
}
