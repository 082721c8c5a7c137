// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A map node as it lies in memory: read in place, without decoding. `validate` looks at every byte
// once, when the node enters the clean cache; afterwards a lookup is a bit test, a population count
// and two loads. The table of the format is in MapNode.swift.

public import Primitives

/// A node over borrowed bytes that `validate` accepted. Valid only as long as the bytes are.
public struct MapNodeView {
    public let bytes: UnsafeRawBufferPointer
    public let chunk: ChunkIndex
    public let blockBytes: Int
    /// Blocks that have a stack, 1…1024.
    public let blockCount: Int
    /// Elements of all stacks: the references that this node holds.
    public let frameCount: Int

    private let words: Int
    private let framesOffset: Int

    /// A view over bytes that `validate` accepted before; nothing is checked again.
    public init(validated bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count > SparseDirectory.end)
        func load<Value: FixedWidthInteger>(_ offset: Int, _ type: Value.Type) -> Value {
            Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
        }
        self.bytes = bytes
        blockBytes = Int(load(12, UInt32.self))
        chunk = ChunkIndex(load(16, UInt64.self))
        blockCount = Int(load(24, UInt16.self))
        frameCount = Int(load(26, UInt16.self))
        words = GrainMask.wordCount(grains: blockBytes / Limits.grainBytes)
        framesOffset = MapNode.framesOffset(blockCount: blockCount)
    }

    public var grains: Int { blockBytes / Limits.grainBytes }

    public func contains(_ index: Int) -> Bool {
        precondition(index >= 0 && index < Limits.chunkBlocks)
        return SparseDirectory.contains(bytes, index)
    }

    /// The stack of block `index` of the chunk; empty if the block reads as zeros. Does not
    /// allocate.
    public func entry(at index: Int) -> StackView {
        guard let position = SparseDirectory.position(bytes, of: index) else {
            return StackView(
                bytes: bytes, offset: 0, count: 0, words: words, blockBytes: blockBytes)
        }
        let first = firstFrame(position)
        let next = firstFrame(position + 1)
        return StackView(
            bytes: bytes, offset: framesOffset + first * (28 + 8 * words), count: next - first,
            words: words, blockBytes: blockBytes)
    }

    /// The first block at or after `start` that has a stack; nil if none has.
    public func firstPresent(from start: Int) -> Int? {
        SparseDirectory.first(bytes, from: start)
    }

    /// The first block at or after `start` that has no stack; nil if all have one.
    public func firstAbsent(from start: Int) -> Int? {
        SparseDirectory.firstAbsent(bytes, from: start)
    }

    private func firstFrame(_ position: Int) -> Int {
        Int(
            UInt16(
                littleEndian: bytes.loadUnaligned(
                    fromByteOffset: SparseDirectory.end + position * 2, as: UInt16.self)))
    }

    /// Checks every byte of an encoded node. What passes can be read by a view without a trap.
    ///
    /// `chunk` and `blockBytes` are what the caller asked for: another node is a misdirected one.
    public static func validate(
        _ bytes: UnsafeRawBufferPointer, chunk: ChunkIndex? = nil, blockBytes: Int? = nil
    ) throws(FormatError) {
        var reader = FieldReader(bytes, format: .node)
        let header = try MapNode.Header(decoding: &reader)
        if let chunk, chunk != header.chunk {
            throw .wrongIdentity(
                .node, field: "chunk", found: header.chunk.rawValue, expected: chunk.rawValue)
        }
        if let blockBytes, blockBytes != header.blockBytes {
            throw .wrongIdentity(
                .node, field: "block bytes", found: UInt64(header.blockBytes),
                expected: UInt64(blockBytes))
        }
        guard bytes.count == header.byteCount else {
            throw .badValue(.node, field: "length", offset: 28, found: UInt64(header.byteCount))
        }
        try SparseDirectory.validate(&reader, count: header.blockCount)
        let counts = try stackCounts(&reader, header)
        try reader.reserved(
            MapNode.framesOffset(blockCount: header.blockCount) - reader.offset)
        for count in counts { try validateStack(&reader, count: Int(count), grains: header.grains) }
        try reader.end()
    }

    private static func stackCounts(
        _ reader: inout FieldReader, _ header: MapNode.Header
    ) throws(FormatError) -> [UInt8] {
        var counts: [UInt8] = []
        counts.reserveCapacity(header.blockCount)
        var before: UInt16 = 0
        for position in 0...header.blockCount {
            let start = reader.offset
            let first = try reader.integer(UInt16.self)
            let step = Int(first) - Int(before)
            let isRight = position == 0 ? first == 0 : (1...Limits.stackFramesMax).contains(step)
            guard isRight else {
                throw .badValue(.node, field: "first frame", offset: start, found: UInt64(first))
            }
            if position > 0 { counts.append(UInt8(step)) }
            before = first
        }
        guard Int(before) == header.frameCount else {
            throw .badValue(.node, field: "frame count", offset: 26, found: UInt64(before))
        }
        return counts
    }

    private static func validateStack(
        _ reader: inout FieldReader, count: Int, grains: Int
    ) throws(FormatError) {
        for position in 0..<count {
            let start = reader.offset
            let frame = try FramePointer(decoding: &reader, grains: grains)
            guard position == count - 1 || !frame.isFull(grains: grains) else {
                throw .badValue(
                    .node, field: "frame below a full one", offset: start, found: UInt64(position))
            }
        }
    }
}

/// The frames of one block, newest first, over borrowed bytes. Empty: the block reads as zeros.
public struct StackView {
    private let bytes: UnsafeRawBufferPointer
    private let offset: Int
    private let words: Int
    public let count: Int
    public let blockBytes: Int

    init(bytes: UnsafeRawBufferPointer, offset: Int, count: Int, words: Int, blockBytes: Int) {
        self.bytes = bytes
        self.offset = offset
        self.count = count
        self.words = words
        self.blockBytes = blockBytes
    }

    public var isEmpty: Bool { count == 0 }

    /// Frame `index`, the newest is 0.
    public subscript(index: Int) -> FramePointer {
        precondition(index >= 0 && index < count)
        return FramePointer(
            validated: bytes, at: offset + index * (28 + 8 * words), words: words)
    }

    /// The clean cache's key of the block's content. Traps on an empty stack, which has none.
    public var contentKey: Hash128 {
        let grains = blockBytes / Limits.grainBytes
        let newest = self[0]
        if newest.isFull(grains: grains) { return newest.hash }
        var hasher = StackKey(blockBytes: blockBytes, count: count)
        for index in 0..<count { hasher.add(self[index]) }
        return hasher.finish()
    }

    /// A copy that outlives the bytes.
    public var entry: BlockEntry { BlockEntry(frames: (0..<count).map { self[$0] }) }
}

/// Names a flattened stack: equal keys mean equal blocks. The block size is hashed too, because
/// delta frames alone do not tell how long the block is.
struct StackKey: ~Copyable {
    private var hasher = BLAKE3(domain: .stack)
    private let grains: Int

    init(blockBytes: Int, count: Int) {
        grains = blockBytes / Limits.grainBytes
        hasher.update(integer: UInt64(blockBytes))
        hasher.update(integer: UInt64(count))
    }

    mutating func add(_ frame: FramePointer) {
        frame.mask.hash(into: &hasher, grains: grains)
        hasher.update(frame.hash)
    }

    consuming func finish() -> Hash128 { hasher.finish() }
}
