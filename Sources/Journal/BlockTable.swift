// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The memtable's table block → leaf: open addressing with linear probing, at most half full,
// removal by shifting back (no tombstones, so lookups never degrade). An entry is 64 bits: block +
// 1 in the upper 32 (a volume has at most 2^27 blocks), value in the lower; 0 is an empty place.

@usableFromInline
struct BlockTable {
    /// No entry.
    @usableFromInline static let absent = UInt32.max
    /// The block is zero and has no leaf. All smaller values are leaves.
    @usableFromInline static let zeroMark = UInt32.max - 1
    private static let capacityMin = 64

    @usableFromInline var entries: UnsafeMutablePointer<UInt64>
    /// A power of two.
    @usableFromInline private(set) var capacity: Int
    /// 64 minus the logarithm of the capacity.
    @usableFromInline var shift: UInt64
    @usableFromInline private(set) var count = 0

    init(expected: Int) {
        capacity = Self.capacityMin
        while capacity < expected * 2 { capacity *= 2 }
        entries = Self.allocate(capacity)
        shift = UInt64(64 - capacity.trailingZeroBitCount)
    }

    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<UInt64> {
        let memory = UnsafeMutablePointer<UInt64>.allocate(capacity: capacity)
        memory.initialize(repeating: 0, count: capacity)
        return memory
    }

    func deallocate() { entries.deallocate() }

    @inlinable var byteCount: Int { capacity &* MemoryLayout<UInt64>.size }

    @inlinable
    func home(of block: UInt64) -> Int {
        Int(truncatingIfNeeded: (block &* 0x9E37_79B9_7F4A_7C15) >> shift)
    }

    @inlinable
    func value(of block: UInt64) -> UInt32 {
        let key = block &+ 1
        var place = home(of: block)
        while true {
            let entry = entries[place]
            if entry >> 32 == key { return UInt32(truncatingIfNeeded: entry) }
            if entry == 0 { return Self.absent }
            place = (place &+ 1) & (capacity &- 1)
        }
    }

    @usableFromInline
    mutating func set(_ block: UInt64, to value: UInt32) {
        let key = block + 1
        precondition(key <= UInt64(UInt32.max))
        var place = home(of: block)
        while entries[place] != 0 {
            if entries[place] >> 32 == key {
                entries[place] = key << 32 | UInt64(value)
                return
            }
            place = (place &+ 1) & (capacity &- 1)
        }
        entries[place] = key << 32 | UInt64(value)
        count += 1
        if count * 2 > capacity { resize(to: capacity * 2) }
    }

    mutating func remove(_ block: UInt64) {
        let key = block + 1
        var place = home(of: block)
        while entries[place] >> 32 != key {
            if entries[place] == 0 { return }
            place = (place &+ 1) & (capacity &- 1)
        }
        remove(at: place)
    }

    /// Closes the gap by moving back every later entry of the run that may lie there.
    private mutating func remove(at hole: Int) {
        var hole = hole
        var place = hole
        let mask = capacity - 1
        while true {
            place = (place + 1) & mask
            let entry = entries[place]
            if entry == 0 { break }
            let distance = (place - home(of: (entry >> 32) - 1)) & mask
            if distance >= (place - hole) & mask {
                entries[hole] = entry
                hole = place
            }
        }
        entries[hole] = 0
        count -= 1
    }

    /// Removes every entry whose block lies in `blocks`, in one walk over the table. What is left
    /// of a large table moves to a small one, so that repeated trims of everything stay cheap.
    mutating func removeAll(in blocks: Range<UInt64>, freeing leaves: inout LeafSlabs) {
        var place = 0
        while place < capacity {
            let entry = entries[place]
            if entry != 0, blocks.contains((entry >> 32) - 1) {
                let value = UInt32(truncatingIfNeeded: entry)
                if value != Self.zeroMark { leaves.free(value) }
                remove(at: place)
            } else {
                place += 1
            }
        }
        var wanted = capacity
        while wanted > Self.capacityMin, count * 8 < wanted { wanted /= 2 }
        if wanted < capacity { resize(to: wanted) }
    }

    func forEach(_ body: (_ block: UInt64, _ value: UInt32) -> Void) {
        for place in 0..<capacity where entries[place] != 0 {
            body((entries[place] >> 32) - 1, UInt32(truncatingIfNeeded: entries[place]))
        }
    }

    private mutating func resize(to newCapacity: Int) {
        let old = entries
        let oldCapacity = capacity
        entries = Self.allocate(newCapacity)
        capacity = newCapacity
        shift = UInt64(64 - newCapacity.trailingZeroBitCount)
        for place in 0..<oldCapacity where old[place] != 0 {
            var target = home(of: (old[place] >> 32) - 1)
            while entries[target] != 0 { target = (target + 1) & (newCapacity - 1) }
            entries[target] = old[place]
        }
        old.deallocate()
    }
}
