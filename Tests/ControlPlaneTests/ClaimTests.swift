// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Opening for writing: what is served at once, what is claimed, what becomes of journals that do
// not belong to the head, and what is recorded of a writer that did not end cleanly.

import Committer
import Documents
import Formats
import HostIO
import ObjectStore
import Primitives
import Testing

@testable import ControlPlane

@Suite("Claims")
struct ClaimTests {
    let shared = SharedStore()

    private func journals(_ node: TestNode, _ volume: VolumeID) throws -> [String] {
        try node.disk.root.directory("volumes", create: false)
            .directory(volume.description, create: false).list()
            .filter { $0.hasPrefix("journal") }
    }

    @Test("the first attach claims a new epoch by a fence in state open")
    func firstAttach() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod")
        let head = try shared.head(of: volume)
        #expect(head.epoch == Epoch(2) && head.isFence && head.state == .open)
        #expect(head.uncleanTakeover == nil)
        _ = try node.plane.attach("prod")
        #expect(try shared.head(of: volume) == head)
    }

    @Test("a damaged ref of another volume does not make what runs be forgotten, and run twice")
    func misreadRef() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        let epoch = try shared.head(of: volume).epoch
        let refs = RefStore(store: shared.store, what: "test")
        let name = try #require(RefName("prod"))
        let now = try #require(try refs.newest(.export(name), as: ExportRef.self))
        let wrong = ExportRef(
            name: name, number: now.number + 1, volume: VolumeID(low: 5, high: 6),
            state: .live, definition: now.definition, size: now.size, isReadOnly: false,
            origin: nil, firstSequence: now.firstSequence)
        #expect(try refs.append(wrong))
        #expect(throws: UserError.self) { _ = try node.plane.snapshot("prod", tag: nil) }
        #expect(throws: UserError.self) { _ = try node.plane.attach("prod") }
        #expect(node.host.runningCount == 1)
        try refs.delete([wrong.series.key(wrong.number)])
        try node.host.write(2, to: volume)
        #expect(try node.content("prod") == [1, 2])
        #expect(try shared.head(of: volume).epoch == epoch && node.host.runningCount == 1)
    }

    @Test("after a kill an open volume is served at once, without the store, with its journal")
    func restartWithoutStore() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1, 2])
        _ = try node.plane.drain("prod")
        try node.host.write(3, to: volume)
        shared.store.setAway(true)
        try node.restart(starts: false)
        let report = try node.plane.start()
        #expect(!report.isStoreReachable && report.exports == 1)
        #expect(node.plane.exportsOpenHere() == ["prod"])
        #expect(try node.content("prod") == [1, 2, 3])
        shared.store.heal()
        let before = try shared.head(of: volume)
        _ = try node.plane.drain("prod")
        let head = try shared.head(of: volume)
        #expect(head.epoch == before.epoch && shared.content(of: head) == [1, 2, 3])
    }

    @Test("a clean volume waits for the store, and is claimed again when it is back")
    func cleanRestart() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        let report = node.plane.shutdown(deadline: Instant(nanoseconds: 0))
        #expect(report.clean == ["prod"] && report.left.isEmpty)
        #expect(try shared.head(of: volume).state == .clean)
        try node.restart()
        shared.store.setAway(true)
        #expect(try failure { _ = try node.plane.attach("prod") }.kind == .storeAway)
        shared.store.heal()
        #expect(try node.content("prod") == [1])
        let head = try shared.head(of: volume)
        #expect(head.state == .open && head.epoch == Epoch(3) && head.uncleanTakeover == nil)
    }

    @Test("a shutdown without the store leaves the volume open and its journal in place")
    func shutdownWithoutStore() throws {
        let node = try TestNode("a", shared)
        try node.make("prod", writes: [1])
        shared.store.setAway(true)
        let report = node.plane.shutdown(deadline: Instant(nanoseconds: 0))
        #expect(report.clean.isEmpty && report.left["prod"]?.kind == .storeAway)
        shared.store.heal()
        try node.restart()
        #expect(try node.content("prod") == [1])
    }

    @Test("a pending clean commit ends the service until a later open is published")
    func pendingClean() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        shared.store.inject(StoreFault(.replyLost, operation: .put, keyPrefix: "volumes/"))
        shared.store.inject(StoreFault(.away, skipping: 0, times: 100))
        _ = node.plane.shutdown(deadline: Instant(nanoseconds: 0))
        try node.restart(starts: false)
        #expect(try !node.plane.start().isStoreReachable)
        #expect(try failure { _ = try node.plane.attach("prod") }.kind == .storeAway)
        shared.store.heal()
        #expect(try node.content("prod") == [1])
        let head = try shared.head(of: volume)
        #expect(head.state == .open && head.isFence && head.sequence.rawValue == 4)
        #expect(head.uncleanTakeover == nil)
    }

    @Test("taking over from a writer that did not end cleanly is recorded until acknowledged")
    func uncleanTakeover() throws {
        let first = try TestNode("a", shared)
        let volume = try first.make("prod", writes: [1])
        _ = try first.plane.drain("prod")
        try first.host.write(2, to: volume)
        let before = try shared.head(of: volume)
        let second = try TestNode("b", shared)
        _ = try second.plane.open("prod", force: false)
        #expect(try second.content("prod") == [1])
        let takeover = try #require(try second.plane.status("prod").uncleanTakeover)
        #expect(takeover.epoch == Epoch(3) && takeover.sequence == before.sequence)
        try second.host.write(3, to: volume)
        _ = try second.plane.drain("prod")
        #expect(try shared.head(of: volume).uncleanTakeover == takeover)
        try second.plane.acknowledge("prod")
        try second.plane.acknowledge("prod")
        #expect(try second.plane.status("prod").uncleanTakeover == nil)
        #expect(try shared.head(of: volume).uncleanTakeover == nil)
    }

    @Test("a reset goes back to the last commit, says what it threw away, and records it")
    func resetCache() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        _ = try node.plane.drain("prod")
        let before = try shared.head(of: volume)
        try node.host.write(2, to: volume)
        shared.store.setAway(true)
        #expect(try failure { _ = try node.plane.resetCache("prod") }.kind == .storeAway)
        #expect(try node.content("prod") == [1, 2], "nothing is gone while the store is away")
        shared.store.setAway(false)
        let reset = try node.plane.resetCache("prod")
        #expect(reset.unpublishedBytes != nil, "the volume ran")
        #expect(reset.journalBytes > 0)
        #expect(try node.content("prod") == [1])
        #expect(try node.plane.status("prod").uncleanTakeover?.sequence == before.sequence)
        try node.host.write(3, to: volume)
        _ = try node.plane.drain("prod")
        #expect(try node.content("prod") == [1, 3])
        #expect(try failure { _ = try node.plane.resetCache("nobody") }.kind == .notFound)
        #expect(try failure { _ = try node.plane.resetCache("../x") }.kind == .badRequest)
    }

    @Test("a reset is refused while a client writes, and where another host serves the volume")
    func resetRefused() throws {
        let (first, second, volume) = try takenOver()
        second.host.setClients(ClientCounts(readers: 0, writers: 1), of: ServedVolume(volume))
        #expect(try failure { _ = try second.plane.resetCache("prod") }.kind == .conflict)
        #expect(try second.content("prod") == [1, 10])
        // Restarted, the first knows of the other by its beat.
        try second.plane.beat()
        let again = try TestNode("c", shared)
        let refused = try failure { _ = try again.plane.resetCache("prod") }
        #expect(refused.kind == .conflict && refused.why.contains("serves it now"))
        withExtendedLifetime(first) {}
    }

    /// `prod` of the first node, taken over by the second, which committed to it.
    private func takenOver() throws -> (first: TestNode, second: TestNode, volume: VolumeID) {
        let first = try TestNode("a", shared)
        let volume = try first.make("prod", writes: [1])
        _ = try first.plane.drain("prod")
        let second = try TestNode("b", shared)
        _ = try second.plane.open("prod", force: false)
        try second.host.write(10, to: volume)
        _ = try second.plane.drain("prod")
        return (first, second, volume)
    }

    @Test(
        "a fenced writer learns it by name, keeps its journal, and takes the volume back explicitly"
    )
    func fencedWriter() throws {
        let (first, second, volume) = try takenOver()
        try first.host.write(2, to: volume)
        #expect(try failure { _ = try first.plane.drain("prod") }.kind == .fenced)
        #expect(try failure { try first.plane.delete("prod", purge: false) }.kind == .fenced)
        #expect(try journals(first, volume) == ["journal"])
        #expect(try shared.content(of: shared.head(of: volume)) == [1, 10])
        second.plane.shutdown(deadline: Instant(nanoseconds: 0)).left.forEach { _ in
            Issue.record("the second host must end cleanly")
        }
        _ = try first.plane.open("prod", force: false)
        #expect(try first.content("prod") == [1, 10])
        #expect(try journals(first, volume) == ["journal", "journal.salvage-4"])
        #expect(try shared.head(of: volume).uncleanTakeover?.sequence.rawValue == 3)
    }

    @Test("a writer that was taken over and did not notice yet takes the volume back when asked to")
    func takenOverUnnoticed() throws {
        let (first, _, volume) = try takenOver()
        #expect(try first.plane.status("prod").state == .serving)
        _ = try first.plane.open("prod", force: true)
        #expect(try first.content("prod") == [1, 10])
        #expect(try shared.head(of: volume).epoch == Epoch(4))
        let head = try shared.head(of: volume)
        _ = try first.plane.open("prod", force: true)
        #expect(try shared.head(of: volume) == head)
    }

    @Test("a fenced writer that restarts serves, but publishes nothing")
    func fencedAfterRestart() throws {
        let first = try TestNode("a", shared)
        let volume = try first.make("prod", writes: [1])
        let second = try TestNode("b", shared)
        _ = try second.plane.open("prod", force: false)
        let head = try shared.head(of: volume)
        try first.restart()
        #expect(try first.content("prod") == [1])
        #expect(try failure { _ = try first.plane.drain("prod") }.kind == .fenced)
        #expect(try shared.head(of: volume) == head)
    }

    @Test("a copy of the cache on another machine claims, adopts the journal, and says so")
    func copiedCache() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        node.machine = "machine-z"
        try node.restart()
        shared.store.setAway(true)
        #expect(try failure { _ = try node.plane.attach("prod") }.kind == .storeAway)
        shared.store.heal()
        #expect(try node.content("prod") == [1])
        let head = try shared.head(of: volume)
        #expect(head.epoch == Epoch(3) && head.uncleanTakeover?.epoch == Epoch(3))
        try node.restart()
        shared.store.setAway(true)
        #expect(try node.content("prod") == [1])
    }

    @Test("a live beat refuses a claim with the node's name; force and age overrule it")
    func beats() throws {
        let first = try TestNode("a", shared)
        let volume = try first.make("prod", writes: [1])
        try first.plane.beat()
        shared.clock.advance(seconds: 60)
        try first.plane.beat()
        #expect(shared.store.objects.keys.filter { $0.hasPrefix("nodes/a/") }.count == 1)
        let second = try TestNode("b", shared)
        let error = try failure { _ = try second.plane.open("prod", force: false) }
        #expect(error.kind == .conflict && error.why.contains("a (a:8080)"))
        #expect(error.remedy.contains("--force"))
        #expect(try failure { try second.plane.delete("prod", purge: false) }.kind == .conflict)
        shared.clock.advance(seconds: 181)
        _ = try second.plane.open("prod", force: false)
        let third = try TestNode("c", shared)
        try second.plane.beat()
        #expect(try failure { _ = try third.plane.attach("prod") }.kind == .conflict)
        _ = try third.plane.open("prod", force: true)
        #expect(try shared.head(of: volume).epoch == Epoch(4))
    }

    @Test("a node that serves nothing for writing has no beat")
    func noBeat() throws {
        let node = try TestNode("a", shared)
        try node.plane.beat()
        try node.make("prod")
        try node.plane.beat()
        try node.plane.delete("prod", purge: false)
        try node.plane.beat()
        #expect(!shared.store.objects.keys.contains { $0.hasPrefix("nodes/") })
    }

    @Test("a node with idle volumes asks nothing of the store, hour after hour")
    func idleBeats() throws {
        let node = try TestNode("a", shared)
        try node.make("prod", writes: [1])
        _ = try node.plane.drain("prod")
        try node.plane.beat()
        let before = shared.store.counts
        for _ in 0..<(10 * 60) {
            shared.clock.advance(seconds: 60)
            try node.plane.beat()
        }
        #expect(shared.store.counts == before)
        // Another volume is news: one PUT, one DELETE, no LIST.
        try node.make("other", writes: [1])
        let made = shared.store.counts
        try node.plane.beat()
        let after = shared.store.counts
        #expect(after.puts - made.puts == 1 && after.deletes - made.deletes == 1)
        #expect(after.lists == made.lists && after.gets == made.gets)
        #expect(shared.store.objects.keys.count { $0.hasPrefix("nodes/a/") } == 1)
    }

    @Test(
        "of two claims at one time the later is refused, unless it is forced",
        arguments: [false, true])
    func contention(isForced: Bool) throws {
        var refusals = 0
        for point in 0..<20 {
            let shared = SharedStore(seed: UInt64(point) + 1)
            let first = try TestNode("a", shared)
            let second = try TestNode("b", shared)
            let volume = try first.plane.put("prod", PutRequest(size: size(4096))).export.volume
            let other = UncheckedBox(second.plane)
            shared.interrupt(after: point) { _ = try? other.value.open("prod", force: false) }
            do {
                _ = try first.plane.open("prod", force: isForced)
            } catch {
                #expect(error.kind == .conflict && error.why.contains("(epoch "))
                #expect(error.remedy.contains("--force"))
                refusals += 1
            }
            if shared.endInterruption() { break }
            let epoch = try shared.head(of: volume).epoch
            #expect((2...4).contains(epoch.rawValue))
        }
        #expect(isForced ? refusals == 0 : refusals > 0)
    }

    @Test(
        "a volume closed by a failure stays closed at a restart; force starts from the last commit"
    )
    func failedMark() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        _ = try node.plane.drain("prod")
        try node.host.write(2, to: volume)
        let mark = FailedMark(volume: volume, reason: "fdatasync failed", labelSeconds: 1)
        try node.disk.root.directory("volumes", create: false)
            .directory(volume.description, create: false)
            .replaceDurably("failed", with: mark.encoded)
        try node.restart()
        let error = try failure { _ = try node.plane.attach("prod") }
        #expect(error.kind == .failed && error.why.contains("fdatasync failed"))
        #expect(try node.plane.status("prod").failure == "fdatasync failed")
        _ = try node.plane.open("prod", force: true)
        #expect(try node.content("prod") == [1])
        #expect(try journals(node, volume).contains("journal.salvage-3"))
        #expect(try node.plane.status("prod").uncleanTakeover != nil)
    }

    @Test("read-only exports claim nothing, are shared by hosts, and pin what they read")
    func readOnly() throws {
        let first = try TestNode("a", shared)
        let source = try first.make("base", writes: [7])
        let reply = try first.plane.put(
            "ro", PutRequest(isReadOnly: true, source: try ForkSource(from: "base")))
        let second = try TestNode("b", shared)
        for node in [first, second] {
            #expect(try node.plane.attach("ro").isReadOnly)
            #expect(try node.content("ro") == [7])
        }
        #expect(try shared.head(of: reply.export.volume).epoch == Epoch(1))
        #expect(shared.store.objects.keys.filter { $0.hasPrefix("refs/readers/") }.count == 2)
        let served = try second.plane.attach("ro").served
        second.host.setClients(ClientCounts(readers: 1, writers: 0), of: served)
        second.plane.release(served)
        #expect(second.host.runningCount == 1)
        second.host.disconnect(served)
        second.plane.release(served)
        #expect(second.host.runningCount == 0)
        try first.restart()
        #expect(!shared.store.objects.keys.contains { $0.hasPrefix("refs/readers/") })
        #expect(source != reply.export.volume)
    }

    @Test("a take-over whose fence got no answer serves nothing until that is known")
    func unansweredFence() throws {
        let first = try TestNode("a", shared)
        let second = try TestNode("b", shared, seed: 2)
        let volume = try first.make("prod", writes: [1])
        _ = try first.plane.drain("prod")
        _ = try second.plane.open("prod", force: true)
        // It does not know yet.
        try first.host.write(2, to: volume)
        let fault = StoreFault(.replyLost, operation: .put, keyPrefix: "volumes/")
        shared.store.inject(fault)
        let error = try failure { _ = try first.plane.open("prod", force: true) }
        #expect(error.kind == .storeAway)
        // Its journal was set aside: the old root without it would be older than what was written.
        #expect(first.host.content(ServedVolume(volume)) == nil)
        _ = try first.plane.open("prod", force: true)
        #expect(first.host.content(ServedVolume(volume)) == [1])
        #expect(try shared.head(of: volume).uncleanTakeover != nil)
        #expect(try journals(first, volume).contains { $0.hasPrefix("journal.salvage-") })
    }

    @Test("a promotion claims, makes the export writable, and stays after a restart")
    func promote() throws {
        let node = try TestNode("a", shared)
        try node.make("base", writes: [7])
        let request = PutRequest(isReadOnly: true, source: try ForkSource(from: "base"))
        let volume = try node.plane.put("ro", request).export.volume
        _ = try node.plane.attach("ro")
        #expect(try !node.plane.promote("ro", force: false).isReadOnly)
        #expect(try !node.plane.promote("ro", force: false).isReadOnly)
        try node.host.write(8, to: volume)
        #expect(try node.plane.put("ro", request).outcome == .unchanged)
        try node.restart()
        #expect(try node.content("ro") == [7, 8])
    }
}

/// Lets a test's single-threaded object into a hook that runs on the same thread.
struct UncheckedBox<Value>: @unchecked Sendable {
    // Confined: to the thread of its test.
    let value: Value
    init(_ value: Value) { self.value = value }
}
