// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What only the volatile disk can do: forget, tear, fail, fill up and rot.

import Glibc
import HostIO
import Primitives
import Testing

@Suite("the volatile disk forgets what was not synced, and nothing else")
struct VolatileDiskTests {
    private func bytes(_ value: UInt8, _ count: Int) -> [UInt8] {
        .init(repeating: value, count: count)
    }

    /// A disk with one durable file of sixteen sectors of ones.
    private func diskWithFile(
        names: VolatileDisk.NameRule = .independent
    ) throws -> (VolatileDisk, VolatileFile) {
        let disk = VolatileDisk(seed: 3, names: names)
        let file = try disk.root.create("file")
        try file.write(at: 0, bytes(1, 8192))
        try file.sync()
        try disk.root.sync()
        return (disk, file)
    }

    @Test("synced bytes survive every crash, unsynced ones those that keep them")
    func syncedSurvives() throws {
        for (keeping, expected) in [(VolatileDisk.Keeping.none, UInt8(1)), (.all, 2)] {
            let (disk, file) = try diskWithFile()
            try file.write(at: 0, bytes(2, 512))
            disk.crash(keeping: keeping)
            let root = disk.reboot()
            #expect(try root.readAll("file", limit: 8192) == bytes(expected, 512) + bytes(1, 7680))
        }
    }

    @Test("a copy has what programs see, durable, with two names of one file, in its own place")
    func copied() throws {
        let (disk, file) = try diskWithFile()
        try file.write(at: 0, bytes(2, 512))
        let folder = try disk.root.directory("folder", create: true)
        try disk.root.link("file", to: folder, as: "other")
        let copies = [disk.copy(seed: 4), disk.copy(seed: 4, place: 77)]
        try file.write(at: 0, bytes(3, 512))
        for copy in copies {
            copy.crash(keeping: .none)
            let root = copy.reboot()
            let folder = try root.directory("folder", create: false)
            #expect(
                try folder.readAll("other", limit: 8192) == bytes(2, 512) + bytes(1, 7680))
            try folder.open("other", writable: true).write(at: 0, bytes(4, 512))
            #expect(copy.bytes("file")?.first == 4)
        }
        #expect(disk.bytes("file")?.first == 3)
        #expect(try copies[0].root.identity() == disk.root.identity())
        #expect(try copies[1].root.identity() == 77)
    }

    @Test("a random crash tears a write at sectors, each old or new")
    func tornBySector() throws {
        var torn = 0
        for seed in 0..<100 {
            let (disk, file) = try diskWithFile()
            try file.write(at: 0, bytes(2, 8192))
            disk.crash(keeping: .random(seed: UInt64(seed)))
            let content = try #require(try disk.reboot().readAll("file", limit: 8192))
            let sectors = stride(from: 0, to: 8192, by: 512).map { Array(content[$0..<$0 + 512]) }
            #expect(sectors.allSatisfy { $0 == bytes(1, 512) || $0 == bytes(2, 512) })
            if Set(sectors).count == 2 { torn += 1 }
        }
        #expect(torn > 20)
    }

    @Test("a sector rewritten between syncs may come back in its middle version")
    func middleVersions() throws {
        var seen: Set<UInt8> = []
        for seed in 0..<200 {
            let (disk, file) = try diskWithFile()
            for value in UInt8(2)...4 { try file.write(at: 0, bytes(value, 512)) }
            disk.crash(keeping: .random(seed: UInt64(seed)))
            seen.insert(try #require(try disk.reboot().readAll("file", limit: 8192)?.first))
        }
        #expect(seen == [1, 2, 3, 4])
    }

    @Test("the same seed brings the same crash")
    func determinism() throws {
        func run() throws -> [UInt8]? {
            let (disk, file) = try diskWithFile()
            for place in 0..<16 { try file.write(at: UInt64(place) * 300, bytes(7, 700)) }
            _ = try disk.root.create("other")
            disk.crash(keeping: .random(seed: 99))
            let root = disk.reboot()
            return try root.readAll("file", limit: 8192).map {
                try $0 + [root.exists("other") ? 1 : 0]
            }
        }
        #expect(try run() == run())
    }

    @Test(
        "an unsynced size may shrink back, and what is cut off reads as zeros after it grows again")
    func sizes() throws {
        let (disk, file) = try diskWithFile()
        try file.write(at: 8192, bytes(2, 512))
        disk.crash(keeping: .none)
        let again = try disk.reboot().open("file", writable: true)
        #expect(try again.size() == 8192)
        try again.allocate(8704)
        #expect(try again.read(at: 8192, count: 512) == bytes(0, 512))
        // Cutting a file is undone by a crash as well.
        try again.sync()
        try again.allocate(512)
        disk.crash(keeping: .none)
        let third = try disk.reboot().open("file", writable: false)
        #expect(try third.read(at: 0, count: 9000) == bytes(1, 8192) + bytes(0, 512))
    }

    @Test("a name is lost without a sync of its directory, whatever was synced of the file")
    func lostNames() throws {
        let (disk, _) = try diskWithFile()
        let made = try disk.root.create("new")
        try made.write(at: 0, [1])
        try made.sync()
        try disk.root.remove("file")
        disk.crash(keeping: .none)
        let root = disk.reboot()
        #expect(try root.list() == ["file"])
        #expect(try root.readAll("file", limit: 8192)?.count == 8192)
    }

    @Test("a rename across directories needs the syncs of both")
    func renameNeedsBothSyncs() throws {
        let (disk, _) = try diskWithFile()
        let target = try disk.root.directory("target", create: true)
        try disk.root.sync()
        try disk.root.rename("file", to: target, as: "moved")
        try target.sync()
        disk.crash(keeping: .none)
        // Only the target was synced: the old name is still there, beside the new one.
        let root = disk.reboot()
        #expect(try root.list() == ["file", "target"])
        #expect(try root.directory("target", create: false).list() == ["moved"])
    }

    @Test("under the journaled rule names survive as a prefix of whole operations")
    func journaledNames() throws {
        var counts: Set<Int> = []
        for seed in 0..<60 {
            let (disk, _) = try diskWithFile(names: .journaled)
            let target = try disk.root.directory("target", create: true)
            try disk.root.sync()
            for index in 0..<4 {
                _ = try disk.root.create("n\(index)")
                try disk.root.rename("n\(index)", to: target, as: "m\(index)")
            }
            disk.crash(keeping: .random(seed: UInt64(seed)))
            let root = disk.reboot()
            let moved = try root.directory("target", create: false).list()
            #expect(moved == (0..<moved.count).map { "m\($0)" })
            let waiting = try root.list().filter { $0.hasPrefix("n") }
            #expect(waiting.isEmpty || waiting == ["n\(moved.count)"])
            counts.insert(moved.count)
        }
        #expect(counts.count > 3)
    }

    @Test("a failed sync loses what was dirty, and a later sync does not bring it back")
    func failedSync() throws {
        let (disk, file) = try diskWithFile()
        try file.write(at: 0, bytes(2, 1024))
        disk.failNext(.sync, code: EIO)
        #expect(failureCode { try file.sync() } == EIO)
        #expect(try file.read(at: 0, count: 1) == [2])
        try file.write(at: 512, bytes(3, 512))
        try file.sync()
        disk.crash(keeping: .all)
        let root = disk.reboot()
        let content = try #require(try root.readAll("file", limit: 8192))
        #expect(content == bytes(1, 512) + bytes(3, 512) + bytes(1, 7168))
    }

    @Test("memory pressure shows readers what a failed sync lost")
    func eviction() throws {
        let (disk, file) = try diskWithFile()
        try file.write(at: 0, bytes(2, 512))
        disk.failNext(.sync, code: EIO)
        _ = failureCode { try file.sync() }
        disk.evictCleanPages()
        #expect(try file.read(at: 0, count: 1) == [1])
    }

    @Test("handles are dead after a crash, and after a kill, which loses nothing")
    func deadHandles() throws {
        let (disk, file) = try diskWithFile()
        let root = disk.root
        let held = try root.lock("lock")
        try file.write(at: 0, [9])
        disk.kill()
        #expect(failureCode { _ = try file.size() } == ESHUTDOWN)
        let next = disk.reboot()
        #expect(failureCode { _ = try file.size() } == ESHUTDOWN)
        #expect(failureCode { _ = try root.list() } == ESHUTDOWN)
        #expect(try next.readAll("file", limit: 8192)?.first == 9)
        let lock = try next.lock("lock")
        #expect(lock != nil)
        withExtendedLifetime((held, lock)) {}
    }

    @Test("failures hit the chosen call only")
    func chosenFailures() throws {
        let (disk, file) = try diskWithFile()
        disk.failNext(.write, code: EIO, pathEnding: "/other")
        try file.write(at: 0, [1])
        let other = try disk.root.create("other")
        #expect(failureCode { try other.write(at: 0, [1]) } == EIO)
        try other.write(at: 0, [1])
        disk.failAt(disk.operationCount + 2, code: ENOSPC)
        try other.sync()
        #expect(failureCode { try other.write(at: 0, [1]) } == ENOSPC)
        disk.onOperation { $0.kind == .rename ? .fail(EACCES) : .proceed }
        #expect(failureCode { try disk.root.rename("other", to: disk.root, as: "x") } == EACCES)
    }

    @Test("a cut can be named by call and path")
    func namedCut() throws {
        let (disk, file) = try diskWithFile()
        disk.cutNext(.write, pathEnding: "/file", skipping: 1)
        try file.write(at: 0, [5])
        #expect(disk.unsyncedPaths == ["/file"])
        #expect(failureCode { try file.write(at: 4096, bytes(6, 4096)) } == ESHUTDOWN)
        #expect(disk.isOff)
        #expect(failureCode { try file.sync() } == ESHUTDOWN)
        disk.crash(keeping: .none)
        #expect(disk.unsyncedPaths.isEmpty)
        #expect(try disk.reboot().readAll("file", limit: 8192) == bytes(1, 8192))
        _ = try disk.root.create("new")
        #expect(disk.unsyncedPaths == ["/"])
    }

    @Test("a killed write leaves a prefix of its pages")
    func tornByKill() throws {
        var lengths: Set<Int> = []
        for seed in 0..<40 {
            let disk = VolatileDisk(seed: UInt64(seed))
            let file = try disk.root.create("file")
            disk.cutNext(.write)
            #expect(failureCode { try file.write(at: 0, bytes(1, 16_384)) } == ESHUTDOWN)
            disk.kill()
            let content = try #require(try disk.reboot().readAll("file", limit: 16_384))
            #expect(content.count.isMultiple(of: 4096) && content.allSatisfy { $0 == 1 })
            lengths.insert(content.count)
        }
        #expect(lengths == [0, 4096, 8192, 12_288, 16_384])
    }

    @Test("a full disk takes what fits and says so; removing makes room")
    func fullDisk() throws {
        let disk = VolatileDisk(capacityBytes: 16384)
        let file = try disk.root.create("file")
        #expect(failureCode { try file.write(at: 0, bytes(1, 20_000)) } == ENOSPC)
        #expect(try file.size() == 16384)
        let other = try disk.root.create("other")
        #expect(failureCode { try other.allocate(4096) } == ENOSPC)
        #expect(try disk.root.space().free == 0)
        try file.allocate(8192)
        try other.allocate(4096)
        #expect(try disk.root.space().free == 4096)
    }

    @Test("rot changes a byte that was durable")
    func rot() throws {
        let (disk, file) = try diskWithFile()
        disk.rot("file", at: 700)
        #expect(try file.read(at: 699, count: 3) == [1, 0xFE, 1])
        disk.crash(keeping: .none)
        #expect(try disk.reboot().readAll("file", limit: 8192)?[700] == 0xFE)
    }

    @Test("calls are counted and traced by kind")
    func counting() throws {
        let (disk, file) = try diskWithFile()
        disk.record(true)
        let before = disk.operationCount
        try file.write(at: 512, [1, 2])
        _ = try file.read(at: 0, count: 1)
        try file.sync()
        try disk.root.sync()
        #expect(disk.operationCount == before + 3)
        #expect(disk.trace.map(\.kind) == [.write, .read, .sync, .directorySync])
        #expect(disk.trace[0].path == "/file" && disk.trace[0].offset == 512)
        #expect(disk.count(of: .sync) == 2)
    }

    @Test("a durable replacement is the old or the new content at a crash in every operation")
    func replaceSweep() throws {
        let old = bytes(1, 3000)
        let new = bytes(2, 1500)
        for names in [VolatileDisk.NameRule.independent, .journaled] {
            var cuts = 0
            while true {
                cuts += 1
                var ended = false
                for seed in 0..<20 {
                    let disk = VolatileDisk(seed: UInt64(seed), names: names)
                    try disk.root.replaceDurably("file", with: old)
                    disk.crashAt(disk.operationCount + cuts)
                    ended = failureCode { try disk.root.replaceDurably("file", with: new) } == nil
                    disk.crash(keeping: .random(seed: UInt64(seed)))
                    let content = try disk.reboot().readAll("file", limit: 1 << 20)
                    #expect(
                        content == new || (content == old && !ended), "cut \(cuts) seed \(seed)")
                }
                if ended { break }
            }
            #expect(cuts == 7, "remove, create, write, sync, rename, sync and one past the end")
        }
    }
}
