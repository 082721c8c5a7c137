// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Finding a block from memory alone: inline or cached table page → cached node → stack → cached
// block. Never blocks and does not allocate; what is not in memory is `missing`, and a fetcher
// brings it.
//
// The reader keeps the last chunk's node, because requests of a stream fall into one chunk. Holding
// it pins its bytes, evicted or not.

public import CleanCache
internal import Formats
public import Primitives

/// What memory knows of a block's content.
public enum BlockResolution {
    /// Nothing is stored: it reads as zeros.
    case zeros
    /// The whole block. It stays readable for as long as it is held.
    case cached(CachedBlock)
    /// A page, a node or the block itself must be brought first.
    case missing
}

/// What memory knows of a block's backing.
public enum BlockPresence: Equatable, Sendable {
    case hole
    case data
    /// A page or a node must be brought first.
    case unknown
}

/// Reads one root through the clean cache. Confined to its owner.
public struct MapReader {
    public let root: Root
    private let cache: CleanCache
    private var memo: Memo?

    /// The chunk looked at last. Its node is nil if the chunk is a hole.
    private struct Memo {
        let chunk: ChunkIndex
        let node: CachedBlock?
    }

    public init(root: Root, cache: CleanCache) {
        self.root = root
        self.cache = cache
    }

    /// The content of a block. Blocks past the end are zeros.
    public mutating func resolve(_ block: BlockIndex) -> BlockResolution {
        switch node(of: block.chunk) {
        case .hole: return .zeros
        case .unknown: return .missing
        case .at(let node):
            let stack = MapNodeView(validated: node.bytes).entry(at: block.entryInChunk)
            if stack.isEmpty { return .zeros }
            guard let content = cache.lookup(stack.contentKey),
                content.bytes.count == root.blockBytes
            else { return .missing }
            return .cached(content)
        }
    }

    /// Whether anything is stored for a block.
    public mutating func presence(of block: BlockIndex) -> BlockPresence {
        switch node(of: block.chunk) {
        case .hole: .hole
        case .unknown: .unknown
        case .at(let node):
            MapNodeView(validated: node.bytes).contains(block.entryInChunk) ? .data : .hole
        }
    }

    /// How many blocks from `block` on are known to be holes, at most `limit`. Absent chunks and
    /// pages cost one step each. Zero if the block holds data or is not known.
    public mutating func knownHole(from block: BlockIndex, limit: UInt64) -> UInt64 {
        let end = block.rawValue.addingReportingOverflow(limit)
        let stop = end.overflow ? UInt64.max : end.partialValue
        var next = block.rawValue
        while next < stop {
            let chunk = BlockIndex(next).chunk
            let page = ChunkTablePage.place(of: chunk).page
            if case .absent = root.chunkPage(page) {
                next = UInt64(page + 1) * Root.blocksPerPage
                continue
            }
            let chunkEnd = chunk.next.firstBlock.rawValue
            switch node(of: chunk) {
            case .unknown: return min(next, stop) - block.rawValue
            case .hole: next = chunkEnd
            case .at(let node):
                let start = BlockIndex(next).entryInChunk
                let view = MapNodeView(validated: node.bytes)
                if let present = view.firstPresent(from: start) {
                    next = chunk.firstBlock.rawValue + UInt64(present)
                    return min(next, stop) - block.rawValue
                }
                next = chunkEnd
            }
        }
        return limit
    }

    /// How many blocks from `block` on are known to hold data, at most `limit`, inside one chunk.
    public mutating func knownData(from block: BlockIndex, limit: UInt64) -> UInt64 {
        guard case .at(let node) = node(of: block.chunk) else { return 0 }
        let view = MapNodeView(validated: node.bytes)
        var entry = block.entryInChunk
        var count: UInt64 = 0
        while count < limit, entry < Limits.chunkBlocks, view.contains(entry) {
            entry += 1
            count += 1
        }
        return count
    }

    // MARK: Nodes

    private enum NodeState {
        case hole
        case at(CachedBlock)
        case unknown
    }

    private mutating func node(of chunk: ChunkIndex) -> NodeState {
        if let memo, memo.chunk == chunk {
            guard let node = memo.node else { return .hole }
            return .at(node)
        }
        let place = ChunkTablePage.place(of: chunk)
        let entry: ChunkEntry?
        switch root.chunkPage(place.page) {
        case .absent: entry = nil
        case .inline(let page):
            entry = ChunkTablePageView(validated: page.bytes).entry(at: place.entry)
        case .packed(let pointer):
            guard let page = cache.lookup(pointer.hash),
                ChunkTablePageView.isPage(
                    page.bytes, index: place.page, blockBytes: root.blockBytes)
            else { return .unknown }
            entry = ChunkTablePageView(validated: page.bytes).entry(at: place.entry)
        }
        guard let entry else {
            memo = Memo(chunk: chunk, node: nil)
            return .hole
        }
        guard let node = cache.lookup(entry.hash) else { return .unknown }
        // Validated when it was cached, but perhaps for another place: only the fetcher may say
        // why.
        let view = MapNodeView(validated: node.bytes)
        guard view.chunk == chunk, view.blockBytes == root.blockBytes else { return .unknown }
        memo = Memo(chunk: chunk, node: node)
        return .at(node)
    }
}
