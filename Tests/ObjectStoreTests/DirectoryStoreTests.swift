// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the directory store owes to power cuts, and to other processes on the same directory.

import Glibc
import HostIO
import ObjectStore
import Primitives
import StoreConformance
import TestSupport
import Testing

@Suite("a directory store survives crashes")
struct DirectoryStoreTests {
    private typealias Store = DirectoryStore<VolatileDirectory>

    private func store(_ root: VolatileDirectory, opener: UInt64) -> Store {
        Store(root: root, token: Token(low: opener, high: 1))
    }

    @Test(
        "a crash in any operation leaves each object absent or whole, and those reported are there")
    func crashSweep() throws {
        let bodies: KeyValuePairs = [
            "volumes/v/commits/~1": pattern(3000, seed: 1),
            "packs/v/one.pack": pattern(9000, seed: 2),
            "packs/v/two.pack": pattern(700, seed: 3),
        ]
        for names in [VolatileDisk.NameRule.independent, .journaled] {
            var cut = 0
            var didEnd = false
            while !didEnd {
                cut += 1
                for seed in 0..<12 {
                    let disk = VolatileDisk(seed: UInt64(seed), names: names)
                    disk.crashAt(cut)
                    var reported: Set<String> = []
                    let first = store(disk.root, opener: 1)
                    didEnd =
                        failure {
                            for (key, body) in bodies {
                                _ = try first.putIfAbsent(key, body)
                                reported.insert(key)
                            }
                        } == nil
                    disk.crash(keeping: seed == 0 ? .none : .random(seed: UInt64(seed)))
                    let second = store(disk.reboot(), opener: 2)
                    try check(second, bodies, reported: reported, "cut \(cut) seed \(seed)")
                }
            }
            #expect(cut > 20)
        }
    }

    private func check(
        _ store: Store, _ bodies: KeyValuePairs<String, [UInt8]>, reported: Set<String>,
        _ comment: Comment
    ) throws {
        let listed = try store.listAll(prefix: "").map(\.key)
        for (key, body) in bodies {
            let isThere = try store.head(key) != nil
            #expect(isThere || !reported.contains(key), comment)
            #expect(listed.contains(key) == isThere, comment)
            if isThere { #expect(try store.get(key, limit: 1 << 20) == body, comment) }
            // The store goes on working, and what is there counts.
            #expect(try store.putIfAbsent(key, body) == (isThere ? .exists : .created), comment)
        }
    }

    @Test("a crash in any step of a replacement leaves the old bytes or the new ones, whole")
    func replacementSweep() throws {
        let key = "packs/v/one.pack"
        let (old, new) = (pattern(9000, seed: 1), pattern(7000, seed: 2))
        for names in [VolatileDisk.NameRule.independent, .journaled] {
            var cut = 0
            var didEnd = false
            while !didEnd {
                cut += 1
                for seed in 0..<12 {
                    let disk = VolatileDisk(seed: UInt64(seed), names: names)
                    let first = store(disk.root, opener: 1)
                    #expect(try first.putIfAbsent(key, old) == .created)
                    disk.crashAt(disk.operationCount + cut)
                    didEnd = failure { try first.replace(key, new) } == nil
                    disk.crash(keeping: seed == 0 ? .none : .random(seed: UInt64(seed)))
                    let second = store(disk.reboot(), opener: 2)
                    let found = try second.get(key, limit: 1 << 20)
                    #expect(found == new || !didEnd && found == old, "cut \(cut) seed \(seed)")
                    try second.replace(key, new)
                    #expect(try second.get(key, limit: 1 << 20) == new)
                    #expect(try second.listAll(prefix: "").map(\.key) == [key])
                }
            }
            #expect(cut > 3)
        }
    }

    @Test("an answer of exists is still true after a power cut")
    func existsIsDurable() throws {
        let disk = VolatileDisk(seed: 1)
        let one = store(disk.root, opener: 1)
        let two = store(disk.root, opener: 2)
        // The first opener is stopped between its link and the sync of the folder.
        disk.failNext(.directorySync, code: EIO, pathEnding: "/folder")
        #expect(failure { _ = try one.putIfAbsent("folder/key", [1]) } != nil)
        #expect(try two.putIfAbsent("folder/key", [2]) == .exists)
        disk.crash(keeping: .none)
        #expect(try store(disk.reboot(), opener: 3).get("folder/key", limit: 1) == [1])
    }

    @Test("an object that was deleted does not come back after a power cut")
    func deletionIsDurable() throws {
        let disk = VolatileDisk(seed: 1)
        let one = store(disk.root, opener: 1)
        #expect(try one.putIfAbsent("folder/key", [1]) == .created)
        try one.delete(["folder/key"])
        disk.crash(keeping: .none)
        #expect(try store(disk.reboot(), opener: 2).head("folder/key") == nil)
    }

    @Test("a folder that another thread made but did not sync yet is synced by its next user")
    func foreignFolder() throws {
        let disk = VolatileDisk(seed: 1)
        _ = try disk.root.directory("a", create: true).directory("b", create: true)
        let opened = store(disk.root, opener: 1)
        #expect(try opened.putIfAbsent("a/b/key", [1]) == .created)
        disk.crash(keeping: .none)
        #expect(try store(disk.reboot(), opener: 2).head("a/b/key") == 1)
    }

    @Test("what a dead opener left in staging is removed, a live one's is not")
    func staging() throws {
        let disk = VolatileDisk(seed: 1)
        let dead = store(disk.root, opener: 1)
        disk.failNext(.remove, code: EIO, pathEnding: "/1")
        _ = try dead.putIfAbsent("key", [1])
        disk.kill()
        var root = disk.reboot()
        let live = store(root, opener: 2)
        _ = try live.putIfAbsent("key2", [1])
        _ = try store(root, opener: 3).putIfAbsent("key3", [1])
        root = try root.directory("+staging", create: false)
        let openers = try root.list()
        #expect(
            openers.count == 2 && openers.allSatisfy { !$0.hasPrefix("\(Token(low: 1, high: 1))") })
        _ = try live.putIfAbsent("key4", [1])
        #expect(try live.listAll(prefix: "").map(\.key) == ["key", "key2", "key3", "key4"])
    }

    @Test("a disk that is full or read-only is told apart")
    func failures() throws {
        let disk = VolatileDisk(seed: 1, capacityBytes: 8192)
        let opened = store(disk.root, opener: 1)
        guard case .away? = failure({ _ = try opened.putIfAbsent("k", pattern(20_000)) }) else {
            Issue.record("a full disk is worth waiting for")
            return
        }
        #expect(try opened.head("k") == nil)
        disk.failNext(.create, code: EROFS)
        guard case .forbidden? = failure({ _ = try opened.putIfAbsent("k", [1]) }) else {
            Issue.record("a read-only file system forbids writing")
            return
        }
        _ = try opened.putIfAbsent("a/b", [1])
        guard case .refused? = failure({ _ = try opened.putIfAbsent("a", [1]) }),
            case .refused? = failure({ _ = try opened.putIfAbsent("a/b/c", [1]) })
        else {
            Issue.record("an object cannot be a folder too")
            return
        }
    }

    @Test("a failed sync of the bytes creates nothing")
    func failedSync() throws {
        let disk = VolatileDisk(seed: 1)
        let opened = store(disk.root, opener: 1)
        disk.failNext(.sync, code: EIO)
        #expect(failure { _ = try opened.putIfAbsent("k", [1]) }?.isRetryable == true)
        #expect(try opened.head("k") == nil)
        #expect(try opened.putIfAbsent("k", [2]) == .created)
    }
}
