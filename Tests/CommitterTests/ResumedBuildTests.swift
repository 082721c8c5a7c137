// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A build that the store broke off: the next try makes the same packs again, sends only what has
// not arrived, and leaves nothing behind that no commit names.

import CleanCache
import Committer
import Formats
import HostIO
import ObjectStore
import Primitives
import Testing
import VolumeMap

@Suite("Builds that are tried again")
struct ResumedBuildTests {
    /// Written everywhere and committed, then written here and there: some bases are at hand.
    private func prepared() throws -> TestVolume {
        let volume = try TestVolume(
            TestShape(size: 8 << 20, settings: PackSettings(targetBytes: 300 << 10)))
        try volume.write(grain: 0, volume.noise(8 << 20))
        try volume.commit()
        volume.forget()
        let fetcher = MapFetcher(store: volume.store, cache: volume.cache)
        try fetcher.bring((0..<32).map { BlockIndex(UInt64($0) * 2) }, of: volume.root)
        for block in 0..<64 {
            try volume.write(grain: block * 32 + block % 30, volume.noise(2 * 4096))
        }
        return volume
    }

    /// Builds until the store lets it; how many tries that took.
    private func build(
        _ volume: TestVolume, progress: CommitProgress?, between: (Int) throws -> Void
    ) throws -> (prepared: PreparedCommit, tries: Int) {
        var inputs = volume.inputs()
        inputs.progress = progress
        for attempt in 1..<100 {
            progress?.begin()
            do throws(CommitError) {
                let builder = CommitBuilder<VolatileDirectory, MemoryStore>(
                    store: volume.store, cache: volume.cache)
                if let progress {
                    var chance = RepeatedChance(
                        progress, SplitMix64(seed: UInt64(attempt) + 100))
                    return (try builder.build(inputs, random: &chance), attempt)
                }
                return (try builder.build(inputs, random: &volume.random), attempt)
            } catch {
                #expect(error.isRetryable)
                try between(attempt)
            }
        }
        throw CommitError.packTableFull
    }

    private func packs(_ volume: TestVolume) -> Set<String> {
        Set(volume.store.objects.keys.filter { $0.hasPrefix("packs/") })
    }

    @Test(
        "after any break the same packs are made, whatever the cache has lost or gained",
        arguments: [StoreFault.Effect.away, .replyLost, .late(afterRequests: 3)])
    func resumed(effect: StoreFault.Effect) throws {
        let volume = try prepared()
        let before = packs(volume)
        volume.store.inject(
            StoreFault(effect, operation: .put, keyPrefix: "packs/", skipping: 2))
        volume.store.record(true)
        let (result, tries) = try build(volume, progress: CommitProgress()) { attempt in
            // Nothing is at hand at the second try, all of it at the third.
            volume.forget()
            if attempt == 2 {
                let fetcher = MapFetcher(store: volume.store, cache: volume.cache)
                try fetcher.bring((0..<64).map { BlockIndex(UInt64($0)) }, of: volume.root)
            }
            if attempt < 6 {
                volume.store.inject(
                    StoreFault(effect, operation: .put, keyPrefix: "packs/", skipping: 1))
            }
        }
        #expect(tries >= 4)
        let made = packs(volume).subtracting(before)
        #expect(made.count == result.statistics.packs && made.count > 6)
        // What arrived was not sent again: one PUT for each, and one for each break.
        let puts = volume.store.requests.count { $0.operation == .put }
        #expect(puts == made.count + tries - 1)
        try volume.publish(result.root)
        volume.store.landLate()
        try volume.expectContent()
        let audit = try MapAudit(volume.root, store: volume.store)
        try audit.expectExact()
        #expect(made.isSubset(of: Set(audit.packs.values.map(\.pack.key))), "an orphan")
    }

    @Test("without a memory of earlier tries, breaks leave orphans: what this is for")
    func forgetful() throws {
        let volume = try prepared()
        let before = packs(volume)
        volume.store.inject(
            StoreFault(.away, operation: .put, keyPrefix: "packs/", skipping: 3))
        let (result, tries) = try build(volume, progress: nil) { _ in }
        #expect(tries == 2)
        let made = packs(volume).subtracting(before)
        #expect(made.count == result.statistics.packs + 3)
    }
}
