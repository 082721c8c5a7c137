// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A raw image: the disk's bytes are the file's. Holes are found by the file system; what is zeros
// without being a hole is found by whoever reads it. A file that ends inside a sector is read as if
// zeros followed.

public import HostIO
public import Primitives

/// A raw image over an open file. The file must not change while it is read.
public final class RawDisk<File: ExtentFile>: DiskImage {
    private let file: File
    private let fileBytes: UInt64
    public let size: ByteCount

    public var format: String { "raw" }
    public var pieceBytes: Int { Limits.grainBytes }

    /// Fails with `damaged` for an empty file.
    public init(_ file: File) throws(ImageError) {
        self.file = file
        do throws(HostIOError) { fileBytes = try file.size() } catch { throw .file(error) }
        guard fileBytes > 0 else { throw .damaged(detail: "it is empty") }
        let sector = UInt64(Limits.sectorBytes)
        size = ByteCount((fileBytes + sector - 1) / sector * sector)
    }

    public func nextData(from offset: UInt64) throws(ImageError) -> Range<UInt64>? {
        do throws(HostIOError) {
            guard let range = try file.nextData(from: offset) else { return nil }
            let clamped = range.clamped(to: offset..<max(offset, fileBytes))
            return clamped.isEmpty ? nil : clamped
        } catch { throw .file(error) }
    }

    public func read(
        at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ImageError) {
        precondition(offset + UInt64(buffer.count) <= size.rawValue)
        let count: Int
        do throws(HostIOError) { count = try file.read(at: offset, into: buffer) } catch {
            throw .file(error)
        }
        guard offset + UInt64(count) >= min(offset + UInt64(buffer.count), fileBytes) else {
            throw .damaged(detail: "it became shorter while it was read")
        }
        UnsafeMutableRawBufferPointer(rebasing: buffer[count...]).clear()
    }
}
