// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Damage of every kind, repaired from other repositories: afterwards each object is what it was,
// byte for byte, or untouched.

import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives
import RepositorySupport
import Testing

@testable import Maintenance

@Suite("Repair from another repository")
struct RepairTests {
    @Test("a flipped byte in any part of a pack is repaired from a replica, byte for byte")
    func flippedPacks() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        var parts = Set<String>()
        for (rank, (key, index)) in try repository.packs.enumerated() {
            let bytes = try #require(repository.store.objects[key])
            for (number, place) in repository.places(bytes, index).enumerated()
            where number % 5 == rank % 5 || !parts.contains(place.part) {
                parts.insert(place.part)
                try repository.expectRepaired(
                    key, flipped(bytes, place.offset), from: [replica],
                    "\(key) \(place.part) at \(place.offset)")
            }
        }
        #expect(parts == ["header", "frame", "node", "index", "trailer"])
    }

    @Test("a truncated, longer, missing or misplaced pack is repaired from a replica")
    func otherDamage() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        let keys = repository.packKeys
        for (key, other) in zip(keys, keys.dropFirst() + keys.prefix(1)) {
            let bytes = try #require(repository.store.objects[key])
            for length in [0, 63, bytes.count / 2, bytes.count - 1] {
                try repository.expectRepaired(
                    key, Array(bytes[..<length]), from: [replica], "\(key) cut at \(length)")
            }
            try repository.expectRepaired(key, bytes + [0], from: [replica], "\(key) longer")
            try repository.expectRepaired(
                key, repository.store.objects[other], from: [replica], "\(key) is \(other)")
            try repository.expectRepaired(key, nil, from: [replica], "\(key) missing")
        }
    }

    @Test("header, index and trailer are made of the pack's own members, whatever the source")
    func derived() throws {
        let repository = try SmallRepository.built()
        let empty = MemoryStore(url: "empty:")
        for (key, index) in try repository.packs {
            let bytes = try #require(repository.store.objects[key])
            for place in repository.places(bytes, index)
            where ["header", "index", "trailer"].contains(place.part) {
                try repository.expectRepaired(
                    key, flipped(bytes, place.offset), from: [empty],
                    "\(key) \(place.part) at \(place.offset)")
            }
            try repository.expectRepaired(key, bytes + [7], from: [empty], "\(key) longer")
        }
    }

    @Test("members are found by their hash in packs of other keys")
    func byHash() throws {
        let repository = try SmallRepository.built()
        let stranger = try repository.stranger()
        for (key, index) in try repository.packs {
            let bytes = try #require(repository.store.objects[key])
            for (number, place) in repository.places(bytes, index).enumerated()
            where number % 3 == 0 {
                try repository.expectRepaired(
                    key, flipped(bytes, place.offset), from: [stranger],
                    "\(key) \(place.part) at \(place.offset)")
            }
        }
    }

    @Test("frames that are stored otherwise elsewhere are encoded to the length that pointers name")
    func reencoded() throws {
        let repository = try SmallRepository.built()
        let zstd = try repository.stranger { content, header in
            content.withUnsafeBytes {
                Frame.encode(
                    $0, mask: header.mask, hash: header.hash, grains: header.grains, codec: .zstd,
                    zstdLevel: 9)
            }
        }
        var tried = 0
        for (key, index) in try repository.packs {
            let bytes = try #require(repository.store.objects[key])
            for member in index.members.filter({ $0.kind == .frame }).prefix(3) {
                try repository.expectRepaired(
                    key, flipped(bytes, Int(member.extent.end) - 1), from: [zstd], "\(key)")
                tried += 1
            }
        }
        #expect(tried > 10)
    }

    @Test("pages of tables that lie in packs come back, by their place or their hash")
    func pages() throws {
        let repository = try SmallRepository()
        _ = try repository.plane.put(
            "big", PutRequest(size: ByteCount(8 << 30), blockBytes: 4096))
        let guest = try repository.running("big")
        for number: UInt64 in 0..<2 {
            try guest.write(number * 5 << 30, repository.fresh(8192))
            _ = try repository.plane.drain("big")
        }
        #expect(repository.members(.chunkPage) > 1)
        let (replica, stranger) = (repository.replica, try repository.stranger())
        for (key, index) in try repository.packs {
            let bytes = try #require(repository.store.objects[key])
            for member in index.members {
                for offset in [0, 20, 70, Int(member.extent.length) - 1] {
                    let damage = flipped(bytes, Int(member.extent.offset) + offset)
                    let comment = "\(key) \(member.kind) at \(offset)"
                    try repository.expectRepaired(key, damage, from: [replica], comment)
                    try repository.expectRepaired(key, damage, from: [stranger], comment)
                }
            }
        }
    }

    @Test("what nobody has is left as it is, and said")
    func nobody() throws {
        let repository = try SmallRepository.built()
        let empty = MemoryStore(url: "empty:")
        for (key, index) in try repository.packs {
            let bytes = try #require(repository.store.objects[key])
            let member = index.members[0]
            try repository.expectLeft(
                key, flipped(bytes, Int(member.extent.end) - 1), from: [empty], "no source has 1",
                key)
            try repository.expectLeft(
                key, Array(bytes[..<100]), from: [empty], "its index cannot be read", key)
        }
        for (key, bytes) in repository.store.objects where key.hasPrefix("refs/exports/prod/") {
            try repository.expectLeft(
                key, flipped(bytes, 9), from: [empty], "no source has it", key)
        }
    }

    @Test("a source that is damaged at the same place gives nothing; at another, what is whole")
    func damagedSources() throws {
        let repository = try SmallRepository.built()
        let (key, index) = try #require(
            try repository.packs.first { $0.1.members.count { $0.kind == .frame } > 6 })
        let bytes = try #require(repository.store.objects[key])
        for member in index.members {
            let place = Int(member.extent.end) - 1
            let same = MemoryStore(url: "same:", objects: [key: flipped(bytes, place)])
            try repository.expectLeft(
                key, flipped(bytes, place), from: [same], "no source has 1", "at \(place)")
            let elsewhere = Int(index.members[(place + 1) % index.members.count].extent.end) - 1
            guard elsewhere != place else { continue }
            let other = MemoryStore(url: "other:", objects: [key: flipped(bytes, elsewhere)])
            try repository.expectRepaired(
                key, flipped(bytes, place), from: [other], "\(place) and \(elsewhere)")
            try repository.expectRepaired(
                key, flipped(bytes, place), from: [same, other], "two sources")
        }
        // Bytes of another pack, under this key.
        let wrong = try #require(repository.packKeys.first { $0 != key })
        let swapped = try #require(repository.store.objects[wrong])
        let misplaced = MemoryStore(url: "swapped:", objects: [key: swapped])
        try repository.expectLeft(
            key, flipped(bytes, 100), from: [misplaced], "no source has 1", "swapped")
    }

    @Test("a commit is repaired from a replica if the next commit, a ref or its own rest vouch")
    func commits() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        for commit in try repository.commits {
            let bytes = try #require(repository.store.objects[commit.key])
            for place in [0, 20, 33, 50, 70, bytes.count - 1] {
                try repository.expectRepaired(
                    commit.key, flipped(bytes, place), from: [replica], "\(commit) at \(place)")
            }
        }
    }

    @Test("a commit of a copy that went its own way is not taken")
    func strangers() throws {
        let repository = try SmallRepository.built()
        var random = SplitMix64(seed: 5)
        for key in try repository.commits {
            let bytes = try #require(repository.store.objects[key.key])
            let commit = try bytes.withUnsafeBytes { try Commit(decoding: $0, key: key) }
            let other = Commit(
                volume: commit.volume, sequence: commit.sequence, epoch: commit.epoch,
                token: Token.random(from: &random), parentToken: commit.parentToken,
                state: commit.state, isFence: commit.isFence, size: commit.size,
                blockBytes: commit.blockBytes, cut: commit.cut,
                labelSeconds: commit.labelSeconds, chunkPages: commit.chunkPages,
                packPages: commit.packPages, slotCount: commit.slotCount, digest: commit.digest)
            let diverged = MemoryStore(url: "diverged:", objects: [key.key: other.encode()])
            try repository.expectLeft(
                key.key, flipped(bytes, 70), from: [diverged], "nothing proves", "\(key)")
        }
    }

    @Test("a fork's and a snapshot's disks are whole again with the pack that they share")
    func shared() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        let (key, index) = try #require(
            try repository.packs.first { $0.1.members.count { $0.kind == .frame } > 6 })
        for member in index.members {
            repository.store.rot(key, at: Int(member.extent.end) - 1)
        }
        let name = try #require(RefName("work"))
        // Under the fork's name alone.
        let report = try repository.repair(from: [replica]) { $0.name = name }
        #expect(report.isWhole)
        #expect(try repository.verify().isWhole)
        for key in repository.contents.keys {
            let (failed, isRight) = try repository.readBack(key)
            #expect(failed.isEmpty && isRight, "\(key)")
        }
    }

    @Test("a repair of one name leaves what others need")
    func names() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        let other = try repository.volume("other")
        let key = try #require(repository.packKeys.first { $0.contains(other.description) })
        repository.store.rot(key, at: 100)
        let puts = repository.store.counts.puts
        let prod = try #require(RefName("prod"))
        #expect(try repository.repair(from: [replica]) { $0.name = prod }.outcomes.isEmpty)
        #expect(repository.store.counts.puts == puts)
        #expect(try repository.repair(from: [replica]).isWhole)
    }
}
