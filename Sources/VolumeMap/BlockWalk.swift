// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One fetch of some blocks: first which frames are wanted, then the ranged GETs, then decoding,
// checking and flattening. Holds every node and block that it touches until it ends.

internal import CleanCache
package import Formats
internal import ObjectStore
internal import Primitives
internal import Synchronization

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
    private var contents: [FramePointer: CachedBlock] = [:]
    /// Whole older blocks that lie under deltas and were in the cache.
    private var bases: [Hash128: CachedBlock] = [:]
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
        let failures = wanted.isEmpty ? [:] : try readWanted()
        for block in missing { assemble(block) }
        if let failure = failures.min(by: { $0.key < $1.key })?.value { throw failure }
    }

    /// GETs all frames at once, as far as the spread allows it, each decoded where it arrives.
    private mutating func readWanted() throws(FetchError) -> [Int: FetchError] {
        let ranges = planRanges(try fetcher.locate(wanted, in: root))
        let decoded = DecodedFrames(wanted, grains: root.grainsPerBlock)
        let failures = try fetcher.reads.read(ranges) { tag, bytes throws(FormatError) in
            try decoded.decode(tag, bytes)
        }
        contents = decoded.take()
        return failures
    }

    /// A whole block under deltas may be cached on its own: another volume shares it.
    private mutating func isBaseAtHand(_ frame: FramePointer) -> Bool {
        guard frame.isFull(grains: root.grainsPerBlock),
            let base = fetcher.cache.lookup(frame.hash), base.bytes.count == root.blockBytes
        else { return false }
        bases[frame.hash] = base
        return true
    }

    /// Lays the stack's frames over each other, oldest first, and caches the block. A block one of
    /// whose frames did not come is left out: its error was noted.
    private mutating func assemble(_ missing: Missing) {
        var layers: [(mask: GrainMask, content: CachedBlock)] = []
        for frame in missing.frames {
            guard let content = contents[frame] ?? bases[frame.hash] else { return }
            layers.append((frame.mask, content))
        }
        let block: CachedBlock
        if layers.count == 1, layers[0].content.count == root.blockBytes {
            // What was decoded is the block: large reads are seldom anything else.
            block = layers[0].content
        } else {
            block = CachedBlock(count: root.blockBytes) { bytes in
                bytes.initializeMemory(as: UInt8.self, repeating: 0)
                for layer in layers.reversed() {
                    overlay(layer.content.bytes, mask: layer.mask, onto: bytes)
                }
            }
        }
        found[missing.block] = fetcher.cache.insert(missing.key, block)
    }
}

extension MapFetcher {
    /// Where frames lie, by their places in `wanted`.
    func locate(_ wanted: [FramePointer], in root: Root) throws(FetchError) -> [WantedBytes] {
        var packs: [PackSlot: PackID] = [:]
        var located: [WantedBytes] = []
        for (tag, frame) in wanted.enumerated() {
            let pack: PackID
            if let known = packs[frame.slot] {
                pack = known
            } else {
                pack = try packID(of: frame.slot, in: root)
                packs[frame.slot] = pack
            }
            located.append(WantedBytes(pack: pack, extent: frame.extent, tag: tag))
        }
        return located
    }
}

/// Contents of frames as they come, on any thread.
final class DecodedFrames: Sendable {
    private let frames: [FramePointer]
    private let grains: Int
    private let contents = Lock<[FramePointer: CachedBlock]>([:])

    init(_ frames: [FramePointer], grains: Int) {
        self.frames = frames
        self.grains = grains
    }

    func decode(_ tag: Int, _ bytes: UnsafeRawBufferPointer) throws(FormatError) {
        let frame = frames[tag]
        let content = try CachedBlock(count: frame.mask.count * Limits.grainBytes) {
            target throws(FormatError) in
            try Frame.decode(bytes, pointer: frame, grains: grains, into: target)
        }
        contents.withLock { $0[frame] = content }
    }

    func take() -> [FramePointer: CachedBlock] { contents.withLock { $0 } }
}

/// Copies the grains of a frame, which lie one behind the other, to their places in a block.
package func overlay(
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
