// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Immutable decoded bytes: a block, a flattened stack, a map node or a table page. A reference is
// the pin: whoever holds one may read, whatever the cache has evicted meanwhile.

/// Aligned bytes that never change after they were filled.
public final class CachedBlock: @unchecked Sendable {
    // Confined: written by the initialiser alone, read-only from then on.
    private let storage: UnsafeMutableRawBufferPointer

    /// Enough for any vector load and for no two blocks in one cache line.
    public static let alignmentBytes = 64

    /// Allocates `count` bytes and lets `fill` write all of them. If it throws, no block exists.
    public init<Failure: Error>(
        count: Int, filling fill: (UnsafeMutableRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        precondition(count >= 0)
        let made = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(count, 1), alignment: Self.alignmentBytes)
        let bytes = UnsafeMutableRawBufferPointer(rebasing: made[..<count])
        do throws(Failure) {
            try fill(bytes)
        } catch {
            made.deallocate()
            throw error
        }
        storage = bytes
    }

    /// Copies bytes.
    public convenience init(copying bytes: UnsafeRawBufferPointer) {
        self.init(count: bytes.count) { $0.copyMemory(from: bytes) }
    }

    deinit { storage.baseAddress?.deallocate() }

    /// Valid while the block is referenced: keep it alive with `withExtendedLifetime` where needed.
    @inline(__always)
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(storage) }

    @inline(__always)
    public var count: Int { storage.count }
}
