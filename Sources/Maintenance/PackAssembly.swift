// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A damaged pack, put together again member by member. Where each member lies and what its hash is
// says the index, be it of the pack itself or of a copy, or the pack's members themselves; what is
// taken as a member has that hash, whoever gave it. So the result is the pack that was written, or
// there is none.

import Formats
import Primitives
import VolumeMap

/// Bytes that claim to be a pack, or a member of one, judged.
enum PackCheck {
    /// Whether bytes are a member, down to the content of a frame.
    static func isMember(
        _ bytes: UnsafeRawBufferPointer, _ member: PackMember, _ need: PackNeed?
    ) -> Bool {
        guard bytes.count == Int(member.extent.length) else { return false }
        do throws(FormatError) {
            guard member.kind == .frame else {
                try Pack.verify(bytes, hash: member.hash, kind: member.kind)
                return true
            }
            let header = try FrameHeader(decoding: bytes)
            guard header.hash == member.hash else { return false }
            if let need, need.mask != header.mask || need.grains != header.grains { return false }
            let content = FetchBuffer(byteCount: header.rawLength)
            try Frame.decode(bytes, header: header, into: content.bytes)
            return true
        } catch { return false }
    }

    static func isMember(
        _ bytes: ArraySlice<UInt8>, _ member: PackMember, _ need: PackNeed?
    ) -> Bool {
        bytes.withUnsafeBytes { isMember($0, member, need) }
    }

    /// The members that a pack's own index lists, if trailer and index are whole.
    static func index(_ bytes: [UInt8], of pack: PackID) -> [PackMember]? {
        bytes.withUnsafeBytes { bytes in
            guard
                let trailer = try? PackTrailer(
                    decodingEndOf: bytes, packBytes: UInt64(bytes.count)),
                trailer.index.end <= UInt64(bytes.count)
            else { return nil }
            let part = bytes[Int(trailer.index.offset)..<Int(trailer.index.end)]
            return try? PackIndex(
                decoding: UnsafeRawBufferPointer(rebasing: part), trailer: trailer, pack: pack
            ).members
        }
    }

    /// Why bytes are not the whole pack, with all that is needed of it; nil if they are.
    static func fault(_ bytes: [UInt8], of pack: PackID, _ wants: PackWants) -> String? {
        if let size = wants.size, size != UInt64(bytes.count) {
            return "it has \(bytes.count) bytes, the tables of packs say \(size)"
        }
        let members: [PackMember]
        do throws(FormatError) { members = try index(wholly: bytes, of: pack) } catch {
            return error.explanation
        }
        for member in members {
            let need = wants.members[member.extent.offset]
            let part = bytes[Int(member.extent.offset)..<Int(member.extent.end)]
            guard isMember(part, member, need) else {
                return "its \(member.kind) at \(member.extent.offset) is not whole"
            }
        }
        return misfit(members, wants)
    }

    private static func index(
        wholly bytes: [UInt8], of pack: PackID
    ) throws(FormatError) -> [PackMember] {
        let result = bytes.withUnsafeBytes { lent -> Result<[PackMember], FormatError> in
            do throws(FormatError) {
                return .success(try PackIndex.read(lent, pack: pack).index.members)
            } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// What is needed and not among the members; nil: everything is.
    static func misfit(_ members: [PackMember], _ wants: PackWants) -> String? {
        if wants.isContradictory { return "pointers to it contradict each other" }
        var left = wants.members
        for member in members {
            guard let need = left.removeValue(forKey: member.extent.offset) else { continue }
            if need.member != member { return "no pointer means what lies at \(need.place)" }
        }
        return left.values.first.map { "it has nothing at \($0.place), which is needed" }
    }
}

extension PackNeed {
    fileprivate var place: String { "\(member.extent.offset)" }
}

struct PackAssembly {
    let pack: PackID
    let wants: PackWants
    let members: [PackMember]
    private var parts: [ArraySlice<UInt8>?]

    /// Nil if nobody knows where the members lie. `own` is what is there, `copies` are packs of the
    /// same key from elsewhere; any of them may be damaged.
    init?(_ pack: PackID, wants: PackWants, own: [UInt8]?, copies: [[UInt8]]) {
        let layouts =
            ([own].compactMap { $0 } + copies).lazy.compactMap { PackCheck.index($0, of: pack) }
        let known = wants.members.mapValues(\.member)
        let walks = [own].compactMap { $0 }.lazy.compactMap { bytes in
            bytes.withUnsafeBytes { PackWalk.members(of: $0, pack: pack, known: known) }
        }
        let fitting = { (members: [PackMember]) in PackCheck.misfit(members, wants) == nil }
        guard let members = layouts.first(where: fitting) ?? walks.first(where: fitting) else {
            return nil
        }
        self.pack = pack
        self.wants = wants
        self.members = members
        parts = Array(repeating: nil, count: members.count)
        if let own { _ = take(from: own) }
    }

    func need(_ index: Int) -> PackNeed? { wants.members[members[index].extent.offset] }

    func wanted(_ index: Int) -> WantedMember {
        let need = need(index)
        return WantedMember(
            member: members[index], mask: need?.mask, grains: need?.grains ?? 0,
            stacks: wants.stacks[members[index].extent.offset] ?? [])
    }

    /// Members that are not at hand yet.
    var gaps: [Int] { parts.indices.filter { parts[$0] == nil } }

    /// Fills gaps with what lies at the same place of other bytes. How many.
    mutating func take(from bytes: [UInt8]) -> Int {
        var taken = 0
        for index in gaps where members[index].extent.end <= UInt64(bytes.count) {
            let extent = members[index].extent
            if take(bytes[Int(extent.offset)..<Int(extent.end)], as: index) { taken += 1 }
        }
        return taken
    }

    /// Fills one gap; false if the bytes are not that member.
    mutating func take(_ bytes: ArraySlice<UInt8>, as index: Int) -> Bool {
        guard PackCheck.isMember(bytes, members[index], need(index)) else { return false }
        parts[index] = bytes
        return true
    }

    /// The pack, once there are no gaps.
    func finish() -> [UInt8] {
        let end = Int(members.last?.extent.end ?? 0)
        let bytes = end + members.count * Pack.memberBytes + Pack.overheadBytes
        var writer = PackWriter(pack: pack, expectedBytes: bytes)
        for (member, part) in zip(members, parts) {
            guard let part else { preconditionFailure("a pack with gaps") }
            switch member.kind {
            case .frame:
                _ = part.withUnsafeBytes { writer.append(frame: $0, hash: member.hash) }
            case .node: _ = writer.append(node: Array(part))
            case .chunkPage: _ = writer.append(chunkPage: Array(part))
            case .packPage: _ = writer.append(packPage: Array(part))
            }
        }
        return writer.finish()
    }

    // MARK: Frames from their content

    /// A frame of exactly the wanted length out of the grains that it holds; nil if no way to
    /// encode them gives one.
    static func frame(
        _ content: [UInt8], mask: GrainMask, grains: Int, hash: Hash128, length: Int
    ) -> [UInt8]? {
        guard content.count == mask.count * Limits.grainBytes, !mask.isEmpty,
            content.withUnsafeBytes({ Frame.hash(of: $0, mask: mask, grains: grains) }) == hash
        else { return nil }
        let isRaw = length == FrameHeader.byteCount(grains: grains) + content.count
        let ways: [(Codec, Int)] =
            isRaw ? [(.raw, 1)] : [(.lz4, 1)] + (1...19).map { (.zstd, $0) }
        for (codec, level) in ways {
            let frame = content.withUnsafeBytes {
                Frame.encode(
                    $0, mask: mask, hash: hash, grains: grains, codec: codec, zstdLevel: level)
            }
            if frame.count == length { return frame }
        }
        return nil
    }
}
