// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A commit whose content comes from outside, block by block: what bless and import publish. The
// packs are those of any commit (PackSink). The new map replaces all of the parent's, and a block
// that is not given is zeros; or the given blocks alone change.
//
//   learnParent ─▶ adopt each pack of an earlier try ─▶ add blocks, ascending ─▶ finish
//
// What is referred to without being stored lies in packs that are live in the parent's table, or in
// packs of this very commit, which the collector takes for being in flight.

package import CleanCache
package import Formats
package import ObjectStore
package import Primitives
package import VolumeMap

/// What a new commit is made of.
package struct ImageBuilderSource {
    /// The commit before; a draft, where the new commit is to be the first of its volume.
    package let parent: Root
    /// True if `parent` is nowhere in the store.
    package let isDraft: Bool
    /// True: blocks that are not given stay as the parent has them. False: they are zeros.
    package let keepsRest: Bool

    package init(parent: Root, isDraft: Bool = false, keepsRest: Bool = false) {
        self.parent = parent
        self.isDraft = isDraft
        self.keepsRest = keepsRest
    }
}

/// Confined to the thread that imports. Ended by `finish` or `abandon`.
package struct ImageBuilder<Store: ObjectStore, Random: RandomSource> {
    private let source: ImageBuilderSource
    private let size: ByteCount
    private let fetcher: MapFetcher<Store>
    private let known: KnownFrames
    private var sink: PackSink<Store, Random>
    /// The chunk at hand: as it was, and as it becomes.
    private var open: (old: MapNode, new: MapNode)?
    /// Chunks below are settled.
    private var nextChunk: UInt64 = 0
    /// Blocks that were given and did not have to be stored.
    package private(set) var blocksReused = 0

    private var parent: Root { source.parent }

    /// `size` is not below the parent's if the rest is kept.
    package init(
        _ source: ImageBuilderSource, size: ByteCount, settings: PackSettings, store: Store,
        uploads: PackUploads, cache: CleanCache, known: KnownFrames, random: Random
    ) {
        precondition(!source.keepsRest || size >= source.parent.size, "nothing is cut off")
        self.source = source
        let parent = source.parent
        self.size = size
        self.known = known
        fetcher = MapFetcher(store: store, cache: cache)
        sink = PackSink(
            names: .init(
                volume: parent.commit.volume, epoch: parent.commit.epoch,
                sequence: parent.commit.sequence.next, settings: settings,
                grains: parent.grainsPerBlock),
            store: store, uploads: uploads, cache: cache,
            packs: PackLedger(parent: parent, fetcher: fetcher),
            chunks: ChunkLedger(parent: parent, fetcher: fetcher), random: random, progress: nil)
    }

    package var statistics: CommitStatistics { sink.statistics }

    // MARK: What need not be stored

    /// Remembers the parent's whole blocks. Reads all of its nodes.
    package mutating func learnParent() throws(CommitError) {
        guard parent.chunkCount > 0 else { return }
        for chunk in try sink.chunks.present(in: 0...(parent.chunkCount - 1)) {
            for entry in try sink.chunks.node(of: chunk).entries.values {
                for frame in entry.frames where frame.isFull(grains: parent.grainsPerBlock) {
                    known.remember(frame.hash, .init(slot: frame.slot, extent: frame.extent))
                }
            }
        }
    }

    /// Remembers the frames of a pack that an earlier try of this commit left behind. `bytes` is
    /// the pack's size.
    package mutating func adopt(_ index: PackIndex, bytes: UInt64) throws(CommitError) {
        precondition(index.pack.volume == parent.commit.volume, "a pack of this volume")
        let slot = try sink.packs.adopt(index.pack, bytes: bytes)
        for member in index.members where member.kind == .frame {
            known.remember(member.hash, .init(slot: slot, extent: member.extent))
        }
    }

    // MARK: Blocks

    /// The block's content is what `hash` says; `frame` is the frame of it, or nil if the block was
    /// known. Blocks ascend.
    package mutating func add(
        _ block: BlockIndex, hash: Hash128, frame: UnsafeRawBufferPointer?
    ) throws(CommitError) {
        try turn(to: block.chunk)
        let entry = block.entryInChunk
        let pointer: FramePointer
        if let same = open?.old[entry]?.frames.first, same.hash == hash,
            same.isFull(grains: parent.grainsPerBlock)
        {
            pointer = same
        } else {
            pointer = try place(hash, frame)
        }
        open?.new[entry] = BlockEntry(frames: [pointer])
    }

    private mutating func place(
        _ hash: Hash128, _ frame: UnsafeRawBufferPointer?
    ) throws(CommitError) -> FramePointer {
        let mask = GrainMask(full: parent.grainsPerBlock)
        if let place = known.place(of: hash) {
            blocksReused += 1
            return FramePointer(
                slot: place.slot, offset: place.extent.offset, length: place.extent.length,
                hash: hash, mask: mask)
        }
        guard let frame else { preconditionFailure("a block is known, or it has a frame") }
        let pointer = try sink.append(frame, mask: mask, hash: hash)
        known.remember(hash, .init(slot: pointer.slot, extent: pointer.extent))
        return pointer
    }

    /// The blocks are zeros. Blocks ascend, with those that are added. Costs what is there of them.
    package mutating func clear(_ blocks: Range<UInt64>) throws(CommitError) {
        // What is not given is zeros already.
        guard source.keepsRest, let last = blocks.last else { return }
        let first = BlockIndex(blocks.lowerBound).chunk
        let chunks = first.rawValue...BlockIndex(last).chunk.rawValue
        var present = try sink.chunks.present(in: chunks)
        if let open, open.new.chunk == first, present.first != first {
            present.insert(first, at: 0)
        }
        for chunk in present {
            try turn(to: chunk)
            let start = chunk.firstBlock.rawValue
            for index in 0..<Limits.chunkBlocks where blocks.contains(start + UInt64(index)) {
                open?.new[index] = nil
            }
        }
    }

    // MARK: Chunks

    private mutating func turn(to chunk: ChunkIndex) throws(CommitError) {
        if let open {
            if open.new.chunk == chunk { return }
            precondition(open.new.chunk < chunk, "blocks ascend")
            try settle()
        }
        try clear(upTo: chunk.rawValue)
        let old = try sink.chunks.node(of: chunk)
        open = (
            old,
            source.keepsRest ? old : MapNode(chunk: chunk, blockBytes: parent.blockBytes)
        )
    }

    /// Counts what changed in the chunk at hand and stores its node.
    private mutating func settle() throws(CommitError) {
        guard let (old, new) = open.take() else { return }
        nextChunk = new.chunk.rawValue + 1
        if old == new { return }
        for index in 0..<Limits.chunkBlocks {
            let before = old[index]?.frames ?? []
            let after = new[index]?.frames ?? []
            for frame in after where !before.contains(frame) { sink.packs.retake(frame.slot) }
            for frame in before where !after.contains(frame) { sink.packs.release(frame.slot) }
        }
        if let entry = try sink.chunks.entry(of: new.chunk) { sink.packs.release(entry.slot) }
        guard !new.entries.isEmpty else {
            sink.chunks.remove(new.chunk)
            return
        }
        try sink.add(new, bytes: new.encode())
    }

    /// Takes the parent's chunks below `end` that no block was given of out of the table.
    private mutating func clear(upTo end: UInt64) throws(CommitError) {
        guard nextChunk < end, !source.keepsRest else { return }
        for chunk in try sink.chunks.present(in: nextChunk...(end - 1)) {
            for entry in try sink.chunks.node(of: chunk).entries.values {
                for frame in entry.frames { sink.packs.release(frame.slot) }
            }
            if let entry = try sink.chunks.entry(of: chunk) { sink.packs.release(entry.slot) }
            sink.chunks.remove(chunk)
        }
        nextChunk = end
    }

    // MARK: The end

    /// Stores the last pack and makes the commit, which is in the store nowhere yet; nil if it
    /// would say what the parent in the store says. All packs are durable on return.
    package mutating func finish(
        token: Token, labelSeconds: UInt64, copied: CopiedCommit? = nil
    ) throws(CommitError) -> LocalRoot? {
        try settle()
        try clear(upTo: max(nextChunk, parent.chunkCount))
        let isChanged = sink.chunks.isChanged || statistics.nodes > 0 || size != parent.size
        guard isChanged || source.isDraft else { return nil }
        let tables = try sink.finish(parent: parent, fetcher: fetcher)
        var commit = Commit(
            volume: parent.commit.volume, sequence: parent.commit.sequence.next,
            epoch: parent.commit.epoch, token: token,
            parentToken: source.isDraft ? .zero : parent.commit.token, state: .clean,
            isFence: source.isDraft, size: size, blockBytes: parent.blockBytes,
            cut: parent.commit.cut, labelSeconds: labelSeconds,
            chunkPages: tables.chunkPages, packPages: tables.packPages,
            slotCount: tables.slotCount, digest: tables.digest)
        commit.copied = copied
        return LocalRoot(commit: commit, bytes: commit.encode())
    }

    /// After a failure: when it returns, nothing of this builder is on its way any more.
    package mutating func abandon() { sink.abandon() }
}
