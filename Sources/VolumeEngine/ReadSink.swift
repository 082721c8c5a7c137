// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a walk over a range of the volume does with the bytes that it finds: copy them, or note
// where they lie. The walk is generic over its sink, so that each is compiled as if by hand.

import BlockDevice
import CleanCache
import Glibc
import HostIO
import Journal
import Primitives

/// What stood in the way of giving a piece of one block to a sink.
enum CopyOutcome {
    case copied
    /// The base block is not in the clean cache.
    case missingBase
    /// A journal page is neither mapped nor in the page cache.
    case coldPage(JournalPage)
    /// The disk failed, or the sink does not take what was found.
    case failed
}

/// Takes the bytes of a range from its start to its end.
protocol ReadSink {
    mutating func takeZeros(_ count: Int) -> CopyOutcome
    /// Bytes of a mapped journal segment.
    mutating func take(_ bytes: UnsafeRawPointer, _ count: Int) -> CopyOutcome
    /// Bytes of a block, from byte `within` on.
    mutating func take(_ block: CachedBlock, from within: Int, _ count: Int) -> CopyOutcome
    /// Bytes of a segment that is not mapped, from `offset` of its file on; the first are of
    /// `page`.
    mutating func take<Storage: StorageDirectory>(
        _ page: JournalPage, of segment: SegmentFile<Storage>, at offset: UInt64, _ count: Int
    ) -> CopyOutcome
}

/// Copies. Nothing of the volume's state is held afterwards.
struct CopySink: ReadSink {
    var target: UnsafeMutableRawPointer

    @inline(__always)
    mutating func takeZeros(_ count: Int) -> CopyOutcome {
        memset(target, 0, count)
        target += count
        return .copied
    }

    @inline(__always)
    mutating func take(_ bytes: UnsafeRawPointer, _ count: Int) -> CopyOutcome {
        memcpy(target, bytes, count)
        target += count
        return .copied
    }

    @inline(__always)
    mutating func take(_ block: CachedBlock, from within: Int, _ count: Int) -> CopyOutcome {
        guard let base = block.bytes.baseAddress else { return .failed }
        defer { withExtendedLifetime(block) {} }
        return take(base + within, count)
    }

    /// One system call for the whole run.
    mutating func take<Storage: StorageDirectory>(
        _ page: JournalPage, of segment: SegmentFile<Storage>, at offset: UInt64, _ count: Int
    ) -> CopyOutcome {
        let buffer = UnsafeMutableRawBufferPointer(start: target, count: count)
        do throws(HostIOError) {
            guard let got = try segment.file.readIfCached(at: offset, into: buffer) else {
                return .coldPage(page)
            }
            target += count
            return got == count ? .copied : .failed
        } catch { return .failed }
    }
}

/// Notes where the bytes lie, and keeps the blocks that they are of.
struct ViewSink: ReadSink {
    let pieces: UnsafeMutablePointer<MemoryPieces>
    var held: [CachedBlock] = []

    init(pieces: UnsafeMutablePointer<MemoryPieces>) { self.pieces = pieces }

    mutating func takeZeros(_ count: Int) -> CopyOutcome { take(ZeroBytes.base, count) }

    mutating func take(_ bytes: UnsafeRawPointer, _ count: Int) -> CopyOutcome {
        pieces.pointee.append(bytes, count: count) ? .copied : .failed
    }

    mutating func take(_ block: CachedBlock, from within: Int, _ count: Int) -> CopyOutcome {
        guard let base = block.bytes.baseAddress else { return .failed }
        held.append(block)
        return take(base + within, count)
    }

    /// Not in memory that we can point to.
    mutating func take<Storage: StorageDirectory>(
        _ page: JournalPage, of segment: SegmentFile<Storage>, at offset: UInt64, _ count: Int
    ) -> CopyOutcome { .failed }
}

/// As many zeros as a block has bytes at most.
private enum ZeroBytes {
    /// Never written: all its pages are the kernel's one page of zeros.
    nonisolated(unsafe) static let base: UnsafeRawPointer = {
        guard let zeros = calloc(1, Limits.blockBytesMax) else {
            preconditionFailure("no memory for a page of zeros")
        }
        return UnsafeRawPointer(zeros)
    }()
}
