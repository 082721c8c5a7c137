// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The root of a volume: one published commit and the geometry that follows from it. Immutable, so
// that a shard, its workers and the committer may hold the same one while the next is being made.

public import Formats
public import Primitives

/// A decoded commit, as the volume's map starts from it.
public final class Root: Sendable {
    public let commit: Commit
    public let size: ByteCount
    public let blockBytes: Int
    public let grainsPerBlock: Int
    /// Blocks that the size covers; the last may be short.
    public let blockCount: UInt64
    public let chunkCount: UInt64

    /// Bytes of the packs that the commit refers to, shared ones included; nil if its pack table
    /// does not lie in the commit itself (more than a thousand packs).
    public let packBytes: UInt64?

    private let chunkPages: [UInt32: TablePagePlace]
    private let packPages: [UInt32: TablePagePlace]

    public init(commit: Commit) {
        self.commit = commit
        size = commit.size
        blockBytes = commit.blockBytes
        grainsPerBlock = commit.blockBytes / Limits.grainBytes
        let blocks = Root.blocks(of: commit.size, blockBytes: commit.blockBytes)
        blockCount = blocks
        chunkCount = (blocks + UInt64(Limits.chunkBlocks) - 1) / UInt64(Limits.chunkBlocks)
        chunkPages = Self.places(of: commit.chunkPages)
        packPages = Self.places(of: commit.packPages)
        packBytes = Self.bytes(of: commit.packPages)
    }

    private static func bytes(of list: PageList) -> UInt64? {
        var sum: UInt64 = 0
        for listed in list.entries {
            guard case .inline(let bytes) = listed.page,
                let page = bytes.withUnsafeBytes({
                    try? PackTablePage(decoding: $0, index: listed.index)
                })
            else { return nil }
            for case let entry? in page.entries where entry.live > 0 { sum &+= entry.bytes }
        }
        return sum
    }

    /// Blocks that cover `size`.
    public static func blocks(of size: ByteCount, blockBytes: Int) -> UInt64 {
        let block = UInt64(blockBytes)
        return size.rawValue / block + (size.rawValue % block == 0 ? 0 : 1)
    }

    /// Blocks that one page of the chunk table covers.
    static let blocksPerPage = UInt64(Limits.chunkBlocks * Limits.tablePageEntries)

    func chunkPage(_ index: UInt32) -> TablePagePlace { chunkPages[index] ?? .absent }

    func packPage(_ index: UInt32) -> TablePagePlace { packPages[index] ?? .absent }

    private static func places(of list: PageList) -> [UInt32: TablePagePlace] {
        var places: [UInt32: TablePagePlace] = [:]
        for entry in list.entries {
            switch entry.page {
            case .inline(let bytes): places[entry.index] = .inline(InlinePage(bytes))
            case .packed(let pointer): places[entry.index] = .packed(pointer)
            }
        }
        return places
    }
}

/// Where the bytes of a table page are.
enum TablePagePlace: Sendable {
    /// The table has no such page.
    case absent
    /// In the commit.
    case inline(InlinePage)
    /// In a pack, and perhaps in the clean cache under the pointer's hash.
    case packed(PackPointer)
}

/// The bytes of an inline page at a fixed place, so that views can be made without copies.
package final class InlinePage: @unchecked Sendable {
    // Confined: written in `init` alone, read-only afterwards.
    package let bytes: UnsafeRawBufferPointer

    init(_ page: [UInt8]) {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: page.count, alignment: 16)
        memory.copyBytes(from: page)
        bytes = UnsafeRawBufferPointer(memory)
    }

    deinit { bytes.deallocate() }
}

extension BlockIndex {
    /// The chunk that the block lies in.
    @inline(__always)
    public var chunk: ChunkIndex { ChunkIndex(rawValue / UInt64(Limits.chunkBlocks)) }

    /// The block's entry in its chunk's node.
    @inline(__always)
    public var entryInChunk: Int { Int(rawValue % UInt64(Limits.chunkBlocks)) }
}

extension ChunkIndex {
    /// The chunk's first block.
    @inline(__always)
    public var firstBlock: BlockIndex { BlockIndex(rawValue * UInt64(Limits.chunkBlocks)) }
}
