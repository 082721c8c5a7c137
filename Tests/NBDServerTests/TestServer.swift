// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A whole NBD server in the test process: negotiation thread, shards, memory devices. It is also
// the shortest example of how the parts are composed.

import BlockDevice
import CLinux
import Glibc
import HostIO
import NBDProtocol
import NBDServer
import Primitives
import Shard
import Synchronization
import Testing

enum ServerEvent: Sendable {
    case connection(NegotiatedConnection)
    /// The script of a device has changed: look whether it completes something.
    case nudge
    case closeAll(device: Int)
    case ask(@Sendable (ServerView) -> Void)
}

/// What a test may know of a shard.
struct ServerView: Sendable {
    var connections: [Int]
    var writers: [Int]
    var settled: [Bool]
    var statistics: [SessionStatistics]
}

struct TestShard: ShardHandler, ~Copyable {
    var devices: DeviceTable<MemoryDevice>
    var sessions: NBDSessions<MemoryDevice>

    init(
        _ context: ShardContext<ServerEvent>, _ disks: [TestDisk], _ options: SessionOptions
    ) {
        devices = DeviceTable()
        sessions = NBDSessions(poller: context.poller, options: options, now: context.now)
        for disk in disks {
            _ = devices.insert(
                MemoryDevice(
                    size: disk.size, isReadOnly: disk.isReadOnly, script: disk.script))
        }
    }

    mutating func handle(_ event: consuming ServerEvent) {
        switch event {
        case .connection(let connection): sessions.adopt(connection, devices: devices)
        case .nudge: for slot in 0..<devices.endSlot { sessions.touch(device: slot) }
        case .closeAll(let device): sessions.closeAll(device: device, devices: devices)
        case .ask(let answer):
            let slots = 0..<devices.endSlot
            answer(
                ServerView(
                    connections: slots.map { sessions.connections(ofDevice: $0) },
                    writers: slots.map { sessions.writers(ofDevice: $0) },
                    settled: slots.map { sessions.isSettled(device: $0) },
                    statistics: slots.map { sessions.statistics(ofDevice: $0) }))
        }
    }

    mutating func handle(ready token: UInt64, _ readiness: Readiness) {
        sessions.ready(token, readiness, devices: devices)
    }

    mutating func tick(_ now: Instant) { sessions.tick(now, devices: devices) }
    mutating func endTurn() -> ShardWait { sessions.endTurn(devices: devices) }
    mutating func stop() { sessions.stop(devices: devices) }
}

struct TestDisk: Sendable {
    var name: String
    var size = 64 << 20
    var isReadOnly = false
    let script = DeviceScript()

    init(_ name: String, size: Int = 64 << 20, isReadOnly: Bool = false) {
        self.name = name
        self.size = size
        self.isReadOnly = isReadOnly
    }

    var offer: ExportOffer {
        ExportOffer(
            name: name, description: "test disk \(name)",
            geometry: DeviceGeometry(
                size: ByteCount(UInt64(size)), blockBytes: 131_072, isReadOnly: isReadOnly))
    }
}

/// Finds disks by name; the empty name is the first. "late" answers from another thread, "away" and
/// "fenced" refuse.
struct DiskResolver: ExportResolver {
    let disks: [TestDisk]
    let placements: [ExportPlacement]

    func resolve(
        _ name: String, for purpose: ExportPurpose,
        reply: @escaping @Sendable (ExportAnswer) -> Void
    ) {
        switch name {
        case "away": return reply(.notNow("the store is away"))
        case "fenced": return reply(.refused("another node writes"))
        case "never": return
        default: break
        }
        guard let index = name.isEmpty ? 0 : disks.firstIndex(where: { $0.name == name }) else {
            return reply(.notFound)
        }
        reply(.found(disks[index].offer, placements[index]))
    }

    func list(reply: @escaping @Sendable ([(name: String, description: String)]) -> Void) {
        reply(disks.map { ($0.name, "test disk \($0.name)") })
    }
}

/// A running server. `stop` must be called.
final class TestServer: Sendable {
    let disks: [TestDisk]
    let shards: [Shard<TestShard>]
    let loop: NegotiationLoop
    let socketPath: String
    private static let count = Atomic<Int>(0)

    init(
        _ disks: [TestDisk], shards shardCount: Int = 1,
        sessions: SessionOptions = SessionOptions(),
        negotiation: NegotiationOptions = NegotiationOptions()
    ) throws {
        let number = TestServer.count.add(1, ordering: .relaxed).newValue
        let path = "/tmp/martlet-test-\(getpid())-\(number).sock"
        var placements: [ExportPlacement] = []
        var perShard = [[TestDisk]](repeating: [], count: shardCount)
        for (index, disk) in disks.enumerated() {
            let shard = index % shardCount
            placements.append(ExportPlacement(shard: shard, device: perShard[shard].count))
            perShard[shard].append(disk)
        }
        let shards = perShard.map { disks in
            Shard<TestShard>(name: "shard", clock: SystemClock()) { context in
                TestShard(context, disks, sessions)
            }
        }
        self.disks = disks
        self.shards = shards
        socketPath = path
        loop = try NegotiationLoop(
            addresses: [.unix(path: path), .tcp(host: "127.0.0.1", port: 0)],
            resolver: DiskResolver(disks: disks, placements: placements), clock: SystemClock(),
            options: negotiation
        ) { connection in
            shards[connection.placement.shard].mailbox.send(.connection(connection))
        }
    }

    var tcpPort: UInt16 {
        guard case .tcp(_, let port) = loop.addresses[1] else { return 0 }
        return port
    }

    func uri(_ name: String) -> String { "nbd+unix:///\(name)?socket=\(socketPath)" }

    func nudge() { for shard in shards { shard.mailbox.send(.nudge) } }

    func view(shard: Int = 0) -> ServerView {
        let answer = Mailbox<ServerView>(capacity: 1)
        shards[shard].mailbox.send(.ask { answer.send($0) })
        return answer.receive()[0]
    }

    /// Waits until the view is as wished.
    func waits(for wish: (ServerView) -> Bool) -> Bool {
        for _ in 0..<500 {
            if wish(view()) { return true }
            usleep(10_000)
        }
        return false
    }

    func stop() {
        loop.stop()
        for shard in shards { shard.stop() }
        for shard in shards { shard.join() }
    }
}
