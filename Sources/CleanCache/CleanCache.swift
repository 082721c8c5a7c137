// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The clean cache: decoded content under its hash, shared by all volumes of a host. Bytes are immutable
// once inserted; a `CachedBlock` keeps them alive for as long as anybody holds it, evicted or not.

public import Primitives
internal import Synchronization

/// Immutable bytes of the cache, aligned to a page. Holding one pins its memory.
public final class CachedBlock: @unchecked Sendable {
    // Confined: written in `init` alone, read-only afterwards.
    public let bytes: UnsafeRawBufferPointer

    init(copying source: UnsafeRawBufferPointer) {
        let memory = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(source.count, 1), alignment: Limits.grainBytes)
        memory.copyMemory(from: source)
        bytes = UnsafeRawBufferPointer(rebasing: memory[0..<source.count])
    }

    deinit { bytes.deallocate() }
}

/// Content by hash, in memory, first in first out.
public final class CleanCache: Sendable {
    private struct State {
        var blocks: [Hash128: CachedBlock] = [:]
        var order: [Hash128] = []
        var bytes = 0
    }
    private let state = Mutex(State())
    private let capacityBytes: Int

    public init(capacityBytes: Int) { self.capacityBytes = capacityBytes }

    public func lookup(_ hash: Hash128) -> CachedBlock? { state.withLock { $0.blocks[hash] } }

    public func contains(_ hash: Hash128) -> Bool { lookup(hash) != nil }

    @discardableResult
    public func insert(_ hash: Hash128, _ bytes: UnsafeRawBufferPointer) -> CachedBlock {
        let block = CachedBlock(copying: bytes)
        return state.withLock { state in
            if let known = state.blocks[hash] { return known }
            state.blocks[hash] = block
            state.order.append(hash)
            state.bytes += bytes.count
            while state.bytes > capacityBytes, state.order.count > 1 {
                let victim = state.order.removeFirst()
                if let gone = state.blocks.removeValue(forKey: victim) {
                    state.bytes -= gone.bytes.count
                }
            }
            return block
        }
    }
}
