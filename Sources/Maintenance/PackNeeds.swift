// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the pointers of all commits say of a few packs: a repaired pack must have each of these
// members, exactly where and as they say.

import Formats
import Primitives
import VolumeMap

/// A member as a pointer describes it.
struct PackNeed: Hashable, Sendable {
    let member: PackMember
    /// Of a frame: which grains it holds, of how many.
    let mask: GrainMask?
    let grains: Int
}

/// What is needed of one pack.
struct PackWants: Sendable {
    /// By their offsets.
    var members: [UInt32: PackNeed] = [:]
    /// Cache keys of blocks whose newest frame one is, by its offset: a few of them.
    var stacks: [UInt32: [Hash128]] = [:]
    private static let stacksMax = 4
    /// Bytes of the object, as tables of packs state them.
    var size: UInt64?
    /// Two pointers say different things of it: no bytes can be right for both.
    var isContradictory = false

    mutating func add(_ need: PackNeed) {
        let offset = need.member.extent.offset
        if let known = members[offset], known != need { isContradictory = true }
        members[offset] = need
    }

    mutating func add(stack: Hash128, at offset: UInt32) {
        let known = stacks[offset] ?? []
        guard known.count < Self.stacksMax, !known.contains(stack) else { return }
        stacks[offset] = known + [stack]
    }

    mutating func add(size: UInt64) {
        if let known = self.size, known != size { isContradictory = true }
        self.size = size
    }
}

/// Fills while a verifier walks. Confined to its thread; bounded by the members of the packs.
struct PackNeeds {
    private(set) var packs: [PackID: PackWants]

    init(_ packs: Set<PackID>) {
        self.packs = Dictionary(uniqueKeysWithValues: packs.map { ($0, PackWants()) })
    }

    mutating func add(
        _ pack: PackID, _ kind: PackMemberKind, _ extent: PackExtent, _ hash: Hash128,
        mask: GrainMask? = nil, grains: Int = 0
    ) {
        packs[pack]?.add(
            PackNeed(
                member: PackMember(kind: kind, extent: extent, hash: hash), mask: mask,
                grains: grains))
    }

    /// A frame, which is the newest of the block with that cache key.
    mutating func add(
        _ pack: PackID, _ frame: FramePointer, grains: Int, newestOf stack: Hash128?
    ) {
        guard packs[pack] != nil else { return }
        add(pack, .frame, frame.extent, frame.hash, mask: frame.mask, grains: grains)
        if let stack, stack != frame.hash { packs[pack]?.add(stack: stack, at: frame.offset) }
    }

    mutating func add(_ pack: PackID, size: UInt64) { packs[pack]?.add(size: size) }
}

extension Verifier {
    /// Walks every commit of the repository down to its map nodes and tells what they need of some
    /// packs. Frames are not read. What cannot be read on the way hides what lies behind it, unless
    /// somebody can rescue it.
    mutating func survey(
        _ packs: Set<PackID>, rescue: @escaping (Piece) -> FetchBuffer?
    ) throws(VerifyError) -> PackNeeds {
        precondition(options.name == nil && subjects.isEmpty, "a verifier surveys once, and all")
        needs = PackNeeds(packs)
        self.rescue = rescue
        let commitKeys = try listCommits(prefix: "volumes/")
        let refs = try readRefs()
        try readCommits(commitKeys)
        try name(refs)
        try listPacks()
        for batch in batches() { try verify(batch) }
        return needs ?? PackNeeds([])
    }

    mutating func notePages(_ pointers: [PackPointer], _ kind: PackMemberKind) {
        guard needs != nil else { return }
        for pointer in pointers { needs?.add(pointer.pack, kind, pointer.extent, pointer.hash) }
    }

    /// What the tables of packs of a batch say that their packs take.
    mutating func noteSizes(_ batch: VerifyBatch) {
        for walked in batch.commits {
            for page in walked.slotPages.values {
                for (index, pack) in page.packs.enumerated() where page.live[index] > 0 {
                    needs?.add(packs[pack].id, size: page.bytes[index])
                }
            }
        }
    }
}
