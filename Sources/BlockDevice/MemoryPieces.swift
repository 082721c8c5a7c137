// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where the bytes of a read lie, for a transport that can send them from there.

/// Some bytes in memory that somebody else owns. Laid out like `struct iovec`.
@frozen
public struct MemoryPiece: BitwiseCopyable {
    public var base: UnsafeRawPointer
    public var count: Int

    @inline(__always)
    public init(base: UnsafeRawPointer, count: Int) {
        self.base = base
        self.count = count
    }
}

/// A list of pieces of fixed capacity, in memory that does not move. Confined to its owner.
public struct MemoryPieces: ~Copyable {
    public let base: UnsafeMutablePointer<MemoryPiece>
    public let capacity: Int
    public private(set) var count = 0

    public init(capacity: Int) {
        precondition(capacity > 0)
        self.capacity = capacity
        base = .allocate(capacity: capacity)
    }

    deinit { base.deallocate() }

    @inline(__always)
    public mutating func removeAll() { count = 0 }

    /// Appends bytes, to the last piece if they lie right behind it. False: there is no place.
    @inline(__always)
    public mutating func append(_ bytes: UnsafeRawPointer, count length: Int) -> Bool {
        precondition(length > 0)
        if count > 0 {
            let last = base[count &- 1]
            if last.base + last.count == bytes {
                base[count &- 1].count &+= length
                return true
            }
        }
        guard count < capacity else { return false }
        base[count] = MemoryPiece(base: bytes, count: length)
        count &+= 1
        return true
    }

    /// The piece at `index`, to look at or to shorten.
    @inline(__always)
    public subscript(index: Int) -> MemoryPiece {
        get {
            precondition(index >= 0 && index < count)
            return base[index]
        }
        set {
            precondition(index >= 0 && index < count)
            base[index] = newValue
        }
    }
}
