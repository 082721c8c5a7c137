// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What is found behind a fence that was just made.

import Committer
import Formats
import ObjectStore
import Primitives
import Testing
import VolumeMap

@Suite("A second look behind a fence")
struct FenceCheckTests {
    private let volume: TestVolume
    private let first: Commit
    private let fence: LocalRoot

    init() throws {
        volume = try TestVolume()
        first = volume.root.commit
        fence = Self.next(after: first, epoch: first.epoch.next, in: volume)
    }

    private static func next(
        after parent: Commit, epoch: Epoch, in volume: TestVolume
    ) -> LocalRoot {
        CommitDrafts.successor(
            of: parent,
            stamp: .init(
                epoch: epoch, token: .random(from: &volume.random), state: .open, labelSeconds: 9))
    }

    private func put(_ root: LocalRoot) throws {
        #expect(try volume.store.putIfAbsent(root.commit.key.key, root.bytes) == .created)
    }

    private var isStored: Bool { volume.store.object(fence.commit.key.key) != nil }

    @Test("a fence that is the head stands, for one LIST and one HEAD")
    func head() throws {
        try put(fence)
        let before = volume.store.counts
        #expect(try FenceCheck(store: volume.store).stands(fence.commit))
        let after = volume.store.counts
        #expect(after.lists - before.lists == 1 && after.heads - before.heads == 1)
        #expect(after.gets == before.gets && after.deletes == before.deletes)
        #expect(isStored)
    }

    @Test("a fence in the middle of history does not stand, and is taken back")
    func passed() throws {
        var last = Self.next(after: first, epoch: first.epoch, in: volume)
        let taken = last.commit.key.key
        for _ in 0..<3 {
            try put(last)
            last = Self.next(after: last.commit, epoch: first.epoch, in: volume)
        }
        try volume.store.delete([taken])
        try put(fence)
        #expect(try !FenceCheck(store: volume.store).stands(fence.commit))
        #expect(!isStored)
    }

    @Test("a fence that another one was built on does not stand, and stays")
    func builtUpon() throws {
        try put(fence)
        try put(Self.next(after: fence.commit, epoch: fence.commit.epoch.next, in: volume))
        #expect(try !FenceCheck(store: volume.store).stands(fence.commit))
        #expect(isStored)
    }

    @Test(
        "a store that goes away says nothing of the fence", arguments: [StoreOperation.list, .head])
    func away(at operation: StoreOperation) throws {
        try put(fence)
        volume.store.inject(StoreFault(.away, operation: operation))
        #expect(throws: CommitError.self) {
            try FenceCheck(store: volume.store).stands(fence.commit)
        }
        #expect(isStored)
    }
}
