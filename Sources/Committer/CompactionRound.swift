// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One passage of compaction through a volume's chunk table, step by step, and the gathering of a
// step. A round is a value: it goes from the volume to a worker and back, and is lost with the
// process.

public import Formats
public import Primitives

/// Where a round stands, and what it is for.
public struct CompactionRound: Equatable, Sendable {
    public enum Aim: Equatable, Sendable {
        /// Packs to be emptied; others than the volume's own and newer ones than `pinned` stay.
        case victims(Set<PackID>, pinned: CommitSequence?)
        /// Every block becomes one whole frame in a pack newer than this commit.
        case freshBase(after: CommitSequence)
    }

    public let aim: Aim
    public let rules: CompactionRules
    /// The first block that was not looked at.
    public internal(set) var next = BlockIndex(0)

    public init(freshBaseAfter sequence: CommitSequence) {
        aim = .freshBase(after: sequence)
        rules = CompactionRules(liveShareMin: 1, deadBytesMin: 0)
    }

    init(victims: Set<PackID>, pinned: CommitSequence?, rules: CompactionRules) {
        aim = .victims(victims, pinned: pinned)
        self.rules = rules
    }

    /// The packs that the round is to empty; none for a fresh base, which empties all.
    public var victims: Set<PackID> {
        if case .victims(let victims, _) = aim { victims } else { [] }
    }
}

/// What one step has brought.
public struct CompactionStep: Sendable {
    /// For the next commit; empty if nothing of the blocks looked at has to move.
    public let relocation: Relocation
    /// The packs that its round is to empty.
    public let victims: Set<PackID>
    /// How the round goes on; nil: it has come to the end of the volume.
    public let rest: CompactionRound?
}

/// What a step may cost.
public struct CompactionBounds: Equatable, Sendable {
    /// Bytes of grains that a step gathers, one block over.
    public var stepBytes: Int
    /// Nodes that a step reads at most.
    public var stepNodes = 256
    /// Indexes of packs that one look at the tables reads at most.
    public var lookIndexes = 256

    public init(stepBytes: Int = Limits.packBytesTarget) { self.stepBytes = stepBytes }
}
