// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A node under test: a disk that forgets, a host in memory, a control plane; and the store that
// several nodes share.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import ObjectStore
import Primitives
import Synchronization
import Testing

typealias TestPlane = ControlPlane<FakeHost, MemoryStore>

/// The store of a test, with a hook that runs once in front of a chosen request.
final class SharedStore: Sendable {
    let store: MemoryStore
    let book = ContentBook()
    let clock = ManualClock()
    private let hook: Hook

    private final class Hook: Sendable {
        struct State {
            var requestsLeft = 0
            var body: (@Sendable () -> Void)?
        }
        let state = Lock(State())

        func request() {
            let body = state.withLock { state -> (@Sendable () -> Void)? in
                guard state.body != nil else { return nil }
                state.requestsLeft -= 1
                guard state.requestsLeft < 0 else { return nil }
                defer { state.body = nil }
                return state.body
            }
            body?()
        }
    }

    init(seed: UInt64 = 1) {
        let hook = Hook()
        self.hook = hook
        store = MemoryStore(seed: seed, latency: { _, _, _ in hook.request() })
    }

    /// Runs `body` in front of the request after the next `skipping`; what it requests is not
    /// counted.
    func interrupt(after skipping: Int, _ body: @escaping @Sendable () -> Void) {
        hook.state.withLock { state in
            state.requestsLeft = skipping
            state.body = body
        }
    }

    /// True if the interruption has not come yet; takes it back.
    func endInterruption() -> Bool {
        hook.state.withLock { state in
            defer { state.body = nil }
            return state.body != nil
        }
    }

    func head(of volume: VolumeID) throws -> Commit {
        let head = try HeadFinder(store: store).head(of: volume)
        return try #require(head).commit
    }

    func content(of commit: Commit) -> [UInt64] { book.content(of: commit.digest) }
}

/// One machine. A reference: a restart replaces its parts.
final class TestNode {
    let shared: SharedStore
    let disk: VolatileDisk
    let name: String
    var machine: String
    private(set) var host: FakeHost
    private(set) var plane: TestPlane
    private var seed: UInt64

    init(_ name: String, _ shared: SharedStore, seed: UInt64 = 1) throws {
        self.shared = shared
        self.name = name
        self.seed = seed &* 1000 &+ UInt64(name.utf8.first ?? 0)
        machine = "machine-\(name)"
        disk = VolatileDisk(seed: seed)
        host = FakeHost(
            store: shared.store, book: shared.book, clock: shared.clock, seed: self.seed)
        plane = try Self.plane(self.name, machine, shared, disk.root, host, self.seed)
        _ = try plane.start()
    }

    private static func plane(
        _ name: String, _ machine: String, _ shared: SharedStore, _ cache: VolatileDirectory,
        _ host: FakeHost, _ seed: UInt64
    ) throws -> TestPlane {
        let node = try #require(RefName(name))
        return TestPlane(
            configuration: ControlPlaneConfiguration(
                node: node, machineID: machine, address: "\(name):8080"),
            cacheDirectory: cache, store: shared.store, host: host, clock: shared.clock,
            random: SplitMix64(seed: seed))
    }

    /// Kills the process and starts it again. Unsynced state survives a kill, not a power cut.
    func restart(powerCut: Bool = false, starts: Bool = true) throws {
        seed &+= 1
        if powerCut { disk.crash(keeping: .random(seed: seed)) } else { disk.kill() }
        let cache = disk.reboot()
        host = FakeHost(
            store: shared.store, book: shared.book, clock: shared.clock, seed: seed)
        plane = try Self.plane(name, machine, shared, cache, host, seed)
        if starts { _ = try plane.start() }
    }

    /// Creates and attaches an export, and writes to it.
    @discardableResult
    func make(_ name: String, writes: [UInt64] = []) throws -> VolumeID {
        let reply = try plane.put(name, PutRequest(size: ByteCount(1 << 30)))
        let attachment = try plane.attach(name)
        #expect(attachment.served == ServedVolume(reply.export.volume))
        for id in writes { try host.write(id, to: reply.export.volume) }
        return reply.export.volume
    }

    func content(_ name: String) throws -> [UInt64] {
        let attachment = try plane.attach(name)
        return try #require(host.content(attachment.served))
    }
}

/// The failure of `body`, which must be a `UserError` that says what, why and what to do.
func failure(_ body: () throws -> Void) throws -> UserError {
    do { try body() } catch {
        let error = try #require(error as? UserError)
        #expect(!error.what.isEmpty && !error.why.isEmpty && !error.remedy.isEmpty)
        return error
    }
    throw Missing()
}

struct Missing: Error, CustomStringConvertible {
    let description = "no failure where one was expected"
}

func size(_ bytes: UInt64) -> ByteCount { ByteCount(bytes) }
