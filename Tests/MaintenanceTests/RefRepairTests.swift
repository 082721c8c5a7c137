// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Damaged refs, put back from a replica or from a host's directory, and never by another meaning of
// the same name.

import CleanCache
import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives
import RepositorySupport
import Testing

@testable import Maintenance

@Suite("Repair of refs")
struct RefRepairTests {
    private func refs(_ repository: SmallRepository) -> [String: [UInt8]] {
        repository.store.objects.filter { RefKey(parsing: $0.key) != nil }
    }

    @Test("a flipped byte anywhere in any ref is repaired from a replica, byte for byte")
    func flippedRefs() throws {
        let repository = try SmallRepository.built()
        let replica = repository.replica
        let refs = refs(repository)
        #expect(refs.count > 10)
        for (rank, (key, bytes)) in refs.sorted(by: { $0.key < $1.key }).enumerated() {
            for place in stride(from: rank % 7, to: bytes.count, by: 7) {
                try repository.expectRepaired(
                    key, flipped(bytes, place, bits: 4), from: [replica], "\(key) at \(place)")
            }
            // Up to where its checksum ends.
            let end = try #require(DocumentChecksum.place(in: bytes)?.upperBound)
            try repository.expectRepaired(
                key, Array(bytes[..<end]), from: [replica], "\(key) cut at \(end)")
        }
    }

    @Test("an older number of a series comes back if the next one is the same there")
    func series() throws {
        let repository = try SmallRepository.built()
        for step in 1...3 {
            _ = try repository.plane.put(
                "other",
                PutRequest(size: ByteCount(SmallRepository.size + UInt64(step) << 20)))
        }
        let name = try #require(RefName("other"))
        let replica = repository.replica
        for number: UInt64 in 1...2 {
            let key = RefSeries.export(name).key(number)
            for bytes in [nil, [], [0, 0, 0]] as [[UInt8]?] {
                try repository.expectRepaired(key, bytes, from: [replica], "\(number)")
            }
        }
        // Of the newest nothing is left, and nothing speaks for the one that the replica has.
        let newest = try #require(
            repository.store.keys(prefix: RefSeries.export(name).prefix).first)
        try repository.expectLeft(newest, [], from: [replica], "nothing proves", "the newest")
    }

    @Test("another meaning of the name is not taken, nor what is not whole")
    func strangers() throws {
        let repository = try SmallRepository.built()
        let name = try #require(RefName("prod"))
        let key = RefSeries.tag(try #require(RefName("first"))).key(1)
        let bytes = try #require(repository.store.objects[key])
        let ref = try TagRef(decoding: bytes)
        let commit = CommitPointer(
            volume: ref.commit.volume,
            sequence: CommitSequence(ref.commit.sequence.rawValue + 1), token: ref.commit.token,
            labelSeconds: ref.commit.labelSeconds)
        let other = TagRef(tag: ref.tag, number: ref.number, commit: commit, export: name)
        let stranger = MemoryStore(seed: 4, url: "stranger:", objects: [key: other.encoded])
        try repository.expectLeft(
            key, flipped(bytes, 12, bits: 4), from: [stranger], "nothing proves", "another meaning")
        let rotten = MemoryStore(
            seed: 4, url: "rotten:", objects: [key: flipped(bytes, 20, bits: 4)])
        try repository.expectLeft(
            key, flipped(bytes, 12, bits: 4), from: [rotten], "no source has it", "rotten there too"
        )
        try repository.expectRepaired(
            key, flipped(bytes, 12, bits: 4), from: [rotten, stranger, repository.replica],
            "the third has it")
    }

    @Test("what a host keeps vouches for itself")
    func kept() throws {
        let repository = try SmallRepository.built()
        let published = refs(repository)
        let cache = CacheRepairSource(
            name: "cache", blocks: { _ throws(ObjectStoreError) in nil },
            published: { key throws(ObjectStoreError) in published[key] })
        for key in published.keys where key.hasPrefix(RefKey.exportsPrefix) {
            try repository.expectRepaired(key, [], by: [cache], key)
        }
    }
}
