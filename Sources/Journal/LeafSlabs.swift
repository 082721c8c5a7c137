// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The memory of the memtable's leaves: slabs of 64 KiB that never move, so that a leaf's address is
// stable; freed leaves are kept in a list threaded through their first entries.

@usableFromInline
struct LeafSlabs {
    private static let slabEntries = 16 << 10
    @usableFromInline static let slabBytes = slabEntries * MemoryLayout<UInt32>.size
    private static let none = UInt32.max

    @usableFromInline var slabs: [UnsafeMutablePointer<UInt32>] = []
    @usableFromInline let grains: Int
    @usableFromInline let leafShift: UInt32
    @usableFromInline let leafMask: UInt32
    private var nextFresh: UInt32 = 0
    private var firstFree = LeafSlabs.none
    private(set) var liveCount = 0

    init(grains: Int, expected: Int) {
        self.grains = grains
        let leavesPerSlab = UInt32(Self.slabEntries / grains)
        leafShift = UInt32(leavesPerSlab.trailingZeroBitCount)
        leafMask = leavesPerSlab - 1
        while slabs.count << Int(leafShift) < expected { addSlab() }
    }

    func deallocate() {
        for slab in slabs { slab.deallocate() }
    }

    @inlinable
    subscript(_ leaf: UInt32) -> UnsafeMutablePointer<UInt32> {
        slabs[Int(leaf >> leafShift)] + Int(leaf & leafMask) &* grains
    }

    @inlinable var byteCount: Int { slabs.count &* Self.slabBytes }

    /// A leaf with undefined entries.
    mutating func make() -> UInt32 {
        liveCount += 1
        if firstFree != Self.none {
            let leaf = firstFree
            firstFree = self[leaf][0]
            return leaf
        }
        let leaf = nextFresh
        nextFresh += 1
        if Int(leaf >> leafShift) == slabs.count { addSlab() }
        return leaf
    }

    mutating func free(_ leaf: UInt32) {
        self[leaf][0] = firstFree
        firstFree = leaf
        liveCount -= 1
    }

    private mutating func addSlab() {
        slabs.append(.allocate(capacity: Self.slabEntries))
    }
}
