// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a host keeps locally as a source of repairs. Its daemon's clean cache has decoded blocks,
// map nodes and pages by the hash of their content: a frame is encoded again from its block, and
// one of single grains is cut out of the block whose newest frame it is. Its cache directory has
// the exact bytes of each volume's newest commit, and of the newest ref of its export.

import Formats
public import ObjectStore
public import Primitives

public final class CacheRepairSource: RepairSource {
    /// The bytes that a cache holds under a hash; nil: none.
    public typealias Blocks = (_ hash: Hash128) throws(ObjectStoreError) -> [UInt8]?
    /// The bytes of a commit or a ref that this host knows to be published; nil: none.
    public typealias Published = (_ key: String) throws(ObjectStoreError) -> [UInt8]?

    public let name: String
    public var vouches: Bool { true }
    private let blocks: Blocks
    private let published: Published
    /// The cache did not answer, and is not asked again.
    private var absence: ObjectStoreError?

    public init(name: String, blocks: @escaping Blocks, published: @escaping Published) {
        self.name = name
        self.blocks = blocks
        self.published = published
    }

    public func object(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8]? {
        try published(key)
    }

    public func search(_ hashes: Set<Hash128>) {}

    public func members(_ wanted: [WantedMember]) throws(ObjectStoreError) -> [FoundMember?] {
        var found: [FoundMember?] = []
        for member in wanted { found.append(try self.member(member)) }
        return found
    }

    private func member(_ wanted: WantedMember) throws(ObjectStoreError) -> FoundMember? {
        let bytes = try block(wanted.member.hash)
        guard wanted.member.kind == .frame else { return bytes.map { .stored($0) } }
        if let bytes, let grains = Self.grains(of: bytes) {
            return .content(bytes, mask: GrainMask(full: grains), grains: grains)
        }
        guard let mask = wanted.mask else { return nil }
        for stack in wanted.stacks {
            guard let block = try block(stack), Self.grains(of: block) == wanted.grains else {
                continue
            }
            return .content(
                Self.cut(mask, of: block, grains: wanted.grains), mask: mask,
                grains: wanted.grains)
        }
        return nil
    }

    private func block(_ hash: Hash128) throws(ObjectStoreError) -> [UInt8]? {
        if let absence { throw absence }
        do throws(ObjectStoreError) { return try blocks(hash) } catch {
            absence = error
            throw error
        }
    }

    /// Grains of a block; nil if no block has that size.
    private static func grains(of block: [UInt8]) -> Int? {
        let grains = block.count / Limits.grainBytes
        guard block.count.isMultiple(of: Limits.grainBytes), grains.nonzeroBitCount == 1,
            grains <= GrainMask.grainsMax
        else { return nil }
        return grains
    }

    private static func cut(_ mask: GrainMask, of block: [UInt8], grains: Int) -> [UInt8] {
        var content: [UInt8] = []
        content.reserveCapacity(mask.count * Limits.grainBytes)
        for grain in 0..<grains where mask.contains(grain) {
            let start = grain * Limits.grainBytes
            content += block[start..<(start + Limits.grainBytes)]
        }
        return content
    }
}
