// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The chunk table of the commit that is being built: the parent's, and what changed against it.

internal import CleanCache
internal import Formats
internal import ObjectStore
internal import Primitives
internal import VolumeMap

/// Changes of the chunk table, confined to one commit. The parent's pages are read as they are
/// needed.
struct ChunkLedger<Store: ObjectStore> {
    private let parent: Root
    private let fetcher: MapFetcher<Store>
    /// A changed chunk's new entry; nil inside if the chunk has gone.
    private var changes: [ChunkIndex: ChunkEntry?] = [:]
    private var memo: ChunkTablePage?

    init(parent: Root, fetcher: MapFetcher<Store>) {
        self.parent = parent
        self.fetcher = fetcher
    }

    /// The parent's entry.
    mutating func entry(of chunk: ChunkIndex) throws(CommitError) -> ChunkEntry? {
        let place = ChunkTablePage.place(of: chunk)
        return try page(place.page)[place.entry]
    }

    /// The parent's node, decoded; an empty one where the parent has none.
    func node(of chunk: ChunkIndex) throws(CommitError) -> MapNode {
        do throws(FetchError) {
            guard let node = try fetcher.node(of: chunk, in: parent) else {
                return MapNode(chunk: chunk, blockBytes: parent.blockBytes)
            }
            return MapNode(MapNodeView(validated: node.bytes))
        } catch { throw .fetch(error) }
    }

    /// The parent's chunks in a range, ascending. Absent pages cost nothing.
    mutating func present(in range: ClosedRange<UInt64>) throws(CommitError) -> [ChunkIndex] {
        var found: [ChunkIndex] = []
        let first = ChunkTablePage.place(of: ChunkIndex(range.lowerBound)).page
        let last = ChunkTablePage.place(of: ChunkIndex(range.upperBound)).page
        for listed in parent.commit.chunkPages.entries where (first...last).contains(listed.index) {
            let page = try page(listed.index)
            for entry in page.entries.indices where page[entry] != nil {
                let chunk = page.chunk(at: entry)
                if range.contains(chunk.rawValue) { found.append(chunk) }
            }
        }
        return found
    }

    mutating func set(_ chunk: ChunkIndex, _ entry: ChunkEntry) { changes[chunk] = .some(entry) }

    mutating func remove(_ chunk: ChunkIndex) { changes[chunk] = .some(nil) }

    var isChanged: Bool { !changes.isEmpty }

    /// The changed pages, some of them perhaps empty now.
    mutating func changedPages() throws(CommitError) -> [UInt32: ChunkTablePage] {
        var pages: [UInt32: ChunkTablePage] = [:]
        for (index, chunks) in Dictionary(
            grouping: changes.keys, by: { ChunkTablePage.place(of: $0).page })
        {
            var page = try page(index)
            for chunk in chunks {
                page[ChunkTablePage.place(of: chunk).entry] = changes[chunk] ?? nil
            }
            pages[index] = page
        }
        return pages
    }

    /// The digest of the volume with the changed pages in it. Looks at every entry of the table.
    mutating func volumeDigest(
        of list: PageList, changed: [UInt32: ChunkTablePage]
    ) throws(CommitError) -> Hash128 {
        var digest = VolumeDigest()
        for listed in list.entries {
            let page: ChunkTablePage
            if let fresh = changed[listed.index] {
                page = fresh
            } else {
                page = try self.page(listed.index)
            }
            for (entry, chunk) in page.entries.enumerated() {
                if let chunk { digest.add(page.chunk(at: entry), chunk.digest) }
            }
        }
        return digest.finish()
    }

    private mutating func page(_ index: UInt32) throws(CommitError) -> ChunkTablePage {
        if let memo, memo.index == index { return memo }
        do throws(FetchError) {
            let page = try fetcher.chunkPage(index, of: parent)
            memo = page
            return page
        } catch { throw .fetch(error) }
    }
}
