// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the answer of a PUT means, before and after a restart; and the head of a history.

import CleanCache
import Committer
import Formats
import HostIO
import ObjectStore
import Primitives
import Testing
import VolumeMap

@Suite("Publishing")
struct PublishTests {
    /// A volume with one commit published and a second one prepared but not sent.
    private func prepared() throws -> (TestVolume, LocalRoot) {
        let volume = try TestVolume()
        try volume.write(grain: 3, volume.noise(4096))
        let next = try volume.build(volume.inputs()).root
        try volume.roots.writePending(next.commit.sequence, bytes: next.bytes)
        return (volume, next)
    }

    /// Another writer's commit under the same number.
    private func rival(of volume: TestVolume, epoch: Epoch) -> LocalRoot {
        CommitDrafts.successor(
            of: volume.root.commit,
            stamp: .init(
                epoch: epoch, token: .random(from: &volume.random), state: .open,
                labelSeconds: 9))
    }

    /// The pending bytes as a restart reads them.
    private func reread(_ volume: TestVolume) throws -> LocalRoot {
        try #require(try volume.roots.load().pending)
    }

    @Test("a new key publishes, and asking again with the same bytes says so again")
    func created() throws {
        let (volume, next) = try prepared()
        let publisher = Publisher(store: volume.store)
        #expect(try publisher.publish(next) == .published)
        #expect(try publisher.publish(try reread(volume)) == .published)
        try volume.roots.promote(next.commit.sequence)
        let loaded = try volume.roots.load()
        #expect(loaded.current?.bytes == next.bytes)
        #expect(loaded.pending == nil)
    }

    @Test("a PUT whose answer was lost is found to be the own one after a restart")
    func answerLost() throws {
        let (volume, next) = try prepared()
        volume.store.inject(StoreFault(.replyLost, operation: .put))
        let publisher = Publisher(store: volume.store)
        guard case .unresolved = try publisher.publish(next) else {
            Issue.record("an ambiguous PUT was resolved")
            return
        }
        let again = try reread(volume)
        #expect(again.bytes == next.bytes)
        #expect(try publisher.publish(again) == .published)
    }

    @Test("a PUT that lands late is either the own commit or fences it, never both")
    func late() throws {
        let (volume, next) = try prepared()
        volume.store.inject(StoreFault(.late(afterRequests: 100), operation: .put))
        let publisher = Publisher(store: volume.store)
        guard case .unresolved = try publisher.publish(next) else {
            Issue.record("an ambiguous PUT was resolved")
            return
        }
        let other = rival(of: volume, epoch: Epoch(2))
        #expect(try publisher.publish(other) == .published)
        volume.store.landLate()
        #expect(try publisher.publish(next) == .fenced(by: FencedBy(other.commit)))
        #expect(try publisher.publish(other) == .published)
    }

    @Test("another commit under the number fences, of the same epoch too", arguments: [1, 2])
    func fenced(epoch: UInt32) throws {
        let (volume, next) = try prepared()
        let other = rival(of: volume, epoch: Epoch(epoch))
        let publisher = Publisher(store: volume.store)
        #expect(try publisher.publish(other) == .published)
        for root in [next, try reread(volume)] {
            let outcome = try publisher.publish(root)
            #expect(outcome == .fenced(by: FencedBy(other.commit)))
        }
        try volume.roots.discardPending(next.commit.sequence)
        #expect(try volume.roots.load().pending == nil)
        #expect(try volume.roots.load().current?.commit == volume.root.commit)
    }

    @Test("an absent store leaves the number open, and the same bytes serve later")
    func away() throws {
        let (volume, next) = try prepared()
        volume.store.setAway(true)
        let publisher = Publisher(store: volume.store)
        guard case .unresolved = try publisher.publish(next) else {
            Issue.record("an absent store resolved a PUT")
            return
        }
        volume.store.setAway(false)
        #expect(try publisher.publish(try reread(volume)) == .published)
    }

    @Test("a store that goes away between the PUT and the look at the key leaves it open")
    func awayOnLook() throws {
        let (volume, next) = try prepared()
        #expect(try Publisher(store: volume.store).publish(next) == .published)
        volume.store.inject(StoreFault(.away, operation: .get))
        guard case .unresolved = try Publisher(store: volume.store).publish(next) else {
            Issue.record("resolved without a look")
            return
        }
    }

    @Test("something unreadable under the number is an error that names the key")
    func unreadable() throws {
        let (volume, next) = try prepared()
        let key = next.commit.key.key
        _ = try volume.store.putIfAbsent(key, [1, 2, 3])
        let error = #expect(throws: CommitError.self) {
            try Publisher(store: volume.store).publish(next)
        }
        guard case .damagedObject(let named, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(named == key)
    }

    @Test("a refusal of the store is an error, not an open question")
    func forbidden() throws {
        let (volume, next) = try prepared()
        volume.store.inject(StoreFault(.forbidden, operation: .put))
        #expect(throws: CommitError.self) { try Publisher(store: volume.store).publish(next) }
    }

    @Test("the head is found by one key of one listing and probes")
    func head() throws {
        let volume = try TestVolume()
        for _ in 0..<12 {
            try volume.write(grain: 1, volume.noise(4096))
            try volume.commit()
        }
        volume.store.record(true)
        let head = try #require(try HeadFinder(store: volume.store).head(of: volume.id))
        #expect(head.commit == volume.root.commit)
        #expect(volume.store.requests.map(\.operation) == [.list, .head, .get])
        let nobody = VolumeID.random(from: &volume.random)
        #expect(try HeadFinder(store: volume.store).head(of: nobody) == nil)
    }

    @Test("a damaged head is an error that names it, and no older commit takes its place")
    func damagedHead() throws {
        let volume = try TestVolume()
        try volume.write(grain: 1, volume.noise(4096))
        try volume.commit()
        let key = volume.root.commit.key.key
        volume.store.rot(key, at: 80)
        let error = #expect(throws: CommitError.self) {
            try HeadFinder(store: volume.store).head(of: volume.id)
        }
        guard case .damagedObject(let named, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(named == key)
    }

    @Test("a commit that lies under another volume's key is refused")
    func misplacedHead() throws {
        let volume = try TestVolume()
        let other = VolumeID.random(from: &volume.random)
        let bytes = try volume.store.get(volume.root.commit.key.key, limit: 1 << 20)
        _ = try volume.store.putIfAbsent(CommitKey.key(other, CommitSequence(1)), bytes)
        #expect(throws: CommitError.self) { try HeadFinder(store: volume.store).head(of: other) }
    }
}
