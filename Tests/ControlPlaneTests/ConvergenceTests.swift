// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Crashes at every request to the store, answers that are lost, and two hosts at once: a repeat of
// the same request ends where an undisturbed one would.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import ObjectStore
import Primitives
import TestSupport
import Testing

@Suite("Convergence")
struct ConvergenceTests {
    /// One operation on a prepared node, and what must hold when it has succeeded at last.
    struct Operation: Sendable, CustomTestStringConvertible {
        let name: String
        let run: @Sendable (TestPlane) throws -> Void
        let check: @Sendable (TestNode) throws -> Void
        var testDescription: String { name }
    }

    static let operations: [Operation] = [
        Operation(
            name: "create", run: { _ = try $0.put("new", PutRequest(size: size(8192))) },
            check: { (node: TestNode) throws in
                #expect(try node.content("new") == [])
            }),
        Operation(
            name: "fork",
            run: { _ = try $0.put("new", PutRequest(source: ForkSource(from: "export:prod"))) },
            check: { (node: TestNode) throws in
                #expect(try node.content("new") == [1, 2, 3])
            }),
        Operation(
            name: "snapshot", run: { _ = try $0.snapshot("prod", tag: "t") },
            check: { (node: TestNode) throws in
                #expect(try node.plane.snapshots("prod").count == 2)
                _ = try node.plane.put("new", PutRequest(source: ForkSource(from: "tag:t")))
                #expect(try node.content("new") == [1, 2, 3])
            }),
        Operation(
            name: "delete", run: { try $0.delete("prod", purge: false) },
            check: { (node: TestNode) throws in
                #expect(try node.plane.info("prod").state == .detached)
                _ = try node.plane.put("prod", PutRequest())
                #expect(try node.content("prod") == [1, 2, 3])
            }),
        Operation(
            name: "purge", run: { try $0.delete("prod", purge: true) },
            check: { (node: TestNode) throws in
                #expect(throws: UserError.self) { try node.plane.info("prod") }
                #expect(node.plane.list().isEmpty)
                _ = try node.plane.put("prod", PutRequest(size: size(512)))
                #expect(try node.content("prod") == [])
            }),
        Operation(
            name: "grow", run: { _ = try $0.put("prod", PutRequest(size: size(3 << 30))) },
            check: { (node: TestNode) throws in
                #expect(try node.plane.info("prod").size == size(3 << 30))
            }),
        Operation(
            name: "rollback", run: { _ = try $0.rollback("prod", toSequence: 3) },
            check: { (node: TestNode) throws in
                #expect(try node.content("prod") == [1, 2])
                #expect(try node.plane.snapshots("prod").count == 2)
            }),
    ]

    private func prepared(_ shared: SharedStore) throws -> TestNode {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1, 2])
        _ = try node.plane.snapshot("prod", tag: nil)
        try node.host.write(3, to: volume)
        return node
    }

    @Test(
        "a crash at any request, then a restart and a repeat, end as if undisturbed",
        arguments: operations)
    func crashAnywhere(operation: Operation) throws {
        for point in 0..<200 {
            let shared = SharedStore(seed: UInt64(point) + 1)
            let node = try prepared(shared)
            shared.store.inject(StoreFault(.away, skipping: point, times: 1 << 30))
            var isUndisturbed = true
            do { try operation.run(node.plane) } catch { isUndisturbed = false }
            shared.store.heal()
            try node.restart(powerCut: point.isMultiple(of: 2))
            try operation.run(node.plane)
            try operation.check(node)
            if isUndisturbed { return }
        }
        Issue.record("200 requests do not end \(operation.name)")
    }

    @Test("an answer that is lost at any PUT does no harm", arguments: operations)
    func lostReplies(operation: Operation) throws {
        for point in 0..<50 {
            let shared = SharedStore(seed: UInt64(point) + 1)
            let node = try prepared(shared)
            let before = shared.store.counts.failures
            shared.store.inject(StoreFault(.replyLost, skipping: point))
            do { try operation.run(node.plane) } catch let error as UserError {
                #expect(error.kind == .storeAway)
                try operation.run(node.plane)
            }
            let wasHit = shared.store.counts.failures > before
            shared.store.heal()
            try operation.check(node)
            if !wasHit { return }
        }
        Issue.record("50 PUTs do not end \(operation.name)")
    }

    @Test("two hosts that race for one volume never both publish, over 200 rounds")
    func races() throws {
        var random = SplitMix64(seed: 42)
        var takeovers = 0
        for round in 0..<200 {
            let shared = SharedStore(seed: UInt64(round) + 1)
            let first = try TestNode("a", shared, seed: UInt64(round) + 1)
            let volume = try first.make("prod", writes: [1])
            if random.next(below: 2) == 0 {
                _ = first.plane.shutdown(deadline: Instant(nanoseconds: 0))
            } else {
                _ = try first.plane.drain("prod")
            }
            try first.restart()
            let second = try TestNode("b", shared, seed: UInt64(round) + 1)
            let third = try TestNode("c", shared, seed: UInt64(round) + 1)
            let isForced = random.next(below: 2) == 0
            let other = UncheckedBox((third.plane, third.host))
            shared.interrupt(after: Int(random.next(below: 12))) {
                guard (try? other.value.0.open("prod", force: isForced)) != nil else { return }
                try? other.value.1.write(200, to: volume)
                _ = try? other.value.0.drain("prod")
            }
            if (try? second.plane.open("prod", force: random.next(below: 2) == 0)) != nil {
                try second.host.write(100, to: volume)
            }
            let wasInterrupted = !shared.endInterruption()
            if wasInterrupted { takeovers += 1 }
            try checkOneHistory([first, second, third], volume, shared)
        }
        #expect(takeovers > 100)
    }

    /// Whoever may still publish appends to what the store has; all others are fenced; commits form
    /// one chain with rising epochs.
    private func checkOneHistory(
        _ nodes: [TestNode], _ volume: VolumeID, _ shared: SharedStore
    ) throws {
        var publishers = 0
        for node in nodes {
            guard node.host.status(ServedVolume(volume)) != nil else { continue }
            do {
                try node.host.write(300, to: volume)
                _ = try node.host.commitAll(volume, reason: .drain, deadline: nil)
                publishers += 1
            } catch let error as UserError { #expect(error.kind == .fenced, "\(error)") }
        }
        #expect(publishers <= 1)
        var commits: [Commit] = []
        for key in shared.store.objects.keys where key.hasPrefix(CommitKey.prefix(of: volume)) {
            let sequence = try CommitKey(key: key).sequence
            commits.append(
                try HeadFinder(store: shared.store).commit(of: volume, sequence).commit)
        }
        commits.sort { $0.sequence < $1.sequence }
        for (older, newer) in zip(commits, commits.dropFirst()) {
            #expect(newer.sequence == older.sequence.next)
            #expect(newer.parentToken == older.token && newer.epoch >= older.epoch)
            #expect(newer.isFence == (newer.epoch > older.epoch))
            let content = shared.content(of: newer)
            #expect(content.starts(with: shared.content(of: older)))
        }
    }

    @Test("two hosts that create one name at one time end with one volume")
    func createRace() throws {
        for point in 0..<12 {
            let shared = SharedStore(seed: UInt64(point) + 1)
            let first = try TestNode("a", shared)
            let second = try TestNode("b", shared)
            let other = UncheckedBox(second.plane)
            shared.interrupt(after: point) {
                _ = try? other.value.put("new", PutRequest(size: size(4096)))
            }
            let mine = try first.plane.put("new", PutRequest(size: size(4096)))
            _ = shared.endInterruption()
            let theirs = try second.plane.put("new", PutRequest(size: size(4096)))
            #expect(mine.export.volume == theirs.export.volume, "at request \(point)")
        }
    }

    @Test("what another host gave to a new volume is not called deleted", arguments: [true, false])
    func overtakenDelete(purge: Bool) throws {
        let shared = SharedStore()
        let first = try TestNode("a", shared)
        let second = try TestNode("b", shared)
        try second.make("prod", writes: [1])
        let other = UncheckedBox(second.plane)
        // Behind the listing and the reading of the name.
        shared.interrupt(after: 2) {
            try? other.value.delete("prod", purge: true)
            _ = try? other.value.put("prod", PutRequest(size: size(4096)))
        }
        let error = try failure { try first.plane.delete("prod", purge: purge) }
        #expect(!shared.endInterruption() && error.kind == .conflict, "\(error)")
        #expect(try second.plane.info("prod").size == size(4096))
        #expect(try second.content("prod") == [])
    }

    @Test("who creates a name anew that another host purged is not served what ran under it")
    func recreatedName() throws {
        let shared = SharedStore()
        let first = try TestNode("a", shared)
        let second = try TestNode("b", shared)
        let volume = try first.make("prod", writes: [1])
        try second.plane.delete("prod", purge: true)
        let made = try first.plane.put("prod", PutRequest(size: size(4096))).export
        #expect(made.volume != volume && made.size == size(4096) && !made.isAttached)
        #expect(try first.plane.status("prod").volume == made.volume)
        #expect(try first.content("prod") == [])
        #expect(first.host.runningCount == 1)
    }

    /// A name on the first of two hosts that runs there, and that the second gave to a new volume,
    /// made from a snapshot before the last write.
    private func replaced(
        _ shared: SharedStore, isReadOnly: Bool
    ) throws -> (first: TestNode, second: TestNode, volume: VolumeID) {
        let first = try TestNode("a", shared)
        let second = try TestNode("b", shared)
        let before = try first.make("prod", writes: [1])
        let snapshot = try first.plane.snapshot("prod", tag: nil)
        try first.host.write(2, to: before)
        try second.plane.delete("prod", purge: false)
        let source = try ForkSource(from: "snapshot:prod@\(snapshot.sequence)")
        let reply = try second.plane.put(
            "prod", PutRequest(isReadOnly: isReadOnly, source: source))
        #expect(reply.outcome == .created && reply.export.volume != before)
        return (first, second, reply.export.volume)
    }

    @Test(
        "a host that was told of a name's new volume serves that one", arguments: [true, false])
    func replacedName(isReadOnly: Bool) throws {
        let shared = SharedStore()
        let (first, _, volume) = try replaced(shared, isReadOnly: isReadOnly)
        // It has not heard of it yet, and asks nobody about what runs.
        #expect(try first.content("prod") == [1, 2])
        #expect(try first.plane.put("prod", PutRequest()).export.volume == volume)
        shared.store.setAway(true)
        #expect(try failure { _ = try first.plane.attach("prod") }.kind == .storeAway)
        shared.store.heal()
        #expect(try first.content("prod") == [1])
        #expect(try first.plane.attach("prod").isReadOnly == isReadOnly)
        #expect(first.host.runningCount == 1)
    }

    @Test("a host that started from an old copy without the store asks for the name first")
    func oldCopyOfName() throws {
        let shared = SharedStore()
        let (first, _, volume) = try replaced(shared, isReadOnly: false)
        let before = try first.plane.attach("prod").served.volume
        let head = try shared.head(of: before)
        shared.store.setAway(true)
        // What was made on another machine is a copy.
        first.machine = "machine-x"
        try first.restart()
        #expect(first.plane.list().map(\.volume) == [before])
        #expect(try failure { _ = try first.plane.attach("prod") }.kind == .storeAway)
        shared.store.heal()
        #expect(try first.content("prod") == [1])
        #expect(try first.plane.attach("prod").served.volume == volume)
        #expect(try shared.head(of: before) == head)
    }

    @Test("a name that is not open here is looked up before it is claimed, however long ago it was")
    func replacedBeforeClaim() throws {
        let shared = SharedStore()
        let first = try TestNode("a", shared)
        let before = try first.make("prod", writes: [1])
        let sequence = try first.plane.snapshot("prod", tag: nil).sequence
        let second = try TestNode("b", shared)
        try first.plane.delete("prod", purge: false)
        let source = try ForkSource(from: "snapshot:prod@\(sequence)")
        let volume = try first.plane.put("prod", PutRequest(source: source)).export.volume
        let head = try shared.head(of: before)
        #expect(second.plane.list().map(\.volume) == [before])
        #expect(try second.plane.attach("prod").served.volume == volume)
        #expect(try shared.head(of: before) == head)
    }

    @Test("a view of what had the name ends with its last client")
    func replacedView() throws {
        let shared = SharedStore()
        let first = try TestNode("a", shared)
        let second = try TestNode("b", shared)
        try second.make("prod", writes: [1])
        let snapshot = try second.plane.snapshot("prod", tag: nil)
        let source = try ForkSource(from: "snapshot:prod@\(snapshot.sequence)")
        try second.plane.delete("prod", purge: false)
        _ = try second.plane.put("prod", PutRequest(isReadOnly: true))
        let view = try first.plane.attach("prod")
        first.host.setClients(ClientCounts(readers: 1, writers: 0), of: view.served)
        try second.plane.delete("prod", purge: false)
        let volume = try second.plane.put("prod", PutRequest(source: source)).export.volume
        #expect(try first.plane.put("prod", PutRequest()).export.volume == volume)
        #expect(try first.plane.attach("prod").served == ServedVolume(volume))
        #expect(first.host.content(view.served) == [1] && first.host.runningCount == 2)
        first.host.disconnect(view.served)
        first.plane.release(view.served)
        #expect(first.host.runningCount == 1)
    }

    @Test("a detach by another host fences the one that is not heard of, and says so")
    func detachedElsewhere() throws {
        let shared = SharedStore()
        let first = try TestNode("a", shared)
        let second = try TestNode("b", shared)
        let volume = try first.make("prod", writes: [1])
        _ = try first.plane.drain("prod")
        try first.host.write(2, to: volume)
        try first.plane.beat()
        #expect(try failure { try second.plane.delete("prod", purge: false) }.kind == .conflict)
        shared.clock.advance(nanoseconds: 200_000_000_000)
        try second.plane.delete("prod", purge: false)
        let head = try shared.head(of: volume)
        #expect(head.state == .clean && head.isFence && head.uncleanTakeover != nil)
        #expect(try failure { _ = try first.plane.drain("prod") }.kind != .storeAway)
        #expect(
            try failure {
                _ = try first.host.commitAll(volume, reason: .drain, deadline: nil)
            }.kind == .fenced)
        _ = try second.plane.open("prod", force: false)
        #expect(try second.content("prod") == [1])
        let served = ServedVolume(volume)
        #expect(second.host.status(served)?.uncleanTakeover == head.uncleanTakeover)
    }

    @Test("a delete takes off what had the name before its volume", arguments: [true, false])
    func deletedSuccessor(purge: Bool) throws {
        let shared = SharedStore()
        let (first, second, volume) = try replaced(shared, isReadOnly: false)
        try first.plane.delete("prod", purge: purge)
        #expect(first.host.runningCount == 0)
        #expect(try failure { _ = try first.plane.attach("prod") }.kind != .storeAway)
        let head = try shared.head(of: volume)
        #expect((head.state == .deleted) == purge)
        guard !purge else { return }
        _ = try second.plane.open("prod", force: false)
        #expect(try second.content("prod") == [1])
    }

    @Test("a ref that comes damaged twice is read a third time, and then refused by name")
    func damagedOnItsWay() throws {
        let shared = SharedStore()
        let refs = RefStore(store: shared.store, what: "cannot test")
        let commit = CommitPointer(
            volume: VolumeID(low: 1, high: 2), sequence: CommitSequence(2),
            token: Token(low: 1, high: 2), labelSeconds: 7)
        let ours = SnapshotRef(name: try #require(RefName("prod")), commit: commit, tag: nil)
        let key = RefKey.snapshot(ours.name, commit.sequence).text
        #expect(try refs.create(key, ours))
        shared.store.inject(StoreFault(.flipped, operation: .get, times: 2))
        #expect(try refs.get(key) == ours)
        shared.store.inject(StoreFault(.flipped, operation: .get, times: 3))
        let error = try failure { let _: SnapshotRef = try refs.get(key) }
        #expect(error.why.contains(key), "\(error)")
    }

    @Test("a ref that is deleted between the refused PUT and the look at it is created")
    func createdAfterDelete() throws {
        let shared = SharedStore()
        let refs = RefStore(store: shared.store, what: "cannot test")
        let commit = CommitPointer(
            volume: VolumeID(low: 1, high: 2), sequence: CommitSequence(2),
            token: Token(low: 1, high: 2), labelSeconds: 7)
        let ours = SnapshotRef(name: try #require(RefName("prod")), commit: commit, tag: nil)
        let key = RefKey.snapshot(ours.name, commit.sequence).text
        _ = try shared.store.putIfAbsent(key, [1, 2, 3])
        shared.interrupt(after: 1) { try? shared.store.delete([key]) }
        #expect(try refs.create(key, ours))
        #expect(shared.store.object(key) == ours.encoded)
        #expect(try refs.create(key, ours))
    }

    @Test(
        "concurrent calls on one name are one after the other, on different names they all succeed")
    func threads() throws {
        let shared = SharedStore()
        let node = try TestNode("a", shared)
        let plane = node.plane
        let threads = try RacingThreads(count: 8) { index in
            for round in 0..<20 {
                _ = try plane.put("same", PutRequest(size: size(UInt64(round + 1) * 4096)))
                _ = try plane.put("own-\(index)", PutRequest(size: size(4096)))
                _ = try plane.attach("own-\(index)")
                _ = try plane.snapshot("own-\(index)", tag: "t")
            }
        }
        do { try threads.join() } catch let error as UserError {
            // Of two sizes for one name the smaller may come late.
            #expect(error.kind == .conflict)
        }
        #expect(plane.list().filter { $0.name == "same" }.count == 1)
    }
}
