// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Places, holes and sharing of the kernel's files. Which errors mean "not here" is decided in this
// file and nowhere else.

import CLinux
import Glibc
import Primitives

extension FileFacts {
    init(_ status: stat) {
        let kind: Kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .regular
            case S_IFDIR: .directory
            case S_IFLNK: .symbolicLink
            case S_IFBLK: .blockDevice
            default: .other
            }
        self.init(
            kind: kind, device: UInt64(status.st_dev), inode: UInt64(status.st_ino),
            size: UInt64(status.st_size),
            modified: Int64(status.st_mtim.tv_sec) &* 1_000_000_000
                &+ Int64(status.st_mtim.tv_nsec),
            mode: UInt32(status.st_mode & 0o7777))
    }
}

extension HostFile: ExtentFile {
    public func facts() throws(HostIOError) -> FileFacts {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .fromErrno(.stat, path) }
        return FileFacts(status)
    }

    public func extents(
        from offset: UInt64, settled: Bool
    ) throws(HostIOError) -> [FileExtent]? {
        guard clinux_has_comparable_extents(descriptor) == 1 else { return nil }
        let room = Int(CLINUX_EXTENTS_MAX)
        var count: Int32 = 0
        var code: Int32 = 0
        let found = [FileExtent](unsafeUninitializedCapacity: room) { extents, initialized in
            withUnsafeTemporaryAllocation(of: clinux_extent.self, capacity: room) { raw in
                count = retryingInterrupts {
                    clinux_extents(
                        descriptor, offset, UInt64(Int64.max) - offset, settled ? 1 : 0,
                        raw.baseAddress, Int32(room))
                }
                if count < 0 { code = errnoOfFailedCall("the map of extents") }
                for index in 0..<Int(max(0, count)) {
                    let extent = raw[index]
                    extents[index] = FileExtent(
                        logical: extent.logical, physical: extent.physical, length: extent.length,
                        isPlain: withUnsafePointer(to: extent, clinux_extent_is_plain) != 0)
                }
                initialized = Int(max(0, count))
            }
        }
        guard count < 0 else { return found }
        switch code {
        case EOPNOTSUPP, ENOTTY, ENOSYS, EINVAL: return nil
        default: throw HostIOError(.stat, path: path, code: code)
        }
    }

    public func nextData(from offset: UInt64) throws(HostIOError) -> Range<UInt64>? {
        let start = clinux_seek_data(descriptor, off_t(offset))
        if start < 0 && errno == ENXIO { return nil }
        if start < 0 && errno == EINVAL {
            let size = try size()
            return offset < size ? offset..<size : nil
        }
        guard start >= 0 else { throw .fromErrno(.read, path) }
        let end = clinux_seek_hole(descriptor, start)
        // The file was cut between the two calls.
        if end < 0 && errno == ENXIO { return nil }
        guard end >= 0 else { throw .fromErrno(.read, path) }
        return UInt64(start)..<UInt64(max(start, end))
    }

    public func setMode(_ mode: UInt32) throws(HostIOError) {
        guard fchmod(descriptor, mode_t(mode)) == 0 else { throw .fromErrno(.allocate, path) }
    }

    public func punch(at offset: UInt64, count: UInt64) throws(HostIOError) -> Bool {
        precondition(count > 0)
        if retryingInterrupts({ clinux_punch(descriptor, off_t(offset), off_t(count)) }) == 0 {
            return true
        }
        guard errno == EOPNOTSUPP || errno == ENOSYS else { throw .fromErrno(.write, path) }
        return false
    }

    public func share(from source: HostFile) throws(HostIOError) -> Bool {
        if retryingInterrupts({ clinux_clone(descriptor, source.descriptor) }) == 0 { return true }
        switch errno {
        case EOPNOTSUPP, ENOTTY, ENOSYS, EXDEV, EINVAL: return false
        default: throw .fromErrno(.write, path)
        }
    }

    public func copy(
        from source: HostFile, at offset: UInt64, count: UInt64
    ) throws(HostIOError) -> UInt64? {
        precondition(count > 0)
        let copied = retryingInterrupts {
            clinux_copy_range(
                source.descriptor, off_t(offset), descriptor, off_t(offset),
                Int(min(count, 1 << 30)))
        }
        if copied > 0 { return UInt64(copied) }
        if copied == 0 { return nil }
        switch errno {
        case EOPNOTSUPP, ENOSYS, EXDEV, EINVAL: return nil
        default: throw .fromErrno(.write, path)
        }
    }
}

extension HostDirectory: ExtentDirectory {
    public func facts(of name: String) throws(HostIOError) -> FileFacts? {
        Self.check(name)
        var status = stat()
        if fstatat(descriptor, name, &status, AT_SYMLINK_NOFOLLOW) == 0 {
            return FileFacts(status)
        }
        guard errno == ENOENT else { throw .fromErrno(.stat, place(name)) }
        return nil
    }

    public func createForUser(_ name: String) throws(HostIOError) -> HostFile {
        Self.check(name)
        let flags = O_RDWR | O_CREAT | O_EXCL
        let opened = retryingInterrupts { clinux_openat(descriptor, name, flags, 0o666) }
        guard opened >= 0 else { throw .fromErrno(.create, place(name)) }
        return HostFile(owning: opened, path: place(name))
    }
}
