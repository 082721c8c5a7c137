// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Repositories to repair from: replicas, and others that hold the same content under other keys.

import Formats
import ObjectStore
import Primitives
import RepositorySupport
import Testing

@testable import Maintenance

/// The bytes with some bits of one of them inverted.
func flipped(_ bytes: [UInt8], _ place: Int, bits: UInt8 = 0xFF) -> [UInt8] {
    var bytes = bytes
    bytes[place] ^= bits
    return bytes
}

extension SmallRepository {
    func repair(
        from sources: [MemoryStore], _ change: (inout VerifyOptions) -> Void = { _ in }
    ) throws -> RepairReport {
        try repair(sources.map { StoreRepairSource($0) }, change)
    }

    func repair(
        _ sources: [any RepairSource], _ change: (inout VerifyOptions) -> Void = { _ in }
    ) throws -> RepairReport {
        var options = VerifyOptions()
        change(&options)
        var repairer = Repairer(store: store, options: options, sources: sources) {
            Verifier(store: self.store, options: $0, random: SplitMix64(seed: 3))
        }
        return try repairer.run()
    }

    /// The bucket as it is now, elsewhere.
    var replica: MemoryStore { MemoryStore(seed: 2, url: "replica:", objects: store.objects) }

    /// A repository with all members of all packs, in packs of its own.
    func stranger(
        _ encode: (_ content: [UInt8], FrameHeader) -> [UInt8]? = { _, _ in nil }
    ) throws -> MemoryStore {
        let other = MemoryStore(seed: 3, url: "stranger:")
        var random = SplitMix64(seed: 11)
        let volume = VolumeID(low: 77, high: 77)
        for (number, (key, index)) in try packs.enumerated() {
            let bytes = try #require(store.objects[key])
            let pack = PackID(
                volume: volume, epoch: Epoch(1), sequence: CommitSequence(1),
                number: UInt16(number), token: Token.random(from: &random))
            var writer = PackWriter(pack: pack)
            for member in index.members {
                let part = Array(bytes[Int(member.extent.offset)..<Int(member.extent.end)])
                switch member.kind {
                case .frame:
                    _ = writer.append(frame: try again(part, encode) ?? part, hash: member.hash)
                case .node: _ = writer.append(node: part)
                case .chunkPage: _ = writer.append(chunkPage: part)
                case .packPage: _ = writer.append(packPage: part)
                }
            }
            _ = try other.putIfAbsent(pack.key, writer.finish())
        }
        return other
    }

    private func again(
        _ frame: [UInt8], _ encode: (_ content: [UInt8], FrameHeader) -> [UInt8]?
    ) throws -> [UInt8]? {
        try frame.withUnsafeBytes { frame in
            let header = try FrameHeader(decoding: frame)
            var content = [UInt8](repeating: 0, count: header.rawLength)
            try content.withUnsafeMutableBytes {
                try Frame.decode(frame, header: header, into: $0)
            }
            return encode(content, header)
        }
    }

    /// Places to damage in a pack: each part, and each kind of member at its head and its end.
    func places(_ bytes: [UInt8], _ index: PackIndex) -> [(part: String, offset: Int)] {
        var places: [(String, Int)] = [("header", 0), ("header", 20), ("header", 50)]
        for kind in PackMemberKind.allCases {
            let members = index.members.filter { $0.kind == kind }
            for member in [members.first, members.last].compactMap({ $0 }) {
                let start = Int(member.extent.offset)
                for offset in [0, 4, 20, 30, Int(member.extent.length) - 1] {
                    places.append(("\(kind)", start + offset))
                }
            }
        }
        let start = bytes.count - 128 - index.members.count * 32
        for offset in [0, 12, 40, 64, 80, 84] { places.append(("index", start + offset)) }
        for offset in [64, 48, 40, 32, 8] { places.append(("trailer", bytes.count - offset)) }
        return places
    }

    func expectRepaired(
        _ key: String, _ bytes: [UInt8]?, from sources: [MemoryStore], _ comment: String
    ) throws {
        try expectRepaired(key, bytes, by: sources.map { StoreRepairSource($0) }, comment)
    }

    /// Damages one object, repairs, and holds the store against what it was.
    func expectRepaired(
        _ key: String, _ bytes: [UInt8]?, by sources: [any RepairSource], _ comment: String
    ) throws {
        let before = store.objects
        try replace(key, bytes)
        let report = try repair(sources)
        let said = report.lines.joined(separator: "\n")
        #expect(report.isWhole, "\(comment): \(said)")
        #expect(!report.found.isWhole, "\(comment)")
        #expect(report.outcomes.map(\.key) == [key], "\(comment): \(said)")
        #expect(store.objects == before, "\(comment): \(said)")
        if store.objects != before { try replace(key, before[key]) }
    }

    /// Damages one object: repair writes nothing and says so.
    func expectLeft(
        _ key: String, _ bytes: [UInt8]?, from sources: [MemoryStore], _ words: String,
        _ comment: String
    ) throws {
        try expectLeft(key, bytes, by: sources.map { StoreRepairSource($0) }, words, comment)
    }

    func expectLeft(
        _ key: String, _ bytes: [UInt8]?, by sources: [any RepairSource], _ words: String,
        _ comment: String
    ) throws {
        let whole = store.objects[key]
        try replace(key, bytes)
        let (objects, puts) = (store.objects, store.counts.puts)
        let report = try repair(sources)
        #expect(!report.isWhole, "\(comment)")
        let outcome = report.outcomes.first { $0.key == key }
        #expect(outcome?.result == .notRepaired, "\(comment)")
        #expect(outcome?.detail.contains(words) == true, "\(comment): \(outcome?.detail ?? "")")
        #expect(store.objects == objects && store.counts.puts == puts, "\(comment)")
        try replace(key, whole)
    }
}
