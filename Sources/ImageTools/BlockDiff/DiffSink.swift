// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where the bytes of a diff go, of files as of volumes: a new file or a stream, in order.

public import HostIO

/// Somewhere to write in order that cannot be read or sought.
public protocol ByteStream: Sendable {
    /// Writes all of it, however long that takes.
    func write(_ bytes: UnsafeRawBufferPointer) throws(HostIOError)
}

extension HostStream: ByteStream {}

/// Takes the bytes of a diff, in order.
protocol DiffSink {
    /// A failure is that of whoever reads the stream.
    static var isStream: Bool { get }
    mutating func write(_ bytes: UnsafeRawBufferPointer) throws(HostIOError)
    mutating func writeZeros(_ count: UInt64) throws(HostIOError)
    /// After the last byte.
    mutating func finish() throws(HostIOError)
}

extension DiffSink {
    mutating func write(_ bytes: [UInt8]) throws(HostIOError) {
        var failure: HostIOError?
        bytes.withUnsafeBytes {
            do throws(HostIOError) { try write($0) } catch { failure = error }
        }
        if let failure { throw failure }
    }
}

/// Writes a new file. Zeros become holes where whole blocks of the file have nothing else.
struct FileSink<File: BlockFile>: DiffSink {
    static var isStream: Bool { false }

    let file: File
    private(set) var offset: UInt64 = 0

    init(_ file: File) { self.file = file }

    mutating func write(_ bytes: UnsafeRawBufferPointer) throws(HostIOError) {
        try Runs.forEach(of: bytes, at: offset) { (run, place, isZero) throws(HostIOError) in
            if !isZero { try file.write(at: place, run) }
        }
        offset += UInt64(bytes.count)
    }

    mutating func writeZeros(_ count: UInt64) { offset += count }

    mutating func finish() throws(HostIOError) { try file.resize(offset) }
}

struct StreamSink<Stream: ByteStream>: DiffSink {
    static var isStream: Bool { true }

    let stream: Stream

    func write(_ bytes: UnsafeRawBufferPointer) throws(HostIOError) { try stream.write(bytes) }

    mutating func writeZeros(_ count: UInt64) throws(HostIOError) {
        let zeros = [UInt8](repeating: 0, count: Int(min(count, 1 << 20)))
        var left = count
        while left > 0 {
            let part = Int(min(left, UInt64(zeros.count)))
            try write(part == zeros.count ? zeros : Array(zeros[..<part]))
            left -= UInt64(part)
        }
    }

    func finish() {}
}
