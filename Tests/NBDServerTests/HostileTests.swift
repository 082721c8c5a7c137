// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Clients that break the rules or just go away. Each costs its own connection and nothing else: a
// second client is served before, during and after.

import CLinux
import Glibc
import NBDProtocol
import NBDServer
import Primitives
import Testing

@Suite("A hostile client") struct HostileTests {
    /// Runs `attack` and checks that another client still gets its answers.
    func besieged(
        _ sessions: SessionOptions = SessionOptions(),
        _ attack: (TestServer) throws -> Void
    ) throws {
        try withServer([TestDisk("disk"), TestDisk("other")], sessions: sessions) { server in
            let bystander = try RawClient(server)
            try bystander.open("other")
            let bytes = pattern(200_000, seed: 7)
            #expect(try bystander.ask(bystander.write(123, bytes)) == 0)
            try attack(server)
            #expect(try bystander.contents(123, bytes.count) == bytes)
            #expect(try bystander.ask(bystander.request(3)) == 0)
            bystander.hangUp()
            #expect(server.waits { $0.connections == [0, 0] && $0.settled == [true, true] })
        }
    }

    @Test("garbage instead of a request ends its connection")
    func garbage() throws {
        try besieged { server in
            for seed in 0..<20 {
                let client = try RawClient(server)
                try client.open("disk")
                #expect(try client.ask(client.request(3)) == 0)
                try? client.send(pattern(28 + seed * 3000, seed: seed))
                #expect(client.isClosed())
            }
        }
    }

    @Test("a client may vanish at any byte of a request", arguments: [1, 27, 28, 29, 100, 70_000])
    func vanishes(after count: Int) throws {
        try besieged { server in
            for _ in 0..<10 {
                let client = try RawClient(server)
                try client.open("disk")
                let request = client.write(0, pattern(100_000, seed: 1))
                try client.send(Array(request[..<count]))
                client.hangUp()
            }
        }
    }

    @Test("a client that never reads its replies is read no further, and closed in the end")
    func neverReads() throws {
        var options = SessionOptions()
        options.deadConnectionSeconds = 1
        try besieged(options) { server in
            let client = try RawClient(server)
            try client.open("disk")
            _ = clinux_set_nonblocking(client.fd, 1)
            // Far more replies than sockets hold: the server must stop taking requests.
            var accepted = 0
            let burst = (0..<1000).flatMap { _ in client.read(0, 1 << 20) }
            for _ in 0..<200 {
                let sent = burst.withUnsafeBytes {
                    clinux_send(client.fd, $0.baseAddress, $0.count)
                }
                if sent > 0 { accepted += sent } else { usleep(1000) }
            }
            #expect(accepted < 4 << 20)
            #expect(server.waits { $0.connections[0] == 0 })
        }
    }

    @Test("a client that stops in the middle of a request is closed in the end")
    func stalls() throws {
        var options = SessionOptions()
        options.deadConnectionSeconds = 1
        try besieged(options) { server in
            let client = try RawClient(server)
            try client.open("disk")
            try client.send(Array(client.write(0, pattern(100_000, seed: 1))[..<50_000]))
            #expect(server.waits { $0.connections[0] == 0 })
            #expect(client.isClosed())
        }
    }

    @Test("an idle client is left alone")
    func idle() throws {
        var options = SessionOptions()
        options.deadConnectionSeconds = 1
        try besieged(options) { server in
            let client = try RawClient(server)
            try client.open("disk")
            usleep(2_500_000)
            #expect(try client.ask(client.request(3)) == 0)
        }
    }

    @Test("connections over the shard's bound are turned away")
    func tooMany() throws {
        var options = SessionOptions()
        options.connectionsMax = 4
        try besieged(options) { server in
            let clients = try (0..<3).map { _ in
                let client = try RawClient(server)
                try client.open("disk")
                return client
            }
            let extra = try RawClient(server)
            try extra.open("disk")
            #expect(extra.isClosed())
            clients[0].hangUp()
            #expect(server.waits { $0.connections[0] == 2 })
            let next = try RawClient(server)
            try next.open("disk")
            #expect(try next.ask(next.request(3)) == 0)
        }
    }

    @Test("large requests wait for buffers instead of taking all memory")
    func buffers() throws {
        var options = SessionOptions()
        options.poolBytesMax = 144 << 20
        try besieged(options) { server in
            let clients = try (0..<6).map { _ in
                let client = try RawClient(server)
                try client.open("disk")
                return client
            }
            let payload = pattern(20 << 20, seed: 5)
            // Two hold a buffer each in the middle of a request; the others have to wait for them.
            var rests: [[UInt8]] = []
            for client in clients[..<2] {
                let request = client.write(0, payload)
                try client.send(Array(request[..<(10 << 20)]))
                rests.append(Array(request[(10 << 20)...]))
            }
            for client in clients[2...] { try client.send(client.read(0, 20 << 20)) }
            for (client, rest) in zip(clients, rests) {
                try client.send(rest)
                #expect(try client.simple().error == 0)
            }
            for client in clients[2...] {
                #expect(try client.simple().error == 0)
                #expect(try client.receive(20 << 20).count == 20 << 20)
            }
        }
    }

    @Test("a write too long to be passed over costs the connection")
    func hugeWrite() throws {
        try besieged { server in
            let client = try RawClient(server)
            try client.open("disk")
            try client.send(client.request(1, length: UInt32.max))
            #expect(client.isClosed())
        }
    }

    @Test("random streams of plausible requests never hurt the server", arguments: 0..<8)
    func noise(seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed))
        try besieged { server in
            for _ in 0..<20 {
                let client = try RawClient(server)
                try client.open(
                    "disk", structured: random.next(below: 2) == 0,
                    context: random.next(below: 2) == 0)
                var stream: [UInt8] = []
                for _ in 0..<random.next(below: 40) {
                    let command = UInt16(random.next(below: 9))
                    let length = UInt32(random.next(below: 1 << random.next(below: 20)))
                    stream += client.request(
                        command, flags: UInt16(random.next(below: 32)),
                        offset: random.next(below: 65 << 20), length: length,
                        payload: command == 1 ? pattern(Int(length), seed: seed) : [])
                }
                stream.removeLast(Int(random.next(below: UInt64(stream.count + 1))))
                try? client.send(stream)
                client.hangUp()
            }
        }
    }
}
