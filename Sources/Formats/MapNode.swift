// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A map node: the stacks of the 1,024 blocks of one chunk. Here the decoded form, which the
// committer changes and encodes again; reads use MapNodeView on the bytes. A node names its chunk
// but no volume, because forks share it.
//
//     offset size type  name        meaning                            valid
//          0    8 u64   magic       "MRTLNODE"
//          8    2 u16   version                                        1
//         10    2       reserve                                        0
//         12    4 u32   block bytes                                    4 KiB…1 MiB, power of two
//         16    8 u64   chunk       index of the chunk in the volume   < 2^17
//         24    2 u16   blocks      entries that are there             1…1024
//         26    2 u16   frames      elements of all stacks             blocks…4·blocks
//         28    4 u32   length      of the whole node                  as computed
//         32   32       reserve                                        0
//         64  160       directory   see SparseDirectory
//        224 2(b+1) u16 first frame of each entry there, then of the end: 0, steps of 1…4, frames
//          …            zeros up to a multiple of 8
//          …  28+8w     frame pointers, newest first in each stack; see Pointers.swift
//
// In a stack only the oldest frame may be full. A chunk without any block has no node.

public import Primitives

/// The stack of one block that holds data: 1…4 frames, newest first.
public struct BlockEntry: Hashable, Sendable {
    public var frames: [FramePointer]

    public init(frames: [FramePointer]) { self.frames = frames }

    /// The clean cache's key of the block's content.
    public func contentKey(blockBytes: Int) -> Hash128 {
        precondition(!frames.isEmpty)
        let grains = blockBytes / Limits.grainBytes
        if frames[0].isFull(grains: grains) { return frames[0].hash }
        var hasher = StackKey(blockBytes: blockBytes, count: frames.count)
        for frame in frames { hasher.add(frame) }
        return hasher.finish()
    }
}

/// A decoded node, keyed by the number of the block in its chunk.
public struct MapNode: Equatable, Sendable {
    public let chunk: ChunkIndex
    public let blockBytes: Int
    public private(set) var entries: [Int: BlockEntry]

    static let magic = magicWord("MRTLNODE")
    static let version: UInt16 = 1

    public init(chunk: ChunkIndex, blockBytes: Int) {
        precondition(isBlockSize(UInt64(blockBytes)) && chunk.rawValue < FormatLimits.chunksMax)
        self.chunk = chunk
        self.blockBytes = blockBytes
        entries = [:]
    }

    public var grains: Int { blockBytes / Limits.grainBytes }
    public var isEmpty: Bool { entries.isEmpty }
    public var blockCount: Int { entries.count }
    public var frameCount: Int { entries.values.reduce(0) { $0 + $1.frames.count } }

    /// The stack of block `index` of the chunk; nil if it reads as zeros. Setting checks the shape.
    public subscript(index: Int) -> BlockEntry? {
        get { entries[index] }
        set {
            precondition(index >= 0 && index < Limits.chunkBlocks)
            if let newValue { checkShape(newValue) }
            entries[index] = newValue
        }
    }

    /// The volume's number of block `index` of the chunk.
    public func block(at index: Int) -> BlockIndex {
        BlockIndex(chunk.rawValue * UInt64(Limits.chunkBlocks) + UInt64(index))
    }

    private func checkShape(_ entry: BlockEntry) {
        precondition((1...Limits.stackFramesMax).contains(entry.frames.count), "a stack has 1…4")
        precondition(
            entry.frames.dropLast().allSatisfy { !$0.isFull(grains: grains) },
            "nothing lies below a full frame")
    }

    /// BLAKE3-128 over the block size and, for each block there: its number in the volume, the
    /// count of its frames, and mask and hash of each. Equal digests mean equal content.
    public func digest() -> Hash128 {
        var hasher = BLAKE3(domain: .chunkDigest)
        hasher.update(integer: UInt64(blockBytes))
        for (index, entry) in entries.sorted(by: { $0.key < $1.key }) {
            hasher.update(integer: block(at: index).rawValue)
            hasher.update(integer: UInt64(entry.frames.count))
            for frame in entry.frames {
                frame.mask.hash(into: &hasher, grains: grains)
                hasher.update(frame.hash)
            }
        }
        return hasher.finish()
    }

    // MARK: Stored form

    static func framesOffset(blockCount: Int) -> Int {
        (SparseDirectory.end + (blockCount + 1) * 2 + 7) / 8 * 8
    }

    /// The bytes of the node. Traps if it is empty: such a chunk has no node.
    public func encode() -> [UInt8] {
        precondition(!isEmpty, "an empty chunk has no node")
        let sorted = entries.sorted { $0.key < $1.key }
        let header = Header(
            chunk: chunk, blockBytes: blockBytes, blockCount: blockCount, frameCount: frameCount)
        var writer = ByteWriter(capacity: header.byteCount)
        header.encode(into: &writer)
        SparseDirectory.encode(sorted.lazy.map(\.key), into: &writer)
        var first: UInt16 = 0
        for (_, entry) in sorted {
            writer.append(first)
            first += UInt16(entry.frames.count)
        }
        writer.append(first)
        writer.pad(to: 8)
        for (_, entry) in sorted {
            for frame in entry.frames { frame.encode(into: &writer, grains: grains) }
        }
        precondition(writer.count == header.byteCount)
        return writer.bytes
    }

    /// Validates and decodes; `chunk` and `blockBytes` are what the caller asked for.
    public init(
        decoding bytes: UnsafeRawBufferPointer, chunk: ChunkIndex? = nil, blockBytes: Int? = nil
    ) throws(FormatError) {
        try MapNodeView.validate(bytes, chunk: chunk, blockBytes: blockBytes)
        self.init(MapNodeView(validated: bytes))
    }

    /// A decoded copy of a validated node.
    public init(_ view: MapNodeView) {
        self.init(chunk: view.chunk, blockBytes: view.blockBytes)
        entries.reserveCapacity(view.blockCount)
        var next = view.firstPresent(from: 0)
        while let index = next {
            entries[index] = view.entry(at: index).entry
            next = view.firstPresent(from: index + 1)
        }
    }

    /// The first 64 bytes.
    struct Header {
        let chunk: ChunkIndex
        let blockBytes: Int
        let blockCount: Int
        let frameCount: Int

        var grains: Int { blockBytes / Limits.grainBytes }

        var byteCount: Int {
            MapNode.framesOffset(blockCount: blockCount)
                + frameCount * FramePointer.byteCount(grains: grains)
        }

        init(chunk: ChunkIndex, blockBytes: Int, blockCount: Int, frameCount: Int) {
            self.chunk = chunk
            self.blockBytes = blockBytes
            self.blockCount = blockCount
            self.frameCount = frameCount
        }

        func encode(into writer: inout ByteWriter) {
            writer.append(MapNode.magic)
            writer.append(MapNode.version)
            writer.appendZeros(2)
            writer.append(UInt32(blockBytes))
            writer.append(chunk.rawValue)
            writer.append(UInt16(blockCount))
            writer.append(UInt16(frameCount))
            writer.append(UInt32(byteCount))
            writer.appendZeros(32)
        }

        init(decoding reader: inout FieldReader) throws(FormatError) {
            try reader.magic(MapNode.magic)
            try reader.version(MapNode.version)
            try reader.reserved(2)
            blockBytes = try reader.blockBytes()
            chunk = ChunkIndex(
                try reader.integer(in: 0...(FormatLimits.chunksMax - 1), field: "chunk"))
            let blocks = try reader.integer(in: 1...UInt16(Limits.chunkBlocks), field: "blocks")
            let most = blocks * UInt16(Limits.stackFramesMax)
            blockCount = Int(blocks)
            frameCount = Int(try reader.integer(in: blocks...most, field: "frames"))
            let length = try reader.integer(UInt32.self)
            guard Int(length) == byteCount else {
                throw .badValue(.node, field: "length", offset: 28, found: UInt64(length))
            }
            try reader.reserved(32)
        }
    }
}

/// True for a power of two from the least to the largest block size.
func isBlockSize(_ bytes: UInt64) -> Bool {
    bytes >= UInt64(Limits.blockBytesMin) && bytes <= UInt64(Limits.blockBytesMax)
        && bytes.nonzeroBitCount == 1
}

extension FieldReader {
    /// A u32 that is a block size.
    mutating func blockBytes() throws(FormatError) -> Int {
        let start = offset
        let value = try integer(UInt32.self)
        guard isBlockSize(UInt64(value)) else {
            throw .badValue(format, field: "block bytes", offset: start, found: UInt64(value))
        }
        return Int(value)
    }
}
