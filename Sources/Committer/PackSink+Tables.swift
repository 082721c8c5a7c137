// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The end of a commit's last pack: pages of the chunk table and the pack table. A page is written
// again if it changed, or if it lies in a pack that this commit made worthless, so that no page
// keeps such a pack alive. A table of one page goes into the commit itself.

internal import CleanCache
internal import Formats
internal import ObjectStore
internal import Primitives
internal import VolumeMap

/// Both tables of a finished commit.
struct CommitTables {
    var chunkPages: PageList
    var packPages: PageList
    var slotCount: UInt32
    var digest: Hash128
}

/// Which pages of a table are there, and which of them must be written.
struct TablePlan {
    private let parent: PageList
    private let present: [UInt32]
    /// Ascending.
    let fresh: [UInt32]

    /// `changed` says of each changed page whether it is empty now.
    init(_ parent: PageList, changed: [UInt32: Bool], gone: Set<PackID>) {
        self.parent = parent
        let indices = Set(parent.entries.map(\.index)).union(changed.keys)
        let present = indices.filter { changed[$0] != true }.sorted()
        self.present = present
        fresh = present.filter { index in
            if changed[index] != nil { return true }
            switch parent[index] {
            case .inline: return present.count > 1
            case .packed(let pointer): return gone.contains(pointer.pack)
            case nil: return false
            }
        }
    }

    /// True if fresh pages go into the commit: the table has no other page.
    var isInline: Bool { present.count == 1 }

    /// Pages that go into the last pack.
    var packed: [UInt32] { isInline ? [] : fresh }

    /// The list with the fresh pages at their new places.
    func list(_ places: [UInt32: PageReference]) -> PageList {
        var list = PageList()
        for index in present { list[index] = places[index] ?? parent[index] }
        return list
    }
}

extension PackSink {
    /// Closes the last pack with the pages in it. No frame or node may follow.
    mutating func finish(
        parent: Root, fetcher: MapFetcher<Store>
    ) throws(CommitError) -> CommitTables {
        placeNodes()
        var counted = try packs.result()
        var chunkPages = try chunks.changedPages()
        let chunkPlan = TablePlan(
            parent.commit.chunkPages, changed: chunkPages.mapValues(\.isEmpty),
            gone: counted.gone)
        let packPlan = TablePlan(
            parent.commit.packPages, changed: counted.pages.mapValues(\.isEmpty),
            gone: counted.gone)
        do throws(FetchError) {
            for index in chunkPlan.fresh where chunkPages[index] == nil {
                chunkPages[index] = try fetcher.chunkPage(index, of: parent)
            }
            for index in packPlan.fresh where counted.pages[index] == nil {
                counted.pages[index] = try fetcher.packPage(index, of: parent)
            }
        } catch { throw .fetch(error) }
        setLastPackBytes(
            chunkSizes: chunkPlan.packed.compactMap { chunkPages[$0]?.encode().count },
            packPages: packPlan.packed, in: &counted)
        let chunkList = write(
            chunkPlan, pages: chunkPages, encode: { $0.encode() }, isChunkTable: true)
        let packList = write(
            packPlan, pages: counted.pages, encode: { $0.encode() }, isChunkTable: false)
        let digest =
            chunks.isChanged
            ? try chunks.volumeDigest(of: chunkList, changed: chunkPages) : parent.commit.digest
        try close(isLast: true)
        return CommitTables(
            chunkPages: chunkList, packPages: packList, slotCount: counted.slotCount,
            digest: digest)
    }

    /// The last pack holds pages one of which says how large the pack is: their sizes do not depend
    /// on what they say.
    private mutating func setLastPackBytes(
        chunkSizes: [Int], packPages: [UInt32], in counted: inout PackLedger<Store>.Result
    ) {
        let sizes = chunkSizes + packPages.compactMap { counted.pages[$0]?.encode().count }
        if !sizes.isEmpty { _ = openWriter() }
        guard let slot, let writer, var entry = counted.pages[slot.page]?[slot.indexInPage] else {
            return
        }
        let bytes = sizes.reduce(writer.byteCount) { $0 + $1 + Pack.memberBytes }
        entry.bytes = UInt64(bytes)
        counted.pages[slot.page]?[slot.indexInPage] = entry
    }

    /// Puts the fresh pages of a table where they belong, and into the cache: the next commit and
    /// the next reader want them.
    private mutating func write<Page>(
        _ plan: TablePlan, pages: [UInt32: Page], encode: (Page) -> [UInt8], isChunkTable: Bool
    ) -> PageList {
        var places: [UInt32: PageReference] = [:]
        for index in plan.fresh {
            guard let bytes = pages[index].map(encode) else { continue }
            statistics.pages += 1
            statistics.pageBytes += bytes.count
            if plan.isInline {
                places[index] = .inline(bytes)
                continue
            }
            let pointer =
                isChunkTable
                ? writer?.append(chunkPage: bytes) : writer?.append(packPage: bytes)
            guard let pointer else { preconditionFailure("a pack is open for the pages") }
            bytes.withUnsafeBytes { _ = cache.insert(pointer.hash, $0) }
            places[index] = .packed(pointer)
        }
        return plan.list(places)
    }
}
