// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The seam to local storage: files and directories with the durability rules of POSIX, nothing
// more. Implementations: `HostDirectory`/`HostFile` (the kernel) and `VolatileDisk` (memory that
// forgets what was not synced). Both pass the suite in Tests/HostIOTests.
//
// Durability: bytes of a file are durable after `sync` of the file; a name (creation, rename, link,
// removal) is durable after `sync` of each directory it touched. Before that a crash may keep it or
// not.

public import Glibc

/// A failed call on local storage: which, on what, and the kernel's reason.
public struct HostIOError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Operation: String, Sendable {
        case open, create, read, write, sync, rename, link, remove, list, lock, allocate, map, stat
        case makeDirectory = "mkdir"
    }

    public let operation: Operation
    public let path: String
    /// The `errno` value.
    public let code: Int32

    public init(_ operation: Operation, path: String, code: Int32) {
        self.operation = operation
        self.path = path
        self.code = code
    }

    /// The disk, or the quota on it, is used up: it may work later.
    public var isOutOfSpace: Bool { code == ENOSPC || code == EDQUOT }

    public var description: String {
        "cannot \(operation.rawValue) \(path) : \(String(cString: strerror(code))) (errno \(code))"
    }
}

/// A file read and written at offsets. A reference: copies name the same open file, which closes
/// with the last one. Calls may come from any thread; ranges written at one time do not overlap.
public protocol BlockFile: AnyObject, Sendable {
    /// Fills `buffer` from `offset` on; fewer bytes only at the end of the file.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(HostIOError)
        -> Int

    /// As `read`, but returns nil instead of waiting for the disk. After a `read` of the same bytes
    /// it returns them, unless they are gone from memory again; where the file system cannot tell,
    /// it waits.
    func readIfCached(
        at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(HostIOError) -> Int?

    /// Writes all pieces at consecutive places with as few system calls as the kernel allows (one
    /// for up to 1,024 pieces). The pieces are modified if a write is partial and are undefined
    /// after.
    func write(
        at offset: UInt64, pieces: UnsafeMutableBufferPointer<iovec>
    ) throws(HostIOError)

    /// Makes all bytes written before the call durable (`fdatasync`). After a failure nothing
    /// written since the last success can be trusted to become durable: the caller must not retry.
    func sync() throws(HostIOError)

    /// Asks the kernel to begin writing a range to disk. A hint: no durability, no error.
    func startWriteback(at offset: UInt64, count: UInt64)

    /// Reserves `count` bytes from the start and sets the size to it. New bytes read as zeros.
    func allocate(_ count: UInt64) throws(HostIOError)

    /// Sets the size without reserving anything: new bytes are a hole and read as zeros.
    func resize(_ size: UInt64) throws(HostIOError)

    func size() throws(HostIOError) -> UInt64

    /// A read-only view of the first `count` bytes, shared with later writes, valid while the file
    /// lives. Repeated calls return the same view.
    func mapping(count: Int) throws(HostIOError) -> UnsafeRawBufferPointer
}

/// A directory. A value or reference that names it by an open descriptor: it stays valid when a
/// parent is renamed. Calls may come from any thread.
public protocol StorageDirectory: Sendable {
    associatedtype File: BlockFile

    /// For messages only.
    var path: String { get }

    /// A number that identifies the directory on its file system (its inode).
    func identity() throws(HostIOError) -> UInt64

    func open(_ name: String, writable: Bool) throws(HostIOError) -> File

    /// Creates a file; fails with EEXIST if the name is taken.
    func create(_ name: String) throws(HostIOError) -> File

    /// Opens a subdirectory, creating it first if `create`. Creation is durable after `sync` of
    /// this one.
    func directory(_ name: String, create: Bool) throws(HostIOError) -> Self

    /// Renames within or across directories, replacing the target.
    func rename(_ name: String, to target: Self, as newName: String) throws(HostIOError)

    /// Makes a second name for a file; fails with EEXIST if it is taken: the atomic
    /// create-if-absent.
    func link(_ name: String, to target: Self, as newName: String) throws(HostIOError)

    /// Removes a file, or an empty directory. Absent is success.
    func remove(_ name: String) throws(HostIOError)

    /// All names but . and .., sorted.
    func list() throws(HostIOError) -> [String]

    func exists(_ name: String) throws(HostIOError) -> Bool

    /// Makes all changes of names in this directory durable.
    func sync() throws(HostIOError)

    /// Takes an exclusive lock that lives as long as the returned value and dies with the process;
    /// nil if another holds it.
    func lock(_ name: String) throws(HostIOError) -> File?

    /// Bytes free for new files, and bytes in all.
    func space() throws(HostIOError) -> (free: UInt64, total: UInt64)
}

extension StorageDirectory {
    /// The whole content of a small file; nil if the name is absent. Fails with EFBIG above
    /// `limit`.
    public func readAll(_ name: String, limit: Int) throws(HostIOError) -> [UInt8]? {
        guard try exists(name) else { return nil }
        let file = try open(name, writable: false)
        let size = try file.size()
        guard size <= UInt64(limit) else {
            throw HostIOError(.read, path: path + "/" + name, code: EFBIG)
        }
        return try file.read(at: 0, count: Int(size))
    }

    /// A subdirectory, made if it is absent, whose name is durable on return. It is synced also
    /// where it exists: who made it may have died before its own sync.
    public func durableDirectory(_ name: String) throws(HostIOError) -> Self {
        let child = try directory(name, create: true)
        try sync()
        return child
    }

    /// Writes a small file so that after return it is durable and whole under its name, and before
    /// it the old content (or absence) was: temporary name, sync, rename, sync of the directory.
    public func replaceDurably(_ name: String, with bytes: [UInt8]) throws(HostIOError) {
        let temporary = name + ".tmp"
        try remove(temporary)
        let file = try create(temporary)
        try file.write(at: 0, bytes)
        try file.sync()
        try rename(temporary, to: self, as: name)
        try sync()
    }
}
