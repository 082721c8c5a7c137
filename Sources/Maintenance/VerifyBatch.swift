// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The commits that are walked side by side, with their pack tables at hand.

import Formats
import Primitives
import VolumeMap

/// A page of a pack table: what its slots mean. Equal pages of several commits are one.
final class SlotPage {
    /// Numbers of the packs; `none`: a free slot.
    let packs: [UInt32]
    let live: [UInt64]
    let bytes: [UInt64]

    static let none = UInt32.max

    init(_ page: PackTablePage, _ records: inout VerifyPacks) {
        let count = (page.entries.lastIndex { $0 != nil } ?? -1) + 1
        var packs = [UInt32](repeating: Self.none, count: count)
        var live = [UInt64](repeating: 0, count: count)
        var bytes = live
        for (index, entry) in page.entries.prefix(count).enumerated() {
            guard let entry else { continue }
            packs[index] = records.number(of: entry.pack)
            live[index] = entry.live
            bytes[index] = entry.bytes
        }
        self.packs = packs
        self.live = live
        self.bytes = bytes
    }
}

/// What a slot leads to.
enum SlotMeaning {
    case pack(UInt32)
    /// Its page cannot be read: that fault.
    case unreadable(FaultPlace)
    /// The table has nothing there.
    case free
}

/// One commit under way. Confined to the thread that verifies.
final class WalkedCommit {
    let subject: Int
    let commit: Commit
    var slotPages: [UInt32: SlotPage] = [:]
    /// Pages that cannot be read.
    var lostPages: [UInt32: FaultPlace] = [:]
    /// References found, by slot.
    var references: [UInt64]
    var digest: VolumeDigest? = VolumeDigest()
    /// Every page and node could be read, so that counts and digest can be compared.
    var isWhole = true

    init(subject: Int, commit: Commit) {
        self.subject = subject
        self.commit = commit
        references = Array(repeating: 0, count: Int(commit.slotCount))
    }

    var size: UInt64 { commit.size.rawValue }

    func meaning(of slot: PackSlot) -> SlotMeaning {
        if let lost = lostPages[slot.page] { return .unreadable(lost) }
        guard let page = slotPages[slot.page], slot.indexInPage < page.packs.count else {
            return .free
        }
        let pack = page.packs[slot.indexInPage]
        return pack == SlotPage.none ? .free : .pack(pack)
    }

    func refer(to slot: PackSlot, count: UInt64 = 1) {
        guard Int(slot.rawValue) < references.count else {
            // A slot that the commit says it never used.
            isWhole = false
            return
        }
        references[Int(slot.rawValue)] += count
    }

    /// The bytes of some blocks, cut at the end of the disk; nil past it.
    func range(ofBlocks blocks: Range<UInt64>) -> Range<UInt64>? {
        let block = UInt64(commit.blockBytes)
        let start = blocks.lowerBound * block
        guard start < size else { return nil }
        return start..<min(blocks.upperBound * block, size)
    }

    func range(of chunk: ChunkIndex) -> Range<UInt64>? {
        let first = chunk.firstBlock.rawValue
        return range(ofBlocks: first..<(first + UInt64(Limits.chunkBlocks)))
    }

    func range(ofChunkPage page: UInt32) -> Range<UInt64>? {
        let blocks = UInt64(Limits.chunkBlocks * Limits.tablePageEntries)
        return range(ofBlocks: (UInt64(page) * blocks)..<((UInt64(page) + 1) * blocks))
    }
}

/// A node by everything that the way to it says.
struct NodePlace: Hashable {
    let chunk: ChunkIndex
    let entry: ChunkEntry
    let pack: UInt32
    let blockBytes: Int
}

/// Commits that mean the same by a node.
struct NodeUse {
    let chunk: ChunkIndex
    let commits: [Int]
}

/// A frame by everything that the way to it says.
struct FramePlace: Hashable {
    let pack: UInt32
    let pointer: FramePointer
    let grains: Int
}

/// Frames that wait to be read together, and who needs them. Confined to the thread that verifies.
struct FrameWindow {
    /// Frames of one window: some ten megabytes of memory, and enough neighbours that packs are
    /// read in long ranges.
    static let framesMax = 1 << 16
    private static let usersMax = 1 << 20

    struct User {
        let frame: Int
        let use: Int
        let block: UInt16
    }

    private var index: [FramePlace: Int] = [:]
    private(set) var frames: [FramePlace] = []
    private(set) var users: [User] = []
    private(set) var uses: [NodeUse] = []

    var isFull: Bool { frames.count >= Self.framesMax || users.count >= Self.usersMax }

    mutating func addUse(_ use: NodeUse) -> Int {
        uses.append(use)
        return uses.count - 1
    }

    mutating func add(_ place: FramePlace, use: Int, block: Int) {
        let frame: Int
        if let known = index[place] {
            frame = known
        } else {
            frame = frames.count
            index[place] = frame
            frames.append(place)
        }
        users.append(User(frame: frame, use: use, block: UInt16(block)))
    }

    mutating func clear() {
        index.removeAll(keepingCapacity: true)
        frames.removeAll(keepingCapacity: true)
        users.removeAll(keepingCapacity: true)
        uses.removeAll(keepingCapacity: true)
    }
}

/// A batch under way. Confined to the thread that verifies.
final class VerifyBatch {
    let commits: [WalkedCommit]
    var window = FrameWindow()
    /// Nodes that wait to be read together, with the commits that lead to each.
    var nodes: [NodePlace: [Int]] = [:]
    var nodeOrder: [NodePlace] = []

    init(_ commits: [WalkedCommit]) { self.commits = commits }
}
