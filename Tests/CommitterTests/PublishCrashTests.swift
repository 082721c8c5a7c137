// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Power is cut at every operation of the local disk between cut and recycling, and what is found
// after explains the store: the head is the local root, or the pending commit, or older than
// neither.

import CleanCache
import Committer
import Formats
import HostIO
import ObjectStore
import Primitives
import Testing
import VolumeMap

@Suite("Power loss while publishing")
struct PublishCrashTests {
    @Test(
        "after a cut at any point the roots explain the head, and publishing goes on",
        arguments: [VolatileDisk.NameRule.independent, .journaled], 0..<6)
    func sweep(names: VolatileDisk.NameRule, seed: Int) throws {
        var steps = 0
        var cut = true
        while cut {
            cut = try attempt(names: names, seed: UInt64(seed), cutAfter: steps)
            steps += 1
        }
        // Pending: create, write, sync, rename, sync; promote: link, sync, remove, list, remove.
        #expect(steps > 8)
    }

    /// Publishes commit 2 with a cut `cutAfter` operations into it; false if it came through.
    private func attempt(
        names: VolatileDisk.NameRule, seed: UInt64, cutAfter: Int
    ) throws -> Bool {
        let disk = VolatileDisk(seed: seed &* 977 &+ UInt64(cutAfter), names: names)
        let store = MemoryStore()
        var random = SplitMix64(seed: seed)
        let volume = VolumeID.random(from: &random)
        let stamp = CommitDrafts.Stamp(
            epoch: Epoch(1), token: .random(from: &random), state: .open, labelSeconds: 1)
        let first = CommitDrafts.first(
            of: volume, size: ByteCount(1 << 20), blockBytes: 4096, stamp: stamp)
        var roots = try RootDirectory(volumeDirectory: disk.root)
        try step(first, roots, store)

        disk.crashAt(disk.operationCount + 1 + cutAfter)
        let second = CommitDrafts.successor(
            of: first.commit,
            stamp: .init(
                epoch: Epoch(1), token: .random(from: &random), state: .open, labelSeconds: 2))
        let wasCut = (try? step(second, roots, store)) == nil
        disk.crash(keeping: seed == 0 ? .none : seed == 1 ? .all : .random(seed: random.next()))
        roots = try RootDirectory(volumeDirectory: disk.reboot())

        let found = try roots.load()
        let current = try #require(found.current, "a root is never lost")
        let head = try #require(try HeadFinder(store: store).head(of: volume))
        if head.commit != current.commit {
            // The store is ahead: then the pending commit is what it is ahead by, to the byte.
            #expect(found.pending?.bytes == head.bytes)
            #expect(current.commit == first.commit)
        }
        if !wasCut { #expect(current.commit == second.commit) }
        if let pending = found.pending {
            #expect(pending.bytes == second.bytes)
            #expect(try Publisher(store: store).publish(pending) == .published)
            try roots.promote(pending.commit.sequence)
        }
        let settled = try roots.load()
        #expect(settled.pending == nil)
        let last = try #require(settled.current)
        #expect(try HeadFinder(store: store).head(of: volume)?.bytes == last.bytes)
        return wasCut
    }

    private func step(
        _ root: LocalRoot, _ roots: RootDirectory<VolatileDirectory>, _ store: MemoryStore
    ) throws {
        try roots.writePending(root.commit.sequence, bytes: root.bytes)
        #expect(try Publisher(store: store).publish(root) == .published)
        try roots.promote(root.commit.sequence)
    }

    @Test("what a crash left over goes, and strange names stay untouched")
    func leftovers() throws {
        let volume = try TestVolume()
        let folder = try volume.folder.directory("root", create: false)
        let first = volume.root.commit
        try volume.write(grain: 0, volume.noise(4096))
        try volume.commit()
        let bytes = try #require(try folder.readAll("2", limit: 1 << 20))
        for name in ["1", "2.pending", "3.tmp", "3.pending.tmp", "notes", "02", "2.pending.old"] {
            try folder.replaceDurably(name, with: name == "1" ? first.encode() : bytes)
        }
        let loaded = try volume.roots.load()
        #expect(loaded.current?.commit == volume.root.commit)
        #expect(loaded.pending == nil)
        #expect(try folder.list() == ["02", "2", "2.pending.old", "notes"])
    }

    @Test("a root that does not decode is an error that names the file")
    func damagedRoot() throws {
        let volume = try TestVolume()
        let folder = try volume.folder.directory("root", create: false)
        try folder.replaceDurably("1", with: [1, 2, 3])
        let error = #expect(throws: CommitError.self) { try volume.roots.load() }
        guard case .damagedLocal(let path, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(path.hasSuffix("root/1"))
    }

    @Test("a root under another number is refused")
    func misplacedRoot() throws {
        let volume = try TestVolume()
        let folder = try volume.folder.directory("root", create: false)
        try folder.replaceDurably("7", with: volume.root.commit.encode())
        #expect(throws: CommitError.self) { try volume.roots.load() }
    }

    @Test("adopting a head from the store replaces the local root")
    func adopt() throws {
        let volume = try TestVolume()
        var stamp = CommitDrafts.Stamp(
            epoch: Epoch(4), token: .random(from: &volume.random), state: .clean, labelSeconds: 3)
        var head = CommitDrafts.successor(of: volume.root.commit, stamp: stamp)
        for _ in 0..<5 {
            stamp.token = .random(from: &volume.random)
            head = CommitDrafts.successor(of: head.commit, stamp: stamp)
        }
        try volume.roots.adopt(head.commit.sequence, bytes: head.bytes)
        #expect(try volume.roots.load().current?.bytes == head.bytes)
        try volume.roots.removeAll()
        #expect(try volume.roots.load().current?.bytes == nil)
    }
}
