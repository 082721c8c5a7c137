// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The reading part of compaction: a look at the tables that may begin a round, and the steps of a
// round. Nothing is written here. Blocks; a worker calls it, one call at a time for a volume.

public import CleanCache
public import Formats
public import ObjectStore
public import Primitives
internal import Synchronization
public import VolumeMap

/// What is known of packs' indexes, which never change. Any thread.
public final class PackMakeups: Sendable {
    private let known = Lock<[PackID: PackMakeup]>([:])

    public init() {}

    func find(_ pack: PackID) -> PackMakeup? { known.withLock { $0[pack] } }

    func note(_ makeup: PackMakeup, of pack: PackID) { known.withLock { $0[pack] = makeup } }

    /// Forgets packs that the volume does not refer to any more.
    func keep(_ packs: Set<PackID>) {
        known.withLock { known in known = known.filter { packs.contains($0.key) } }
    }
}

/// Gathers through one store and one cache.
public struct Compactor<Store: ObjectStore>: Sendable {
    let cache: CleanCache
    let fetcher: MapFetcher<Store>
    let bounds: CompactionBounds

    public init(
        store: Store, cache: CleanCache, bounds: CompactionBounds = CompactionBounds(),
        spread: @escaping FetchSpread = oneByOne
    ) {
        self.cache = cache
        self.bounds = bounds
        fetcher = MapFetcher(store: store, cache: cache, spread: spread)
    }

    // MARK: A look at the tables

    /// The round that is worthwhile now; nil if none is. `spent` are packs that earlier rounds
    /// could not empty. `pinned` is the newest commit of this volume that something else keeps; it
    /// is asked for only if there is something to do without it.
    public func look(
        at root: Root, rules: CompactionRules, spent: Set<PackID>, makeups: PackMakeups,
        pinned: () throws(FetchError) -> CommitSequence?
    ) throws(FetchError) -> CompactionRound? {
        let volume = root.commit.volume
        var table: [PackSlot: PackEntry] = [:]
        for listed in root.commit.packPages.entries {
            let page = try fetcher.packPage(listed.index, of: root)
            for (index, entry) in page.entries.enumerated() {
                if let entry { table[page.slot(at: index)] = entry }
            }
        }
        makeups.keep(Set(table.values.lazy.map(\.pack)))
        let eligible = table.filter { _, entry in
            !spent.contains(entry.pack)
                && CompactionPlan.isEligible(entry, of: volume, pinned: nil)
        }
        // What there is in all of them is too little: no index needs to be read to know that.
        let most = eligible.values.reduce(UInt64(0)) { $0 + $1.bytes }
        if eligible.isEmpty || most < rules.deadBytesMin { return nil }
        var nodes: [PackSlot: LiveNodes] = [:]
        for listed in root.commit.chunkPages.entries {
            for case let entry? in try fetcher.chunkPage(listed.index, of: root).entries {
                nodes[entry.slot, default: LiveNodes()].add(entry)
            }
        }
        let victims = try standings(of: eligible, nodes: nodes, makeups: makeups)
            .filter { $0.isVictim(rules) }
        func isWorthwhile(_ victims: [PackStanding]) -> Bool {
            guard let oldest = Self.oldest(of: victims.lazy.map(\.entry.pack)) else { return false }
            var nodeBytes: UInt64 = 0
            for (slot, live) in nodes {
                guard let pack = table[slot]?.pack else { continue }
                if CompactionPlan.mayRefer(pack, toVictimsFrom: oldest) { nodeBytes += live.bytes }
            }
            return CompactionPlan.isWorthwhile(victims, nodeBytes: nodeBytes, rules: rules)
        }
        guard isWorthwhile(victims) else { return nil }
        let newestPin = try pinned()
        let free = victims.filter {
            CompactionPlan.isMovable($0.entry.pack, of: volume, pinned: newestPin)
        }
        guard isWorthwhile(free) else { return nil }
        return CompactionRound(
            victims: Set(free.map(\.entry.pack)), pinned: newestPin, rules: rules)
    }

    static func oldest(of packs: some Sequence<PackID>) -> PackID? {
        packs.min { CompactionPlan.isOlder($0, $1) }
    }

    /// The most promising first, because each look reads only so many indexes. A pack whose index
    /// is damaged is left alone: it is for verification to tell.
    private func standings(
        of eligible: [PackSlot: PackEntry], nodes: [PackSlot: LiveNodes], makeups: PackMakeups
    ) throws(FetchError) -> [PackStanding] {
        var standings: [PackStanding] = []
        var read = 0
        for (slot, entry) in eligible.sorted(by: Self.isMorePromising) {
            let makeup: PackMakeup
            if let known = makeups.find(entry.pack) {
                makeup = known
            } else {
                guard read < bounds.lookIndexes else { continue }
                read += 1
                do throws(FetchError) { makeup = try self.makeup(of: entry) } catch {
                    if error.isRetryable { throw error }
                    continue
                }
                makeups.note(makeup, of: entry.pack)
            }
            standings.append(
                PackStanding(
                    slot: slot, entry: entry, makeup: makeup,
                    liveNodes: nodes[slot] ?? LiveNodes()))
        }
        return standings
    }

    private static func isMorePromising(
        _ left: (key: PackSlot, value: PackEntry), _ right: (key: PackSlot, value: PackEntry)
    ) -> Bool {
        func lost(_ entry: PackEntry) -> Double {
            Double(entry.bytes) * Double(entry.total - entry.live) / Double(entry.total)
        }
        let (more, less) = (lost(left.value), lost(right.value))
        return more == less ? left.key < right.key : more > less
    }

    /// Reads a pack's index from its end.
    private func makeup(of entry: PackEntry) throws(FetchError) -> PackMakeup {
        let tailBytes = min(entry.bytes, UInt64(Pack.suffixBytes))
        let start = entry.bytes - tailBytes
        var trailer: PackTrailer?
        var makeup: PackMakeup?
        _ = try fetcher.reads.one(
            entry.pack, PackExtent(offset: UInt32(start), length: UInt32(tailBytes))
        ) { bytes throws(FormatError) in
            let found = try PackTrailer(decodingEndOf: bytes, packBytes: entry.bytes)
            trailer = found
            guard UInt64(found.index.offset) >= start else { return }
            let first = Int(UInt64(found.index.offset) - start)
            let end = first + Int(found.index.length)
            makeup = PackMakeup(
                try PackIndex(
                    decoding: UnsafeRawBufferPointer(rebasing: bytes[first..<end]),
                    trailer: found, pack: entry.pack))
        }
        if let makeup { return makeup }
        guard let trailer else { preconditionFailure("a tail that was taken has a trailer") }
        var long = PackMakeup()
        _ = try fetcher.reads.one(entry.pack, trailer.index) { bytes throws(FormatError) in
            long = PackMakeup(
                try PackIndex(decoding: bytes, trailer: trailer, pack: entry.pack))
        }
        return long
    }
}
