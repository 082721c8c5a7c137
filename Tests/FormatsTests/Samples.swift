// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Random but valid objects of every binary format, from a seed. The goldens are the objects of one
// seed.

import Formats
import Primitives

/// Draws objects. Equal seeds draw equal objects.
struct Samples {
    var random: SplitMix64

    init(seed: UInt64) { random = SplitMix64(seed: seed) }

    mutating func number(_ range: ClosedRange<Int>) -> Int {
        range.lowerBound + Int(random.next(below: UInt64(range.count)))
    }

    mutating func chance(_ percent: Int) -> Bool { number(0...99) < percent }

    mutating func identifier<Value: Identifier128>(_: Value.Type = Value.self) -> Value {
        Value.random(from: &random)
    }

    mutating func packID() -> PackID {
        PackID(
            volume: identifier(), epoch: Epoch(UInt32(number(1...9))),
            sequence: CommitSequence(UInt64(number(1...1_000_000))), number: UInt16(number(0...9)),
            token: identifier())
    }

    mutating func slot() -> PackSlot { PackSlot(UInt32(number(0...5000))) }

    mutating func mask(grains: Int, full: Bool = false) -> GrainMask {
        if full { return GrainMask(full: grains) }
        var mask = GrainMask()
        mask.insert(number(0...(grains - 1)))
        for _ in 0..<number(0...grains) { mask.insert(number(0...(grains - 1))) }
        return mask
    }

    mutating func frame(grains: Int, full: Bool) -> FramePointer {
        let header = FrameHeader.byteCount(grains: grains)
        return FramePointer(
            slot: slot(), offset: UInt32(number(64...1_000_000)),
            length: UInt32(number((header + 1)...(header + grains * Limits.grainBytes))),
            hash: identifier(), mask: mask(grains: grains, full: full))
    }

    mutating func stack(grains: Int) -> BlockEntry {
        var frames: [FramePointer] = []
        for _ in 0..<number(1...Limits.stackFramesMax) {
            frames.append(frame(grains: grains, full: frames.count == 3 || chance(40)))
            if frames.last?.isFull(grains: grains) == true { break }
        }
        return BlockEntry(frames: frames)
    }

    mutating func node(blockBytes: Int, blocks: Int) -> MapNode {
        var node = MapNode(chunk: ChunkIndex(UInt64(number(0...131_071))), blockBytes: blockBytes)
        for _ in 0..<blocks { node[number(0...1023)] = stack(grains: node.grains) }
        return node
    }

    mutating func chunkPage(index: UInt32, blockBytes: Int, entries: Int) -> ChunkTablePage {
        var page = ChunkTablePage(index: index, blockBytes: blockBytes)
        for _ in 0..<entries {
            let blocks = number(1...1024)
            page[number(0...1023)] = ChunkEntry(
                slot: slot(), offset: UInt32(number(64...1_000_000)),
                length: UInt32(number(300...40_000)), hash: identifier(), digest: identifier(),
                blockCount: blocks, frameCount: number(blocks...(4 * blocks)))
        }
        return page
    }

    mutating func packPage(index: UInt32, entries: Int) -> PackTablePage {
        var page = PackTablePage(index: index)
        for _ in 0..<entries {
            let live = UInt64(number(0...10_000))
            page[number(0...1023)] = PackEntry(
                pack: packID(), live: live, total: live + UInt64(number(0...10_000)),
                bytes: UInt64(number(400...32_000_000)))
        }
        return page
    }

    /// Bytes that compress, or that do not.
    mutating func content(_ count: Int, compressible: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            let word = compressible && chance(95) ? 0x2020_2020 : random.next()
            withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    /// A frame's bytes, its content, and a pointer to it at offset 64 of slot 0.
    mutating func frameBytes(
        grains: Int, full: Bool, codec: Codec, compressible: Bool = true
    ) -> (frame: [UInt8], content: [UInt8], pointer: FramePointer) {
        let mask = mask(grains: grains, full: full)
        let content = content(mask.count * Limits.grainBytes, compressible: compressible)
        let hash = content.withUnsafeBytes { Frame.hash(of: $0, mask: mask, grains: grains) }
        let frame = content.withUnsafeBytes {
            Frame.encode($0, mask: mask, hash: hash, grains: grains, codec: codec)
        }
        let pointer = FramePointer(
            slot: PackSlot(0), offset: 64, length: UInt32(frame.count), hash: hash, mask: mask)
        return (frame, content, pointer)
    }

    /// A pack with `frames` small frames, a node and two pages.
    mutating func pack(frames: Int) -> [UInt8] {
        var writer = PackWriter(pack: packID())
        for _ in 0..<frames {
            let made = frameBytes(grains: 4, full: chance(50), codec: .lz4)
            _ = writer.append(frame: made.frame, hash: made.pointer.hash)
        }
        _ = writer.append(node: node(blockBytes: 16 << 10, blocks: 3).encode())
        _ = writer.append(
            chunkPage: chunkPage(index: 0, blockBytes: 16 << 10, entries: 2).encode())
        _ = writer.append(packPage: packPage(index: 0, entries: 2).encode())
        return writer.finish()
    }

    mutating func pointer() -> PackPointer {
        PackPointer(
            pack: packID(), offset: UInt32(number(64...1_000_000)),
            length: UInt32(number(300...70_000)), hash: identifier())
    }

    mutating func commit(inline: Bool, takeover: Bool) -> Commit {
        let blockBytes = Limits.blockBytesDefault
        var commit = Commit(
            volume: identifier(), sequence: CommitSequence(UInt64(number(1...1_000_000))),
            epoch: Epoch(UInt32(number(1...9))), token: identifier(), parentToken: identifier(),
            state: chance(50) ? .open : .clean, isFence: chance(50),
            size: ByteCount(10_000_000_000_000), blockBytes: blockBytes,
            cut: RecordSequence(random.next() >> 1),
            labelSeconds: UInt64(number(0...2_000_000_000)),
            slotCount: 5001, digest: identifier())
        if takeover {
            commit.uncleanTakeover = UncleanTakeover(
                epoch: commit.epoch, sequence: CommitSequence(UInt64(number(1...1000))),
                labelSeconds: UInt64(number(0...2_000_000_000)))
        }
        if inline {
            commit.chunkPages[7] = .inline(
                chunkPage(index: 7, blockBytes: blockBytes, entries: 5).encode())
            commit.packPages[0] = .inline(packPage(index: 0, entries: 5).encode())
        } else {
            for _ in 0..<number(1...6) {
                commit.chunkPages[UInt32(number(0...70))] = .packed(pointer())
                commit.packPages[UInt32(number(0...4))] = .packed(pointer())
            }
        }
        return commit
    }
}

/// Lends the bytes of an array to a decoder that throws FormatError, and keeps its type.
func lend<Value>(
    _ bytes: [UInt8], _ decode: (UnsafeRawBufferPointer) throws(FormatError) -> Value
) throws(FormatError) -> Value {
    let result: Result<Value, FormatError> = bytes.withUnsafeBytes { lent in
        do throws(FormatError) {
            return .success(try decode(lent))
        } catch {
            return .failure(error)
        }
    }
    return try result.get()
}

/// What a decoder threw, or nil if it accepted the bytes.
func refusal<Value>(
    of bytes: [UInt8], _ decode: (UnsafeRawBufferPointer) throws(FormatError) -> Value
) -> FormatError? {
    do throws(FormatError) {
        _ = try lend(bytes, decode)
        return nil
    } catch {
        return error
    }
}
