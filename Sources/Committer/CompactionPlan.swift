// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What compaction decides, from tables, indexes and stacks alone: which packs are to be emptied,
// whether that is worth its reading, which frames of a stack become one. Pure.

public import Formats
internal import Primitives

/// When packs and stacks are stored again.
public struct CompactionRules: Equatable, Sendable {
    /// A pack is emptied if a smaller share of its frames' and nodes' bytes is live.
    public var liveShareMin: Double
    /// A stack becomes one frame if a larger share of its grains is hidden; nil: only a stack that
    /// can take no further frame.
    public var hiddenShareMax: Double?
    /// Dead bytes in the packs of a round at least.
    public var deadBytesMin: UInt64

    public init(liveShareMin: Double, hiddenShareMax: Double? = nil, deadBytesMin: UInt64) {
        precondition((0...1).contains(liveShareMin))
        self.liveShareMin = liveShareMin
        self.hiddenShareMax = hiddenShareMax
        self.deadBytesMin = deadBytesMin
    }
}

/// What the index of a pack says of its members. Never changes.
public struct PackMakeup: Equatable, Sendable {
    public var frames = 0
    public var frameBytes: UInt64 = 0
    public var nodes = 0
    public var nodeBytes: UInt64 = 0

    public init() {}

    public init(_ index: PackIndex) {
        for member in index.members {
            switch member.kind {
            case .frame:
                frames += 1
                frameBytes += UInt64(member.extent.length)
            case .node:
                nodes += 1
                nodeBytes += UInt64(member.extent.length)
            // Not counted in the pack table: a page lives as long as a page list names it.
            case .chunkPage, .packPage: break
            }
        }
    }
}

/// Nodes of the present chunk table that lie in one pack.
struct LiveNodes: Equatable {
    var count: UInt64 = 0
    var bytes: UInt64 = 0

    mutating func add(_ entry: ChunkEntry) {
        count += 1
        bytes += UInt64(entry.length)
    }
}

/// A pack with what is known of it.
struct PackStanding {
    let slot: PackSlot
    let entry: PackEntry
    let makeup: PackMakeup
    let liveNodes: LiveNodes

    /// Bytes of frames and nodes.
    var bytes: UInt64 { makeup.frameBytes + makeup.nodeBytes }

    /// Nodes exactly; frames by the share of their references that is left, since the table counts
    /// references and no bytes.
    var liveBytes: UInt64 {
        let references = max(entry.total, UInt64(makeup.nodes)) - UInt64(makeup.nodes)
        let left = max(entry.live, liveNodes.count) - liveNodes.count
        let share = references == 0 ? 0 : min(1, Double(left) / Double(references))
        return min(bytes, UInt64(Double(makeup.frameBytes) * share) + liveNodes.bytes)
    }

    var deadBytes: UInt64 { bytes - liveBytes }

    func isVictim(_ rules: CompactionRules) -> Bool {
        bytes > 0 && Double(liveBytes) < Double(bytes) * rules.liveShareMin
    }
}

enum CompactionPlan {
    /// Dead bytes for each byte of a node that has to be read.
    static let deadBytesPerNodeByte: UInt64 = 8

    /// Whether `pack` may be emptied at all: it is the volume's own, nothing that is pinned needs
    /// it, and something of it is dead.
    static func isEligible(
        _ entry: PackEntry, of volume: VolumeID, pinned: CommitSequence?
    ) -> Bool {
        isMovable(entry.pack, of: volume, pinned: pinned) && entry.live > 0
            && entry.live < entry.total
    }

    /// False for a pack that stays whatever this volume does.
    static func isMovable(
        _ pack: PackID, of volume: VolumeID, pinned: CommitSequence?
    ) -> Bool {
        pack.volume == volume && pinned.map { pack.sequence > $0 } ?? true
    }

    /// Whether a node can refer to one of the victims, the oldest of which is `oldest`: a node
    /// names packs that were there when it was made.
    static func mayRefer(_ node: PackID, toVictimsFrom oldest: PackID) -> Bool {
        node.volume == oldest.volume && !isOlder(node, oldest)
    }

    static func isOlder(_ left: PackID, _ right: PackID) -> Bool {
        (left.epoch, left.sequence) < (right.epoch, right.sequence)
    }

    /// Whether emptying the victims pays for reading these nodes.
    static func isWorthwhile(
        _ victims: [PackStanding], nodeBytes: UInt64, rules: CompactionRules
    ) -> Bool {
        let dead = victims.reduce(UInt64(0)) { $0 + $1.deadBytes }
        return dead > 0 && dead >= rules.deadBytesMin
            && dead / deadBytesPerNodeByte >= nodeBytes
    }

    /// How many frames of a stack, from the newest, are to become one; 0: it stays as it is.
    static func mergeCount(
        _ frames: [FramePointer], rules: CompactionRules,
        isVictim: (PackSlot) -> Bool, isMovable: (PackSlot) -> Bool
    ) -> Int {
        let victims = (frames.lastIndex { isVictim($0.slot) } ?? -1) + 1
        var movable = frames.count
        while movable > 0, !isMovable(frames[movable - 1].slot) { movable -= 1 }
        guard movable >= 2 else { return victims }
        if frames.count >= Limits.stackFramesMax { return max(victims, movable) }
        guard let most = rules.hiddenShareMax else { return victims }
        var shown = GrainMask()
        var stored = 0
        for frame in frames[..<movable] {
            stored += frame.mask.count
            shown.formUnion(frame.mask)
        }
        let isWasteful = Double(stored - shown.count) > Double(stored) * most
        return isWasteful ? max(victims, movable) : victims
    }
}
