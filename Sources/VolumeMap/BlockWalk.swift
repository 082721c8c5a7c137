// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One fetch of some blocks: first which frames are wanted, then the ranged GETs, then decoding,
// checking and flattening. Holds every node and block that it touches until it ends.

internal import CleanCache
internal import Formats
internal import ObjectStore
internal import Primitives

/// The work of one `bring`, confined to the thread that calls it.
struct BlockWalk<Store: ObjectStore> {
    /// A block that is not in the cache.
    private struct Missing {
        let block: BlockIndex
        let key: Hash128
        let frames: [FramePointer]
    }

    private let fetcher: MapFetcher<Store>
    private let root: Root
    private var missing: [Missing] = []
    private var wanted: [FramePointer] = []
    /// Equal blocks of one commit share a frame. The whole pointer is the name: two that differ in
    /// hash or mask alone are two frames, of which one is damaged.
    private var known: Set<FramePointer> = []
    private var node: (chunk: ChunkIndex, bytes: CachedBlock?)?
    /// Contents of frames until the blocks are put together.
    private var contents: [FramePointer: FetchBuffer] = [:]
    /// Whole older blocks that lie under deltas and were in the cache.
    private var bases: [Hash128: CachedBlock] = [:]
    /// By place in `wanted`: what of the last round came damaged.
    private var damaged: [Int: FetchError] = [:]
    /// Another reason why something does not come.
    private var failure: FetchError?
    /// What was asked for and holds data.
    private(set) var found: [BlockIndex: CachedBlock] = [:]

    init(fetcher: MapFetcher<Store>, root: Root) {
        self.fetcher = fetcher
        self.root = root
    }

    /// Finds out what a block needs. Brings pages and nodes, no frames.
    mutating func add(_ block: BlockIndex) throws(FetchError) {
        let chunk = block.chunk
        if node?.chunk != chunk { node = (chunk, try fetcher.node(of: chunk, in: root)) }
        guard let bytes = node?.bytes else { return }
        let stack = MapNodeView(validated: bytes.bytes).entry(at: block.entryInChunk)
        if stack.isEmpty { return }
        let key = stack.contentKey
        if let content = fetcher.cache.lookup(key), content.bytes.count == root.blockBytes {
            found[block] = content
            return
        }
        let frames = stack.entry.frames
        missing.append(Missing(block: block, key: key, frames: frames))
        for frame in frames where known.insert(frame).inserted && !isBaseAtHand(frame) {
            wanted.append(frame)
        }
    }

    /// GETs what is wanted and puts the blocks together. What comes damaged is asked for again: it
    /// may have been harmed on its way.
    mutating func fetch() throws(FetchError) {
        if !wanted.isEmpty {
            var rest = try locate()
            for _ in 0..<FetchLimits.damagedTriesMax where !rest.isEmpty {
                damaged = [:]
                try read(planRanges(rest))
                rest = rest.filter { damaged[$0.tag] != nil }
            }
        }
        for block in missing { assemble(block) }
        if let failure = failure ?? damaged.min(by: { $0.key < $1.key })?.value { throw failure }
    }

    /// A whole block under deltas may be cached on its own: another volume shares it.
    private mutating func isBaseAtHand(_ frame: FramePointer) -> Bool {
        guard frame.isFull(grains: root.grainsPerBlock),
            let base = fetcher.cache.lookup(frame.hash), base.bytes.count == root.blockBytes
        else { return false }
        bases[frame.hash] = base
        return true
    }

    private func locate() throws(FetchError) -> [WantedBytes] {
        var packs: [PackSlot: PackID] = [:]
        var located: [WantedBytes] = []
        for (tag, frame) in wanted.enumerated() {
            let pack: PackID
            if let known = packs[frame.slot] {
                pack = known
            } else {
                pack = try fetcher.packID(of: frame.slot, in: root)
                packs[frame.slot] = pack
            }
            located.append(
                WantedBytes(
                    pack: pack, offset: UInt64(frame.offset), length: UInt64(frame.length),
                    tag: tag))
        }
        return located
    }

    /// GETs all ranges at once, as far as the spread allows it, and decodes what came.
    private mutating func read(_ ranges: [FetchRange]) throws(FetchError) {
        let reads = RangeReads(store: fetcher.store, ranges: ranges)
        fetcher.spread(ranges.count) { reads.read($0) }
        var away: FetchError?
        for (index, range) in ranges.enumerated() {
            switch reads.take(index) {
            case .bytes(let buffer): decode(range, buffer)
            case .failed(let error):
                let reason = FetchError(error)
                if reason.isRetryable {
                    away = away ?? reason
                } else {
                    failure = failure ?? reason
                }
            case .skipped: break
            }
        }
        if let away { throw away }
    }

    private mutating func decode(_ range: FetchRange, _ buffer: FetchBuffer) {
        let key = range.pack.key
        fetcher.meter.addGet(bytes: range.length)
        for member in range.members {
            let start = Int(member.offset - range.offset)
            let bytes = UnsafeRawBufferPointer(
                rebasing: buffer.bytes[start..<(start + Int(member.length))])
            decode(member.tag, from: bytes, key: key)
        }
    }

    private mutating func decode(
        _ tag: Int, from bytes: UnsafeRawBufferPointer, key: String
    ) {
        let frame = wanted[tag]
        let content = FetchBuffer(byteCount: frame.mask.count * Limits.grainBytes)
        do throws(FormatError) {
            try Frame.decode(
                bytes, pointer: frame, grains: root.grainsPerBlock, into: content.bytes)
        } catch {
            damaged[tag] = .damaged(key: key, detail: "frame at \(frame.offset): \(error)")
            return
        }
        contents[frame] = content
    }

    /// Lays the stack's frames over each other, oldest first, and caches the block. A block one of
    /// whose frames did not come is left out: its error was noted.
    private mutating func assemble(_ missing: Missing) {
        var layers: [(mask: GrainMask, bytes: UnsafeRawBufferPointer)] = []
        for frame in missing.frames {
            if let content = contents[frame] {
                layers.append((frame.mask, UnsafeRawBufferPointer(content.bytes)))
            } else if let base = bases[frame.hash] {
                layers.append((frame.mask, base.bytes))
            } else {
                return
            }
        }
        if layers.count == 1, layers[0].bytes.count == root.blockBytes {
            found[missing.block] = fetcher.cache.insert(missing.key, layers[0].bytes)
            return
        }
        let block = FetchBuffer(byteCount: root.blockBytes)
        block.bytes.initializeMemory(as: UInt8.self, repeating: 0)
        for layer in layers.reversed() { overlay(layer.bytes, mask: layer.mask, onto: block.bytes) }
        found[missing.block] = fetcher.cache.insert(
            missing.key, UnsafeRawBufferPointer(block.bytes))
    }
}

/// Copies the grains of a frame, which lie one behind the other, to their places in a block.
func overlay(
    _ grains: UnsafeRawBufferPointer, mask: GrainMask, onto block: UnsafeMutableRawBufferPointer
) {
    precondition(grains.count == mask.count * Limits.grainBytes)
    var source = 0
    var next = mask.run(from: 0)
    while let run = next {
        let count = run.count * Limits.grainBytes
        let start = run.lowerBound * Limits.grainBytes
        precondition(start + count <= block.count)
        UnsafeMutableRawBufferPointer(rebasing: block[start..<(start + count)])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: grains[source..<(source + count)]))
        source += count
        next = mask.run(from: run.upperBound)
    }
}
