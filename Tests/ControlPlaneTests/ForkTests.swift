// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Snapshots, tags, forks, rollbacks: which commit a name stands for, and that it stays.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import ObjectStore
import Primitives
import Testing

@Suite("Snapshots and forks")
struct ForkTests {
    let shared = SharedStore()

    @Test("a snapshot commits what was acknowledged; unchanged, it is the same number again")
    func snapshotOnce() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        let first = try node.plane.snapshot("prod", tag: nil)
        #expect(try node.plane.snapshot("prod", tag: "safe").sequence == first.sequence)
        try node.host.write(2, to: volume)
        let second = try node.plane.snapshot("prod", tag: nil)
        #expect(second.sequence > first.sequence && second.etag != first.etag)
        let listed = try node.plane.snapshots("prod").map(\.sequence)
        #expect(listed == [first.sequence, second.sequence])
        #expect(try node.plane.tags().map(\.tag) == ["safe"])
    }

    @Test("a deleted snapshot is gone, and deleting it again is success")
    func deleteSnapshot() throws {
        let node = try TestNode("a", shared)
        try node.make("prod", writes: [1])
        let taken = try node.plane.snapshot("prod", tag: nil)
        for _ in 0..<2 {
            try node.plane.deleteSnapshot("prod", sequence: taken.sequence.rawValue)
        }
        #expect(try node.plane.snapshots("prod").isEmpty)
        #expect(try failure { _ = try node.plane.snapshots("none") }.kind == .notFound)
    }

    @Test("a tag names the last commit without a flush, and moves")
    func tagMoves() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        let first = try node.plane.tag("prod", tag: "t")
        #expect(try shared.head(of: volume).sequence == first.sequence)
        #expect(try node.plane.tag("prod", tag: "t") == first)
        _ = try node.plane.drain("prod")
        #expect(try node.plane.tag("prod", tag: "t").sequence > first.sequence)
        #expect(try node.plane.tags().count == 1)
    }

    @Test("a fork of an export served here has everything acknowledged before the request")
    func forkCommitsFirst() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1, 2])
        let request = PutRequest(size: size(4096), source: try ForkSource(from: "export:prod"))
        let reply = try node.plane.put("work", request)
        #expect(reply.outcome == .created && reply.forkedFrom?.isCurrent == true)
        #expect(reply.export.size == size(1 << 30))
        try node.host.write(3, to: volume)
        #expect(try node.content("work") == [1, 2])
        try node.host.write(9, to: reply.export.volume)
        #expect(try node.content("prod") == [1, 2, 3])
        #expect(try node.plane.put("work", request).outcome == .unchanged)
        #expect(!shared.store.objects.keys.contains { $0.hasPrefix("refs/readers/") })
    }

    @Test("a fork of an export served elsewhere is of its last commit, and says its number and age")
    func forkElsewhere() throws {
        let first = try TestNode("a", shared)
        let volume = try first.make("prod", writes: [1])
        _ = try first.plane.drain("prod")
        try first.host.write(2, to: volume)
        shared.clock.advance(seconds: 50)
        let second = try TestNode("b", shared)
        let reply = try second.plane.put(
            "work", PutRequest(source: try ForkSource(from: "prod")))
        let point = try #require(reply.forkedFrom)
        #expect(!point.isCurrent && point.ageSeconds == 50)
        #expect(try point.sequence == shared.head(of: volume).sequence)
        #expect(try second.content("work") == [1])
    }

    @Test("bare names are looked up as export, tag, base; manifests as base, then tag")
    func lookup() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("x", writes: [1])
        _ = try node.plane.snapshot("x", tag: "x")
        try node.host.write(2, to: volume)
        let taken = try node.plane.snapshot("x", tag: "y")
        let cases: [(String, ForkSource, [UInt64])] = [
            ("f1", try ForkSource(from: "x"), [1, 2]),
            ("f2", try ForkSource(from: "tag:x"), [1]),
            ("f3", try ForkSource(from: "y"), [1, 2]),
            ("f4", try ForkSource(manifestName: "bases/x", snapshotSequence: nil), [1]),
            (
                "f5",
                try ForkSource(
                    manifestName: "x", snapshotSequence: taken.sequence.rawValue), [1, 2]
            ),
            ("f6", try ForkSource(from: "x@\(taken.sequence)"), [1, 2]),
        ]
        for (name, source, content) in cases {
            _ = try node.plane.put(name, PutRequest(source: source))
            #expect(try node.content(name) == content, "\(source.text)")
        }
        #expect(
            try node.plane.manifest(prefix: "bases", name: "y").commit.sequence == taken.sequence)
        #expect(try node.plane.manifest(prefix: "bases", name: "y").kind == .tag)
        #expect(
            try failure { _ = try node.plane.manifest(prefix: "bases", name: "none") }.kind
                == .notFound)
    }

    @Test(
        "sources that name nothing are refused",
        arguments: ["snapshot:x", "snapshot:x@0", "x@01", "disk:x", "tag:", "export:../x", ""])
    func badSources(text: String) throws {
        #expect(try failure { _ = try ForkSource(from: text) }.kind == .badRequest)
    }

    @Test("NAME@SEQ and tag:T attach read-only beside the running volume")
    func pinnedViews() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        let taken = try node.plane.snapshot("prod", tag: "t")
        try node.host.write(2, to: volume)
        let view = try node.plane.attach("prod@\(taken.sequence)")
        #expect(view.isReadOnly && node.host.content(view.served) == [1])
        #expect(try node.plane.attach("tag:t").served == view.served)
        #expect(node.host.runningCount == 2)
        #expect(try failure { _ = try node.plane.attach("prod@99") }.kind == .notFound)
    }

    @Test("delete, then PUT from a snapshot of the same name, rolls back into a new volume")
    func rollbackByName() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        let taken = try node.plane.snapshot("prod", tag: nil)
        try node.host.write(2, to: volume)
        let request = PutRequest(
            source: try ForkSource(
                manifestName: "prod", snapshotSequence: taken.sequence.rawValue))
        #expect(try failure { _ = try node.plane.put("prod", request) }.kind == .conflict)
        try node.plane.delete("prod", purge: false)
        let old = try shared.head(of: volume)
        #expect(try node.plane.put("prod", request).outcome == .created)
        #expect(try node.plane.put("prod", request).outcome == .unchanged)
        #expect(try node.content("prod") == [1])
        let next = try node.plane.snapshot("prod", tag: nil)
        #expect(next.sequence > old.sequence && next.volume != volume)
        #expect(try node.plane.snapshots("prod").count == 2)
        try node.plane.delete("prod", purge: false)
        #expect(try node.plane.put("prod", request).outcome == .created)
    }

    @Test("rollback in place is refused to writers, keeps the state before, and may be repeated")
    func rollback() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        let taken = try node.plane.snapshot("prod", tag: nil).sequence.rawValue
        try node.host.write(2, to: volume)
        let served = ServedVolume(volume)
        node.host.setClients(ClientCounts(readers: 0, writers: 2), of: served)
        let error = try failure { _ = try node.plane.rollback("prod", toSequence: taken) }
        #expect(error.kind == .conflict && error.why.contains("2 clients"))
        node.host.disconnect(served)
        let reply = try node.plane.rollback("prod", toSequence: taken)
        #expect(try node.content("prod") == [1])
        let kept = try #require(reply.keptSnapshot)
        let view = try node.plane.attach("prod@\(kept)")
        #expect(node.host.content(view.served) == [1, 2])
        let again = try node.plane.rollback("prod", toSequence: taken)
        #expect(again.sequence == reply.sequence && again.keptSnapshot == nil)
        #expect(
            try failure { _ = try node.plane.rollback("prod", toSequence: 77) }.kind == .notFound)
    }

    @Test("rollback to a snapshot of a larger volume that had the name waits for the room")
    func rollbackToLarger() throws {
        let node = try TestNode("a", shared)
        let first = try node.make("prod", writes: [1])
        let small = try node.plane.snapshot("prod", tag: nil).sequence.rawValue
        _ = try node.plane.put("prod", PutRequest(size: size(2 << 30)))
        try node.host.write(2, to: first)
        let large = try node.plane.snapshot("prod", tag: nil).sequence.rawValue
        try node.plane.delete("prod", purge: false)
        let request = PutRequest(
            source: try ForkSource(manifestName: "prod", snapshotSequence: small))
        let volume = try node.plane.put("prod", request).export.volume
        _ = try node.plane.attach("prod")
        let error = try failure { _ = try node.plane.rollback("prod", toSequence: large) }
        #expect(error.kind == .conflict && error.why.contains("\(2 << 30) bytes"))
        #expect(try node.content("prod") == [1])
        _ = try node.plane.put("prod", PutRequest(size: size(2 << 30)))
        _ = try node.plane.rollback("prod", toSequence: large)
        #expect(try node.content("prod") == [1, 2])
        #expect(try shared.head(of: volume).size == size(2 << 30))
    }

    @Test("a commit that the collector deletes cannot be pinned, and the refusal leaves no ref")
    func collected() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        _ = try node.plane.snapshot("prod", tag: "t")
        let head = try shared.head(of: volume)
        let keys = CollectedKeys(commits: [head.key])
        let set = CondemnedSet(
            run: 1, groups: [CondemnedSet.Group(labelSeconds: 1, keys: keys)])
        _ = try shared.store.putIfAbsent(RefSeries.collection.key(1), set.encoded)
        let plan = CollectionPlan(run: 2, node: "test", labelSeconds: 1, keys: keys)
        _ = try shared.store.putIfAbsent(RefSeries.collectionPlan.key(2), plan.encoded)
        let request = PutRequest(source: try ForkSource(from: "tag:t"))
        #expect(try failure { _ = try node.plane.put("work", request) }.kind == .conflict)
        #expect(try failure { _ = try node.plane.attach("tag:t") }.kind == .conflict)
        #expect(!shared.store.objects.keys.contains { $0.hasPrefix("refs/readers/") })
    }

    @Test("a tag outlives the export and the purge of its volume")
    func tagOutlives() throws {
        let node = try TestNode("a", shared)
        try node.make("work", writes: [5])
        _ = try node.plane.snapshot("work", tag: "setup-1")
        try node.plane.delete("work", purge: true)
        #expect(try node.plane.manifest(prefix: "bases", name: "setup-1").kind == .tag)
        _ = try node.plane.put(
            "next",
            PutRequest(
                source: try ForkSource(manifestName: "bases/setup-1", snapshotSequence: nil)))
        #expect(try node.content("next") == [5])
    }
}
