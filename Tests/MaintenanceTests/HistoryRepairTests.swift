// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Damaged commits in the middle of a history that no source has: what their neighbours tell of them
// is put back, what is lost is said to be lost, and collectors go on.

import Committer
import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives
import RepositorySupport
import Testing

@testable import Maintenance

@Suite("Damaged commits in the middle of a history")
struct HistoryRepairTests {
    private let repository: SmallRepository
    /// Of the export prod, newest first.
    private let history: [Commit]
    private let named: Set<CommitKey>

    /// With fences, commits that changed nothing, plain ones, and snapshots of some.
    init() throws {
        let repository = try SmallRepository.built()
        for offset in UInt64(1)...3 {
            try repository.running("prod").write(offset * 4096, repository.fresh(4096))
            _ = try repository.plane.drain("prod")
        }
        self.repository = repository
        let volume = try repository.volume("prod")
        let finder = HeadFinder(store: repository.store)
        // As a compaction and a drain behind it leave it.
        for keepsContent in [true, false] {
            let head = try #require(try finder.head(of: volume)).commit
            var next = CommitDrafts.successor(
                of: head,
                stamp: .init(
                    epoch: head.epoch, token: Token(low: head.sequence.rawValue, high: 7),
                    state: .clean, labelSeconds: 9)
            ).commit
            next.keepsContent = keepsContent
            _ = try repository.store.putIfAbsent(next.key.key, next.encode())
        }
        history = try repository.commits.filter { $0.volume == volume }.map {
            try finder.commit(of: volume, $0.sequence).commit
        }
        var verifier = Verifier(
            store: repository.store, options: VerifyOptions(), random: SplitMix64(seed: 3))
        _ = try verifier.run()
        named = Set(verifier.pinned.keys)
    }

    private func repair(
        from sources: [any RepairSource] = [], through actor: ActorStore? = nil,
        fallsBack: Bool = true
    ) throws -> RepairReport {
        var random = SplitMix64(seed: 11)
        let store = actor ?? ActorStore(repository.store)
        let fallBack = FallBack(
            clock: repository.clock, makeToken: { .random(from: &random) }, checkClosed: { _ in }
        ) { item throws(UserError) in
            Issue.record("the daemon was asked")
            return "\(item)"
        }
        var repairer = Repairer(
            store: store, options: VerifyOptions(), sources: sources,
            fallBack: fallsBack ? fallBack : nil
        ) { Verifier(store: store, options: $0, random: SplitMix64(seed: 3)) }
        return try repairer.run()
    }

    private func stored(_ commit: Commit) throws -> Commit {
        try HeadFinder(store: repository.store).commit(of: commit.volume, commit.sequence).commit
    }

    private func collectAll() throws {
        for _ in 0..<8 {
            var collector = TestCollector(
                store: ActorStore(repository.store), clock: repository.clock,
                options: CollectorOptions(node: "test", gracePeriodSeconds: 0))
            if try collector.run().outcome == .nothing { return }
        }
        Issue.record("the collector does not come to rest")
    }

    /// What one of the history became.
    private enum Fate: Hashable { case same, lost, left }

    /// Holds a repaired commit against what it was and the one before it.
    private func fate(of commit: Commit, _ older: Commit?, _ report: RepairReport) throws -> Fate {
        let key = commit.key.key
        let outcome = try #require(report.outcomes.first { $0.key == key })
        if outcome.result == .notRepaired { return .left }
        let made = try stored(commit)
        #expect(made.token == commit.token && made.epoch == commit.epoch, "\(key)")
        #expect(made.isFence == commit.isFence || (made.isFence && older == nil), "\(key)")
        if let older { #expect(made.parentToken == older.token, "\(key)") }
        if outcome.result == .repaired {
            #expect(made.digest == commit.digest && made.size == commit.size, "\(key)")
            return .same
        }
        #expect(made.digest == (older ?? made).digest && !named.contains(commit.key), "\(key)")
        #expect(outcome.detail.contains("is lost, and nothing names it"), "\(key)")
        return .lost
    }

    @Test("one gets back what its neighbours have, or what was before it, unless it has a name")
    func single() throws {
        let whole = repository.store.objects
        var fates: [Fate: Int] = [:]
        for (place, commit) in history.enumerated().dropFirst() {
            let key = commit.key.key
            let older = place + 1 < history.count ? history[place + 1] : nil
            repository.store.rot(key, at: 80)
            let damaged = repository.store.objects[key]
            #expect(try !repair(fallsBack: false).isWhole)
            #expect(repository.store.objects[key] == damaged, "nobody asked for it")
            let report = try repair()
            let fate = try fate(of: commit, older, report)
            fates[fate, default: 0] += 1
            #expect(report.isWhole == (fate != .left))
            if fate == .left {
                #expect(named.contains(commit.key) && repository.store.objects[key] == damaged)
            } else {
                #expect(try repair().outcomes.isEmpty, "once is enough")
            }
            for (other, bytes) in whole where other != key {
                #expect(repository.store.objects[other] == bytes)
            }
            try repository.replace(key, whole[key])
        }
        // Each kind was met.
        #expect(fates[.same, default: 0] > 3 && fates[.lost, default: 0] > 2, "\(fates)")
        #expect(fates[.left, default: 0] > 0, "\(fates)")
    }

    @Test("two in a row are made one after the other, and collectors go on")
    func pairs() throws {
        let whole = repository.store.objects
        for place in 1..<(history.count - 1) {
            let pair = history[place...(place + 1)]
            for commit in pair { repository.store.rot(commit.key.key, at: 80) }
            let report = try repair()
            let isNamed = pair.contains { named.contains($0.key) }
            #expect(report.isWhole || isNamed, "\(report.lines)")
            for commit in pair where report.isWhole {
                let made = try stored(commit)
                #expect(made.epoch <= commit.epoch && made.sequence == commit.sequence)
            }
            for commit in pair where named.contains(commit.key) {
                let made = try? stored(commit)
                #expect(made == nil || made?.digest == commit.digest)
            }
            for commit in pair { try repository.replace(commit.key.key, whole[commit.key.key]) }
        }
        for commit in history.dropFirst() where !named.contains(commit.key) {
            repository.store.rot(commit.key.key, at: 80)
        }
        #expect(throws: UserError.self) { try collectAll() }
        let report = try repair()
        #expect(report.isWhole, "\(report.lines)")
        try collectAll()
        #expect(try repository.verify().isWhole)
        #expect(try stored(history[0]) == history[0])
    }

    @Test("a copy of it is better than a neighbour")
    func prefersCopies() throws {
        let replica = repository.replica
        let whole = repository.store.objects
        for commit in history.dropFirst() {
            repository.store.rot(commit.key.key, at: 80)
            #expect(try repair(from: [StoreRepairSource(replica)]).isWhole)
            #expect(repository.store.objects == whole)
        }
    }

    @Test("broken off at any request, it is finished by the next repair")
    func interrupted() throws {
        let lost = history.dropFirst().filter { !named.contains($0.key) }
        let whole = repository.store.objects
        var steps = 0
        for skipping in 0... {
            for commit in lost {
                try repository.replace(commit.key.key, whole[commit.key.key])
                repository.store.rot(commit.key.key, at: 80)
            }
            repository.store.inject(StoreFault(.away, operation: .put, skipping: skipping))
            let done = (try? repair())?.isWhole == true
            repository.store.heal()
            let report = try repair()
            #expect(report.isWhole, "\(report.lines)")
            for commit in history where named.contains(commit.key) || commit == history[0] {
                #expect(try stored(commit) == commit)
            }
            steps += 1
            if done { break }
        }
        #expect(steps > 3)
    }
}
