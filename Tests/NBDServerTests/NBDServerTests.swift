// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The transmission phase as a well-behaved client sees it.

import BlockDevice
import NBDProtocol
import NBDServer
import Testing

/// Runs `body` with a server and stops it in the end.
func withServer(
    _ disks: [TestDisk] = [TestDisk("disk")], shards: Int = 1,
    sessions: SessionOptions = SessionOptions(),
    negotiation: NegotiationOptions = NegotiationOptions(),
    _ body: (TestServer) throws -> Void
) throws {
    let server = try TestServer(
        disks, shards: shards, sessions: sessions, negotiation: negotiation)
    defer { server.stop() }
    try body(server)
}

@Suite("A session") struct SessionTests {
    @Test("reads what was written, at any alignment and length", arguments: [false, true])
    func roundTrip(tcp: Bool) throws {
        try withServer { server in
            let client = try RawClient(server, tcp: tcp)
            try client.open("disk")
            let places = [
                (0, 512), (511, 1), (4095, 2), (8192, 4096), (70_000, 131_072),
                (1 << 20, 1 << 20), (5 << 20, 12_345_678),
            ]
            for (index, (offset, count)) in places.enumerated() {
                let bytes = pattern(count, seed: index)
                #expect(try client.ask(client.write(offset, bytes)) == 0)
                #expect(try client.contents(offset, count) == bytes)
            }
        }
    }

    @Test("a write of 32 MiB is one request, and so is its read")
    func largest() throws {
        let disk = TestDisk("disk")
        try withServer([disk]) { server in
            let client = try RawClient(server)
            try client.open("disk")
            let bytes = pattern(32 << 20, seed: 1)
            #expect(try client.ask(client.write(4096, bytes)) == 0)
            #expect(try client.contents(4096, 32 << 20) == bytes)
            #expect(disk.script.update { $0.largestPayload } == 32 << 20)
        }
    }

    @Test("many requests in one packet are answered, each once, with its cookie")
    func pipelined() throws {
        try withServer { server in
            let client = try RawClient(server)
            try client.open("disk")
            var stream: [UInt8] = []
            for index in 0..<500 {
                stream += client.write(index * 512, pattern(512, seed: index))
            }
            try client.send(stream)
            let cookies = try (0..<500).map { _ in try client.simple().cookie }
            #expect(cookies.sorted() == Array(1...500))
            for index in 0..<500 {
                #expect(try client.contents(index * 512, 512) == pattern(512, seed: index))
            }
        }
    }

    @Test("a stream cut anywhere is understood", arguments: [1, 7, 27, 28, 29, 100, 1000, 5000])
    func cuts(size: Int) throws {
        try withServer { server in
            let client = try RawClient(server)
            try client.open("disk")
            var stream: [UInt8] = []
            for index in 0..<8 {
                stream += client.write(index * 3000, pattern(index * 400, seed: index))
                stream += client.request(3)
            }
            for start in stride(from: 0, to: stream.count, by: size) {
                try client.send(Array(stream[start..<min(stream.count, start + size)]))
            }
            for _ in 0..<16 { #expect(try client.simple().error == 0) }
            for index in 1..<8 {
                #expect(
                    try client.contents(index * 3000, index * 400)
                        == pattern(index * 400, seed: index))
            }
        }
    }

    @Test("structured reads are one chunk, errors are chunks too")
    func structured() throws {
        try withServer { server in
            let client = try RawClient(server)
            try client.open("disk", structured: true)
            try client.send(client.write(100, [1, 2, 3]))
            #expect(try client.simple().error == 0)
            try client.send(client.read(99, 5, flags: 4))
            let chunk = try client.chunk()
            #expect((chunk.flags, chunk.kind, chunk.cookie) == (1, 1, 2))
            #expect(chunk.data == big(UInt64(99)) + [0, 1, 2, 3, 0])
            try client.send(client.read(64 << 20, 1))
            let failed = try client.chunk()
            #expect((failed.flags, failed.kind) == (1, 0x8001))
            #expect(failed.data == big(UInt32(22)) + big(UInt16(0)))
            try client.send(client.read(0, 0))
            #expect(try client.chunk().kind == 0)
        }
    }

    @Test("block status tells data from holes, one extent if asked for one")
    func blockStatus() throws {
        try withServer { server in
            let client = try RawClient(server)
            try client.open("disk", context: true)
            #expect(try client.ask(client.write(8192, pattern(4096, seed: 1))) == 0)
            try client.send(client.request(7, offset: 0, length: 1 << 20))
            let context = big(UInt32(1))
            let hole = big(UInt32(8192)) + big(UInt32(3))
            let data = big(UInt32(4096)) + big(UInt32(0))
            let rest = big(UInt32((1 << 20) - 12_288)) + big(UInt32(3))
            #expect(try client.chunk().data == context + hole + data + rest)
            try client.send(client.request(7, flags: 8, offset: 8192, length: 1 << 20))
            #expect(try client.chunk().data == context + data)
            try client.send(client.request(7, offset: 0, length: 0))
            #expect(try client.chunk().kind == 0x8001)
        }
    }

    @Test("zeroes and trims reach the device with what was asked of them")
    func zeroes() throws {
        let disk = TestDisk("disk")
        try withServer([disk]) { server in
            let client = try RawClient(server)
            try client.open("disk")
            #expect(try client.ask(client.write(0, pattern(65_536, seed: 3))) == 0)
            #expect(try client.ask(client.request(6, flags: 2, offset: 0, length: 4096)) == 0)
            #expect(try client.ask(client.request(4, flags: 1, offset: 4096, length: 4096)) == 0)
            #expect(try client.ask(client.request(6, flags: 16, offset: 1, length: 5)) == 95)
            #expect(try client.ask(client.request(6, offset: 0, length: 1 << 25)) == 0)
            #expect(try client.contents(0, 65_536).allSatisfy { $0 == 0 })
            #expect(disk.script.update { $0.zeroOptions.map(\.rawValue) } == [1, 4, 0])
            #expect(try client.ask(client.request(5, offset: 0, length: 1 << 20)) == 0)
            #expect(disk.script.update { $0.prefetched } == 1 << 20)
        }
    }

    @Test("a disk that ends in a short grain is served to its last sector")
    func shortEnd() throws {
        let size = (1 << 20) + 1536
        try withServer([TestDisk("disk", size: size)]) { server in
            let client = try RawClient(server)
            try client.open("disk")
            let bytes = pattern(1024, seed: 9)
            #expect(try client.ask(client.write(size - 1024, bytes)) == 0)
            #expect(try client.contents(size - 1024, 1024) == bytes)
            #expect(try client.ask(client.write(size - 512, pattern(513, seed: 1))) == 28)
            try client.send(client.read(size - 512, 513))
            #expect(try client.simple().error == 22)
        }
    }

    @Test("wrong requests get the protocol's errors and keep the connection")
    func errors() throws {
        try withServer { server in
            let client = try RawClient(server)
            try client.open("disk")
            let end = UInt64(64 << 20)
            let cases: [([UInt8], UInt32)] = [
                (client.request(8, length: 5), 22), (client.request(99), 22),
                (client.request(0, flags: 4, length: 1), 22),
                (client.request(1, flags: 2, length: 1, payload: [1]), 22),
                (client.request(0, length: 33 << 20), 22),
                (client.request(0, offset: end, length: 1), 22),
                (client.request(1, offset: end - 1, length: 2, payload: [1, 2]), 28),
                (client.request(1, offset: UInt64.max, length: 2, payload: [1, 2]), 28),
                (client.request(6, offset: end, length: 1), 28),
                (client.request(4, offset: end, length: 1), 22),
                (client.request(5, offset: end, length: 1), 22),
                (client.request(7, length: 4096), 22), (client.request(3, offset: 1), 22),
                (client.request(3, flags: 1), 0), (client.request(1), 0), (client.request(4), 0),
                (client.request(6), 0), (client.request(0), 0), (client.request(5), 0),
            ]
            for (index, (bytes, error)) in cases.enumerated() {
                #expect(try client.ask(bytes) == error, "case \(index)")
            }
        }
    }

    @Test("a read-only export refuses everything that writes, and drops its payload")
    func readOnly() throws {
        try withServer([TestDisk("disk", isReadOnly: true)]) { server in
            let client = try RawClient(server)
            try client.open("disk")
            #expect(try client.ask(client.write(0, pattern(9000, seed: 1))) == 1)
            #expect(try client.ask(client.request(4, length: 4096)) == 1)
            #expect(try client.ask(client.request(6, length: 4096)) == 1)
            #expect(try client.ask(client.request(3)) == 0)
            #expect(try client.contents(0, 512).allSatisfy { $0 == 0 })
            #expect(server.waits { $0.connections == [1] && $0.writers == [0] })
        }
    }

    @Test("a write over 32 MiB is refused and its payload passed over")
    func tooLong() throws {
        try withServer { server in
            let client = try RawClient(server)
            try client.open("disk")
            let bytes = [UInt8](repeating: 1, count: (32 << 20) + 1)
            #expect(try client.ask(client.write(0, bytes)) == 22)
            #expect(try client.ask(client.request(3)) == 0)
        }
    }

    @Test("what the device reports is told by the protocol's numbers")
    func deviceErrors() throws {
        let disk = TestDisk("disk")
        try withServer([disk]) { server in
            let client = try RawClient(server)
            try client.open("disk")
            for (error, code) in [
                (.failed, 5), (.readOnly, 1), (.noSpace, 28), (.notSupported, 95),
                (.shuttingDown, 108),
            ] as [(BlockError, UInt32)] {
                disk.script.update { $0.failure = error }
                #expect(try client.ask(client.write(0, [1])) == code)
                #expect(try client.ask(client.request(3)) == code)
            }
        }
    }

    @Test("statistics count what was done")
    func statistics() throws {
        try withServer { server in
            let client = try RawClient(server)
            try client.open("disk")
            #expect(try client.ask(client.write(0, pattern(4096, seed: 1))) == 0)
            _ = try client.contents(0, 1024)
            #expect(try client.ask(client.request(3)) == 0)
            #expect(try client.ask(client.request(99)) == 22)
            var expected = SessionStatistics()
            expected.reads = 1
            expected.writes = 1
            expected.flushes = 1
            expected.errors = 1
            expected.readBytes = 1024
            expected.writtenBytes = 4096
            #expect(server.view().statistics == [expected])
        }
    }
}
