// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where the bytes of a diff come from: a file or a pipe, in order.

import Formats
import HostIO

/// Bytes of a diff, in order.
protocol DiffSource {
    /// For messages.
    var name: String { get }
    /// Bytes in all; nil where only the end will tell.
    var byteCount: UInt64? { get }
    /// Where the next byte lies.
    var offset: UInt64 { get }
    /// Fills `buffer`; fewer bytes only at the end.
    mutating func read(into buffer: UnsafeMutableRawBufferPointer) throws(BlockDiffError) -> Int
    /// Goes past bytes that nobody needs; true if they are there.
    mutating func skip(_ count: UInt64) throws(BlockDiffError) -> Bool
}

struct FileSource<File: ExtentFile>: DiffSource {
    let file: File
    let name: String
    let byteCount: UInt64?
    private(set) var offset: UInt64 = 0

    init(_ file: File, name: String) throws(BlockDiffError) {
        self.file = file
        self.name = name
        byteCount = try io { () throws(HostIOError) in try file.size() }
    }

    mutating func read(
        into buffer: UnsafeMutableRawBufferPointer
    ) throws(BlockDiffError) -> Int {
        let place = offset
        let count = try io { () throws(HostIOError) in try file.read(at: place, into: buffer) }
        offset += UInt64(count)
        return count
    }

    mutating func skip(_ count: UInt64) throws(BlockDiffError) -> Bool {
        guard let byteCount, count <= byteCount - min(offset, byteCount) else { return false }
        offset += count
        return true
    }
}

struct StreamSource: DiffSource {
    let stream: HostStream
    private(set) var offset: UInt64 = 0

    init(_ stream: HostStream) { self.stream = stream }

    var name: String { stream.name }
    var byteCount: UInt64? { nil }

    mutating func read(
        into buffer: UnsafeMutableRawBufferPointer
    ) throws(BlockDiffError) -> Int {
        do throws(HostIOError) {
            let count = try stream.read(into: buffer)
            offset += UInt64(count)
            return count
        } catch { throw .stream(error) }
    }

    mutating func skip(_ count: UInt64) throws(BlockDiffError) -> Bool {
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 16)
        defer { room.deallocate() }
        var left = count
        while left > 0 {
            let part = UnsafeMutableRawBufferPointer(rebasing: room[..<Int(min(left, 1 << 16))])
            guard try read(into: part) == part.count else { return false }
            left -= UInt64(part.count)
        }
        return true
    }
}

/// Bytes in runs of whole blocks that are all zeros, or not.
enum Runs {
    private static let blockBytes: UInt64 = 4096

    static func forEach<Failure: Error>(
        of bytes: UnsafeRawBufferPointer, at place: UInt64,
        _ body: (UnsafeRawBufferPointer, UInt64, _ isZero: Bool) throws(Failure) -> Void
    ) throws(Failure) {
        var start = 0
        var wasZero = false
        var offset = 0
        while offset < bytes.count {
            // Up to the end of the block of the file, which the bytes may begin inside of.
            let inside = (place + UInt64(offset)) % blockBytes
            let count = min(bytes.count - offset, Int(blockBytes - inside))
            let isZero =
                count == Int(blockBytes)
                && Blocks.areZero(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count]))
            if isZero != wasZero {
                if offset > start {
                    let run = UnsafeRawBufferPointer(rebasing: bytes[start..<offset])
                    try body(run, place + UInt64(start), wasZero)
                }
                start = offset
                wasZero = isZero
            }
            offset += count
        }
        if offset > start {
            let run = UnsafeRawBufferPointer(rebasing: bytes[start..<offset])
            try body(run, place + UInt64(start), wasZero)
        }
    }
}
