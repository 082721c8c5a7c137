// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// From a commit, or from two, to the blocks that an image needs, in order: pages of the chunk
// tables, then nodes. Pages and chunks that two commits have in common are passed by unread.
//
//   page lists ─ unequal ─▶ pages ─ unequal digests ─▶ nodes ─ unequal stacks ─▶ demands

import Formats
import ObjectStore
import Primitives
import VolumeMap

/// A commit that is walked.
struct ImageSide {
    let root: Root
    var volume: VolumeID { root.commit.volume }
    var sequence: CommitSequence { root.commit.sequence }

    /// The bytes of some blocks, cut at the end of the disk.
    func range(ofBlocks blocks: Range<UInt64>) -> Range<UInt64> {
        let (size, block) = (root.size.rawValue, UInt64(root.blockBytes))
        let start = min(blocks.lowerBound.multipliedReportingOverflow(by: block).partialValue, size)
        return start..<max(start, min(blocks.upperBound * block, size))
    }

    func range(of chunk: ChunkIndex) -> Range<UInt64> {
        let first = chunk.firstBlock.rawValue
        return range(ofBlocks: first..<(first + UInt64(Limits.chunkBlocks)))
    }

    func failure(_ bytes: Range<UInt64>, _ error: FetchError) -> ExportError {
        error.isRetryable
            ? .away(error)
            : .unreadable(volume: volume, sequence: sequence, bytes: bytes, error)
    }
}

/// A chunk whose tables do not say that nothing of it is needed.
struct ChunkPair {
    let chunk: ChunkIndex
    let target: ChunkEntry?
    let base: ChunkEntry?
}

/// Confined to the thread that exports.
struct ImageWalk<Store: ObjectStore> {
    let target: ImageSide
    /// What the image is a difference from; nil: it stands alone.
    let base: ImageSide?
    private let fetcher: MapFetcher<Store>
    private let tellsWhole: Bool

    /// Nodes that are read at one time, at most a quarter of a megabyte each.
    private static var nodesAtOnce: Int { 64 }

    /// `tellsWhole`: of a block that may differ from the base's all of it is told, without a look
    /// at the base's content.
    init(target: Root, base: Root?, tellsWhole: Bool = false, fetcher: MapFetcher<Store>) {
        self.tellsWhole = tellsWhole
        self.target = ImageSide(root: target)
        self.base = base.map { ImageSide(root: $0) }
        self.fetcher = fetcher
    }

    /// Blocks that are told at most, from the tables alone.
    func blocksMax() throws(ExportError) -> UInt64 {
        var sum: UInt64 = 0
        try forEachChunk { pair throws(ExportError) in
            sum += UInt64(max(pair.target?.blockCount ?? 0, pair.base?.blockCount ?? 0))
        }
        return sum
    }

    /// Calls `body` with each demand, blocks ascending.
    func forEachDemand(
        _ body: (BlockDemand) throws(ExportError) -> Void
    ) throws(ExportError) {
        var pairs: [ChunkPair] = []
        try forEachChunk { pair throws(ExportError) in
            pairs.append(pair)
            guard pairs.count >= Self.nodesAtOnce else { return }
            try read(pairs, body)
            pairs.removeAll(keepingCapacity: true)
        }
        try read(pairs, body)
    }

    // MARK: Tables

    private func forEachChunk(
        _ body: (ChunkPair) throws(ExportError) -> Void
    ) throws(ExportError) {
        for index in pages() {
            let page = try view(of: index, target)
            let older =
                try base.map { base throws(ExportError) in try view(of: index, base) } ?? nil
            let first = UInt64(index) * UInt64(Limits.tablePageEntries)
            var next = Self.firstPresent(page?.view, older?.view, from: 0)
            while let entry = next {
                let pair = ChunkPair(
                    chunk: ChunkIndex(first + UInt64(entry)), target: page?.view.entry(at: entry),
                    base: older?.view.entry(at: entry))
                if pair.target?.digest != pair.base?.digest { try body(pair) }
                next = Self.firstPresent(page?.view, older?.view, from: entry + 1)
            }
            withExtendedLifetime((page, older)) {}
        }
    }

    /// Pages of either table that are not the same in both, ascending.
    private func pages() -> [UInt32] {
        var older: [UInt32: PageReference] = [:]
        for entry in base?.root.commit.chunkPages.entries ?? [] { older[entry.index] = entry.page }
        var unlike: [UInt32] = []
        for entry in target.root.commit.chunkPages.entries {
            guard let page = older.removeValue(forKey: entry.index), page.hash == entry.page.hash
            else {
                unlike.append(entry.index)
                continue
            }
        }
        return (unlike + older.keys).sorted()
    }

    private struct Page {
        let bytes: PageBytes
        let view: ChunkTablePageView
    }

    private func view(of index: UInt32, _ side: ImageSide) throws(ExportError) -> Page? {
        do throws(FetchError) {
            return try fetcher.chunkPageBytes(index, of: side.root).map {
                Page(bytes: $0, view: ChunkTablePageView(validated: $0.bytes))
            }
        } catch {
            let blocks = UInt64(Limits.chunkBlocks * Limits.tablePageEntries)
            let first = UInt64(index) * blocks
            throw side.failure(side.range(ofBlocks: first..<(first + blocks)), error)
        }
    }

    private static func firstPresent(
        _ left: ChunkTablePageView?, _ right: ChunkTablePageView?, from start: Int
    ) -> Int? {
        switch (left?.firstPresent(from: start), right?.firstPresent(from: start)) {
        case (let one?, let other?): min(one, other)
        case (let one, let other): one ?? other
        }
    }

    // MARK: Nodes

    private func read(
        _ pairs: [ChunkPair], _ body: (BlockDemand) throws(ExportError) -> Void
    ) throws(ExportError) {
        let nodes = try self.nodes(pairs, target, \.target)
        let older = try base.map { base throws(ExportError) in
            try self.nodes(pairs, base, \.base)
        }
        for (index, pair) in pairs.enumerated() {
            try tell(pair, nodes[index], older?[index], body)
        }
    }

    /// The node of each pair, nil where it has none.
    private func nodes(
        _ pairs: [ChunkPair], _ side: ImageSide, _ entry: KeyPath<ChunkPair, ChunkEntry?>
    ) throws(ExportError) -> [FetchBuffer?] {
        var wanted: [NodeWanted] = []
        var places: [Int] = []
        for (place, pair) in pairs.enumerated() {
            guard let found = pair[keyPath: entry] else { continue }
            wanted.append(NodeWanted(chunk: pair.chunk, entry: found))
            places.append(place)
        }
        let outcomes: [MemberOutcome]
        do throws(FetchError) { outcomes = try fetcher.nodes(wanted, of: side.root) } catch {
            throw side.failure(side.range(ofBlocks: 0..<side.root.blockCount), error)
        }
        var nodes = [FetchBuffer?](repeating: nil, count: pairs.count)
        for (place, outcome) in zip(places, outcomes) {
            switch outcome {
            case .bytes(let buffer): nodes[place] = buffer
            case .lost(let error): throw side.failure(side.range(of: pairs[place].chunk), error)
            }
        }
        return nodes
    }

    private func tell(
        _ pair: ChunkPair, _ node: FetchBuffer?, _ older: FetchBuffer?,
        _ body: (BlockDemand) throws(ExportError) -> Void
    ) throws(ExportError) {
        let view = node.map { MapNodeView(validated: UnsafeRawBufferPointer($0.bytes)) }
        let olderView = older.map { MapNodeView(validated: UnsafeRawBufferPointer($0.bytes)) }
        let grains = target.root.grainsPerBlock
        let first = pair.chunk.firstBlock.rawValue
        let end = target.root.blockCount
        for index in 0..<Limits.chunkBlocks where first + UInt64(index) < end {
            let stack = view.flatMap { $0.contains(index) ? $0.entry(at: index) : nil }
            let older = olderView.flatMap { $0.contains(index) ? $0.entry(at: index) : nil }
            let block = BlockIndex(first + UInt64(index))
            let demand =
                base == nil
                ? stack.map { BlockDemand.whole(block, $0, grains: grains) }
                : BlockDemand.change(block, stack, from: older, grains: grains)
            if let demand {
                try body(tellsWhole ? demand.ofWholeBlock(stack, grains: grains) : demand)
            }
        }
        withExtendedLifetime((node, older)) {}
    }
}
