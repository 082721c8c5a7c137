// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One step of a round: nodes that may refer to what is to be emptied, the stacks in them that must
// change, and the grains of those.

internal import CleanCache
internal import Formats
internal import ObjectStore
internal import Primitives
public import VolumeMap

extension Compactor {
    /// Gathers from where the round stands until the step's bounds are met or the volume ends.
    /// `place` is held for as long as what was gathered is. Nil if it was stopped.
    public func step(
        _ round: CompactionRound, of root: Root, place: CompactionPlace? = nil,
        isStopped: () -> Bool = { false }
    ) throws(FetchError) -> CompactionStep? {
        var walk = StepWalk(round: round, root: root, fetcher: fetcher, bounds: bounds)
        var batch: [NodeWanted] = []
        for listed in root.commit.chunkPages.entries where !walk.isFull {
            guard walk.reaches(page: listed.index) else { continue }
            let page = try fetcher.chunkPage(listed.index, of: root)
            for (index, entry) in page.entries.enumerated() {
                guard !walk.isFull else { break }
                guard let entry, try walk.wants(page.chunk(at: index), entry) else { continue }
                batch.append(NodeWanted(chunk: page.chunk(at: index), entry: entry))
                guard batch.count >= Self.nodesAtOnce else { continue }
                if isStopped() { return nil }
                try look(into: batch, &walk)
                batch.removeAll(keepingCapacity: true)
            }
        }
        if isStopped() { return nil }
        if !walk.isFull { try look(into: batch, &walk) }
        return try gathered(walk, place)
    }

    /// Nodes that are read with one call: neighbours come together.
    private static var nodesAtOnce: Int { 16 }

    private func look(
        into batch: [NodeWanted], _ walk: inout StepWalk<Store>
    ) throws(FetchError) {
        let missing = batch.filter { !cache.contains($0.entry.hash) }
        var read: [ChunkIndex: MemberOutcome] = [:]
        for (wanted, outcome) in zip(missing, try fetcher.nodes(missing, of: walk.root)) {
            read[wanted.chunk] = outcome
        }
        for wanted in batch where !walk.isFull {
            switch read[wanted.chunk] {
            case .bytes(let bytes):
                try walk.visit(wanted, MapNodeView(validated: UnsafeRawBufferPointer(bytes.bytes)))
            // A damaged node keeps its packs alive: verification tells of it.
            case .lost: continue
            case nil:
                guard let node = try fetcher.node(of: wanted.chunk, in: walk.root) else { continue }
                try walk.visit(wanted, MapNodeView(validated: node.bytes))
            }
        }
    }

    private func gathered(
        _ walk: StepWalk<Store>, _ place: CompactionPlace?
    ) throws(FetchError) -> CompactionStep {
        let grains = try fetcher.grains(of: walk.found.map(\.wanted), in: walk.root)
        var stacks: [MovedStack] = []
        for (found, grains) in zip(walk.found, grains) {
            guard let grains else { continue }
            stacks.append(
                MovedStack(
                    block: found.block, old: found.frames, count: found.count,
                    mask: found.wanted.mask, grains: grains))
        }
        return CompactionStep(
            relocation: Relocation(stacks: stacks, nodes: walk.nodes, place: place),
            victims: walk.round.victims, rest: walk.rest)
    }
}

/// The search of one step, confined to it.
struct StepWalk<Store: ObjectStore> {
    /// A stack that must change.
    struct Found {
        let block: BlockIndex
        let frames: [FramePointer]
        let count: Int
        let wanted: StackWanted
    }

    let root: Root
    let round: CompactionRound
    private let fetcher: MapFetcher<Store>
    private let bounds: CompactionBounds
    private let oldest: PackID?
    private var packs: [PackSlot: PackID] = [:]
    private var grainBytes = 0
    private var nodesSeen = 0
    private(set) var found: [Found] = []
    private(set) var nodes: [ChunkIndex: Hash128] = [:]
    /// Where the next step goes on; nil as long as the bounds are not met.
    private var next: BlockIndex?

    init(
        round: CompactionRound, root: Root, fetcher: MapFetcher<Store>, bounds: CompactionBounds
    ) {
        self.round = round
        self.root = root
        self.fetcher = fetcher
        self.bounds = bounds
        oldest = Compactor<Store>.oldest(of: round.victims)
    }

    var isFull: Bool { next != nil }

    var rest: CompactionRound? {
        guard let next, next.rawValue < root.blockCount else { return nil }
        var rest = round
        rest.next = next
        return rest
    }

    /// Whether a page of the chunk table has chunks that were not looked at.
    func reaches(page: UInt32) -> Bool {
        page >= ChunkTablePage.place(of: round.next.chunk).page
    }

    /// Whether a chunk's node is to be looked into.
    mutating func wants(_ chunk: ChunkIndex, _ entry: ChunkEntry) throws(FetchError) -> Bool {
        guard chunk >= round.next.chunk else { return false }
        guard case .victims = round.aim else { return true }
        guard let oldest else { return false }
        return CompactionPlan.mayRefer(try pack(entry.slot), toVictimsFrom: oldest)
    }

    /// Notes the stacks of a node that must change, and whether the node itself must move.
    mutating func visit(_ wanted: NodeWanted, _ node: MapNodeView) throws(FetchError) {
        if try mustMove(wanted.entry.slot) { nodes[wanted.chunk] = wanted.entry.hash }
        let start = wanted.chunk == round.next.chunk ? round.next.entryInChunk : 0
        var entry = node.firstPresent(from: start)
        while let index = entry {
            let block = BlockIndex(wanted.chunk.firstBlock.rawValue + UInt64(index))
            try visit(block, node.entry(at: index))
            if grainBytes >= bounds.stepBytes {
                next = BlockIndex(block.rawValue + 1)
                return
            }
            entry = index + 1 < Limits.chunkBlocks ? node.firstPresent(from: index + 1) : nil
        }
        nodesSeen += 1
        if nodesSeen >= bounds.stepNodes { next = wanted.chunk.next.firstBlock }
    }

    private mutating func visit(_ block: BlockIndex, _ stack: StackView) throws(FetchError) {
        let frames = stack.entry.frames
        let count = try mergeCount(frames)
        guard count > 0 else { return }
        var mask = GrainMask()
        var visible: [FramePointer] = []
        for frame in frames[..<count] where !frame.mask.isSubset(of: mask) {
            visible.append(frame)
            mask.formUnion(frame.mask)
        }
        grainBytes += mask.count * Limits.grainBytes
        found.append(
            Found(
                block: block, frames: frames, count: count,
                wanted: StackWanted(contentKey: stack.contentKey, frames: visible, mask: mask)))
    }

    private mutating func mergeCount(_ frames: [FramePointer]) throws(FetchError) -> Int {
        for frame in frames { _ = try pack(frame.slot) }
        switch round.aim {
        case .freshBase(let after):
            let isFresh =
                frames.count == 1 && frames[0].isFull(grains: root.grainsPerBlock)
                && Self.isFresh(packs[frames[0].slot], of: root, after: after)
            return isFresh ? 0 : frames.count
        case .victims(let victims, let pinned):
            let volume = root.commit.volume
            return CompactionPlan.mergeCount(
                frames, rules: round.rules,
                isVictim: { packs[$0].map { victims.contains($0) } ?? false },
                isMovable: {
                    packs[$0].map { CompactionPlan.isMovable($0, of: volume, pinned: pinned) }
                        ?? false
                })
        }
    }

    private mutating func mustMove(_ slot: PackSlot) throws(FetchError) -> Bool {
        let pack = try pack(slot)
        switch round.aim {
        case .freshBase(let after): return !Self.isFresh(pack, of: root, after: after)
        case .victims(let victims, _): return victims.contains(pack)
        }
    }

    private static func isFresh(
        _ pack: PackID?, of root: Root, after: CommitSequence
    ) -> Bool {
        guard let pack else { return false }
        return pack.volume == root.commit.volume && pack.sequence > after
    }

    private mutating func pack(_ slot: PackSlot) throws(FetchError) -> PackID {
        if let known = packs[slot] { return known }
        let pack = try fetcher.packID(of: slot, in: root)
        packs[slot] = pack
        return pack
    }
}
