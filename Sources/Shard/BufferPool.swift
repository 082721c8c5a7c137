// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Memory for what has to outlive a turn: cut requests, parked payloads, replies that a socket did
// not take. Buffers belong to the shard and come in size classes 2^k + 4 KiB, so that a
// power-of-two payload and its header fit one. After warm-up taking and giving is a pop and a push.

import Glibc

/// A buffer on loan. Plain data: whoever took it gives it back exactly once.
public struct PooledBuffer: BitwiseCopyable {
    public let base: UnsafeMutableRawPointer
    /// Usable bytes: at least what was asked for.
    public let capacity: Int
    fileprivate let sizeClass: Int
}

/// A bounded set of buffers. Confined to its shard's thread.
public struct BufferPool: ~Copyable {
    /// Bytes that a size class holds more than its power of two.
    public static let slack = 4096
    private static let firstShift = 12
    private static let classes = 14
    /// The largest buffer: 32 MiB and the slack.
    public static let bufferBytesMax = (1 << (firstShift + classes - 1)) + slack

    private let bytesMax: Int
    /// Bytes that only small buffers may use, so that a few large ones never starve everything
    /// else.
    private let bytesReserved: Int
    private let smallMax: Int
    private var lent = 0
    private var cached = 0
    private var largeLent = 0
    private var free: [[UnsafeMutableRawPointer]]

    /// `bytesMax` bounds what exists at any time; buffers over `smallMax` may take half of it.
    public init(bytesMax: Int, smallMax: Int = (1 << 18) + BufferPool.slack) {
        precondition(bytesMax >= 2 * BufferPool.bufferBytesMax)
        self.bytesMax = bytesMax
        self.smallMax = smallMax
        bytesReserved = bytesMax / 2
        free = Array(repeating: [], count: BufferPool.classes)
    }

    deinit {
        precondition(lent == 0, "a buffer was not given back")
        for list in free { for base in list { Glibc.free(base) } }
    }

    /// Bytes on loan.
    public var lentBytes: Int { lent }

    /// A buffer of at least `count` bytes, or nil if the bound is reached.
    @inline(__always)
    public mutating func take(_ count: Int) -> PooledBuffer? {
        precondition(count > 0 && count <= BufferPool.bufferBytesMax)
        let sizeClass = BufferPool.sizeClass(of: count)
        let capacity = BufferPool.capacity(of: sizeClass)
        if capacity > smallMax && largeLent + capacity > bytesMax - bytesReserved { return nil }
        guard let base = free[sizeClass].popLast() else { return makeBuffer(sizeClass) }
        cached -= capacity
        return lend(base, sizeClass)
    }

    /// Ends a loan.
    @inline(__always)
    public mutating func give(_ buffer: PooledBuffer) {
        lent -= buffer.capacity
        if buffer.capacity > smallMax { largeLent -= buffer.capacity }
        precondition(lent >= 0 && largeLent >= 0, "a buffer was given back twice")
        cached += buffer.capacity
        free[buffer.sizeClass].append(buffer.base)
    }

    /// Frees kept buffers, the largest first, until at most `bytes` are kept.
    public mutating func trim(toBytes bytes: Int) {
        for sizeClass in stride(from: BufferPool.classes - 1, through: 0, by: -1) {
            while cached > bytes, let base = free[sizeClass].popLast() {
                Glibc.free(base)
                cached -= BufferPool.capacity(of: sizeClass)
            }
        }
    }

    private mutating func makeBuffer(_ sizeClass: Int) -> PooledBuffer? {
        let capacity = BufferPool.capacity(of: sizeClass)
        guard lent + capacity <= bytesMax else { return nil }
        if lent + cached + capacity > bytesMax { trim(toBytes: bytesMax - lent - capacity) }
        guard let base = aligned_alloc(4096, capacity) else { return nil }
        return lend(base, sizeClass)
    }

    @inline(__always)
    private mutating func lend(
        _ base: UnsafeMutableRawPointer, _ sizeClass: Int
    ) -> PooledBuffer {
        let capacity = BufferPool.capacity(of: sizeClass)
        lent += capacity
        if capacity > smallMax { largeLent += capacity }
        return PooledBuffer(base: base, capacity: capacity, sizeClass: sizeClass)
    }

    @inline(__always)
    private static func capacity(of sizeClass: Int) -> Int {
        (1 << (firstShift + sizeClass)) + slack
    }

    /// The least class whose capacity reaches `count`.
    @inline(__always)
    private static func sizeClass(of count: Int) -> Int {
        let beyond = count - slack
        guard beyond > 1 << firstShift else { return 0 }
        return Int.bitWidth - (beyond - 1).leadingZeroBitCount - firstShift
    }
}
