// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One walk over what a frozen memtable holds, in block order, chunk by chunk: each touched block
// gets a new stack, each changed chunk a new node. Holds a few blocks, one node and the open pack
// at a time.

internal import CleanCache
internal import Formats
internal import HostIO
internal import Journal
internal import ObjectStore
internal import Primitives
internal import VolumeMap

/// A commit in the making, confined to the thread that builds it.
struct CommitPass<Storage: StorageDirectory, Store: ObjectStore, Random: RandomSource> {
    let inputs: CommitInputs<Storage>
    let fetcher: MapFetcher<Store>
    let cache: CleanCache
    let scratch: CommitScratch
    let source: GrainSource<Storage>
    private let spread: FetchSpread
    private var batch: BlockBatch<Storage>
    var sink: PackSink<Store, Random>

    /// Blocks at the cut.
    private let blockCount: UInt64

    var parent: Root { inputs.parent }
    var grains: Int { parent.grainsPerBlock }

    init(
        inputs: CommitInputs<Storage>, store: Store, uploads: PackUploads, cache: CleanCache,
        fetcher: MapFetcher<Store>, spread: @escaping FetchSpread, random: Random
    ) {
        self.inputs = inputs
        self.spread = spread
        self.cache = cache
        self.fetcher = fetcher
        let parent = inputs.parent
        scratch = CommitScratch(blockBytes: parent.blockBytes)
        batch = BlockBatch(blockBytes: parent.blockBytes)
        source = GrainSource(journal: inputs.journal, grainsPerBlock: parent.grainsPerBlock)
        sink = PackSink(
            names: .init(
                volume: parent.commit.volume, epoch: inputs.epoch, sequence: inputs.sequence,
                settings: inputs.settings, grains: parent.grainsPerBlock),
            store: store, uploads: uploads, cache: cache,
            packs: PackLedger(parent: parent, fetcher: fetcher),
            chunks: ChunkLedger(parent: parent, fetcher: fetcher), random: random,
            progress: inputs.progress)
        blockCount = Root.blocks(of: inputs.newSize, blockBytes: parent.blockBytes)
    }

    /// Visits every chunk that the frozen memtable touches.
    mutating func run() throws(CommitError) {
        let leaves = inputs.frozen.sortedBlocks().filter { $0.rawValue < blockCount }
        let zeroes = inputs.frozen.zeroRanges.map { $0.clamped(to: 0..<blockCount) }
            .filter { !$0.isEmpty }
        var nextLeaf = 0
        var nextZero = 0
        for chunk in try touchedChunks(leaves: leaves, zeroes: zeroes) {
            let blocks = Self.blocks(of: chunk)
            let firstLeaf = nextLeaf
            while nextLeaf < leaves.count, leaves[nextLeaf].rawValue < blocks.upperBound {
                nextLeaf += 1
            }
            while nextZero < zeroes.count, zeroes[nextZero].upperBound <= blocks.lowerBound {
                nextZero += 1
            }
            var endZero = nextZero
            while endZero < zeroes.count, zeroes[endZero].lowerBound < blocks.upperBound {
                endZero += 1
            }
            try visit(
                chunk, leaves: leaves[firstLeaf..<nextLeaf], zeroes: zeroes[nextZero..<endZero])
        }
    }

    /// Writes what is left and yields the tables.
    mutating func finish() throws(CommitError) -> CommitTables {
        try sink.finish(parent: parent, fetcher: fetcher)
    }

    private static func blocks(of chunk: ChunkIndex) -> Range<UInt64> {
        chunk.firstBlock.rawValue..<chunk.next.firstBlock.rawValue
    }

    /// Chunks with a leaf or with something to be moved, and chunks of the parent that a zero range
    /// meets: absent ones are skipped without a look at each.
    private mutating func touchedChunks(
        leaves: [BlockIndex], zeroes: [Range<UInt64>]
    ) throws(CommitError) -> [ChunkIndex] {
        var touched = Set(leaves.map { $0.chunk })
        touched.formUnion(inputs.relocation?.chunks ?? [])
        for range in zeroes {
            let first = BlockIndex(range.lowerBound).chunk.rawValue
            let last = BlockIndex(range.upperBound - 1).chunk.rawValue
            touched.formUnion(try sink.chunks.present(in: first...last))
        }
        return touched.sorted()
    }

    private mutating func visit(
        _ chunk: ChunkIndex, leaves: ArraySlice<BlockIndex>, zeroes: ArraySlice<Range<UInt64>>
    ) throws(CommitError) {
        var node = try sink.chunks.node(of: chunk)
        var isChanged = false
        for range in zeroes {
            for block in range.clamped(to: Self.blocks(of: chunk)) {
                let entry = BlockIndex(block).entryInChunk
                // A leaf shadows the range.
                guard node[entry] != nil, inputs.frozen.leaf(of: BlockIndex(block)) == nil else {
                    continue
                }
                replace(entry, of: &node, with: [])
                isChanged = true
            }
        }
        // In block order, written or moved, so that packs can be read in long ranges.
        var moving = inputs.relocation?.stacks(in: chunk) ?? []
        var rest = leaves
        while !rest.isEmpty {
            let plans = try plan(rest.prefix(batch.blocksMax), in: node)
            rest = rest.dropFirst(batch.blocksMax)
            let places = batch.pack(plans, of: inputs, from: source, spread)
            for (plan, place) in zip(plans, places) {
                while let stack = moving.first, stack.block < plan.block {
                    if try move(stack, in: &node) { isChanged = true }
                    moving.removeFirst()
                }
                guard let frames = try take(plan, from: place) else { continue }
                replace(plan.block.entryInChunk, of: &node, with: frames)
                isChanged = true
            }
        }
        for stack in moving {
            if try move(stack, in: &node) { isChanged = true }
        }
        if !isChanged { isChanged = try mustMove(chunk) }
        if isChanged { try replace(chunk, with: node) }
    }

    private mutating func plan(
        _ blocks: ArraySlice<BlockIndex>, in node: MapNode
    ) throws(CommitError) -> [BlockPlan] {
        var plans: [BlockPlan] = []
        for block in blocks {
            guard let leaf = inputs.frozen.leaf(of: block) else { continue }
            plans.append(
                try plan(block, leaf: leaf, old: node[block.entryInChunk]?.frames ?? []))
        }
        return plans
    }

    private mutating func move(
        _ stack: MovedStack, in node: inout MapNode
    ) throws(CommitError) -> Bool {
        let entry = stack.block.entryInChunk
        guard let now = node[entry]?.frames, let frames = try moved(stack, now: now) else {
            return false
        }
        replace(entry, of: &node, with: frames)
        return true
    }

    /// Whether the chunk's node is one that is to be stored at another place.
    private mutating func mustMove(_ chunk: ChunkIndex) throws(CommitError) -> Bool {
        guard let hash = inputs.relocation?.nodes[chunk] else { return false }
        return try sink.chunks.entry(of: chunk)?.hash == hash
    }

    /// Swaps a stack and counts what it let go. What it takes was counted when its frame was
    /// stored; frames that stay were never let go.
    private mutating func replace(
        _ entry: Int, of node: inout MapNode, with frames: [FramePointer]
    ) {
        for frame in node[entry]?.frames ?? [] where !frames.contains(frame) {
            sink.packs.release(frame.slot)
        }
        node[entry] = frames.isEmpty ? nil : BlockEntry(frames: frames)
    }

    /// Takes the chunk's old node out of the table, and the new one, if anything is left of it, in.
    private mutating func replace(
        _ chunk: ChunkIndex, with node: MapNode
    ) throws(CommitError) {
        if let old = try sink.chunks.entry(of: chunk) { sink.packs.release(old.slot) }
        guard !node.isEmpty else {
            sink.chunks.remove(chunk)
            return
        }
        let bytes = node.encode()
        bytes.withUnsafeBytes { _ = cache.insert(Pack.hash(ofNode: $0), $0) }
        try sink.add(node, bytes: bytes)
    }
}
