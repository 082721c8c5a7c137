// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A published map made by hand: frames, nodes and pages where a test wants them, so that the
// requests of a fetcher can be counted.

import CleanCache
import Formats
import ObjectStore
import Primitives
import Testing
import VolumeMap

/// Confined to its test until it is sealed.
struct MapBench {
    let blockBytes: Int
    let store: MemoryStore
    private var random = SplitMix64(seed: 5)
    private let volume = VolumeID(low: 1, high: 2)
    private var nodes: [ChunkIndex: MapNode] = [:]
    private var packPage = PackTablePage(index: 0)
    private var writers: [PackWriter] = []

    init(blockBytes: Int = 16 << 10, packs: Int = 1, store: MemoryStore = MemoryStore()) {
        self.blockBytes = blockBytes
        self.store = store
        for number in 0..<packs {
            writers.append(
                PackWriter(
                    pack: PackID(
                        volume: volume, epoch: Epoch(1), sequence: CommitSequence(2),
                        number: UInt16(number), token: .random(from: &random))))
        }
    }

    /// Bytes of a block that no codec shrinks.
    func content(_ block: UInt64) -> [UInt8] {
        var random = SplitMix64(seed: block &* 31 &+ 7)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(blockBytes)
        while bytes.count < blockBytes {
            withUnsafeBytes(of: random.next()) { bytes.append(contentsOf: $0) }
        }
        return bytes
    }

    /// Stores a block's content in a pack. Order is the order in the pack.
    mutating func put(_ block: UInt64, pack: Int = 0) {
        let bytes = content(block)
        let mask = GrainMask(full: blockBytes / Limits.grainBytes)
        let pointer = bytes.withUnsafeBytes { raw -> FramePointer in
            let hash = Frame.hash(ofBlock: raw)
            let extent = writers[pack].append(
                content: raw, mask: mask, hash: hash, grains: blockBytes / Limits.grainBytes)
            return FramePointer(
                slot: PackSlot(UInt32(pack)), offset: extent.offset, length: extent.length,
                hash: hash, mask: mask)
        }
        let index = BlockIndex(block)
        nodes[index.chunk, default: MapNode(chunk: index.chunk, blockBytes: blockBytes)][
            index.entryInChunk] = BlockEntry(frames: [pointer])
    }

    /// Lays one grain, its bytes those of block `from`, over a block that was put before.
    mutating func putDelta(_ block: UInt64, grain: Int, from: UInt64, pack: Int) {
        let bytes = Array(content(from)[..<Limits.grainBytes])
        var mask = GrainMask()
        mask.insert(grain)
        let grains = blockBytes / Limits.grainBytes
        let pointer = bytes.withUnsafeBytes { raw -> FramePointer in
            let hash = Frame.hash(of: raw, mask: mask, grains: grains)
            let extent = writers[pack].append(content: raw, mask: mask, hash: hash, grains: grains)
            return FramePointer(
                slot: PackSlot(UInt32(pack)), offset: extent.offset, length: extent.length,
                hash: hash, mask: mask)
        }
        let index = BlockIndex(block)
        let below = nodes[index.chunk]?[index.entryInChunk]?.frames ?? []
        nodes[index.chunk]?[index.entryInChunk] = BlockEntry(frames: [pointer] + below)
    }

    /// Stores bytes that no block names, as a gap between frames.
    mutating func gap(_ count: Int, pack: Int = 0) {
        for index in 0..<((count + blockBytes - 1) / blockBytes) {
            let bytes = content(UInt64(1 << 40 + index))
            bytes.withUnsafeBytes { raw in
                _ = writers[pack].append(
                    content: raw, mask: GrainMask(full: blockBytes / Limits.grainBytes),
                    hash: Frame.hash(ofBlock: raw), grains: blockBytes / Limits.grainBytes)
            }
        }
    }

    /// Puts packs and makes the root. With `packsPages` the tables lie in a pack too.
    mutating func seal(blocks: UInt64, packsPages: Bool = false) throws -> Root {
        var pages: [UInt32: ChunkTablePage] = [:]
        for (chunk, node) in nodes.sorted(by: { $0.key < $1.key }) {
            let (extent, hash) = writers[0].append(node: node.encode())
            let place = ChunkTablePage.place(of: chunk)
            pages[place.page, default: ChunkTablePage(index: place.page, blockBytes: blockBytes)][
                place.entry] = ChunkEntry(node, slot: PackSlot(0), extent: extent, hash: hash)
        }
        for (slot, writer) in writers.enumerated() {
            packPage[slot] = PackEntry(
                pack: writer.pack, live: 1, total: 1, bytes: UInt64(writer.byteCount))
        }
        var chunkList = PageList()
        var packList = PageList()
        for (index, page) in pages.sorted(by: { $0.key < $1.key }) {
            let bytes = page.encode()
            chunkList[index] =
                packsPages ? .packed(writers[0].append(chunkPage: bytes)) : .inline(bytes)
        }
        let bytes = packPage.encode()
        packList[0] = packsPages ? .packed(writers[0].append(packPage: bytes)) : .inline(bytes)
        for writer in writers where !writer.isEmpty {
            _ = try store.putIfAbsent(writer.pack.key, writer.finish())
        }
        return Root(
            commit: Commit(
                volume: volume, sequence: CommitSequence(2), epoch: Epoch(1),
                token: .random(from: &random), state: .open, isFence: false,
                size: ByteCount(blocks * UInt64(blockBytes)), blockBytes: blockBytes,
                cut: RecordSequence(1), labelSeconds: 1, chunkPages: chunkList,
                packPages: packList, slotCount: UInt32(writers.count)))
    }

    var firstPack: String { writers[0].pack.key }
}

/// A reader with a cache of its own, and the requests it makes.
struct MapClient {
    let store: MemoryStore
    let root: Root
    let cache = CleanCache(capacityBytes: 256 << 20)

    var fetcher: MapFetcher<MemoryStore> { MapFetcher(store: store, cache: cache) }
    var reader: MapReader { MapReader(root: root, cache: cache) }

    func gets(_ body: (MapFetcher<MemoryStore>) throws -> Void) rethrows -> UInt64 {
        let before = store.counts.gets
        try body(fetcher)
        return store.counts.gets - before
    }

    func isCached(_ block: UInt64, _ content: [UInt8]) -> Bool {
        var reader = self.reader
        guard case .cached(let found) = reader.resolve(BlockIndex(block)) else { return false }
        return found.bytes.elementsEqual(content)
    }
}

func blocks(_ numbers: some Sequence<UInt64>) -> [BlockIndex] { numbers.map { BlockIndex($0) } }
