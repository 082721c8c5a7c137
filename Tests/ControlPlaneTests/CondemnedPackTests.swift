// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a commit needs, when its pack table does not fit into the commit: a pin looks for condemned
// packs in pages that lie in packs themselves.

import Committer
import Documents
import Formats
import ObjectStore
import Primitives
import Testing

@testable import ControlPlane

@Suite("Pins and condemned packs")
struct CondemnedPackTests {
    private static let volume = VolumeID(low: 3, high: 5)
    private static let token = Token(low: 8, high: 1)

    private let store = MemoryStore(seed: 1)
    /// Holds the page of the pack table, and nothing else.
    private let pages = Self.pack(1)
    /// Named by the page: one that is needed, one whose last reference is gone.
    private let needed = Self.pack(2)
    private let unneeded = Self.pack(3)

    private static func pack(_ number: UInt64) -> PackID {
        PackID(
            volume: volume, epoch: Epoch(1), sequence: CommitSequence(1), number: UInt16(number),
            token: Token(low: number, high: 9))
    }

    /// Publishes a commit whose pack table lies in a pack; the pointer to it.
    private func publish(damagesPage: Bool = false) throws -> CommitPointer {
        var page = PackTablePage(index: 0)
        page[4] = PackEntry(pack: needed, live: 2, total: 3, bytes: 4096)
        page[9] = PackEntry(pack: unneeded, live: 0, total: 3, bytes: 4096)
        var writer = PackWriter(pack: pages)
        let pointer = writer.append(packPage: page.encode())
        var bytes = writer.finish()
        if damagesPage { bytes[Int(pointer.offset) + 300] ^= 1 }
        _ = try store.putIfAbsent(pages.key, bytes)
        _ = try store.putIfAbsent(needed.key, [1])
        var list = PageList()
        list[0] = .packed(pointer)
        let commit = Commit(
            volume: Self.volume, sequence: CommitSequence(4), epoch: Epoch(1), token: Self.token,
            state: .open, isFence: true, size: ByteCount(1 << 30), blockBytes: 131072,
            cut: RecordSequence(9), labelSeconds: 7, packPages: list, slotCount: 10)
        _ = try store.putIfAbsent(commit.key.key, commit.encode())
        return CommitPointer(
            volume: Self.volume, sequence: commit.sequence, token: commit.token, labelSeconds: 7)
    }

    private func condemn(_ packs: [PackID]) throws {
        let set = CondemnedSet(
            run: 1,
            groups: [CondemnedSet.Group(labelSeconds: 1, keys: CollectedKeys(packs: packs))])
        _ = try store.putIfAbsent(RefSeries.collection.key(1), set.encoded)
    }

    /// Pins; how often the ref was made and unmade.
    private func pin(_ pointer: CommitPointer) throws -> (made: Int, undone: Int, UserError?) {
        var made = 0
        var undone = 0
        let pinner = Pinner(refs: RefStore(store: store, what: "cannot pin"))
        do throws(UserError) {
            let root = try pinner.pin(pointer) { () throws(UserError) in
                made += 1
                return true
            } undo: { () throws(UserError) in
                undone += 1
            }
            #expect(root.commit.token == Self.token)
            return (made, undone, nil)
        } catch {
            return (made, undone, error)
        }
    }

    /// Decides what run 2 deletes.
    private func plan(_ packs: [PackID]) throws {
        let plan = CollectionPlan(
            run: 2, node: "test", labelSeconds: 1, keys: CollectedKeys(packs: packs))
        _ = try store.putIfAbsent(RefSeries.collectionPlan.key(2), plan.encoded)
    }

    /// What run 2 deletes, by what is in the store.
    private var planned: CollectedKeys? {
        get throws {
            try store.objects[RefSeries.collectionPlan.key(2)].map {
                try CollectionPlan(decoding: $0).keys
            }
        }
    }

    @Test("a pack that a packed page says is needed refuses the pin if a run deletes it")
    func listedByPage() throws {
        let pointer = try publish()
        try condemn([needed])
        try plan([needed])
        let (made, undone, failure) = try pin(pointer)
        #expect(made == 1 && undone == 1)
        #expect(failure?.kind == .conflict)
        #expect(failure?.why.contains("is being collected") == true)
    }

    @Test("so does the pack that holds the page")
    func holdsPage() throws {
        let pointer = try publish()
        try condemn([pages])
        try plan([pages])
        let (_, undone, failure) = try pin(pointer)
        #expect(undone == 1 && failure?.kind == .conflict)
    }

    @Test("what is condemned and not yet in a plan is pinned: the next run deletes nothing")
    func condemnedOnly() throws {
        let pointer = try publish()
        try condemn([needed, pages])
        #expect(try pin(pointer).2 == nil)
        #expect(try planned == CollectedKeys())
        // A second pin finds the plan of the first.
        let (made, undone, failure) = try pin(pointer)
        #expect(made == 1 && undone == 0 && failure == nil)
    }

    @Test("a plan that leaves it alone is as good as none")
    func otherPlan() throws {
        let pointer = try publish()
        try condemn([needed, unneeded])
        try plan([unneeded])
        #expect(try pin(pointer).2 == nil)
        #expect(try planned == CollectedKeys(packs: [unneeded]))
    }

    @Test("a pin whose commit nobody condemned leaves the collector alone")
    func notCondemned() throws {
        let pointer = try publish()
        try condemn([unneeded])
        #expect(try pin(pointer).2 == nil)
        #expect(try planned == nil)
    }

    @Test("a commit that goes while the pin is made is refused, whatever its packs do")
    func commitGoes() throws {
        let pointer = try publish()
        try condemn([needed])
        let key = CommitKey(volume: Self.volume, sequence: pointer.sequence).key
        // Behind the first reading of the commit.
        let racing = InterruptedStore(base: store) { [store] requested in
            if requested.hasPrefix(RefSeries.collectionPlan.prefix) { try? store.delete([key]) }
        }
        var undone = 0
        let pinner = Pinner(refs: RefStore(store: racing, what: "cannot pin"))
        #expect(throws: UserError.self) {
            _ = try pinner.pin(pointer) { () throws(UserError) in
                true
            } undo: { () throws(UserError) in
                undone += 1
            }
        }
        #expect(undone == 1)
    }

    @Test("a pack without a live reference may be condemned")
    func unneededPack() throws {
        let pointer = try publish()
        try condemn([unneeded])
        let (made, undone, failure) = try pin(pointer)
        #expect(made == 1 && undone == 0 && failure == nil)
    }

    @Test("a commit whose packs went with an older run cannot be pinned: fences stay as objects")
    func packIsGone() throws {
        let pointer = try publish()
        try store.delete([needed.key])
        // Where no collector ever ran nothing is looked at.
        #expect(try pin(pointer).2 == nil)
        try condemn([unneeded])
        let (_, undone, failure) = try pin(pointer)
        #expect(undone == 1 && failure?.why.contains("was collected") == true)
        try store.delete([pages.key])
        #expect(try pin(pointer).2?.why.contains("was collected") == true)
    }

    @Test("a page that cannot be trusted is no leave to pin, and the refusal leaves no ref")
    func damagedPage() throws {
        let pointer = try publish(damagesPage: true)
        try condemn([unneeded])
        let (made, undone, failure) = try pin(pointer)
        #expect(made == 1 && undone == 1)
        #expect(failure?.why.contains("another hash") == true)
    }
}

/// Tells of a PUT before it is made.
private struct InterruptedStore: ForwardingStore {
    let base: MemoryStore
    let before: @Sendable (_ key: String) -> Void

    func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        before(key)
        return try base.putIfAbsent(key, body)
    }
}
