// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// PUT, list, info, delete: what a request means for a name that is new, there, detached or gone.

import ControlPlane
import Documents
import Formats
import HostIO
import ObjectStore
import Primitives
import Synchronization
import Testing

@Suite("Exports")
struct ExportTests {
    let shared = SharedStore()

    @Test("a new name is created once, and the same request finds it unchanged")
    func createOnce() throws {
        let node = try TestNode("a", shared)
        let request = PutRequest(size: size(10 << 30), blockBytes: 64 << 10)
        let first = try node.plane.put("prod", request)
        #expect(first.outcome == .created)
        #expect(first.export.state == .live && first.export.size == size(10 << 30))
        let second = try node.plane.put("prod", request)
        #expect(second.outcome == .unchanged && second.export == first.export)
        #expect(try node.plane.put("prod", PutRequest()).outcome == .unchanged)
        #expect(node.plane.list().map(\.name) == ["prod"])
        #expect(try node.plane.info("prod") == first.export)
    }

    @Test("what was given up before its creation ended is not brought to life by a repeat")
    func givenUp() throws {
        let node = try TestNode("a", shared)
        shared.store.inject(
            StoreFault(.away, operation: .put, keyPrefix: "refs/exports/", skipping: 1))
        let request = PutRequest(size: size(10 << 30))
        #expect(throws: UserError.self) { _ = try node.plane.put("prod", request) }
        let refs = RefStore(store: shared.store, what: "test")
        let name = try #require(RefName("prod"))
        let ref = try #require(try refs.newest(.export(name), as: ExportRef.self))
        #expect(ref.state == .creating)
        // Whoever gives it up ends the volume, and dies before the name is free.
        try VolumeEnd(refs: refs, clock: shared.clock).publish(ref, token: Token(low: 9, high: 9))
        let error = try failure { _ = try node.plane.put("prod", request) }
        #expect(error.kind == .conflict && error.why.contains("was purged, or given up"))
        try node.plane.delete("prod", purge: true)
        let export = try node.plane.put("prod", request).export
        #expect(export.state == .live && export.volume != ref.volume)
        _ = try node.plane.attach("prod")
    }

    @Test("a new volume starts clean and empty at commit 1 of epoch 1, claimed by nobody")
    func firstCommit() throws {
        let node = try TestNode("a", shared)
        let export = try node.plane.put("prod", PutRequest(size: size(4096))).export
        let head = try shared.head(of: export.volume)
        #expect(head.sequence.rawValue == 1 && head.epoch == Epoch(1) && head.state == .clean)
        #expect(head.blockBytes == Limits.blockBytesDefault && !export.isAttached)
        #expect(node.host.runningCount == 0)
    }

    @Test("a larger request grows the volume before it is answered")
    func grow() throws {
        let node = try TestNode("a", shared)
        try node.make("prod", writes: [1])
        let grown = try node.plane.put("prod", PutRequest(size: size(2 << 30)))
        #expect(grown.outcome == .grown && grown.export.size == size(2 << 30))
        #expect(try node.plane.status("prod").size == size(2 << 30))
        #expect(try node.plane.put("prod", PutRequest(size: size(2 << 30))).outcome == .unchanged)
        try node.restart()
        #expect(try node.plane.attach("prod").size == size(2 << 30))
        #expect(try node.plane.info("prod").size == size(2 << 30))
    }

    @Test("a smaller size, another block size, another source on a name are conflicts")
    func conflicts() throws {
        let node = try TestNode("a", shared)
        try node.make("prod")
        try node.make("other")
        let requests = [
            PutRequest(size: size(512)), PutRequest(blockBytes: 4096),
            PutRequest(source: try ForkSource(from: "export:other")), PutRequest(isReadOnly: true),
        ]
        for request in requests {
            let error = try failure { _ = try node.plane.put("prod", request) }
            #expect(error.kind == .conflict, "\(error)")
        }
    }

    @Test(
        "sizes outside the rules are refused",
        arguments: [0, 1, 511, 4097, 16_000_000_000_512, UInt64.max] as [UInt64])
    func badSizes(bytes: UInt64) throws {
        let node = try TestNode("a", shared)
        let error = try failure {
            _ = try node.plane.put("prod", PutRequest(size: size(bytes)))
        }
        #expect(error.kind == .badRequest)
        #expect(node.plane.list().isEmpty)
    }

    @Test("a size beyond block size × 2^27 is refused, and the largest is accepted")
    func largestForBlock() throws {
        let node = try TestNode("a", shared)
        let most = UInt64(4096) << 27
        let beyond = PutRequest(size: size(most + 512), blockBytes: 4096)
        #expect(try failure { _ = try node.plane.put("x", beyond) }.kind == .badRequest)
        let largest = PutRequest(size: size(most), blockBytes: 4096)
        let ofDefaultBlocks = PutRequest(size: size(Limits.volumeBytesMax))
        #expect(try node.plane.put("huge", ofDefaultBlocks).outcome == .created)
        #expect(try node.plane.put("x", largest).outcome == .created)
    }

    @Test(
        "block sizes must be powers of two from 4 KiB to 1 MiB", arguments: [0, 512, 5000, 2 << 20])
    func badBlocks(bytes: Int) throws {
        let node = try TestNode("a", shared)
        let request = PutRequest(size: size(1 << 20), blockBytes: bytes)
        #expect(try failure { _ = try node.plane.put("x", request) }.kind == .badRequest)
    }

    @Test(
        "names that are not valid are refused by every method",
        arguments: ["", ".x", "-x", "a/b", "a b", "ü", "..", String(repeating: "a", count: 129)])
    func badNames(name: String) throws {
        let node = try TestNode("a", shared)
        let plane = node.plane
        let calls: [() throws -> Void] = [
            { _ = try plane.put(name, PutRequest(size: size(4096))) }, { _ = try plane.info(name) },
            { try plane.delete(name, purge: true) }, { _ = try plane.drain(name) },
            { _ = try plane.snapshot(name, tag: nil) }, { _ = try plane.snapshots(name) },
            { _ = try plane.open(name, force: true) }, { _ = try plane.status(name) },
            { _ = try plane.rollback(name, toSequence: 1) }, { _ = try plane.attach(name) },
            { _ = try plane.promote(name, force: false) },
            { try plane.deleteSnapshot(name, sequence: 1) },
        ]
        for call in calls { #expect(try failure(call).kind == .badRequest) }
        #expect(shared.store.objects.keys.sorted() == ["martlet.json"])
    }

    @Test("a transport that is not built in is refused by name")
    func transport() throws {
        let node = try TestNode("a", shared)
        let error = try failure {
            _ = try node.plane.put("x", PutRequest(size: size(4096), transport: .ublk))
        }
        #expect(error.kind == .badRequest && error.why.contains("ublk"))
    }

    @Test("an unknown name is not found, a new one needs a size or a source")
    func unknown() throws {
        let node = try TestNode("a", shared)
        #expect(try failure { _ = try node.plane.info("x") }.kind == .notFound)
        #expect(try failure { _ = try node.plane.attach("x") }.kind == .notFound)
        #expect(try failure { try node.plane.delete("x", purge: false) }.kind == .notFound)
        #expect(try failure { _ = try node.plane.put("x", PutRequest()) }.kind == .badRequest)
    }

    @Test("a delete commits, takes the local copy away and keeps the volume; a PUT brings it back")
    func deleteAndReturn() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1, 2, 3])
        try node.plane.delete("prod", purge: false)
        try node.plane.delete("prod", purge: false)
        #expect(try shared.head(of: volume).state == .clean)
        #expect(node.host.runningCount == 0)
        #expect(try node.disk.root.directory("volumes", create: false).list().isEmpty)
        #expect(try node.plane.info("prod").state == .detached)
        #expect(try failure { _ = try node.plane.attach("prod") }.kind == .conflict)
        #expect(try node.plane.put("prod", PutRequest()).outcome == .unchanged)
        #expect(try node.content("prod") == [1, 2, 3])
    }

    @Test("a delete after a restart commits what lies in the journal first")
    func deleteAfterRestart() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1, 2])
        try node.restart()
        try node.plane.delete("prod", purge: false)
        let head = try shared.head(of: volume)
        #expect(shared.content(of: head) == [1, 2] && head.state == .clean)
    }

    @Test("delete and drain answer that the store is away, and change nothing")
    func deleteWithoutStore() throws {
        let node = try TestNode("a", shared)
        try node.make("prod", writes: [1])
        shared.store.setAway(true)
        #expect(try failure { try node.plane.delete("prod", purge: false) }.kind == .storeAway)
        #expect(try failure { _ = try node.plane.drain("prod") }.kind == .storeAway)
        #expect(node.host.runningCount == 1)
        shared.store.heal()
        #expect(try node.plane.info("prod").state == .live)
        #expect(try node.content("prod") == [1])
    }

    @Test("a purge ends the volume for ever and frees the name, above all its numbers")
    func purge() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        _ = try node.plane.snapshot("prod", tag: nil)
        try node.host.write(2, to: volume)
        try node.plane.delete("prod", purge: true)
        try node.plane.delete("prod", purge: true)
        let last = try shared.head(of: volume)
        #expect(last.state == .deleted)
        #expect(try failure { _ = try node.plane.info("prod") }.kind == .notFound)
        #expect(node.plane.list().isEmpty)
        #expect(!shared.store.objects.keys.contains { $0.hasPrefix("refs/snapshots/") })
        let again = try node.make("prod", writes: [9])
        #expect(again != volume)
        let snapshot = try node.plane.snapshot("prod", tag: nil)
        #expect(snapshot.sequence > last.sequence)
    }

    @Test("a purged volume that another host still writes is fenced there")
    func purgeElsewhere() throws {
        let first = try TestNode("a", shared)
        let second = try TestNode("b", shared)
        let volume = try first.make("prod", writes: [1])
        try second.plane.delete("prod", purge: true)
        try first.host.write(2, to: volume)
        #expect(try failure { _ = try first.plane.drain("prod") }.kind != .storeAway)
        #expect(try shared.head(of: volume).state == .deleted)
    }

    @Test("exports of another host are known at start and on demand, and none is claimed")
    func known() throws {
        let first = try TestNode("a", shared)
        let volume = try first.make("prod", writes: [1])
        let epoch = try shared.head(of: volume).epoch
        let second = try TestNode("b", shared)
        #expect(second.plane.list().map(\.name) == ["prod"])
        try first.make("later")
        #expect(try second.plane.info("later").name == "later")
        _ = try second.plane.refresh()
        #expect(second.plane.list().map(\.name) == ["later", "prod"])
        #expect(try shared.head(of: volume).epoch == epoch)
        #expect(try second.plane.status("prod").state == .detached)
    }

    @Test("a cache directory of another repository is refused")
    func otherRepository() throws {
        let node = try TestNode("a", shared)
        shared.store.rot("martlet.json", at: 0)
        #expect(try failure { try node.restart() }.kind == .failed)
        try shared.store.delete(["martlet.json"])
        #expect(try failure { try node.restart() }.kind == .conflict)
    }

    @Test("one wrong answer neither binds a cache directory to a repository nor refuses it")
    func misreadRepository() throws {
        _ = try TestNode("a", shared)
        let disk = VolatileDisk(seed: 4)
        for isBound in [false, true] {
            let plane = ControlPlane(
                configuration: ControlPlaneConfiguration(
                    node: try #require(RefName("b")), machineID: "machine-b"),
                cacheDirectory: disk.root, store: MisreadStore(base: shared.store),
                host: FakeHost(
                    store: shared.store, book: shared.book, clock: shared.clock, seed: 4),
                clock: shared.clock, random: SplitMix64(seed: 4))
            let error = try failure { _ = try plane.start() }
            #expect(error.kind == .failed && error.why.contains("martlet.json"), "\(isBound)")
            #expect(try plane.start().isStoreReachable)
        }
    }
}

/// Tells of another repository once, and of the true one from then on.
private final class MisreadStore: ForwardingStore {
    let base: MemoryStore
    private let hasLied = Lock(false)

    init(base: MemoryStore) { self.base = base }

    func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        let bytes = try base.get(key, limit: limit)
        let lies = hasLied.withLock { hasLied in
            defer { hasLied = true }
            return !hasLied
        }
        return lies ? Repository(id: Token(low: 1, high: 2), createdSeconds: 1).encoded : bytes
    }
}
