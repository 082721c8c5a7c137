// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Descriptors that take bytes in order.

import Glibc
import Primitives
import TestSupport
import Testing

@testable import HostIO

@Suite("a stream takes bytes in order, however slowly they are read")
struct HostStreamTests {
    @Test("more than a pipe holds comes out whole at the other end")
    func slowReader() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let (input, output) = (ends[0], ends[1])
        let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 / 251) }
        let writer = try RacingThreads(count: 1) { _ in
            defer { close(output) }
            let stream = HostStream(descriptor: output, name: "pipe")
            try bytes.withUnsafeBytes { try stream.write($0) }
        }
        var found: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 3000)
        while true {
            let count = read(input, &part, part.count)
            if count <= 0 { break }
            found += part[..<count]
        }
        try writer.join()
        close(input)
        #expect(found.elementsEqual(bytes))
    }

    @Test("a descriptor that takes nothing is an error with its name")
    func full() throws {
        let full = open("/dev/full", O_WRONLY)
        defer { close(full) }
        let stream = HostStream(descriptor: full, name: "the stream")
        let bytes: [UInt8] = [1]
        #expect(throws: HostIOError(.write, path: "the stream", code: ENOSPC)) {
            try bytes.withUnsafeBytes { try stream.write($0) }
        }
    }
}
