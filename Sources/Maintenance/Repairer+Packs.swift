// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Packs. First all of them from objects of the same key, their own bytes included; then one search
// of the sources for the hashes of all members that are still missing.

import Formats
import ObjectStore
import Primitives
import VolumeMap

/// A damaged pack.
private struct PackCase {
    let pack: PackID
    let isNamed: Bool
    let wants: PackWants
}

/// A damaged pack with what there is under its key, here and elsewhere.
private struct PackMaterial {
    let own: [UInt8]?
    let copies: [(source: String, bytes: [UInt8])]

    /// The trailer of what is there, if it is whole, unless it is of another pack.
    private func trailer(of pack: PackID) -> ArraySlice<UInt8>? {
        guard let own else { return nil }
        let isWhole = own.withUnsafeBytes { bytes in
            guard let header = try? Pack.header(decoding: bytes), header != pack else {
                return (try? PackTrailer(decodingEndOf: bytes, packBytes: UInt64(own.count))) != nil
            }
            return false
        }
        return isWhole ? own.suffix(Pack.trailerBytes) : nil
    }

    /// Whether bytes may be the pack, as far as what is there can tell.
    func accepts(_ bytes: [UInt8], as pack: PackID) -> Bool {
        trailer(of: pack).map { $0 == bytes.suffix(Pack.trailerBytes) } ?? true
    }
}

extension Repairer {
    mutating func repairPacks(of report: VerifyReport) throws(VerifyError) {
        var named: [PackID: Bool] = [:]
        for fault in report.faults where fault.kind != .inconsistent {
            guard let pack = try? PackID(key: fault.key) else { continue }
            named[pack] = named[pack] == true || fault.isNamed
        }
        guard !sources.isEmpty else {
            for pack in named.keys { note(pack.key, .notRepaired, "no source was given") }
            return
        }
        guard !named.isEmpty else { return }
        var surveyor = makeSurveyor()
        let needs = try surveyor.survey(Set(named.keys), rescue: rescue)
        let cases = named.sorted { $0.key.key < $1.key.key }.map { pack, isNamed in
            PackCase(pack: pack, isNamed: isNamed, wants: needs.packs[pack] ?? PackWants())
        }
        var open: [PackCase] = []
        var wanted = Set<Hash128>()
        for damaged in cases {
            guard let assembly = try repair(damaged, searches: false) else { continue }
            open.append(damaged)
            wanted.formUnion(assembly.gaps.map { assembly.members[$0].hash })
        }
        guard !open.isEmpty else { return }
        for source in sources {
            _ = ask(source) { source throws(ObjectStoreError) in try source.search(wanted) }
        }
        for damaged in open { _ = try repair(damaged, searches: true) }
    }

    /// A map node or a page that cannot be read, from a source that needs no search: what lies
    /// behind it tells how single grains are found.
    private func rescue(_ piece: Verifier<Store>.Piece) -> FetchBuffer? {
        let member = PackMember(kind: .node, extent: piece.extent, hash: piece.hash)
        let wanted = WantedMember(member: member, mask: nil, grains: 0, stacks: [])
        for source in sources {
            guard let found = try? source.members([wanted]).first,
                case .stored(let bytes)? = found
            else { continue }
            let buffer = bytes.withUnsafeBytes { bytes -> FetchBuffer? in
                guard (try? piece.check(bytes)) != nil else { return nil }
                return FetchBuffer(copying: bytes)
            }
            if let buffer { return buffer }
        }
        return nil
    }

    /// Repairs a pack, or notes why not. Without `searches` one that lacks members after all
    /// objects of its key were looked at comes back.
    private mutating func repair(
        _ damaged: PackCase, searches: Bool
    ) throws(VerifyError) -> PackAssembly? {
        let (pack, wants) = (damaged.pack, damaged.wants)
        let own = try fresh(pack.key, limit: Int(Limits.packBytesMax)) {
            PackCheck.fault($0, of: pack, wants) == nil
        }
        if own?.isWhole == true {
            note(pack.key, .repaired, "it is whole now")
            return nil
        }
        guard mayWrite(pack.key, isMissing: own == nil, isNamed: damaged.isNamed) else {
            return nil
        }
        let material = PackMaterial(own: own?.bytes, copies: copies(of: pack))
        for (source, bytes) in material.copies
        where material.accepts(bytes, as: pack) && PackCheck.fault(bytes, of: pack, wants) == nil {
            try write(
                pack.key, bytes, isMissing: own == nil, isNamed: damaged.isNamed, "the whole pack",
                from: [source])
            return nil
        }
        guard
            var assembly = PackAssembly(
                pack, wants: wants, own: own?.bytes, copies: material.copies.map(\.bytes))
        else {
            note(
                pack.key, .notRepaired,
                wants.isContradictory
                    ? "pointers to it contradict each other"
                    : "its index cannot be read, and no source has the pack")
            return nil
        }
        var taken: [(source: String, count: Int)] = material.copies.map {
            ($0.source, assembly.take(from: $0.bytes))
        }
        if searches { taken += fill(&assembly) }
        guard assembly.gaps.isEmpty else {
            if !searches { return assembly }
            noteGaps(assembly)
            return nil
        }
        try finish(damaged, assembly, taken.filter { $0.count > 0 }, material)
        return nil
    }

    private mutating func finish(
        _ damaged: PackCase, _ assembly: PackAssembly, _ taken: [(source: String, count: Int)],
        _ material: PackMaterial
    ) throws(VerifyError) {
        let bytes = assembly.finish()
        let key = damaged.pack.key
        if let fault = PackCheck.fault(bytes, of: damaged.pack, damaged.wants) {
            return note(key, .notRepaired, "what could be put together is not the pack: \(fault)")
        }
        guard material.accepts(bytes, as: damaged.pack) else {
            return note(
                key, .notRepaired, "what could be put together is not what its trailer states")
        }
        let count = taken.reduce(0) { $0 + $1.count }
        let detail =
            count == 0
            ? "header, index and trailer from its own members"
            : "\(count) of \(assembly.members.count) members, the others were whole"
        try write(
            key, bytes, isMissing: material.own == nil, isNamed: damaged.isNamed, detail,
            from: taken.map(\.source))
    }

    private mutating func noteGaps(_ assembly: PackAssembly) {
        let gaps = assembly.gaps
        let first = gaps.first.map { assembly.members[$0] }
        let place = first.map { "\($0.kind) at \($0.extent.offset)" } ?? ""
        note(
            assembly.pack.key, .notRepaired,
            "no source has \(gaps.count) of its \(assembly.members.count) members, "
                + "the first of them the \(place)")
    }

    private mutating func copies(of pack: PackID) -> [(source: String, bytes: [UInt8])] {
        var copies: [(source: String, bytes: [UInt8])] = []
        for source in sources {
            let bytes = ask(source) { source throws(ObjectStoreError) in
                try source.object(pack.key, limit: Int(Limits.packBytesMax))
            }
            if let bytes { copies.append((source.name, bytes)) }
        }
        return copies
    }

    /// Fills gaps by hash. How many from which source.
    private mutating func fill(_ assembly: inout PackAssembly) -> [(source: String, count: Int)] {
        var taken: [(source: String, count: Int)] = []
        for source in sources {
            let gaps = assembly.gaps
            var count = 0
            for start in stride(from: 0, to: gaps.count, by: RepairLimits.membersAtOnce) {
                let some = gaps[start..<min(start + RepairLimits.membersAtOnce, gaps.count)]
                let wanted = some.map { assembly.wanted($0) }
                let found = ask(source) { source throws(ObjectStoreError) in
                    try source.members(wanted)
                }
                for (index, member) in zip(some, found ?? []) {
                    guard let member, let bytes = Self.bytes(member, assembly.members[index])
                    else { continue }
                    if assembly.take(bytes[...], as: index) { count += 1 }
                }
            }
            if count > 0 { taken.append((source.name, count)) }
        }
        return taken
    }

    private static func bytes(_ found: FoundMember, _ member: PackMember) -> [UInt8]? {
        switch found {
        case .stored(let bytes): bytes
        case .content(let content, let mask, let grains):
            PackAssembly.frame(
                content, mask: mask, grains: grains, hash: member.hash,
                length: Int(member.extent.length))
        }
    }
}
