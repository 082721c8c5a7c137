// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A file of the kernel. Owns its descriptor and at most one read-only mapping; both end with the
// last reference. Short transfers are completed here, so that callers never see one except at the
// end of the file.

import CLinux
public import Glibc
import Primitives
import Synchronization

/// An open file of the host. Thread-safe: the kernel orders what overlaps, we keep no position.
public final class HostFile: BlockFile {
    let descriptor: Int32
    let path: String
    /// The one mapping of this file, made on first request.
    private let view = Lock<MappedView?>(nil)
    /// Set once the file system refused RWF_NOWAIT, so that the call is not made in vain again.
    /// Relaxed: it is a hint and publishes nothing.
    private let refusesNoWait = Atomic<Bool>(false)

    /// Most pieces the kernel takes in one call (UIO_MAXIOV).
    private static let piecesMax = 1024

    private struct MappedView: @unchecked Sendable {
        // Confined: guarded by the mutex around it; the bytes are only read.
        let bytes: UnsafeRawBufferPointer
    }

    /// Takes over an open descriptor.
    init(owning descriptor: Int32, path: String) {
        precondition(descriptor >= 0)
        self.descriptor = descriptor
        self.path = path
    }

    deinit {
        view.withLock { view in
            if let bytes = view?.bytes {
                munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
            }
        }
        _ = close(descriptor)
    }

    public func read(
        at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(HostIOError) -> Int {
        var done = 0
        while done < buffer.count {
            let count = retryingInterrupts {
                pread(
                    descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done,
                    off_t(offset) + off_t(done))
            }
            guard count >= 0 else { throw .fromErrno(.read, path) }
            if count == 0 { break }
            done += count
        }
        return done
    }

    public func readIfCached(
        at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(HostIOError) -> Int? {
        if refusesNoWait.load(ordering: .relaxed) { return try read(at: offset, into: buffer) }
        var done = 0
        while done < buffer.count {
            let count = retryingInterrupts {
                clinux_pread_nowait(
                    descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done,
                    off_t(offset) + off_t(done))
            }
            if count < 0 {
                switch errno {
                case EAGAIN: return nil
                case EOPNOTSUPP, ENOSYS, EINVAL:
                    // tmpfs, overlayfs and FUSE do. Then this waits if it must: whoever got nil
                    // and had the pages read would get it again, for ever.
                    refusesNoWait.store(true, ordering: .relaxed)
                    return try read(at: offset, into: buffer)
                default: throw .fromErrno(.read, path)
                }
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    public func write(
        at offset: UInt64, pieces: UnsafeMutableBufferPointer<iovec>
    ) throws(HostIOError) {
        var place = off_t(offset)
        var first = 0
        while true {
            while first < pieces.count && pieces[first].iov_len == 0 { first += 1 }
            guard first < pieces.count else { return }
            let count = min(pieces.count - first, Self.piecesMax)
            let start = pieces.baseAddress?.advanced(by: first)
            let written = retryingInterrupts {
                clinux_pwritev(descriptor, start, Int32(count), place)
            }
            guard written >= 0 else { throw .fromErrno(.write, path) }
            // Progress is certain: a write of at least one byte returns zero on no Linux file
            // system.
            precondition(written > 0, "the kernel wrote nothing and reported no error")
            place += off_t(written)
            first = Self.advance(pieces, from: first, by: written)
        }
    }

    /// Cuts `count` bytes off the front of the pieces; returns the first that is left.
    private static func advance(
        _ pieces: UnsafeMutableBufferPointer<iovec>, from start: Int, by count: Int
    ) -> Int {
        var index = start
        var left = count
        while left > 0 && left >= pieces[index].iov_len {
            left -= pieces[index].iov_len
            index += 1
        }
        if left > 0 {
            pieces[index].iov_base = pieces[index].iov_base?.advanced(by: left)
            pieces[index].iov_len -= left
        }
        return index
    }

    public func sync() throws(HostIOError) {
        // EINTR is not repeated blindly elsewhere, but fdatasync keeps its error state until
        // reported, so an interrupted one loses nothing.
        guard retryingInterrupts({ fdatasync(descriptor) }) == 0 else {
            throw .fromErrno(.sync, path)
        }
    }

    public func startWriteback(at offset: UInt64, count: UInt64) {
        _ = clinux_start_writeback(descriptor, off_t(offset), off_t(count))
    }

    public func allocate(_ count: UInt64) throws(HostIOError) {
        // Reserved first, so that a full disk leaves the size as it was. A file system that cannot
        // reserve (NFS before 4.2, some FUSE ones) still gets the size.
        if count > 0 && retryingInterrupts({ clinux_fallocate(descriptor, off_t(count)) }) != 0
            && errno != EOPNOTSUPP && errno != ENOSYS
        {
            throw .fromErrno(.allocate, path)
        }
        try resize(count)
    }

    public func resize(_ size: UInt64) throws(HostIOError) {
        guard let length = off_t(exactly: size) else {
            throw HostIOError(.allocate, path: path, code: EFBIG)
        }
        guard retryingInterrupts({ ftruncate(descriptor, length) }) == 0 else {
            throw .fromErrno(.allocate, path)
        }
    }

    public func size() throws(HostIOError) -> UInt64 {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .fromErrno(.stat, path) }
        return UInt64(status.st_size)
    }

    public func mapping(count: Int) throws(HostIOError) -> UnsafeRawBufferPointer {
        precondition(count > 0)
        return try view.withLock { view throws(HostIOError) -> MappedView in
            if let known = view {
                precondition(known.bytes.count == count, "a file is mapped with one length")
                return known
            }
            guard let start = mmap(nil, count, PROT_READ, MAP_SHARED, descriptor, 0),
                start != MAP_FAILED
            else { throw .fromErrno(.map, path) }
            let made = MappedView(bytes: UnsafeRawBufferPointer(start: start, count: count))
            view = made
            return made
        }.bytes
    }
}
