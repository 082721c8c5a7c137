// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Packs that other threads send while the build goes on.

import CleanCache
import Committer
import Dispatch
import Glibc
import HostIO
import ObjectStore
import Primitives
import Synchronization
import Testing
import VolumeMap

/// One thread that sends, and a count of what it was given.
private final class Sender: Sendable {
    let queue = DispatchQueue(label: "sender")
    private let jobs = Lock(0)

    var count: Int { jobs.withLock { $0 } }

    var uploads: PackUploads { PackUploads { [self] in send($0) } }

    func send(_ job: @escaping @Sendable () -> Void) -> Bool {
        jobs.withLock { $0 += 1 }
        queue.async(execute: job)
        return true
    }
}

@Suite("Pack uploads")
struct PackUploadTests {
    @Test("packs go out beside the packing, and all are there when the build ends")
    func beside() throws {
        let volume = try TestVolume(
            TestShape(size: 8 << 20, settings: PackSettings(targetBytes: 1 << 20)))
        let sender = Sender()
        volume.uploads = sender.uploads
        try volume.write(grain: 0, volume.noise(8 << 20))
        let statistics = try volume.commit()
        #expect(statistics.packs == 8)
        // With the last there is nothing to do meanwhile.
        #expect(sender.count == 7)
        #expect(volume.store.objects.keys.filter { $0.hasPrefix("packs/") }.count == 8)
        try volume.expectContent()
        try MapAudit(volume.root, store: volume.store).expectExact()
    }

    @Test("blocks that are packed side by side give the packs of one after the other")
    func spread() throws {
        func packed(_ spread: @escaping FetchSpread) throws -> TestVolume {
            let volume = try TestVolume(
                TestShape(size: 24 << 20, settings: PackSettings(targetBytes: 4 << 20)))
            volume.spread = spread
            // Whole blocks, some of them alike and some zeros.
            let noise = volume.noise(8 << 20)
            try volume.write(grain: 0, noise)
            try volume.write(grain: 2048, Array(noise[..<(4 << 20)]))
            try volume.write(grain: 3072, [UInt8](repeating: 0, count: 1 << 20))
            try volume.commit()
            // Parts of blocks whose base is in the cache, then of blocks whose base is not.
            for turn in 0..<2 {
                for block in 0..<90 {
                    try volume.write(grain: block * 32 + turn, volume.noise(4096))
                }
                try volume.commit()
                volume.cache = CleanCache(capacityBytes: 64 << 20)
            }
            try volume.expectContent()
            try MapAudit(volume.root, store: volume.store).expectExact()
            return volume
        }
        let alone = try packed(oneByOne)
        let together = try packed { count, body in
            DispatchQueue.concurrentPerform(iterations: count, execute: body)
        }
        #expect(alone.store.objects.keys == together.store.objects.keys)
        #expect(alone.store.objects == together.store.objects)
    }

    @Test(
        "a read of the journal that fails beside others ends the build, and the next try succeeds")
    func failedRead() throws {
        var failures: Set<String> = []
        for failing in 1..<200 {
            let volume = try TestVolume(
                TestShape(size: 2 << 20, settings: PackSettings(targetBytes: 512 << 10)))
            volume.spread = { DispatchQueue.concurrentPerform(iterations: $0, execute: $1) }
            try volume.write(grain: 0, volume.noise(1 << 20))
            try volume.commit()
            volume.cache = CleanCache(capacityBytes: 64 << 20)
            // Deltas, and blocks that are new.
            for block in 0..<12 { try volume.write(grain: block * 32 + 3, volume.noise(8192)) }
            let inputs = volume.inputs()
            let reads = Lock(0)
            volume.disk.onOperation { operation in
                guard operation.kind == .read else { return .proceed }
                let count = reads.withLock { count in
                    count += 1
                    return count
                }
                return count == failing ? .fail(EIO) : .proceed
            }
            let result = Result { try volume.build(inputs) }
            volume.disk.onOperation(nil)
            if case .failure(let error as CommitError) = result {
                switch error {
                case .local: failures.insert("packing")
                case .journal: failures.insert("verifying")
                default: Issue.record("read \(failing): \(error)")
                }
                try volume.publish(try volume.build(inputs).root)
                try volume.expectContent("read \(failing)")
                try MapAudit(volume.root, store: volume.store).expectExact()
                continue
            }
            #expect(reads.withLock { $0 } < failing, "a failed read was not heard of")
            break
        }
        #expect(failures == ["packing", "verifying"])
    }

    @Test("a build that failed sends nothing more, and the next try succeeds")
    func away() throws {
        var request = 0
        while true {
            let volume = try TestVolume(
                TestShape(size: 1 << 20, settings: PackSettings(targetBytes: 128 << 10)))
            let sender = Sender()
            volume.uploads = sender.uploads
            try volume.write(grain: 0, volume.noise(1 << 20))
            let inputs = volume.inputs()
            volume.store.inject(StoreFault(.away, skipping: request))
            let result = Result { try volume.build(inputs) }
            let puts = volume.store.counts.puts
            sender.queue.sync {}
            #expect(volume.store.counts.puts == puts)
            if case .success = result { break }
            guard case .failure(let error as CommitError) = result, error.isRetryable else {
                Issue.record("not worth a retry: \(result)")
                return
            }
            try volume.publish(try volume.build(inputs).root)
            try volume.expectContent("away at request \(request)")
            try MapAudit(volume.root, store: volume.store).expectExact()
            request += 1
        }
        #expect(request >= 8)
    }

    @Test("what no thread can take is sent by the build itself")
    func refused() throws {
        let volume = try TestVolume(
            TestShape(size: 2 << 20, settings: PackSettings(targetBytes: 256 << 10)))
        let turns = Sender()
        volume.uploads = PackUploads { job in turns.count < 3 && turns.send(job) }
        try volume.write(grain: 0, volume.noise(2 << 20))
        #expect(try volume.commit().packs == 8)
        try volume.expectContent()
    }

    @Test("the memory of packs that were sent serves those that follow, and is let go when idle")
    func memory() throws {
        let volume = try TestVolume(
            TestShape(size: 8 << 20, settings: PackSettings(targetBytes: 1 << 20)))
        let sender = Sender()
        let uploads = sender.uploads
        volume.uploads = uploads
        try volume.write(grain: 0, volume.noise(8 << 20))
        #expect(try volume.commit().packs == 8)
        sender.queue.sync {}
        // A pack has its target and a reserve of a mebibyte: one was filled, one on its way, and
        // one may have come back late.
        let kept = uploads.spareBytes
        #expect(kept >= 2 << 20 && kept < 7 << 20)
        uploads.releaseIdle()
        #expect(uploads.spareBytes == kept)
        try volume.write(grain: 0, volume.noise(8 << 20))
        #expect(try volume.commit().packs == 8)
        sender.queue.sync {}
        #expect(uploads.spareBytes < 7 << 20)
        uploads.releaseIdle()
        uploads.releaseIdle()
        #expect(uploads.spareBytes == 0)
        try volume.expectContent()
    }
}
