// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Volumes whose newest commit cannot be read by anybody: they come back with what was before it,
// and whoever still knows that commit cannot publish behind it.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import ObjectStore
import Primitives
import RepositorySupport
import Testing

@testable import Maintenance

/// Another host with the real engine.
private final class TestWriter {
    let host: EngineHost
    let plane: ControlPlane<EngineHost, MemoryStore>

    init(_ name: String, _ repository: SmallRepository) throws {
        let disk = VolatileDisk(seed: 2)
        let random = SharedRandom(seed: 70)
        host = try EngineHost(
            store: repository.store, folder: disk.root, clock: repository.clock, random: random)
        plane = ControlPlane(
            configuration: ControlPlaneConfiguration(
                node: try #require(RefName(name)), machineID: "machine-\(name)"),
            cacheDirectory: disk.root, store: repository.store, host: host,
            clock: repository.clock, random: random)
        _ = try plane.start()
    }

    func write(_ name: String, _ offset: UInt64, _ bytes: [UInt8]) throws {
        let volume = try plane.attach(name).served.volume
        try #require(host[volume]).write(offset, bytes)
        _ = try plane.drain(name)
    }
}

/// Lets a test's single-threaded object into a hook that runs on the same thread.
private struct Confined<Value>: @unchecked Sendable {
    // Confined: to the thread of its test.
    let value: Value
    init(_ value: Value) { self.value = value }
}

@Suite("A newest commit that nobody can read")
struct LostHeadTests {
    private let repository: SmallRepository
    private let volume: VolumeID
    /// The newest commit of the export prod before it was damaged, and the one before.
    private let head: Commit
    private let good: Commit

    init() throws {
        repository = try SmallRepository.built()
        volume = try repository.volume("prod")
        _ = try repository.plane.drain("prod")
        try repository.running("prod").write(0, repository.fresh(4096))
        _ = try repository.plane.drain("prod")
        let finder = HeadFinder(store: repository.store)
        let head = try #require(try finder.head(of: volume)?.commit)
        self.head = head
        good = try finder.commit(
            of: volume, CommitSequence(head.sequence.rawValue - 1)
        ).commit
        // Its beats are old.
        repository.clock.advance(seconds: 3600)
    }

    private func repair(
        through actor: ActorStore? = nil, from sources: [any RepairSource] = [],
        isOpen: Bool = false
    ) throws -> RepairReport {
        var random = SplitMix64(seed: 11)
        let store = actor ?? ActorStore(repository.store)
        let fallBack = FallBack(
            clock: repository.clock, makeToken: { .random(from: &random) },
            checkClosed: { item throws(UserError) in
                guard isOpen else { return }
                throw UserError(.conflict, what: "\(item)", why: "it is open", remedy: "close it")
            }
        ) { item throws(UserError) in
            Issue.record("the daemon was asked")
            return "\(item)"
        }
        var repairer = Repairer(
            store: store, options: VerifyOptions(), sources: sources, fallBack: fallBack
        ) { Verifier(store: store, options: $0, random: SplitMix64(seed: 3)) }
        return try repairer.run()
    }

    private func stored(_ sequence: CommitSequence) throws -> Commit {
        try HeadFinder(store: repository.store).commit(of: volume, sequence).commit
    }

    private func expectBack(_ report: RepairReport) throws {
        #expect(report.isWhole, "\(report.lines)")
        let fence = try stored(head.sequence.next)
        let replaced = try stored(head.sequence)
        for commit in [fence, replaced] {
            #expect(commit.digest == good.digest && commit.size == good.size)
            #expect(commit.isFence && commit.epoch > head.epoch && commit.state == .clean)
        }
        #expect(replaced.token != head.token && replaced.parentToken == good.token)
        #expect(fence.parentToken == replaced.token && fence.epoch == replaced.epoch.next)
        #expect(fence.uncleanTakeover?.sequence == head.sequence)
        #expect(try HeadFinder(store: repository.store).head(of: volume)?.commit == fence)
    }

    @Test(
        "it goes back to the last good commit, whatever became of the newest",
        arguments: ["flipped", "cut", "empty", "another's"])
    func replaced(how: String) throws {
        let key = head.key.key
        switch how {
        case "flipped": repository.store.rot(key, at: 80)
        case "cut":
            try repository.replace(key, repository.store.objects[key].map { Array($0[..<70]) })
        case "empty": try repository.replace(key, [])
        default: try repository.replace(key, repository.store.objects[good.key.key])
        }
        let report = try repair()
        try expectBack(report)
        let outcome = try #require(report.outcomes.first { $0.key == "export prod" })
        #expect(outcome.result == .fellBack)
        #expect(outcome.detail.contains("to commit \(good.sequence) of "))
        #expect(outcome.detail.contains("is now commit \(head.sequence.next)"))
        #expect(try repair().outcomes.isEmpty, "once is enough")
        // It is opened and written as any other.
        let writer = try TestWriter("b", repository)
        #expect(try writer.plane.status("prod").uncleanTakeover != nil)
        try writer.write("prod", 0, [UInt8](repeating: 7, count: 4096))
        #expect(try repository.verify().isWhole)
    }

    @Test("the writer that knows the lost commit is fenced, and keeps its journal")
    func fenced() throws {
        repository.store.rot(head.key.key, at: 80)
        try expectBack(try repair())
        try repository.running("prod").write(4096, repository.fresh(4096))
        let error = try failure { _ = try repository.plane.drain("prod") }
        #expect(error.kind == .conflict || error.kind == .failed, "\(error)")
        #expect(try stored(head.sequence.next).isFence)
        #expect(try repository.verify().isWhole)
    }

    @Test(
        "nothing moves while a host says that it serves the volume, or something names the commit")
    func refused() throws {
        let before = repository.store.objects
        let beat = NodeBeat(
            node: try #require(RefName("elsewhere")), number: 1, address: "h:1",
            labelSeconds: repository.clock.wallSeconds, volumes: [volume])
        _ = try repository.store.putIfAbsent(beat.series.key(1), beat.encoded)
        repository.store.rot(head.key.key, at: 80)
        var outcome = try repair(isOpen: true).outcomes.first { $0.key == "export prod" }
        #expect(outcome?.detail.contains("it is open") == true)
        outcome = try repair().outcomes.first { $0.key == "export prod" }
        #expect(outcome?.result == .notRepaired)
        #expect(outcome?.detail.contains("elsewhere (h:1) serves it now") == true)
        try repository.store.delete([beat.series.key(1)])
        let snapshot = SnapshotRef(
            name: try #require(RefName("prod")), commit: head.pointer, tag: nil)
        _ = try repository.store.putIfAbsent(
            RefKey.snapshot(snapshot.name, head.sequence).text, snapshot.encoded)
        outcome = try repair().outcomes.first { $0.key == "export prod" }
        #expect(outcome?.result == .notRepaired)
        #expect(outcome?.detail.contains("names commit \(head.sequence)") == true)
        try repository.store.delete([RefKey.snapshot(snapshot.name, head.sequence).text])
        #expect(
            repository.store.objects.filter { $0.key != head.key.key }
                == before.filter { $0.key != head.key.key })
        // A copy of the lost commit is better than an older one.
        let replica = MemoryStore(seed: 2, url: "replica:", objects: before)
        #expect(try repair(from: [StoreRepairSource(replica)]).isWhole)
        #expect(repository.store.objects == before)
    }

    @Test("broken off at any request, the volume can be opened or nothing has changed")
    func interrupted() throws {
        let whole = repository.store.objects
        var steps = 0
        for effect in [StoreFault.Effect.away, .replyLost] {
            for skipping in 0... {
                for key in repository.store.objects.keys where whole[key] == nil {
                    try repository.store.delete([key])
                }
                try repository.replace(head.key.key, whole[head.key.key])
                repository.store.rot(head.key.key, at: 80)
                repository.store.inject(
                    StoreFault(effect, operation: .put, skipping: skipping))
                let done = (try? repair())?.isWhole == true
                repository.store.heal()
                let changed = Set(repository.store.objects.keys).subtracting(whole.keys)
                #expect(
                    changed.isSubset(of: [
                        CommitKey(volume: volume, sequence: head.sequence.next).key
                    ]))
                try expectBack(try repair())
                steps += 1
                if done { break }
            }
        }
        #expect(steps > 4)
    }

    @Test("of two repairs at one time one is refused, and both leave the same")
    func raced() throws {
        var steps = 0
        while true {
            let test = try LostHeadTests()
            test.repository.store.rot(test.head.key.key, at: 80)
            let actor = ActorStore(test.repository.store)
            let left = Countdown(steps)
            let other = Confined(test)
            actor.interrupt { operation, _ in
                guard operation == .put, left.isNow else { return false }
                _ = try? other.value.repair()
                return false
            }
            _ = try test.repair(through: actor)
            guard left.isOver else { break }
            try test.expectBack(try test.repair())
            steps += 1
        }
        #expect(steps > 1)
    }

    @Test("the end of a volume says nothing of the commit before it")
    func beforeEnd() throws {
        let refs = RefStore(store: repository.store, what: "test")
        let name = try #require(RefName("prod"))
        let ref = try #require(try refs.newest(.export(name), as: ExportRef.self))
        // What a tag names is read on.
        _ = try repository.plane.tag("prod", tag: "last")
        let tagged = try #require(try HeadFinder(store: repository.store).head(of: volume)).commit
        try VolumeEnd(refs: refs, clock: repository.clock)
            .publish(ref, token: Token(low: 9, high: 9))
        repository.store.rot(tagged.key.key, at: 80)
        let damaged = repository.store.objects[tagged.key.key]
        #expect(try !repair().isWhole)
        #expect(repository.store.objects[tagged.key.key] == damaged)
    }

    @Test("a damaged commit before a fence is made of the fence, with its token and content")
    func beforeFence() throws {
        let other = try TestWriter("b", repository)
        _ = try other.plane.open("prod", force: true)
        let fence = try stored(head.sequence.next)
        #expect(fence.isFence && fence.parentToken == head.token)
        repository.store.rot(head.key.key, at: 80)
        #expect(try !repository.verify().isWhole)
        #expect(try repair().isWhole)
        let rebuilt = try stored(head.sequence)
        #expect(rebuilt.token == head.token && rebuilt.digest == head.digest)
        #expect(rebuilt.epoch == head.epoch && rebuilt.parentToken == head.parentToken)
        #expect(rebuilt.cut == head.cut && rebuilt.size == head.size)
    }
}
