// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Exports that cannot be made whole go back to their newest whole commit, and nothing else does.

import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives
import RepositorySupport
import Testing

@testable import Maintenance

extension SmallRepository {
    /// What the control plane of the host does when asked.
    fileprivate func repairFallingBack(
        _ options: VerifyOptions = VerifyOptions(), from sources: [MemoryStore] = []
    ) throws -> (report: RepairReport, asked: [LastGood]) {
        var asked: [LastGood] = []
        var repairer = Repairer(
            store: store, options: options, sources: sources.map { StoreRepairSource($0) },
            fallBack: fallBack { item throws(UserError) in
                asked.append(item)
                let done = try self.plane.rollback("\(item.name)", to: "\(item.good)")
                return "to \(item.good), now \(done.sequence)"
            }
        ) { Verifier(store: self.store, options: $0, random: SplitMix64(seed: 3)) }
        return (try repairer.run(), asked)
    }

    fileprivate func fallBack(_ rollBack: @escaping FallBack.RollBack) -> FallBack {
        var random = SplitMix64(seed: 11)
        return FallBack(
            clock: clock, makeToken: { .random(from: &random) }, checkClosed: { _ in },
            rollBack: rollBack)
    }

    /// The newest pack of an export's volume, and its commits, newest first.
    fileprivate func newestPack(
        of name: String
    ) throws -> (key: String, commits: [CommitKey]) {
        let volume = try volume(name)
        let prefix = PackID.keyPrefix(of: volume)
        let key = try #require(packKeys.last { $0.hasPrefix(prefix) })
        return (key, try commits.filter { $0.volume == volume })
    }
}

@Suite("Falling back to the last good commit")
struct LastGoodTests {
    @Test("an export goes back to the newest commit of which every byte reads right")
    func fallsBack() throws {
        let repository = try SmallRepository.built()
        let (key, commits) = try repository.newestPack(of: "prod")
        let index = try #require(try repository.packs.first { $0.0 == key }?.1)
        repository.store.rot(key, at: Int(index.members[0].extent.end) - 1)
        let before = repository.store.objects
        let (failed, _) = try repository.readBack(commits[0])
        #expect(!failed.isEmpty)
        let good = try #require(
            try commits.first { try repository.readBack($0).failed.isEmpty })
        let (report, asked) = try repository.repairFallingBack()
        #expect(asked.map(\.good) == [good.sequence])
        #expect(asked.first?.name == RefName("prod") && asked.first?.head == commits[0].sequence)
        #expect(report.outcomes.contains { $0.key == "export prod" && $0.result == .fellBack })
        #expect(report.outcomes.contains { $0.key == key && $0.detail == "no source was given" })
        // What was there is there, damage and all.
        for (key, bytes) in before {
            #expect(repository.store.objects[key] == bytes, "\(key)")
        }
        // The export is whole; what it was before is a snapshot, and still a fault.
        #expect(!report.left.isWhole)
        let names = report.left.faults.flatMap(\.hits).flatMap(\.names)
        #expect(!names.contains("export prod") && names.contains { $0.hasPrefix("snapshot prod@") })
    }

    @Test("an export that can be repaired stays where it is")
    func prefersRepair() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        let before = repository.store.objects
        let (key, _) = try repository.newestPack(of: "prod")
        repository.store.rot(key, at: 200)
        let (report, asked) = try repository.repairFallingBack(from: [replica])
        #expect(report.isWhole && asked.isEmpty && repository.store.objects == before)
    }

    @Test("without a whole commit nothing moves, and why is said")
    func noWay() throws {
        let repository = try SmallRepository()
        try repository.create("prod")
        try repository.running("prod").write(0, repository.fresh(4096))
        _ = try repository.plane.drain("prod")
        let volume = try repository.volume("prod")
        // The first commits of a volume are an empty disk, which is whole.
        for key in try repository.commits.dropFirst() { try repository.store.delete([key.key]) }
        for key in repository.packKeys { repository.store.rot(key, at: 120) }
        let (report, asked) = try repository.repairFallingBack()
        #expect(asked.isEmpty)
        let prod = report.outcomes.first { $0.key == "export prod" }
        #expect(prod?.result == .notRepaired)
        #expect(prod?.detail == "no commit of volume \(volume) is whole")
    }

    @Test("what the daemon refuses is said, and the rest goes on")
    func refused() throws {
        let repository = try SmallRepository.built()
        let (key, _) = try repository.newestPack(of: "prod")
        repository.store.rot(key, at: 200)
        let puts = repository.store.counts.puts
        var repairer = Repairer(
            store: repository.store, options: VerifyOptions(), sources: [],
            fallBack: repository.fallBack { _ throws(UserError) in
                throw UserError(.conflict, what: "w", why: "clients have it open", remedy: "r")
            }
        ) { Verifier(store: repository.store, options: $0, random: SplitMix64(seed: 3)) }
        let report = try repairer.run()
        let outcome = report.outcomes.first { $0.key == "export prod" }
        #expect(outcome?.result == .notRepaired)
        #expect(outcome?.detail.contains("clients have it open") == true)
        #expect(repository.store.counts.puts == puts)
    }
}
