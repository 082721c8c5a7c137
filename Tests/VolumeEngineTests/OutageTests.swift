// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The store goes away while a volume is written, in the middle of uploads too, and comes back:
// everything acknowledged drains, once, as one chain of commits, and what is in the store is what
// some commit names.

import BlockDevice
import CleanCache
import Committer
import Formats
import HostIO
import Journal
import ObjectStore
import Primitives
import Testing
import VolumeEngine
import VolumeMap

@Suite("Outages of the store")
struct OutageTests {
    private func shape(_ change: (inout EngineShape) -> Void = { _ in }) -> EngineShape {
        var shape = EngineShape()
        shape.settings = PackSettings(targetBytes: 200 << 10)
        shape.options.commitBytes = 1 << 20
        shape.options.commitAgeSeconds = 5
        change(&shape)
        return shape
    }

    /// All commits in the store, oldest first.
    private func allCommits(_ rig: EngineRig) throws -> [Commit] {
        let count = rig.store.objects.keys.count { $0.hasPrefix("volumes/") }
        return try (1...UInt64(count)).map {
            try HeadFinder(store: rig.store).commit(of: rig.id, CommitSequence($0)).commit
        }
    }

    /// Names of packs that no commit of the chain refers to.
    private func orphans(_ rig: EngineRig) throws -> Set<String> {
        var named: Set<String> = []
        for commit in try allCommits(rig) {
            let root = Root(commit: commit)
            let fetcher = MapFetcher(
                store: rig.store, cache: CleanCache(capacityBytes: 64 << 20))
            for listed in commit.packPages.entries {
                let page = try fetcher.packPage(listed.index, of: root)
                for pack in page.entries { if let pack { named.insert(pack.pack.key) } }
            }
            for pack in commit.chunkPages.packs + commit.packPages.packs { named.insert(pack.key) }
        }
        return Set(rig.store.objects.keys.filter { $0.hasPrefix("packs/") }).subtracting(named)
    }

    /// Commits in the store, oldest first: one for each number, each the child of the one before.
    private func expectChain(_ rig: EngineRig) throws -> Int {
        let commits = try allCommits(rig)
        for (parent, child) in zip(commits, commits.dropFirst()) {
            #expect(child.sequence == parent.sequence.next)
            #expect(child.parentToken == parent.token && child.cut >= parent.cut)
        }
        #expect(rig.root.commit.token == commits.last?.token)
        return commits.count
    }

    @Test(
        "however often the store breaks off, one chain of commits and no orphan",
        arguments: 1...8 as ClosedRange<UInt64>)
    func drainsOnce(seed: UInt64) throws {
        let rig = try EngineRig(shape(), seed: seed)
        var random = SplitMix64(seed: seed)
        var model = zeros(8 << 20)
        let effects: [StoreFault.Effect] = [.away, .replyLost, .late(afterRequests: 2)]
        for round in 0..<40 as Range<UInt64> {
            // Short outages in the middle of anything, and a long one from round 15 to 30.
            if random.next(below: 3) == 0 {
                let effect = effects[Int(random.next(below: 3))]
                rig.store.inject(
                    StoreFault(
                        effect, operation: effect == .away ? nil : .put,
                        skipping: Int(random.next(below: 6)), times: 1 + Int(random.next(below: 4)))
                )
            }
            if round == 15 { rig.store.setAway(true) }
            if round == 30 { rig.store.setAway(false) }
            for _ in 0..<6 {
                let grain = random.next(below: 2_000)
                let bytes = noise(4096 * Int(1 + random.next(below: 40)), random.next())
                let offset = Int(grain) * 4096
                let piece = Array(bytes[..<min(bytes.count, model.count - offset)])
                let write = rig.submit(.write(UInt64(offset), piece))
                rig.run()
                #expect(write.state == .done, "no error and no wait reaches the guest")
                model = laid(piece, at: offset, over: model)
            }
            let flush = rig.submit(.flush)
            rig.run()
            #expect(flush.state == .done)
            rig.tick(seconds: 1 + random.next(below: 3))
            rig.run()
        }
        rig.store.heal()
        for _ in 0..<40 {
            rig.tick()
            rig.run()
        }
        rig.store.landLate()
        #expect(rig.report.unpublishedBytes == 0 && rig.report.lastError == nil)
        let root = try rig.commit()
        let count = try expectChain(rig)
        #expect(
            UInt64(count) == rig.report.counters.commits + 1
                && root.commit.sequence == rig.root.commit.sequence)
        #expect(rig.report.counters.commitsPostponed > 0)
        let left = try orphans(rig)
        #expect(left.isEmpty, "\(left.count) packs that no commit names")
        rig.expect(0, model)
        // And on another machine.
        let fresh = MapFetcher(store: rig.store, cache: CleanCache(capacityBytes: 64 << 20))
        for block in 0..<64 as Range<UInt64> {
            let content = try fresh.content(of: BlockIndex(block), in: root)
            let expected = model[Int(block << 17)..<Int((block + 1) << 17)]
            #expect(
                content.map { $0.bytes.elementsEqual(expected) } ?? expected.allSatisfy { $0 == 0 })
        }
    }

    @Test("a write that waits for the store is told about, by age, bytes and last error")
    func told() throws {
        let rig = try EngineRig(shape { $0.options.unpublishedSecondsMax = 20 })
        #expect(rig.report.stall == nil && rig.report.storeAwaySeconds == 0)
        rig.write(0, noise(100_000, 1))
        rig.store.setAway(true)
        for _ in 0..<30 {
            rig.tick()
            rig.run()
        }
        let report = rig.report
        #expect(report.stall == .unpublished && report.isStalled)
        #expect((24...25).contains(report.storeAwaySeconds))
        #expect(report.unpublishedAgeSeconds == 30 && report.unpublishedBytes > 100_000)
        #expect(report.lastError?.contains("injected") == true)
        rig.store.setAway(false)
        for _ in 0..<20 {
            rig.tick()
            rig.run()
        }
        #expect(rig.report.stall == nil && rig.report.storeAwaySeconds == 0)
        #expect(rig.report.lastError == nil)
    }

    @Test("a full budget is told for as long as it is full", arguments: [StallPolicy.pause, .fail])
    func full(policy: StallPolicy) throws {
        let rig = try EngineRig(
            shape {
                $0.segmentsMax = 4
                $0.options.whenFull = policy
            })
        rig.store.setAway(true)
        var last = rig.submit(.flush)
        for index in 0..<100 as Range<UInt64> {
            last = rig.submit(.write(index * 32_768, noise(32_768, index)))
            rig.run()
            if last.state != .done { break }
        }
        #expect(last.state == (policy == .pause ? .parked : .failed(.noSpace)))
        #expect(rig.report.stall == .budgetUsed)
        for _ in 0..<3 {
            rig.tick()
            rig.run()
            #expect(rig.report.stall == .budgetUsed)
        }
        rig.store.setAway(false)
        for _ in 0..<30 {
            rig.tick()
            rig.run()
        }
        #expect(rig.report.stall == nil)
        if policy == .pause { #expect(last.state == .done) }
    }
}
