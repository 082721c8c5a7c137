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

    /// How many blocks from `block` on are known to be holes, at most `limit`. Zero if the block
    /// holds data or is not known. Takes one step for a page of the chunk table and one for a node,
    /// however many blocks they cover.
    public mutating func knownHole(from block: BlockIndex, limit: UInt64) -> UInt64 {
        let end = block.rawValue.addingReportingOverflow(limit)
        let stop = end.overflow ? UInt64.max : end.partialValue
        var next = block.rawValue
        while next < stop {
            let chunk = BlockIndex(next).chunk
            switch node(of: chunk) {
            case .unknown: return next - block.rawValue
            case .hole: next = endOfHole(at: chunk)
            case .at(let node):
                let view = MapNodeView(validated: node.bytes)
                if let present = view.firstPresent(from: BlockIndex(next).entryInChunk) {
                    next = chunk.firstBlock.rawValue + UInt64(present)
                    return min(next, stop) - block.rawValue
                }
                next = chunk.next.firstBlock.rawValue
            }
        }
        return limit
    }

    /// The block that begins the next chunk of the page that holds data, or the next page.
    private func endOfHole(at chunk: ChunkIndex) -> UInt64 {
        let place = ChunkTablePage.place(of: chunk)
        let nextPage = UInt64(place.page + 1) * Root.blocksPerPage
        let present: Int?
        switch root.chunkPage(place.page) {
        case .absent: present = nil
        case .inline(let page):
            present = ChunkTablePageView(validated: page.bytes).firstPresent(from: place.entry)
        case .packed(let pointer):
            // It was there a moment ago; another thread may have evicted it.
            guard let page = cache.lookup(pointer.hash) else {
                return chunk.next.firstBlock.rawValue
            }
            present = ChunkTablePageView(validated: page.bytes).firstPresent(from: place.entry)
        }
        guard let present else { return nextPage }
        return nextPage - Root.blocksPerPage + UInt64(present * Limits.chunkBlocks)
    }

    /// How many blocks from `block` on are known to hold data, at most `limit`, inside one chunk.
    public mutating func knownData(from block: BlockIndex, limit: UInt64) -> UInt64 {
        guard case .at(let node) = node(of: block.chunk) else { return 0 }
        let entry = block.entryInChunk
        let absent = MapNodeView(validated: node.bytes).firstAbsent(from: entry)
        return min(limit, UInt64((absent ?? Limits.chunkBlocks) - entry))
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
