// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Which packs and stacks compaction takes, from facts alone.

import Formats
import Primitives
import Testing

@testable import Committer

@Suite("Compaction's choices")
struct CompactionPlanTests {
    private static let volume = VolumeID(low: 1, high: 1)
    private static let other = VolumeID(low: 2, high: 2)

    private func pack(
        _ sequence: UInt64, of volume: VolumeID = volume, epoch: UInt32 = 1
    ) -> PackID {
        PackID(
            volume: volume, epoch: Epoch(epoch), sequence: CommitSequence(sequence), number: 0,
            token: Token(low: sequence, high: 7))
    }

    private func standing(
        live: UInt64, total: UInt64, nodes: Int, liveNodes: UInt64, frames: Int = 10
    ) -> PackStanding {
        var makeup = PackMakeup()
        makeup.frames = frames
        makeup.frameBytes = UInt64(frames) * 4096
        makeup.nodes = nodes
        makeup.nodeBytes = UInt64(nodes) * 40_000
        var left = LiveNodes()
        left.count = liveNodes
        left.bytes = liveNodes * 40_000
        return PackStanding(
            slot: PackSlot(0),
            entry: PackEntry(pack: pack(1), live: live, total: total, bytes: 1 << 20),
            makeup: makeup, liveNodes: left)
    }

    private let rules = CompactionRules(liveShareMin: 0.5, deadBytesMin: 1 << 20)

    @Test("dead nodes weigh what they weigh, however many frames are live")
    func bytes() {
        let trickle = standing(live: 10, total: 11, nodes: 1, liveNodes: 0)
        #expect(trickle.liveBytes == 40_960)
        #expect(trickle.deadBytes == 40_000)
        #expect(!trickle.isVictim(rules))
        #expect(standing(live: 9, total: 11, nodes: 1, liveNodes: 0).isVictim(rules))
        #expect(!standing(live: 11, total: 11, nodes: 1, liveNodes: 1).isVictim(rules))
    }

    @Test("frames that are shared count once for each reference, and never beyond the pack")
    func shared() {
        let shared = standing(live: 20, total: 40, nodes: 0, liveNodes: 0)
        #expect(shared.liveBytes == 20_480)
        #expect(standing(live: 40, total: 40, nodes: 0, liveNodes: 0).deadBytes == 0)
    }

    @Test("only own packs behind the newest pin that lost something are emptied")
    func eligible() {
        func isEligible(_ pack: PackID, live: UInt64 = 1, pinned: UInt64? = nil) -> Bool {
            CompactionPlan.isEligible(
                PackEntry(pack: pack, live: live, total: 4, bytes: 4096), of: Self.volume,
                pinned: pinned.map { CommitSequence($0) })
        }
        #expect(isEligible(pack(5)))
        #expect(!isEligible(pack(5, of: Self.other)))
        #expect(!isEligible(pack(5), live: 4))
        #expect(!isEligible(pack(5), pinned: 5))
        #expect(isEligible(pack(5), pinned: 4))
    }

    @Test("a node refers to no pack that is newer than itself")
    func reach() {
        #expect(CompactionPlan.mayRefer(pack(5), toVictimsFrom: pack(5)))
        #expect(CompactionPlan.mayRefer(pack(1, epoch: 2), toVictimsFrom: pack(5)))
        #expect(!CompactionPlan.mayRefer(pack(4), toVictimsFrom: pack(5)))
        #expect(!CompactionPlan.mayRefer(pack(9, of: Self.other), toVictimsFrom: pack(5)))
    }

    @Test("a round pays for the nodes that it reads, and is not begun for little")
    func worth() {
        let victim = standing(live: 1, total: 101, nodes: 0, liveNodes: 0, frames: 400)
        #expect(victim.deadBytes > 1 << 20)
        #expect(CompactionPlan.isWorthwhile([victim], nodeBytes: 200_000, rules: rules))
        #expect(!CompactionPlan.isWorthwhile([victim], nodeBytes: 300_000, rules: rules))
        let little = CompactionRules(liveShareMin: 0.5, deadBytesMin: 2 << 20)
        #expect(!CompactionPlan.isWorthwhile([victim], nodeBytes: 0, rules: little))
        #expect(!CompactionPlan.isWorthwhile([], nodeBytes: 0, rules: rules))
    }

    // MARK: Stacks

    /// Frames of a block of 8 grains, newest first: slot and grains of each.
    private func count(
        _ frames: [(slot: UInt32, grains: Range<Int>)], victims: Set<UInt32> = [],
        held: Set<UInt32> = [], hidden: Double? = nil
    ) -> Int {
        let stack = frames.map { frame in
            var mask = GrainMask()
            mask.insert(frame.grains)
            return FramePointer(
                slot: PackSlot(frame.slot), offset: 64, length: 4096,
                hash: Hash128(low: 1, high: 1), mask: mask)
        }
        return CompactionPlan.mergeCount(
            stack,
            rules: CompactionRules(liveShareMin: 0.5, hiddenShareMax: hidden, deadBytesMin: 0),
            isVictim: { victims.contains($0.rawValue) },
            isMovable: { !held.contains($0.rawValue) })
    }

    @Test("a stack moves down to the oldest frame that must, and no further")
    func victims() {
        let stack: [(slot: UInt32, grains: Range<Int>)] = [(1, 0..<1), (2, 2..<3), (3, 0..<8)]
        #expect(count(stack) == 0)
        #expect(count(stack, victims: [1]) == 1)
        #expect(count(stack, victims: [2], held: [3]) == 2)
        #expect(count(stack, victims: [1, 3]) == 3)
    }

    @Test("the deepest stacks become one frame, above a base that stays")
    func deep() {
        let stack: [(slot: UInt32, grains: Range<Int>)] = [
            (1, 0..<1), (2, 2..<3), (3, 4..<5), (4, 0..<8),
        ]
        #expect(count(stack) == 4)
        #expect(count(stack, held: [4]) == 3)
        #expect(count(stack, held: [2, 3, 4]) == 0, "one frame is one frame already")
        #expect(count(Array(stack[1...])) == 0)
    }

    @Test("on a quiet volume stacks that hide much become one frame")
    func hidden() {
        let stack: [(slot: UInt32, grains: Range<Int>)] = [(1, 0..<4), (2, 0..<8)]
        #expect(count(stack) == 0)
        #expect(count(stack, hidden: 0.3) == 2)
        #expect(count(stack, hidden: 0.4) == 0)
        #expect(count(stack, held: [2], hidden: 0.1) == 0, "what stays hides nothing of ours")
    }
}
