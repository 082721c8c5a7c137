// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A directory of the kernel, held by descriptor: every call is an `...at` call relative to it, so
// it means the same directory whatever happens to the names above it.

import CLinux
import Glibc

/// An open directory of the host. New files and directories are private to the user.
public final class HostDirectory: StorageDirectory {
    public typealias File = HostFile

    public let path: String
    let descriptor: Int32

    private init(owning descriptor: Int32, path: String) {
        precondition(descriptor >= 0)
        self.descriptor = descriptor
        self.path = path
    }

    deinit { _ = close(descriptor) }

    /// Opens a directory by path. With `create`, missing ones are made, parents too, and are
    /// durable on return.
    public static func open(path: String, create: Bool) throws(HostIOError) -> HostDirectory {
        precondition(!path.isEmpty)
        let flags = O_RDONLY | O_DIRECTORY
        let opened = retryingInterrupts { clinux_openat(AT_FDCWD, path, flags, 0) }
        if opened >= 0 {
            let directory = HostDirectory(owning: opened, path: path == "/" ? "" : path)
            if create { try directory.syncName() }
            return directory
        }
        guard create && errno == ENOENT else { throw .fromErrno(.open, path) }

        let names = path.split(separator: "/")
        let start = path.hasPrefix("/") ? "/" : "."
        let first = retryingInterrupts { clinux_openat(AT_FDCWD, start, flags, 0) }
        guard first >= 0 else { throw .fromErrno(.open, start) }
        var current = HostDirectory(owning: first, path: start == "/" ? "" : start)
        for name in names where name != "." {
            current = try current.durableDirectory(String(name))
        }
        return current
    }

    /// Syncs the parent: who made this directory may have died before its own sync. Where the
    /// parent may not be read, or its file system takes no syncs, it was not made by us.
    private func syncName() throws(HostIOError) {
        let parent = retryingInterrupts {
            clinux_openat(descriptor, "..", O_RDONLY | O_DIRECTORY, 0)
        }
        if parent < 0 && errno == EACCES { return }
        guard parent >= 0 else { throw .fromErrno(.open, path + "/..") }
        do throws(HostIOError) {
            try HostDirectory(owning: parent, path: path + "/..").sync()
        } catch {
            guard error.code == EINVAL || error.code == EROFS else { throw error }
        }
    }

    func place(_ name: String) -> String { path + "/" + name }

    static func check(_ name: String) {
        precondition(
            !name.isEmpty && !name.utf8.contains(UInt8(ascii: "/")) && !name.utf8.contains(0),
            "a name is one component")
    }

    public func identity() throws(HostIOError) -> UInt64 {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .fromErrno(.stat, path) }
        return UInt64(status.st_ino)
    }

    public func open(_ name: String, writable: Bool) throws(HostIOError) -> HostFile {
        Self.check(name)
        let flags = writable ? O_RDWR : O_RDONLY
        let opened = retryingInterrupts { clinux_openat(descriptor, name, flags, 0) }
        guard opened >= 0 else { throw .fromErrno(.open, place(name)) }
        let file = HostFile(owning: opened, path: place(name))
        // The kernel opens a directory for reading without complaint.
        var status = stat()
        guard fstat(opened, &status) == 0 else { throw .fromErrno(.stat, place(name)) }
        guard status.st_mode & S_IFMT != S_IFDIR else {
            throw HostIOError(.open, path: place(name), code: EISDIR)
        }
        return file
    }

    public func create(_ name: String) throws(HostIOError) -> HostFile {
        Self.check(name)
        let flags = O_RDWR | O_CREAT | O_EXCL
        let opened = retryingInterrupts { clinux_openat(descriptor, name, flags, 0o600) }
        guard opened >= 0 else { throw .fromErrno(.create, place(name)) }
        return HostFile(owning: opened, path: place(name))
    }

    public func directory(_ name: String, create: Bool) throws(HostIOError) -> HostDirectory {
        Self.check(name)
        if create && mkdirat(descriptor, name, 0o700) != 0 && errno != EEXIST {
            throw .fromErrno(.makeDirectory, place(name))
        }
        let flags = O_RDONLY | O_DIRECTORY
        let opened = retryingInterrupts { clinux_openat(descriptor, name, flags, 0) }
        guard opened >= 0 else { throw .fromErrno(.open, place(name)) }
        return HostDirectory(owning: opened, path: place(name))
    }

    public func rename(
        _ name: String, to target: HostDirectory, as newName: String
    ) throws(HostIOError) {
        Self.check(name)
        Self.check(newName)
        guard renameat(descriptor, name, target.descriptor, newName) == 0 else {
            throw .fromErrno(.rename, place(name))
        }
    }

    public func link(
        _ name: String, to target: HostDirectory, as newName: String
    ) throws(HostIOError) {
        Self.check(name)
        Self.check(newName)
        guard linkat(descriptor, name, target.descriptor, newName, 0) == 0 else {
            throw .fromErrno(.link, target.place(newName))
        }
    }

    public func remove(_ name: String) throws(HostIOError) {
        Self.check(name)
        if unlinkat(descriptor, name, 0) == 0 || errno == ENOENT { return }
        if errno == EISDIR {
            if unlinkat(descriptor, name, AT_REMOVEDIR) == 0 || errno == ENOENT { return }
        }
        throw .fromErrno(.remove, place(name))
    }

    public func list() throws(HostIOError) -> [String] {
        // A descriptor of its own: the stream owns it and its position.
        let opened = retryingInterrupts {
            clinux_openat(descriptor, ".", O_RDONLY | O_DIRECTORY, 0)
        }
        guard opened >= 0 else { throw .fromErrno(.list, path) }
        guard let stream = fdopendir(opened) else {
            let failure = HostIOError.fromErrno(.list, path)
            _ = close(opened)
            throw failure
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                guard errno == 0 else { throw .fromErrno(.list, path) }
                return names.sorted()
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
    }

    public func exists(_ name: String) throws(HostIOError) -> Bool {
        Self.check(name)
        var status = stat()
        if fstatat(descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 { return true }
        guard errno == ENOENT else { throw .fromErrno(.stat, place(name)) }
        return false
    }

    public func sync() throws(HostIOError) {
        guard retryingInterrupts({ fsync(descriptor) }) == 0 else { throw .fromErrno(.sync, path) }
    }

    public func lock(_ name: String) throws(HostIOError) -> HostFile? {
        Self.check(name)
        let opened = retryingInterrupts {
            clinux_openat(descriptor, name, O_RDWR | O_CREAT, 0o600)
        }
        guard opened >= 0 else { throw .fromErrno(.lock, place(name)) }
        let file = HostFile(owning: opened, path: place(name))
        if retryingInterrupts({ clinux_try_lock(opened) }) == 0 { return file }
        guard errno == EWOULDBLOCK else { throw .fromErrno(.lock, place(name)) }
        return nil
    }

    public func space() throws(HostIOError) -> (free: UInt64, total: UInt64) {
        var status = statvfs()
        guard retryingInterrupts({ fstatvfs(descriptor, &status) }) == 0 else {
            throw .fromErrno(.stat, path)
        }
        let unit = UInt64(status.f_frsize)
        return (UInt64(status.f_bavail) * unit, UInt64(status.f_blocks) * unit)
    }
}
