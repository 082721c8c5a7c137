// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What bless and import made, served by the real engine behind the real control plane.

import ControlPlane
import Documents
import HostIO
import ImageTools
import Maintenance
import ObjectStore
import Primitives
import RepositorySupport
import Testing

@Suite("Imported volumes")
struct ImportedVolumeTests {
    /// Whole chunks, a short block and a short grain at the end.
    private static let count = (17 << 20) + 4096 + 3 * 512

    private func image(_ bytes: [UInt8]) throws -> RawDisk<VolatileFile> {
        let file = try VolatileDisk(seed: 3).root.create("disk.img")
        try file.write(at: 0, bytes)
        return try RawDisk(file)
    }

    private func ingest(
        _ repository: SmallRepository, _ target: IngestRequest.Target, _ bytes: [UInt8]
    ) throws -> IngestReport {
        var request = IngestRequest(
            target: target, source: "disk.img", node: try #require(RefName("tester")))
        request.blockBytes = SmallRepository.blockBytes
        return try Ingest(
            request, store: repository.store, clock: repository.clock,
            random: SharedRandom(seed: 21), resources: IngestResources(threads: 2, uploads: 2)
        ).run(image(bytes))
    }

    private func expectContent(_ guest: RunningVolume, _ bytes: [UInt8]) throws {
        var offset = 0
        while offset < bytes.count {
            let count = min(1 << 20, bytes.count - offset)
            if try guest.read(UInt64(offset), count) != Array(bytes[offset..<(offset + count)]) {
                Issue.record("the MiB at \(offset) reads otherwise")
            }
            offset += count
        }
    }

    @Test("a fork of a blessed base gives every byte, takes writes, and leaves the base alone")
    func forkOfBase() throws {
        let repository = try SmallRepository()
        let bytes = repository.fresh(Self.count)
        let base = try #require(RefName("debian"))
        let report = try ingest(repository, .base(base, replaces: false), bytes)
        for guest in ["one", "two"] {
            _ = try repository.plane.put(
                guest, PutRequest(source: try ForkSource(from: "base:debian")))
        }
        try expectContent(repository.running("one"), bytes)
        let news = repository.fresh(9000)
        try repository.running("one").write(1_000_000, news)
        _ = try repository.plane.drain("one")
        try repository.reopen("one")
        var changed = bytes
        changed.replaceSubrange(1_000_000..<1_009_000, with: news)
        try expectContent(repository.running("one"), changed)
        try expectContent(repository.running("two"), bytes)
        #expect(try ingest(repository, .base(base, replaces: false), bytes).commit == report.commit)
        #expect(try repository.verify().isWhole)
    }

    @Test("an imported export is served, written, snapshot and forked as any other")
    func importedExport() throws {
        let repository = try SmallRepository()
        let bytes = repository.fresh(Self.count)
        _ = try ingest(repository, .export(try #require(RefName("disk"))), bytes)
        try expectContent(repository.running("disk"), bytes)
        let news = repository.fresh(4096)
        try repository.running("disk").write(16 << 20, news)
        _ = try repository.plane.snapshot("disk", tag: "first")
        _ = try repository.plane.put(
            "fork", PutRequest(source: try ForkSource(from: "tag:first")))
        var changed = bytes
        changed.replaceSubrange((16 << 20)..<((16 << 20) + 4096), with: news)
        try expectContent(repository.running("fork"), changed)
        #expect(try repository.verify().isWhole)
    }

    @Test("nobody makes an export of an import that is not finished")
    func unfinished() throws {
        let repository = try SmallRepository()
        repository.store.inject(
            StoreFault(.away, operation: .put, keyPrefix: "packs/", times: 100))
        let name = try #require(RefName("disk"))
        #expect(throws: UserError.self) {
            try ingest(repository, .export(name), repository.fresh(1 << 20))
        }
        repository.store.heal()
        let error = try #require(throws: UserError.self) {
            _ = try repository.plane.put("disk", PutRequest(size: ByteCount(1 << 20)))
        }
        #expect(error.kind == .conflict)
        #expect(throws: UserError.self) { try repository.plane.attach("disk") }
    }
}
