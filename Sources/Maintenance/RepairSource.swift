// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where the bytes of a repair may come from. Nothing that a source gives is believed: who takes it
// holds it against the hashes that pointers and indexes carry.

public import Formats
public import ObjectStore
public import Primitives

/// What a source has for a hash.
public enum FoundMember: Sendable {
    /// The member as it lies in a pack.
    case stored([UInt8])
    /// The grains of a frame, which are to be encoded again.
    case content([UInt8], mask: GrainMask, grains: Int)
}

/// A member that a pack lacks.
public struct WantedMember: Sendable {
    public let member: PackMember
    /// Of a frame that a pointer leads to: its grains, and of how many.
    public let mask: GrainMask?
    public let grains: Int
    /// Cache keys of blocks whose newest frame it is: they have its grains.
    public let stacks: [Hash128]
}

/// One source. Confined to the thread that repairs.
public protocol RepairSource: AnyObject {
    /// As the report names it, without secrets.
    var name: String { get }

    /// Its commits and refs are those that this host published or read here, so that nothing else
    /// must vouch for them.
    var vouches: Bool { get }

    /// The object that lies under the same key; nil if there is none.
    func object(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8]?

    /// Finds out where members of these hashes lie, if anywhere.
    func search(_ hashes: Set<Hash128>) throws(ObjectStoreError)

    /// What it has for members that were searched for, in their order; nil for those it has not.
    func members(_ wanted: [WantedMember]) throws(ObjectStoreError) -> [FoundMember?]
}

/// Members that one call asks a source for at most.
public enum RepairLimits {
    public static let membersAtOnce = 64
}
