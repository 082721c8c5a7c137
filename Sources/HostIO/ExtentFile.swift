// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What image tools ask of files and directories beyond the storage seam: places of bytes, holes,
// sharing. Implementations: the host's files and those of a `VolatileDisk` with extents. What a
// file system cannot do is an answer (nil, false), never an error: the caller has another way.

/// What a name or an open file is.
public struct FileFacts: Equatable, Sendable {
    public enum Kind: Sendable { case regular, directory, symbolicLink, blockDevice, other }

    public var kind: Kind
    /// The file system it lies on.
    public var device: UInt64
    public var inode: UInt64
    public var size: UInt64
    /// Of the last write of its content, in nanoseconds since 1970.
    public var modified: Int64
    /// Permission bits.
    public var mode: UInt32

    public init(
        kind: Kind, device: UInt64, inode: UInt64, size: UInt64, modified: Int64, mode: UInt32
    ) {
        self.kind = kind
        self.device = device
        self.inode = inode
        self.size = size
        self.modified = modified
        self.mode = mode
    }
}

/// A run of a file's bytes and where the file system keeps them.
public struct FileExtent: Equatable, Sendable {
    /// In the file.
    public var logical: UInt64
    /// On the file system. Two plain extents of one file system with equal addresses hold equal
    /// bytes.
    public var physical: UInt64
    public var length: UInt64
    /// False if the address does not say which bytes are read: unknown, not chosen yet, shared with
    /// other data, compressed, encrypted, never written.
    public var isPlain: Bool

    public init(logical: UInt64, physical: UInt64, length: UInt64, isPlain: Bool) {
        self.logical = logical
        self.physical = physical
        self.length = length
        self.isPlain = isPlain
    }

    public var end: UInt64 { logical + length }
}

/// A file that image tools read or make.
public protocol ExtentFile: BlockFile {
    func facts() throws(HostIOError) -> FileFacts

    /// The next extents that reach beyond `offset`, ascending, some at a time; what lies between
    /// them is holes. Empty after the last; nil where the file system does not say, or not so that
    /// addresses of two files can be compared. With `settled`, what is in memory gets its place
    /// first.
    func extents(from offset: UInt64, settled: Bool) throws(HostIOError) -> [FileExtent]?

    /// The next bytes at or after `offset` that are not a hole; nil after the last. A file system
    /// without holes answers all bytes up to the end.
    func nextData(from offset: UInt64) throws(HostIOError) -> Range<UInt64>?

    func setMode(_ mode: UInt32) throws(HostIOError)

    /// Frees a range inside the file, so that it reads as zeros; false if that cannot be done here.
    func punch(at offset: UInt64, count: UInt64) throws(HostIOError) -> Bool

    /// Takes over all bytes of `source` without copying them; false if that cannot be done here.
    func share(from source: Self) throws(HostIOError) -> Bool

    /// Copies bytes inside the kernel, as many as go at once, at least one; nil if that cannot be
    /// done here, or the source ends before.
    func copy(from source: Self, at offset: UInt64, count: UInt64) throws(HostIOError) -> UInt64?
}

/// A directory with files of people: what is made in it is theirs to read as they have it set.
public protocol ExtentDirectory: StorageDirectory where File: ExtentFile {
    /// What has this name, without following a symbolic link; nil if it is free.
    func facts(of name: String) throws(HostIOError) -> FileFacts?

    /// As `create`, but with the permissions that the user's mask leaves.
    func createForUser(_ name: String) throws(HostIOError) -> File
}
