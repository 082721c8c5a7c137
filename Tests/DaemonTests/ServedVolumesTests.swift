// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The composed daemon as clients see it: volumes on several shards, names of the past, and what
// happens to connections while the control plane works on their volume.

import ControlPlane
import Documents
import Foundation
import Primitives
import TestSupport
import Testing

@testable import Daemon

@Suite("served volumes")
struct ServedVolumesTests {
    @Test("volumes on two shards keep their own bytes under several clients each, and a restart")
    func manyVolumes() throws {
        let daemon = try TestDaemon()
        let names = (0..<8).map { "disk-\($0)" }
        for name in names { try daemon.create(name) }
        let threads = try RacingThreads(count: 16) { index in
            let client = try daemon.connect(names[index % 8])
            // Two clients per volume, each with its half.
            let base = UInt64(index / 8) * (32 << 20)
            for round in 0..<20 {
                let offset = base + UInt64(round) * 300_000
                try client.write(offset, noise(70_001, seed: UInt64(index * 100 + round)))
                if round % 7 == 0 { try client.flush() }
            }
        }
        try threads.join()
        let shards = Set(try daemon.running.host.running.map(\.location.shard))
        #expect(shards == [0, 1])
        for pass in 0..<2 {
            for (index, name) in names.enumerated() {
                let client = try daemon.connect(name)
                for half in 0..<2 {
                    for round in 0..<20 {
                        let offset = UInt64(half) * (32 << 20) + UInt64(round) * 300_000
                        let seed = UInt64((index + half * 8) * 100 + round)
                        #expect(try client.read(offset, 70_001) == noise(70_001, seed: seed))
                    }
                }
            }
            guard pass == 0 else { break }
            #expect(daemon.stop().isEmpty)
            try daemon.start()
        }
    }

    @Test("a delete during writes ends the connection, and keeps what was acknowledged")
    func deleteDuringWrites() throws {
        let daemon = try TestDaemon()
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        let acknowledged = Counter()
        let threads = try RacingThreads(count: 1) { _ in
            for round in 0..<100_000 {
                let offset = UInt64(round % 256) * 65_536
                do { try client.write(offset, noise(4096, seed: UInt64(round))) } catch { return }
                acknowledged.value = round + 1
            }
        }
        #expect(try daemon.eventually { acknowledged.value > 50 })
        try daemon.control.delete("disk", purge: false)
        try threads.join()
        #expect(acknowledged.value < 100_000)
        #expect(throws: (any Error).self) { try daemon.connect("disk") }

        _ = try daemon.control.put("disk", PutRequest())
        let again = try daemon.connect("disk")
        let count = acknowledged.value
        for round in max(0, count - 256)..<count {
            // The one write that was not answered may be there too.
            let found = try again.read(UInt64(round % 256) * 65_536, 4096)
            let isNext = round == count - 256 && found == noise(4096, seed: UInt64(count))
            #expect(found == noise(4096, seed: UInt64(round)) || isNext)
        }
    }

    @Test("an export is known after a start, and claimed when its first client comes")
    func lazyClaim() throws {
        let daemon = try TestDaemon()
        try daemon.create("disk")
        try daemon.connect("disk").write(0, noise(4096, seed: 1))
        #expect(daemon.stop().isEmpty)
        try daemon.start()
        let info = try daemon.control.info("disk")
        #expect(info.state == .live && !info.isAttached)
        #expect(try daemon.running.host.running.isEmpty)
        let commits = try daemon.keys(under: "volumes/\(info.volume)/commits/").count

        let client = try daemon.connect("disk")
        #expect(try client.read(0, 4096) == noise(4096, seed: 1))
        #expect(try daemon.running.host.running.count == 1)
        #expect(try daemon.keys(under: "volumes/\(info.volume)/commits/").count == commits + 1)
    }

    @Test("NAME@SEQ and tag:T serve the past, read-only, and claim nothing")
    func views() throws {
        let daemon = try TestDaemon()
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        try client.write(0, noise(200_000, seed: 1))
        let snapshot = try daemon.control.snapshot("disk", tag: "before")
        try client.write(0, noise(200_000, seed: 2))
        for name in ["disk@\(snapshot.sequence)", "tag:before"] {
            let view = try daemon.connect(name)
            #expect(view.isReadOnly)
            #expect(try view.read(0, 200_000) == noise(200_000, seed: 1))
            #expect(throws: Refused.notPermitted) { try view.write(0, [1]) }
        }
        #expect(try client.read(0, 200_000) == noise(200_000, seed: 2))
        #expect(throws: (any Error).self) { try daemon.connect("disk@99999") }
        #expect(throws: (any Error).self) { try daemon.connect("tag:none") }
    }

    @Test("promote makes a read-only fork writable for clients that come afterwards")
    func promote() throws {
        let daemon = try TestDaemon()
        try daemon.create("disk")
        try daemon.connect("disk").write(0, noise(4096, seed: 1))
        _ = try daemon.control.snapshot("disk", tag: "base")
        try daemon.create("copy", from: "tag:base", isReadOnly: true)
        do {
            let reader = try daemon.connect("copy")
            #expect(reader.isReadOnly)
            #expect(throws: Refused.notPermitted) { try reader.write(0, [1]) }
        }
        _ = try daemon.control.promote("copy", force: false)
        let writer = try daemon.connect("copy")
        #expect(!writer.isReadOnly)
        try writer.write(4096, noise(4096, seed: 2))
        #expect(try writer.read(0, 8192) == noise(4096, seed: 1) + noise(4096, seed: 2))
    }

    @Test("rollback is refused while a client may write, and done when none is there")
    func rollback() throws {
        let daemon = try TestDaemon()
        try daemon.create("disk")
        var client: DiskClient? = try daemon.connect("disk")
        try client?.write(0, noise(8192, seed: 1))
        let snapshot = try daemon.control.snapshot("disk", tag: nil)
        try client?.write(0, noise(8192, seed: 2))
        let refusal = try #require(throws: UserError.self) {
            try daemon.control.rollback("disk", toSequence: snapshot.sequence.rawValue)
        }
        #expect(refusal.kind == .conflict)
        #expect(try client?.read(0, 8192) == noise(8192, seed: 2))
        client = nil
        #expect(try daemon.eventually { try daemon.status("disk").writers == 0 })
        let done = try daemon.control.rollback("disk", toSequence: snapshot.sequence.rawValue)
        let again = try daemon.connect("disk")
        #expect(try again.read(0, 8192) == noise(8192, seed: 1))
        let kept = try #require(done.keptSnapshot)
        #expect(try daemon.connect("disk@\(kept)").read(0, 8192) == noise(8192, seed: 2))
    }

    @Test("a grown export takes writes beyond its old end from a client that is attached")
    func resize() throws {
        let daemon = try TestDaemon()
        try daemon.create("disk", size: 1 << 20)
        let client = try daemon.connect("disk")
        #expect(client.size == 1 << 20)
        #expect(throws: Refused.noSpace) { try client.write(1 << 20, [1, 2, 3]) }
        _ = try daemon.control.put("disk", PutRequest(size: ByteCount(2 << 20)))
        try client.write(1 << 20, noise(4096, seed: 3))
        #expect(try client.read(1 << 20, 4096) == noise(4096, seed: 3))
        #expect(try daemon.connect("disk").size == 2 << 20)
    }

    @Test("a journal that lost flushed batches closes its volume alone, with the reason")
    func quarantine() throws {
        let daemon = try TestDaemon()
        try daemon.create("rotten")
        try daemon.create("sound")
        for name in ["rotten", "sound"] {
            let client = try daemon.connect(name)
            for round in 0..<5 {
                try client.write(UInt64(round) * 4096, noise(4096, seed: UInt64(round)))
                try client.flush()
            }
        }
        let volume = try daemon.control.info("rotten").volume
        daemon.crash()
        try damage(journalOf: volume, daemon)
        try daemon.start()

        let client = try daemon.connect("sound")
        for round in 0..<5 {
            #expect(
                try client.read(UInt64(round) * 4096, 4096) == noise(4096, seed: UInt64(round)))
        }
        #expect(throws: (any Error).self) { try daemon.connect("rotten") }
        let error = try #require(throws: UserError.self) { try daemon.control.attach("rotten") }
        #expect(error.why.contains("journal") && error.kind == .failed)
        try client.write(0, noise(4096, seed: 9))
        _ = try daemon.control.drain("sound")
    }

    /// Overwrites the header of the second batch.
    private func damage(journalOf volume: VolumeID, _ daemon: TestDaemon) throws {
        let folder = daemon.cache + "/volumes/\(volume)/journal"
        let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        for name in names {
            let file = try #require(FileHandle(forUpdatingAtPath: folder + "/" + name))
            defer { try? file.close() }
            let start = try file.read(upToCount: 16) ?? Data()
            guard start.suffix(8) == Data("MARTLSEG".utf8) else { continue }
            try file.seek(toOffset: 3 * 4096)
            try file.write(contentsOf: Data(repeating: 0xAA, count: 4096))
            return
        }
        Issue.record("no segment of the volume was found in \(folder)")
    }
}

/// A number that one thread writes and another looks at.
final class Counter: @unchecked Sendable {
    // Confined: to its lock.
    private let lock = NSLock()
    private var number = 0
    var value: Int {
        get { lock.withLock { number } }
        set { lock.withLock { number = newValue } }
    }
}
