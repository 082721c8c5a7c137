// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// S3-FIFO (Yang and others, SOSP 2023), counted in bytes. New blocks enter a small queue of a tenth
// of the room; those used there before they reach its end move to the main queue, the others leave
// behind only their hash in a ghost queue, and a block whose hash is a ghost enters main at once.
// So a scan passes through the small queue and pushes nothing out of main.
//
//   insert ─▶ small ──used──▶ main ◀─┐ used: again, with one use less
//     │         └─unused─▶ ghost     └─┘
//     └──ghost──────────▶ main ──unused──▶ gone
//
// One thing is added: a block that somebody outside holds gets one more round in its queue, since
// evicting it frees nothing. A fetcher that keeps its blocks until the waiting request has read
// them therefore finds them here, however small the cache.

import Primitives

/// One stripe. Confined: to the lock of its stripe.
struct S3FIFO: @unchecked Sendable {
    // Confined: to the lock of its stripe; blocks that leave it are immutable.
    private enum Queue { case free, small, main }

    private struct Slot {
        var hash = Hash128.zero
        var block: CachedBlock?
        var next: Int32 = -1
        var uses: UInt8 = 0
        var queue = Queue.free
        /// Set when the slot was spared for being held, so that it is spared once per use.
        var wasSpared = false
    }

    /// A first-in first-out list of slots, by their `next`.
    private struct List {
        var head: Int32 = -1
        var tail: Int32 = -1
        var bytes = 0
    }

    private static let usesMax: UInt8 = 3
    /// What a block costs beside its bytes: slot, table entry, object.
    static let overheadBytes = 160

    private let capacityBytes: Int
    private let smallBytesTarget: Int
    private var table: [Hash128: Int32] = [:]
    private var slots: [Slot] = []
    private var freeHead: Int32 = -1
    private var small = List()
    private var main = List()
    /// The hashes of blocks that left the small queue unused, a ring.
    private var ghosts: [Hash128] = []
    private var ghostPlace = 0
    private var ghostSet: Set<Hash128> = []
    private var counts = CleanCacheStatistics()

    init(capacityBytes: Int) {
        self.capacityBytes = capacityBytes
        smallBytesTarget = capacityBytes / 10
    }

    var statistics: CleanCacheStatistics {
        var now = counts
        now.blocks = table.count
        now.bytes = small.bytes + main.bytes
        now.capacityBytes = capacityBytes
        return now
    }

    func contains(_ hash: Hash128) -> Bool { table[hash] != nil }

    /// The block without counting a use.
    func peek(_ hash: Hash128) -> CachedBlock? {
        guard let index = table[hash] else { return nil }
        return slots[Int(index)].block
    }

    mutating func lookup(_ hash: Hash128) -> CachedBlock? {
        guard let index = table[hash] else {
            counts.misses += 1
            return nil
        }
        counts.hits += 1
        let place = Int(index)
        slots[place].uses = min(slots[place].uses + 1, Self.usesMax)
        slots[place].wasSpared = false
        return slots[place].block
    }

    mutating func insert(
        _ hash: Hash128, _ block: CachedBlock, evicted: inout [CachedBlock]
    ) -> CachedBlock {
        if let index = table[hash], let known = slots[Int(index)].block {
            precondition(known.count == block.count, "equal hashes name equal bytes")
            return known
        }
        let cost = block.count + Self.overheadBytes
        guard cost <= capacityBytes else { return block }
        while small.bytes + main.bytes + cost > capacityBytes { evictOne(&evicted) }
        let isGhost = ghostSet.remove(hash) != nil
        let index = takeSlot()
        slots[Int(index)].hash = hash
        slots[Int(index)].block = block
        table[hash] = index
        append(index, to: isGhost ? .main : .small)
        counts.insertions += 1
        return block
    }

    // MARK: Eviction

    private mutating func evictOne(_ evicted: inout [CachedBlock]) {
        if small.head >= 0 && (small.bytes > smallBytesTarget || main.head < 0) {
            evictFromSmall(&evicted)
        } else {
            evictFromMain(&evicted)
        }
    }

    /// Takes the oldest of the small queue out of it; to main if it was used.
    private mutating func evictFromSmall(_ evicted: inout [CachedBlock]) {
        guard let index = removeFirst(.small) else { return }
        let place = Int(index)
        if slots[place].uses > 0 {
            slots[place].uses = 0
            append(index, to: .main)
        } else if spares(place) {
            append(index, to: .small)
        } else {
            remember(slots[place].hash)
            release(index, &evicted)
        }
    }

    /// Takes the oldest of the main queue; used ones go round again, so this ends after at most
    /// `usesMax + 1` rounds.
    private mutating func evictFromMain(_ evicted: inout [CachedBlock]) {
        guard let index = removeFirst(.main) else { return }
        let place = Int(index)
        if slots[place].uses > 0 {
            slots[place].uses -= 1
            append(index, to: .main)
        } else if spares(place) {
            append(index, to: .main)
        } else {
            release(index, &evicted)
        }
    }

    /// True, once, if somebody outside holds the block.
    private mutating func spares(_ place: Int) -> Bool {
        if slots[place].wasSpared || isKnownUniquelyReferenced(&slots[place].block) { return false }
        slots[place].wasSpared = true
        return true
    }

    private mutating func release(_ index: Int32, _ evicted: inout [CachedBlock]) {
        let place = Int(index)
        table.removeValue(forKey: slots[place].hash)
        if let block = slots[place].block { evicted.append(block) }
        slots[place] = Slot()
        slots[place].next = freeHead
        freeHead = index
        counts.evictions += 1
    }

    /// As many ghosts as there are blocks, at least a few.
    private mutating func remember(_ hash: Hash128) {
        let limit = max(64, table.count)
        guard ghostSet.insert(hash).inserted else { return }
        if ghosts.count < limit {
            ghosts.append(hash)
            return
        }
        ghostPlace = (ghostPlace + 1) % ghosts.count
        ghostSet.remove(ghosts[ghostPlace])
        ghosts[ghostPlace] = hash
    }

    // MARK: Lists

    private mutating func takeSlot() -> Int32 {
        if freeHead >= 0 {
            let index = freeHead
            freeHead = slots[Int(index)].next
            slots[Int(index)].next = -1
            return index
        }
        slots.append(Slot())
        return Int32(slots.count - 1)
    }

    private func cost(_ index: Int32) -> Int {
        (slots[Int(index)].block?.count ?? 0) + Self.overheadBytes
    }

    private mutating func append(_ index: Int32, to queue: Queue) {
        slots[Int(index)].queue = queue
        slots[Int(index)].next = -1
        let cost = cost(index)
        let isSmall = queue == .small
        let tail = isSmall ? small.tail : main.tail
        if tail >= 0 { slots[Int(tail)].next = index }
        if isSmall {
            if tail < 0 { small.head = index }
            small.tail = index
            small.bytes += cost
        } else {
            if tail < 0 { main.head = index }
            main.tail = index
            main.bytes += cost
        }
    }

    private mutating func removeFirst(_ queue: Queue) -> Int32? {
        let index = queue == .small ? small.head : main.head
        guard index >= 0 else { return nil }
        precondition(slots[Int(index)].queue == queue)
        let next = slots[Int(index)].next
        let cost = cost(index)
        if queue == .small {
            small.head = next
            if next < 0 { small.tail = -1 }
            small.bytes -= cost
        } else {
            main.head = next
            if next < 0 { main.tail = -1 }
            main.bytes -= cost
        }
        return index
    }
}
