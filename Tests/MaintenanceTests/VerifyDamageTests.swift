// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Every object of a repository, damaged in every way: verify names it, with the disks and the bytes
// that are lost for it, exactly; reads of those fail, all others are right.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import ObjectStore
import Primitives
import RepositorySupport
import Testing
import VolumeMap

@testable import Maintenance

@Suite("Verification of damage")
struct VerifyDamageTests {
    /// Places to flip in a pack: every field of every part, and places between.
    private func places(_ bytes: [UInt8], _ index: PackIndex) -> [Int] {
        var places = Set([0, 8, 12, 16, 20, 24, 32, 48])
        var seen: [PackMemberKind: Int] = [:]
        for member in index.members {
            let start = Int(member.extent.offset)
            seen[member.kind, default: 0] += 1
            // Every field of the first of each kind; of the others only where they end.
            guard seen[member.kind] == 1 else {
                places.insert(Int(member.extent.end) - 1)
                continue
            }
            let fields: [Int]
            switch member.kind {
            case .frame: fields = [0, 2, 3, 4, 5, 6, 8, 16, 20, 24, 40, 48]
            case .node: fields = [0, 8, 10, 12, 16, 24, 26, 28, 40, 64, 192, 224, 240, 252]
            case .chunkPage, .packPage: fields = [0, 8, 10, 12, 16, 20, 30, 64, 192, 224]
            }
            for field in fields where field < Int(member.extent.length) {
                places.insert(start + field)
            }
            places.insert(Int(member.extent.end) - 1)
        }
        let end = bytes.count
        let start = end - 64 - 64 - index.members.count * 32
        for field in [0, 8, 10, 12, 16, 20, 24, 32, 48] { places.insert(start + field) }
        for field in [64, 80, 84, 88, 90] { places.insert(start + field) }
        for field in [64, 56, 54, 48, 44, 40, 32, 16, 8, 1] { places.insert(end - field) }
        return places.filter { $0 < end }.sorted()
    }

    @Test("a flipped byte in any field of any pack is named, with exactly what it hits")
    func flippedPacks() throws {
        let repository = try SmallRepository.built()
        var tried = 0
        let packs = try repository.packs.sorted { $0.1.members.count > $1.1.members.count }
        for (rank, (key, index)) in packs.enumerated() {
            let bytes = try #require(repository.store.objects[key])
            // All of the richest packs, and some of each other.
            for (number, place) in places(bytes, index).enumerated()
            where rank < 2 || number % 6 == rank % 6 {
                var flipped = bytes
                flipped[place] ^= 0xFF
                try repository.damaged(key, flipped, "at \(place)") { report in
                    repository.expectNamed(report, key, "at \(place)")
                    #expect(Set(report.faults.map(\.key)) == [key])
                }
                tried += 1
            }
        }
        #expect(tried > 150)
        #expect(try repository.verify().isWhole)
    }

    @Test("a flipped byte anywhere in a commit or a ref is named")
    func flippedSmallObjects() throws {
        let repository = try SmallRepository.built()
        var tried = 0
        for (key, bytes) in repository.store.objects where !key.hasPrefix("packs/") {
            // Headers field by field, the rest by strides.
            for place in bytes.indices where place < 64 ? place % 8 == 0 : place % 61 == 0 {
                var flipped = bytes
                flipped[place] ^= 0xFF
                try repository.damaged(key, flipped, "at \(place)") { report in
                    repository.expectNamed(report, key, "at \(place)")
                }
                tried += 1
            }
        }
        #expect(tried > 300)
    }

    @Test("a truncated object is named, and a longer one, with exactly what it hits")
    func truncated() throws {
        let repository = try SmallRepository.built()
        for (key, bytes) in repository.store.objects {
            for length in [0, bytes.count / 2, bytes.count - 1] {
                try repository.damaged(key, Array(bytes[..<length]), "cut at \(length)") {
                    repository.expectNamed($0, key, "cut at \(length)")
                }
            }
            try repository.damaged(key, bytes + [0], "one byte more") {
                repository.expectNamed($0, key, "one byte more")
            }
        }
    }

    @Test("a deleted pack or commit is named, unless it is the newest commit of its volume")
    func deleted() throws {
        let repository = try SmallRepository.built()
        let heads = Set(
            Dictionary(grouping: try repository.commits, by: \.volume).compactMap { $1.first?.key })
        let kept = Set(
            repository.store.objects.filter { $0.key.hasPrefix("refs/snapshots/") }.compactMap {
                (try? SnapshotRef(decoding: $0.value)).map {
                    CommitKey.key($0.commit.volume, $0.commit.sequence)
                }
            })
        var silent = 0
        for key in repository.store.objects.keys
        where key.hasPrefix("packs/") || key.hasPrefix("volumes/") {
            let isFirst = try repository.isOldest(key)
            try repository.damaged(key, nil, "deleted") { report in
                if (heads.contains(key) || isFirst) && !kept.contains(key) {
                    // What is then the newest is whole, and nothing tells of a newer one.
                    silent += report.isWhole ? 1 : 0
                } else {
                    let named = report.faults.filter { $0.key == key }
                    #expect(named.contains { $0.kind == .missing }, "\(key)")
                    #expect(named.allSatisfy { !$0.hits.isEmpty }, "\(key)")
                }
            }
        }
        #expect(silent > 0)
    }

    @Test("an object with the bytes of another of its kind is named, with exactly what it hits")
    func swapped() throws {
        let repository = try SmallRepository.built()
        for prefix in ["packs/", "volumes/", "refs/", "nodes/"] {
            let keys = repository.store.objects.keys.filter { $0.hasPrefix(prefix) }.sorted()
            for (key, other) in zip(keys, keys.dropFirst() + keys.prefix(1)) where key != other {
                let bytes = try #require(repository.store.objects[other])
                try repository.damaged(key, bytes, "is \(other)") { report in
                    repository.expectNamed(report, key, "is \(other)")
                    #expect(report.faults.allSatisfy { $0.key == key })
                }
            }
        }
    }

    @Test("whoever attaches by a damaged ref fails or gets what was meant; verify says so before")
    func damagedRefs() throws {
        let repository = try SmallRepository.built()
        let names = ["prod", "work", "other", "tag:first"]
        var meant: [String: VolumeID] = [:]
        for name in names { meant[name] = try repository.plane.attach(name).served.volume }
        for (key, bytes) in repository.store.objects where key.hasPrefix("refs/") {
            for place in stride(from: 0, to: bytes.count, by: 83) {
                var flipped = bytes
                flipped[place] ^= 0xFF
                try repository.replace(key, flipped)
                let report = try repository.verify()
                repository.expectNamed(report, key, "at \(place)")
                for name in names {
                    // Another host, which knows nothing.
                    guard let served = try? repository.attachElsewhere(name) else { continue }
                    #expect(served == meant[name], "\(key) at \(place)")
                }
                try repository.replace(key, bytes)
            }
        }
    }

    @Test("a disk whose ref is gone is told, and a gap in a series")
    func lostRefs() throws {
        let repository = try SmallRepository.built()
        let series = repository.store.objects.keys.filter {
            $0.hasPrefix("refs/exports/prod/")
        }.sorted()
        let volume = try repository.volume("prod")
        let saved = try series.map { ($0, try #require(repository.store.objects[$0])) }
        for key in series { try repository.replace(key, nil) }
        let report = try repository.verify()
        let fault = try #require(report.faults.first)
        #expect(fault.kind == .missing && fault.owner == volume)
        #expect(fault.hits.map(\.ranges) == [[0..<SmallRepository.size]])
        for (key, bytes) in saved { try repository.replace(key, bytes) }
        // The oldest number, with newer ones.
        if let oldest = series.last, series.count > 1 {
            try repository.damaged(oldest, nil, "deleted") {
                #expect($0.faults.map(\.key) == [oldest])
            }
        }
        #expect(try repository.verify().isWhole)
    }

    @Test("a lost martlet.json hits every disk")
    func lostIdentity() throws {
        let repository = try SmallRepository.built()
        try repository.damaged("martlet.json", nil, "deleted") { report in
            let hits = report.faults.first { $0.key == "martlet.json" }?.hits ?? []
            #expect(hits.flatMap(\.sequences).count == (try? repository.commits.count))
        }
    }

    @Test("where a collector runs, history without its packs is noted, what has a name is a fault")
    func collected() throws {
        let repository = try SmallRepository.built()
        let set = CondemnedSet(run: 1, groups: [])
        _ = try repository.store.putIfAbsent(RefSeries.collection.key(1), set.encoded)
        var noted = 0
        var faulty = 0
        for key in repository.packKeys {
            try repository.damaged(key, nil, "deleted") { report in
                for note in report.notes {
                    #expect(note.key == key && note.kind == .missing)
                    #expect(note.hits.allSatisfy { $0.names.isEmpty })
                }
                for fault in report.faults {
                    #expect(fault.hits.allSatisfy { !$0.names.isEmpty }, "\(fault)")
                }
                noted += report.notes.count
                faulty += report.faults.count
            }
        }
        #expect(noted > 0 && faulty > 0)
    }

    @Test("counts, sizes and digests that contradict what is there are told, and nothing is lost")
    func contradictions() throws {
        let repository = try SmallRepository.built()
        let volume = try repository.volume("other")
        let key = try #require(try repository.commits.first { $0.volume == volume })
        let bytes = try #require(repository.store.objects[key.key])
        let commit = try bytes.withUnsafeBytes { try Commit(decoding: $0, key: key) }
        let listed = try #require(commit.packPages.entries.first)
        guard case .inline(let pageBytes) = listed.page else {
            Issue.record("the table of a small volume lies in its commit")
            return
        }
        let page = try pageBytes.withUnsafeBytes { try PackTablePage(decoding: $0) }
        let entry = try #require(page.entries.firstIndex { $0 != nil })
        func changed(_ body: (inout PackTablePage) -> Void) -> Commit {
            var page = page
            body(&page)
            var commit = commit
            commit.packPages[listed.index] = .inline(page.encode())
            return commit
        }
        var otherDigest = commit
        otherDigest.digest = Hash128(low: 1, high: 1)
        let lies = [
            otherDigest,
            changed { page in
                page[entry]?.live += 1
                page[entry]?.total += 1
            },
            changed { $0[entry]?.bytes += 1 },
        ]
        for lie in lies {
            try repository.damaged(key.key, lie.encode(), "made up") { report in
                #expect(report.faults.count == 1)
                let fault = try #require(report.faults.first)
                #expect(fault.kind == .inconsistent && fault.key == key.key)
                #expect(fault.hits.allSatisfy { $0.ranges.isEmpty && $0.volume == volume })
            }
        }
    }
}

extension SmallRepository {
    /// The oldest commit of its volume.
    func isOldest(_ key: String) throws -> Bool {
        guard let parsed = try? CommitKey(key: key) else { return false }
        return try commits.filter { $0.volume == parsed.volume }.map(\.sequence).min()
            == parsed.sequence
    }

    /// Attaches a name on a host of its own, read-only; the volume that it got.
    func attachElsewhere(_ name: String) throws -> VolumeID {
        let disk = VolatileDisk(seed: 9)
        let random = SharedRandom(seed: 9)
        let host = try EngineHost(store: store, folder: disk.root, clock: clock, random: random)
        let plane = ControlPlane(
            configuration: ControlPlaneConfiguration(
                node: try #require(RefName("b")), machineID: "machine-b", address: "",
                isReadOnly: true),
            cacheDirectory: disk.root, store: store, host: host, clock: clock, random: random)
        _ = try plane.start()
        return try plane.attach(name).served.volume
    }
}
