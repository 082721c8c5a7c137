// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Standard input and output of the process, for tools that are one end of a pipe.

import Glibc

/// A descriptor that is read or written in order. It stays open: it is the process's.
public struct HostStream: Sendable {
    public static let input = HostStream(descriptor: STDIN_FILENO, name: "standard input")
    public static let output = HostStream(descriptor: STDOUT_FILENO, name: "standard output")

    private let descriptor: Int32
    public let name: String

    init(descriptor: Int32, name: String) {
        self.descriptor = descriptor
        self.name = name
    }

    public var isTerminal: Bool { isatty(descriptor) == 1 }

    /// Fills `buffer`; fewer bytes only at the end.
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws(HostIOError) -> Int {
        var done = 0
        while done < buffer.count {
            let count = retryingInterrupts {
                Glibc.read(
                    descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done)
            }
            guard count >= 0 else { throw .fromErrno(.read, name) }
            if count == 0 { break }
            done += count
        }
        return done
    }

    public func write(_ bytes: UnsafeRawBufferPointer) throws(HostIOError) {
        var done = 0
        while done < bytes.count {
            let count = retryingInterrupts {
                Glibc.write(descriptor, bytes.baseAddress?.advanced(by: done), bytes.count - done)
            }
            guard count >= 0 else { throw .fromErrno(.write, name) }
            done += count
        }
    }
}
