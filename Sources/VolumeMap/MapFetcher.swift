// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Bringing what a map reader missed: table pages, nodes and blocks, from the store into the clean
// cache. Blocks; workers call it, several at once. Nothing is cached, returned or served before its
// hash was checked against the pointer that led to it.
//
//   commit ─ page list ─▶ chunk page ─ entry ─▶ node ─ stack ─▶ frames ─▶ block
//                  └────▶ pack page ─ slot ─▶ pack id ────────────┘ key
//
// What the fetcher uses it holds: eviction between two steps costs nothing but another GET later.

public import CleanCache
package import Formats
public import ObjectStore
public import Primitives

/// Fetches through one store into one cache. Stateless but for its counters.
public struct MapFetcher<Store: ObjectStore>: Sendable {
    let cache: CleanCache
    let meter: FetchMeter
    package let reads: MemberReads<Store>

    public init(store: Store, cache: CleanCache, spread: @escaping FetchSpread = oneByOne) {
        self.init(store: store, cache: cache, meter: FetchMeter(), spread: spread)
    }

    package init(
        store: Store, cache: CleanCache, meter: FetchMeter, spread: @escaping FetchSpread = oneByOne
    ) {
        self.cache = cache
        self.meter = meter
        reads = MemberReads(store: store, meter: meter, spread: spread)
    }

    /// Brings the content of `blocks`, and every page and node on the way, into the cache. Blocks
    /// that are holes or already cached cost nothing. Neighbouring frames of one pack come with one
    /// request, and all requests of one call for frames go out together as `spread` allows it.
    ///
    /// A damaged frame does not keep the others from being brought; its error is thrown at the end.
    /// When the store is away the call ends at once.
    public func bring(_ blocks: [BlockIndex], of root: Root) throws(FetchError) {
        var walk = BlockWalk(fetcher: self, root: root)
        for block in blocks { try walk.add(block) }
        try walk.fetch()
    }

    /// Brings only the pages and nodes that lead to `blocks`: enough to tell holes from data.
    public func bringMap(for blocks: [BlockIndex], of root: Root) throws(FetchError) {
        var last: ChunkIndex?
        for block in blocks where block.chunk != last {
            _ = try node(of: block.chunk, in: root)
            last = block.chunk
        }
    }

    /// The whole content of one block, through the cache; nil if it reads as zeros.
    public func content(of block: BlockIndex, in root: Root) throws(FetchError) -> CachedBlock? {
        var walk = BlockWalk(fetcher: self, root: root)
        try walk.add(block)
        try walk.fetch()
        return walk.found[block]
    }

    // MARK: The map

    /// A chunk's node, through the cache; nil if the chunk is a hole.
    package func node(of chunk: ChunkIndex, in root: Root) throws(FetchError) -> CachedBlock? {
        guard let entry = try chunkEntry(of: chunk, in: root) else { return nil }
        if let node = cache.lookup(entry.hash) {
            let view = MapNodeView(validated: node.bytes)
            if view.chunk == chunk, view.blockBytes == root.blockBytes { return node }
        }
        let pack = try packID(of: entry.slot, in: root)
        meter.addNode()
        return try object(pack, entry.extent, hash: entry.hash) { bytes throws(FormatError) in
            try MapChecks.node(
                bytes, hash: entry.hash, chunk: chunk, blockBytes: root.blockBytes)
        }
    }

    /// A chunk's entry in the table; nil if the chunk is a hole.
    package func chunkEntry(
        of chunk: ChunkIndex, in root: Root
    ) throws(FetchError) -> ChunkEntry? {
        let place = ChunkTablePage.place(of: chunk)
        guard let page = try chunkPageBytes(place.page, of: root) else { return nil }
        return ChunkTablePageView(validated: page.bytes).entry(at: place.entry)
    }

    /// A page of the chunk table, decoded; an empty one if the table has none there.
    package func chunkPage(_ index: UInt32, of root: Root) throws(FetchError) -> ChunkTablePage {
        guard let page = try chunkPageBytes(index, of: root) else {
            return ChunkTablePage(index: index, blockBytes: root.blockBytes)
        }
        do throws(FormatError) {
            return try ChunkTablePage(
                decoding: page.bytes, index: index, blockBytes: root.blockBytes)
        } catch { throw .damaged(key: "chunk page \(index)", detail: "\(error)") }
    }

    /// A page of the pack table, decoded; an empty one if the table has none there.
    package func packPage(_ index: UInt32, of root: Root) throws(FetchError) -> PackTablePage {
        guard let page = try packPageBytes(index, of: root) else {
            return PackTablePage(index: index)
        }
        do throws(FormatError) {
            return try PackTablePage(decoding: page.bytes, index: index)
        } catch { throw .damaged(key: "pack page \(index)", detail: "\(error)") }
    }

    /// The encoded bytes of a page of the chunk table; nil if the table has none there.
    package func chunkPageBytes(
        _ index: UInt32, of root: Root
    ) throws(FetchError) -> PageBytes? {
        switch root.chunkPage(index) {
        case .absent: return nil
        case .inline(let page): return .inline(page)
        case .packed(let pointer):
            if let page = cache.lookup(pointer.hash),
                ChunkTablePageView.isPage(page.bytes, index: index, blockBytes: root.blockBytes)
            {
                return .cached(page)
            }
            meter.addPage()
            return .cached(
                try object(pointer.pack, pointer.extent, hash: pointer.hash) {
                    bytes throws(FormatError) in
                    try MapChecks.chunkPage(
                        bytes, hash: pointer.hash, index: index, blockBytes: root.blockBytes)
                })
        }
    }

    /// The encoded bytes of a page of the pack table; nil if the table has none there.
    package func packPageBytes(
        _ index: UInt32, of root: Root
    ) throws(FetchError) -> PageBytes? {
        switch root.packPage(index) {
        case .absent: return nil
        case .inline(let page): return .inline(page)
        case .packed(let pointer):
            if let page = cache.lookup(pointer.hash),
                PackTablePageView.isPage(page.bytes, index: index)
            {
                return .cached(page)
            }
            meter.addPage()
            return .cached(
                try object(pointer.pack, pointer.extent, hash: pointer.hash) {
                    bytes throws(FormatError) in
                    try MapChecks.packPage(bytes, hash: pointer.hash, index: index)
                })
        }
    }

    /// The pack in a slot. A slot that the table does not know is damage: some node names it.
    package func packID(of slot: PackSlot, in root: Root) throws(FetchError) -> PackID {
        if let page = try packPageBytes(slot.page, of: root),
            let entry = PackTablePageView(validated: page.bytes).entry(at: slot.indexInPage)
        {
            return entry.pack
        }
        throw .damaged(
            key: CommitKey.key(root.commit.volume, root.commit.sequence),
            detail: "pack slot \(slot) is referred to and not in the pack table")
    }

    // MARK: Objects

    /// Reads one member of a pack, lets `check` refuse it, and caches it under its hash.
    private func object(
        _ pack: PackID, _ extent: PackExtent, hash: Hash128,
        check: (UnsafeRawBufferPointer) throws(FormatError) -> Void
    ) throws(FetchError) -> CachedBlock {
        guard extent.length <= FetchLimits.nodeBytesMax else {
            throw .damaged(key: pack.key, detail: "a member of \(extent.length) bytes")
        }
        let buffer = try reads.one(pack, extent, check: check)
        return cache.insert(hash, UnsafeRawBufferPointer(buffer.bytes))
    }
}

/// What must be true of the bytes that a pointer of the map leads to.
package enum MapChecks {
    package static func node(
        _ bytes: UnsafeRawBufferPointer, hash: Hash128, chunk: ChunkIndex, blockBytes: Int
    ) throws(FormatError) {
        try Pack.verify(bytes, hash: hash, kind: .node)
        try MapNodeView.validate(bytes, chunk: chunk, blockBytes: blockBytes)
    }

    package static func chunkPage(
        _ bytes: UnsafeRawBufferPointer, hash: Hash128, index: UInt32, blockBytes: Int
    ) throws(FormatError) {
        try Pack.verify(bytes, hash: hash, kind: .chunkPage)
        _ = try ChunkTablePage(decoding: bytes, index: index, blockBytes: blockBytes)
    }

    package static func packPage(
        _ bytes: UnsafeRawBufferPointer, hash: Hash128, index: UInt32
    ) throws(FormatError) {
        try Pack.verify(bytes, hash: hash, kind: .packPage)
        _ = try PackTablePage(decoding: bytes, index: index)
    }
}

/// A table page that is at hand, held for as long as this value is.
package enum PageBytes {
    case inline(InlinePage)
    case cached(CachedBlock)

    package var bytes: UnsafeRawBufferPointer {
        switch self {
        case .inline(let page): page.bytes
        case .cached(let block): block.bytes
        }
    }
}
