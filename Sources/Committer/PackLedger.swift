// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The pack table of the commit that is being built: who refers to which pack. A reference is one
// stack element, or one pointer of the chunk table at a node. Every change of the map reports here
// what it let go and what it took, so `live` is exact without ever walking the map.
//
// A slot that falls to zero leaves the table with this commit and may be handed out by a later one.
// Slots are never renumbered, because unchanged nodes name them.

internal import Formats
internal import ObjectStore
internal import Primitives
internal import VolumeMap

/// References of one commit, confined to its builder.
struct PackLedger<Store: ObjectStore> {
    /// A pack of this commit.
    private struct Opened {
        let pack: PackID
        var references: UInt64 = 0
        var bytes = UInt64(Pack.overheadBytes)
    }

    /// The table as it will be, where it changed, and the packs that left it.
    struct Result {
        /// The changed pages, some of them perhaps empty now.
        var pages: [UInt32: PackTablePage] = [:]
        var slotCount: UInt32
        var gone: Set<PackID> = []
    }

    /// Free slots of an old page that make it worth changing.
    private static var freeSlotsWorthwhile: Int { 64 }

    private let parent: Root
    private let fetcher: MapFetcher<Store>
    private var released: [PackSlot: UInt64] = [:]
    private var retaken: [PackSlot: UInt64] = [:]
    private var opened: [PackSlot: Opened] = [:]
    private var freeSlots: [PackSlot]?
    private var slotCount: UInt32

    init(parent: Root, fetcher: MapFetcher<Store>) {
        self.parent = parent
        self.fetcher = fetcher
        slotCount = parent.commit.slotCount
    }

    /// Gives a new pack its slot.
    mutating func open(_ pack: PackID) throws(CommitError) -> PackSlot {
        if freeSlots == nil { freeSlots = try findFreeSlots() }
        let slot: PackSlot
        if let free = freeSlots?.popLast() {
            slot = free
        } else {
            guard slotCount < FormatLimits.packSlotsMax else { throw .packTableFull }
            slot = PackSlot(slotCount)
            slotCount += 1
        }
        opened[slot] = Opened(pack: pack)
        return slot
    }

    /// One more reference to a pack of this commit.
    mutating func take(_ slot: PackSlot) {
        precondition(opened[slot] != nil, "only packs of this commit gain references")
        opened[slot]?.references += 1
    }

    /// One more reference to a pack of this commit, or to one that is live in the parent's table:
    /// to no other, because the collector may be deleting it.
    mutating func retake(_ slot: PackSlot) {
        if opened[slot] != nil { take(slot) } else { retaken[slot, default: 0] += 1 }
    }

    /// Gives a slot to a pack that an earlier try of this commit left in the store.
    mutating func adopt(_ pack: PackID, bytes: UInt64) throws(CommitError) -> PackSlot {
        let slot = try open(pack)
        opened[slot]?.bytes = bytes
        return slot
    }

    /// One reference less to a pack of the parent.
    mutating func release(_ slot: PackSlot) {
        precondition(opened[slot] == nil, "a commit does not undo itself")
        released[slot, default: 0] += 1
    }

    /// The size of a pack of this commit.
    mutating func setBytes(_ count: Int, of slot: PackSlot) { opened[slot]?.bytes = UInt64(count) }

    /// The table with everything counted. A pack that nobody refers to has no entry.
    func result() throws(CommitError) -> Result {
        var result = Result(slotCount: parent.commit.slotCount)
        let touched = Set(released.keys).union(retaken.keys).union(opened.keys)
        for (index, slots) in Dictionary(grouping: touched, by: { $0.page }) {
            var page = try self.page(index)
            for slot in slots {
                let less = released[slot] ?? 0
                let more = retaken[slot] ?? 0
                if less > 0 || more > 0 {
                    page[slot.indexInPage] = try entry(
                        page[slot.indexInPage], of: slot, less: less, more: more,
                        gone: &result.gone)
                }
                if let new = opened[slot], new.references > 0 {
                    page[slot.indexInPage] = PackEntry(
                        pack: new.pack, live: new.references, total: new.references,
                        bytes: new.bytes)
                    result.slotCount = max(result.slotCount, slot.rawValue + 1)
                }
            }
            result.pages[index] = page
        }
        return result
    }

    private func entry(
        _ entry: PackEntry?, of slot: PackSlot, less: UInt64, more: UInt64,
        gone: inout Set<PackID>
    ) throws(CommitError) -> PackEntry? {
        guard var entry, entry.live >= max(less, 1) else {
            throw .miscounted(slot: slot.rawValue, live: entry?.live ?? 0)
        }
        entry.live = entry.live - less + more
        entry.total = max(entry.total, entry.live)
        if entry.live > 0 { return entry }
        gone.insert(entry.pack)
        return nil
    }

    /// Slots that are free in the parent, of one page. A long table is probed at another page with
    /// every commit, so that slots of packs that died long ago come back; else the last page
    /// serves.
    private func findFreeSlots() throws(CommitError) -> [PackSlot] {
        guard parent.commit.slotCount > 0 else { return [] }
        let last = PackSlot(parent.commit.slotCount - 1).page
        let probed = UInt32(parent.commit.sequence.rawValue % UInt64(last + 1))
        if probed != last {
            let free = try freeSlots(inPage: probed)
            if free.count >= Self.freeSlotsWorthwhile { return free }
        }
        return try freeSlots(inPage: last)
    }

    /// Highest first, so that the lowest is taken first.
    private func freeSlots(inPage index: UInt32) throws(CommitError) -> [PackSlot] {
        let page = try page(index)
        return page.entries.indices.reversed().compactMap { entry in
            let slot = page.slot(at: entry)
            return page[entry] == nil && slot.rawValue < parent.commit.slotCount ? slot : nil
        }
    }

    private func page(_ index: UInt32) throws(CommitError) -> PackTablePage {
        do throws(FetchError) { return try fetcher.packPage(index, of: parent) } catch {
            throw .fetch(error)
        }
    }
}
