// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Whole-buffer conveniences over the file seam, for small files and cold paths: they allocate.

import Glibc

extension BlockFile {
    /// Writes one buffer.
    public func write(at offset: UInt64, _ bytes: UnsafeRawBufferPointer) throws(HostIOError) {
        var piece = iovec(
            iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
        var failure: HostIOError?
        withUnsafeMutablePointer(to: &piece) { pointer in
            do throws(HostIOError) {
                try write(at: offset, pieces: UnsafeMutableBufferPointer(start: pointer, count: 1))
            } catch { failure = error }
        }
        if let failure { throw failure }
    }

    public func write(at offset: UInt64, _ bytes: [UInt8]) throws(HostIOError) {
        var failure: HostIOError?
        bytes.withUnsafeBytes { buffer in
            do throws(HostIOError) { try write(at: offset, buffer) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// At most `count` bytes from `offset` on; fewer at the end of the file.
    public func read(at offset: UInt64, count: Int) throws(HostIOError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var failure: HostIOError?
        let read = bytes.withUnsafeMutableBytes { buffer -> Int in
            do throws(HostIOError) { return try self.read(at: offset, into: buffer) } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw failure }
        bytes.removeLast(bytes.count - read)
        return bytes
    }
}
