// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Requests that the device does not answer at once: parked, retried, completed late, and what
// becomes of them when their connection ends.

import BlockDevice
import NBDProtocol
import NBDServer
import Primitives
import Shard
import Testing

@Suite("A request that waits") struct WaitingTests {
    @Test("parked reads and writes of all sizes come back whole", arguments: [1, 2, 3, 7])
    func parking(every: Int) throws {
        let disk = TestDisk("disk")
        disk.script.update { $0.parkEvery = every }
        try withServer([disk]) { server in
            let client = try RawClient(server)
            try client.open("disk")
            let sizes = [512, 4096, 5000, 131_072, 300_000, 1 << 20, (1 << 20) + 1]
            var offset = 0
            var stream: [UInt8] = []
            for (index, size) in sizes.enumerated() {
                stream += client.write(offset, pattern(size, seed: index))
                offset += size
            }
            try client.send(stream)
            for _ in sizes { #expect(try client.simple().error == 0) }
            offset = 0
            for (index, size) in sizes.enumerated() {
                #expect(try client.contents(offset, size) == pattern(size, seed: index))
                offset += size
            }
            #expect(disk.script.update { $0.parked } >= sizes.count * 2 / every)
        }
    }

    @Test(
        "large reads are sent from where they lie, whole and in order, however slowly taken",
        arguments: [false, true])
    func views(structured: Bool) throws {
        let disk = TestDisk("disk")
        try withServer([disk]) { server in
            let client = try RawClient(server)
            try client.open("disk", structured: structured)
            let bytes = pattern(2 << 20, seed: 5)
            #expect(try client.ask(client.write(0, bytes)) == 0)
            // Far more than a socket holds is asked for before anything is taken.
            let sizes = (0..<60).map { [4096, 33_000, 131_072, 500, 262_144, 70_001][$0 % 6] }
            let offsets = sizes.indices.map { ($0 * 40_961) % ((2 << 20) - 262_144) }
            try client.send(zip(offsets, sizes).flatMap { client.read($0, $1) })
            #expect(server.waits { _ in disk.script.update { $0.viewed } > 0 })
            for (offset, size) in zip(offsets, sizes) {
                if structured {
                    let isEqual =
                        try client.chunk().data.dropFirst(8) == bytes[offset..<offset + size]
                    #expect(isEqual)
                } else {
                    #expect(try client.simple().error == 0)
                    let isEqual = try client.receive(size) == Array(bytes[offset..<offset + size])
                    #expect(isEqual)
                }
            }
            #expect(disk.script.update { $0.viewed } > 5)
        }
    }

    @Test("a read of the largest size fits behind a large reply that is not sent yet")
    func largestView() throws {
        let size = Int(Limits.requestBytesMax)
        let disk = TestDisk("disk", size: size)
        try withServer([disk]) { server in
            let client = try RawClient(server)
            try client.open("disk")
            let bytes = pattern(1 << 20, seed: 9)
            for part in 0..<(size >> 20) {
                #expect(try client.ask(client.write(part << 20, bytes)) == 0)
            }
            for round in 1...6 {
                // Copied when it is woken, into a buffer that has room for the next one's header.
                disk.script.update { $0.holdParked = true }
                try client.send(client.read(0, 17 << 20))
                #expect(server.waits { _ in disk.script.update { $0.parked } == round })
                disk.script.update { $0.holdParked = false }
                if round % 2 == 0 { server.nudge() }
                try client.send(client.read(0, size) + client.read(0, size))
                for _ in 0..<3 {
                    let cookie = try client.simple().cookie
                    for _ in 0..<((cookie % 3 == 0 ? 17 << 20 : size) >> 20) {
                        let isEqual = try client.receive(1 << 20) == bytes
                        #expect(isEqual)
                    }
                }
            }
            #expect(disk.script.update { $0.viewed } > 0)
        }
    }

    @Test("a stream of large writes is received whole, whatever the cuts between the calls")
    func bulk() throws {
        let disk = TestDisk("disk")
        try withServer([disk]) { server in
            let client = try RawClient(server)
            try client.open("disk")
            let usual = [131_072, 100, 40_000, 700_000, 4096, 1_100_000, 65_536]
            let sizes = (0..<40).map { usual[$0 % 7] }
            let offsets = sizes.indices.map { ($0 * 99_991) % (2 << 20) }
            var model = [UInt8](repeating: 0, count: 4 << 20)
            var stream: [UInt8] = []
            for (index, (offset, size)) in zip(offsets, sizes).enumerated() {
                let bytes = pattern(size, seed: index)
                model.replaceSubrange(offset..<offset + size, with: bytes)
                stream += client.write(offset, bytes)
            }
            // Cut at uneven places, some of them within a header.
            var start = 0
            var step = 11
            while start < stream.count {
                let end = min(stream.count, start + step)
                try client.send(Array(stream[start..<end]))
                start = end
                step = (step * 7 + 13) % 300_007 + 1
            }
            for _ in sizes { #expect(try client.simple().error == 0) }
            let isEqual = try client.contents(0, 4 << 20) == model
            #expect(isEqual)
        }
    }

    @Test("a client with more requests than places waits its turn and loses none")
    func manyParked() throws {
        let disk = TestDisk("disk")
        disk.script.update { $0.holdParked = true }
        try withServer([disk]) { server in
            let client = try RawClient(server)
            try client.open("disk")
            let stream = (0..<600).flatMap { client.write($0 * 512, pattern(512, seed: $0)) }
            try client.send(stream)
            // No more than its places are remembered, however many were sent.
            #expect(server.waits { _ in disk.script.update { $0.parked } == 128 })
            disk.script.update { $0.holdParked = false }
            server.nudge()
            let cookies = try (0..<600).map { _ in try client.simple().cookie }
            #expect(cookies.sorted() == Array(1...600))
            for index in 0..<600 {
                #expect(try client.contents(index * 512, 512) == pattern(512, seed: index))
            }
        }
    }

    @Test("a parked request does not hold up the requests and connections behind it")
    func overtaking() throws {
        let disk = TestDisk("disk")
        try withServer([disk]) { server in
            let first = try RawClient(server)
            let second = try RawClient(server)
            try first.open("disk")
            try second.open("disk")
            disk.script.update { $0.holdParked = true }
            try first.send(first.read(0, 4096))
            #expect(server.waits { _ in disk.script.update { $0.parked } == 1 })
            disk.script.update {
                $0.holdParked = false
                $0.holdStaged = true
            }
            try second.send(second.read(0, 512))
            #expect(try second.simple().error == 0)
            _ = try second.receive(512)
            #expect(try first.simple().cookie == 1)
            _ = try first.receive(4096)
        }
    }

    @Test("after DISC what was staged is still answered, then the connection closes")
    func disconnect() throws {
        let disk = TestDisk("disk")
        disk.script.update { $0.holdStaged = true }
        try withServer([disk]) { server in
            let client = try RawClient(server)
            try client.open("disk")
            try client.send(client.write(0, [1, 2, 3]) + client.request(2) + client.request(3))
            #expect(server.waits { _ in disk.script.update { $0.turns } > 0 })
            disk.script.update { $0.holdStaged = false }
            server.nudge()
            #expect(try client.simple().cookie == 1)
            #expect(client.isClosed())
            #expect(server.waits { $0.connections == [0] && $0.settled == [true] })
        }
    }

    @Test("DISC with nothing in flight closes at once")
    func disconnectIdle() throws {
        try withServer { server in
            let client = try RawClient(server)
            try client.open("disk")
            try client.send(client.request(2))
            #expect(client.isClosed())
        }
    }

    @Test("after a hang-up parked requests are cancelled and staged ones settle the session")
    func hangUp() throws {
        let disk = TestDisk("disk")
        disk.script.update { $0.holdStaged = true }
        try withServer([disk]) { server in
            let client = try RawClient(server)
            try client.open("disk")
            try client.send(client.write(0, [1]))
            #expect(server.waits { _ in disk.script.update { $0.calls } == 1 })
            disk.script.update { $0.holdParked = true }
            try client.send(client.write(512, pattern(9000, seed: 1)) + client.read(0, 512))
            #expect(server.waits { _ in disk.script.update { $0.parked } == 2 })
            client.hangUp()
            #expect(server.waits { $0.connections == [0] })
            #expect(disk.script.update { $0.cancelled } == 2)
            #expect(server.view().settled == [false])
            // Another client may come before the first has settled.
            disk.script.update { $0.holdParked = false }
            let second = try RawClient(server)
            try second.open("disk")
            #expect(try second.contents(0, 1) == [1])
            disk.script.update { $0.holdStaged = false }
            server.nudge()
            second.hangUp()
            #expect(server.waits { $0.settled == [true] })
        }
    }

    @Test("a TCP client that goes away while its request is parked is noticed")
    func hangUpOverTCP() throws {
        let disk = TestDisk("disk")
        disk.script.update { $0.holdParked = true }
        try withServer([disk]) { server in
            let client = try RawClient(server, tcp: true)
            try client.open("disk")
            try client.send((0..<128).flatMap { client.read($0 * 512, 512) })
            #expect(server.waits { _ in disk.script.update { $0.parked } == 128 })
            client.hangUp()
            #expect(server.waits { $0.connections == [0] && $0.settled == [true] })
            #expect(disk.script.update { $0.cancelled } == 128)
        }
    }

    @Test("closing a device's sessions answers what was staged, refuses what is parked")
    func closeAll() throws {
        let disk = TestDisk("disk")
        disk.script.update { $0.holdStaged = true }
        try withServer([disk, TestDisk("other")]) { server in
            let client = try RawClient(server)
            let other = try RawClient(server)
            try client.open("disk")
            try other.open("other")
            try client.send(client.write(0, [1]))
            #expect(server.waits { _ in disk.script.update { $0.calls } == 1 })
            disk.script.update { $0.holdParked = true }
            try client.send(client.read(0, 512))
            #expect(server.waits { _ in disk.script.update { $0.parked } == 1 })
            server.shards[0].mailbox.send(.closeAll(device: 0))
            let refused = try client.simple()
            #expect((refused.error, refused.cookie) == (108, 2))
            disk.script.update { $0.holdStaged = false }
            server.nudge()
            let answered = try client.simple()
            #expect((answered.error, answered.cookie) == (0, 1))
            #expect(client.isClosed())
            #expect(server.waits { $0.connections == [0, 1] && $0.settled[0] })
            #expect(try other.ask(other.request(3)) == 0)
        }
    }

    @Test("FUA reaches the device")
    func fua() throws {
        let disk = TestDisk("disk")
        try withServer([disk]) { server in
            let client = try RawClient(server)
            try client.open("disk")
            #expect(try client.ask(client.write(0, [1], flags: 1)) == 0)
            #expect(disk.script.update { $0.fuaCount } == 1)
        }
    }
}
