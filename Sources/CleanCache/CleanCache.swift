// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The host-wide cache of clean bytes, keyed by content hash, so that forks of one image share one
// copy. Striped: each key belongs to one stripe, a bounded S3-FIFO behind a lock held for tens of
// nanoseconds. A hit allocates nothing. Content is trusted: whoever inserts has verified the hash.

public import Primitives
import Synchronization

/// What the cache did so far, and holds now.
public struct CleanCacheStatistics: Equatable, Sendable {
    public var hits: UInt64 = 0
    public var misses: UInt64 = 0
    public var insertions: UInt64 = 0
    public var evictions: UInt64 = 0
    public var blocks: Int = 0
    /// With what the cache itself needs per block.
    public var bytes: Int = 0
    public var capacityBytes: Int = 0
    public init() {}
}

/// The cache. Calls may come from any thread and never block for long.
public final class CleanCache: Sendable {
    private final class Stripe: Sendable {
        let queue: Lock<S3FIFO>
        private let capacityBytes: Int

        init(capacityBytes: Int) {
            self.capacityBytes = capacityBytes
            queue = Lock(S3FIFO(capacityBytes: capacityBytes))
        }

        func forget() {
            let old = queue.withLock { queue in
                let old = queue
                queue = S3FIFO(capacityBytes: capacityBytes)
                return old
            }
            withExtendedLifetime(old) {}
        }
    }

    private let stripes: [Stripe]
    private let mask: UInt64

    /// Few enough stripes that each holds many of the largest blocks, enough that threads seldom
    /// meet.
    private static let stripeBytesMin = 64 << 20
    private static let stripesMax = 16

    /// `capacityBytes` bounds what the cache references. Blocks evicted while someone reads them
    /// come on top, for as long as they are read.
    public init(capacityBytes: Int) {
        precondition(capacityBytes > 0)
        var count = 1
        while count < Self.stripesMax && capacityBytes / (count * 2) >= Self.stripeBytesMin {
            count *= 2
        }
        mask = UInt64(count - 1)
        stripes = (0..<count).map { _ in Stripe(capacityBytes: capacityBytes / count) }
    }

    @inline(__always)
    private func stripe(of hash: Hash128) -> Stripe { stripes[Int(hash.high & mask)] }

    /// The block of this hash. A hit counts as a use.
    public func lookup(_ hash: Hash128) -> CachedBlock? {
        stripe(of: hash).queue.withLock { $0.lookup(hash) }
    }

    /// Whether a lookup would hit. No use, no statistics.
    public func contains(_ hash: Hash128) -> Bool {
        stripe(of: hash).queue.withLock { $0.contains(hash) }
    }

    /// Takes over a filled block. If the hash is there already, its block is returned and this one
    /// is left to the caller. A block too large for a stripe is returned but not kept.
    @discardableResult
    public func insert(_ hash: Hash128, _ block: CachedBlock) -> CachedBlock {
        // Evicted blocks are freed after the lock is released.
        var evicted: [CachedBlock] = []
        let kept = stripe(of: hash).queue.withLock { $0.insert(hash, block, evicted: &evicted) }
        withExtendedLifetime(evicted) {}
        return kept
    }

    /// As `insert` of a block, with a copy of the bytes, made only if they are not there yet.
    @discardableResult
    public func insert(_ hash: Hash128, _ bytes: UnsafeRawBufferPointer) -> CachedBlock {
        if let known = stripe(of: hash).queue.withLock({ $0.peek(hash) }) {
            precondition(known.count == bytes.count, "equal hashes name equal bytes")
            return known
        }
        return insert(hash, CachedBlock(copying: bytes))
    }

    /// Evicts everything, as other volumes may at any time. For the simulator, whose volumes are
    /// too small to.
    public func forgetAll() {
        for stripe in stripes { stripe.forget() }
    }

    public var statistics: CleanCacheStatistics {
        var sum = CleanCacheStatistics()
        for stripe in stripes {
            let one = stripe.queue.withLock { $0.statistics }
            sum.hits += one.hits
            sum.misses += one.misses
            sum.insertions += one.insertions
            sum.evictions += one.evictions
            sum.blocks += one.blocks
            sum.bytes += one.bytes
            sum.capacityBytes += one.capacityBytes
        }
        return sum
    }
}
