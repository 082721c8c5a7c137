// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What zstd works in, kept for the next use. To make one it clears tables and asks the processor
// what it can, which a virtual machine answers through its hypervisor: together longer than it
// takes to decompress a small frame.

private import CZstd
internal import Synchronization

/// Contexts of one kind that nobody uses at the moment. A context is used by one thread at a time.
final class ZstdContexts: Sendable {
    static let compressing = ZstdContexts(
        make: { ZSTD_createCCtx() }, size: { ZSTD_sizeof_CCtx($0) }, free: { ZSTD_freeCCtx($0) })
    static let decompressing = ZstdContexts(
        make: { ZSTD_createDCtx() }, size: { ZSTD_sizeof_DCtx($0) }, free: { ZSTD_freeDCtx($0) })

    private struct Context: @unchecked Sendable {
        // Confined: to whoever took it out under the lock.
        let pointer: OpaquePointer
    }

    /// More of them, or larger ones, are given back: high levels take tens of megabytes, and so
    /// long that a new context does not count.
    private static let keptMax = 8
    private static let keptBytesMax = 2 << 20

    private let idle = Lock<[Context]>([])
    private let make: @Sendable () -> OpaquePointer?
    private let size: @Sendable (OpaquePointer) -> Int
    private let free: @Sendable (OpaquePointer) -> Void

    private init(
        make: @escaping @Sendable () -> OpaquePointer?,
        size: @escaping @Sendable (OpaquePointer) -> Int,
        free: @escaping @Sendable (OpaquePointer) -> Void
    ) {
        self.make = make
        self.size = size
        self.free = free
    }

    /// What `body` does with a context depends on nothing that was done with it before.
    func use(_ body: (OpaquePointer) -> Int) -> Int {
        let context: Context
        if let kept = idle.withLock({ $0.popLast() }) {
            context = kept
        } else {
            guard let made = make() else { preconditionFailure("no memory for a zstd context") }
            context = Context(pointer: made)
        }
        let result = body(context.pointer)
        if !keep(context) { free(context.pointer) }
        return result
    }

    /// False if there are enough, or it is too large.
    private func keep(_ context: Context) -> Bool {
        guard size(context.pointer) <= Self.keptBytesMax else { return false }
        return idle.withLock { idle in
            guard idle.count < Self.keptMax else { return false }
            idle.append(context)
            return true
        }
    }
}
