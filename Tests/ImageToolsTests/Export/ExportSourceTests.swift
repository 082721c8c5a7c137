// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What people may name, and the reader refs that hold it against the collector.

import ControlPlane
import Documents
import Formats
import HostIO
import ObjectStore
import Primitives
import RepositorySupport
import Testing

@testable import ImageTools

@Suite("what an export means, and the pins that hold it")
struct ExportSourceTests {
    private var random = SplitMix64(seed: 11)

    private func sources<Store: ObjectStore>(_ store: Store) -> ExportSources<Store> {
        ExportSources(store: store, host: "host", what: "cannot export")
    }

    private static func readers(_ store: MemoryStore) throws -> [ReaderRef] {
        try store.objects.filter { $0.key.hasPrefix(RefKey.readersPrefix) }.map {
            try ReaderRef(decoding: $0.value)
        }
    }

    @Test("names, snapshots, tags and bare numbers find their commits")
    mutating func names() throws {
        let repository = try SmallRepository.built()
        let sources = sources(repository.store)
        let history = try repository.history(of: "prod")
        let head = try #require(history.last)
        let snapshots = repository.store.objects.keys.filter {
            $0.hasPrefix(RefKey.snapshotsPrefix + "prod/")
        }.sorted()
        let snapshot = try #require(snapshots.first)
        let first = try SnapshotRef(decoding: try #require(repository.store.objects[snapshot]))
        for (text, expected) in [
            ("prod", head.sequence), ("export:prod", head.sequence),
            ("prod@\(first.commit.sequence)", first.commit.sequence),
            ("tag:first", first.commit.sequence),
            // A commit that no snapshot names.
            ("prod@1", CommitSequence(1)),
        ] {
            let source = try sources.open(text, since: nil, random: &random)
            #expect(source.commit.volume == head.volume)
            #expect(source.commit.sequence == expected, "\(text)")
            #expect(source.base == nil && !source.isUnpinned)
            sources.close(source)
        }
        let since = try sources.open("prod", since: "1", random: &random)
        #expect(since.base?.sequence == CommitSequence(1))
        #expect(try Self.readers(repository.store).count == 2)
        sources.close(since)
        let tagged = try sources.open("work", since: "tag:first", random: &random)
        #expect(tagged.base?.token == first.commit.token)
        sources.close(tagged)
        #expect(try Self.readers(repository.store).isEmpty)
        for (text, since) in [
            ("nobody", nil), ("prod@999", nil), ("prod", "999"), ("prod", "tag:none"),
            ("old", nil),
        ] as [(String, String?)] {
            do {
                _ = try sources.open(text, since: since, random: &random)
                Issue.record("\(text) since \(since ?? "nothing") was found")
            } catch {
                #expect(error.kind == .notFound, "\(text): \(error)")
                #expect(error.what == "cannot export")
            }
            #expect(try Self.readers(repository.store).isEmpty, "\(text) left a pin")
        }
        do {
            _ = try sources.open("a@b@c", since: nil, random: &random)
            Issue.record("nonsense was taken")
        } catch { #expect(error.kind == .badRequest && error.what == "cannot export") }
    }

    @Test("the pin is there while blocks are read, names its host, and goes")
    mutating func pinned() throws {
        let repository = try SmallRepository.built()
        let sources = sources(repository.store)
        let source = try sources.open("prod@1", since: nil, random: &random)
        var pinsSeen: [[ReaderRef]] = []
        let store = repository.store
        _ = try ImageExport(
            source, from: store, as: .raw,
            progress: { _ in
                pinsSeen.append((try? Self.readers(store)) ?? [])
                return true
            }
        ).write(
            "image", in: VolatileDisk(seed: 1).root, replaces: false, token: Token(low: 1, high: 1))
        #expect(!pinsSeen.isEmpty)
        for pins in pinsSeen {
            #expect(pins.map(\.commit.sequence) == [CommitSequence(1)])
            #expect(pins.first?.node == RefName("export-host"))
            #expect(pins.first?.purpose == .read)
        }
        sources.close(source)
        #expect(try Self.readers(store).isEmpty)
    }

    @Test("where nothing may be written, it is read without a pin, and that is said")
    mutating func readOnly() throws {
        let repository = try SmallRepository.built()
        repository.store.inject(StoreFault(.forbidden, operation: .put, times: .max))
        let source = try sources(repository.store).open("prod", since: nil, random: &random)
        #expect(source.isUnpinned && source.pins.isEmpty)
        let stream = CollectedStream()
        _ = try ImageExport(source, from: repository.store, as: .raw).write(to: stream)
        #expect(UInt64(stream.bytes.count) == SmallRepository.size)
    }
}
