// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where a commit's frames, nodes and pages go: one pack is open at a time, and it is PUT when its
// frames reach the target, or its nodes half of that, while the next is filled. Nodes wait until
// then, because a pack holds them behind its frames; their places become known when it closes.
// Memory is bounded by the open pack and those on their way, not by a commit.
//
//   frame, frame, … node, node, …   ─▶ PUT, next pack …   last pack: … pages, index ─▶ PUT

internal import CleanCache
internal import Formats
internal import ObjectStore
internal import Primitives
internal import VolumeMap

/// Writes the packs of one commit, confined to its builder.
struct PackSink<Store: ObjectStore, Random: RandomSource> {
    /// A node that waits for its place.
    private struct WaitingNode {
        let chunk: ChunkIndex
        let bytes: [UInt8]
        let digest: Hash128
        let blockCount: Int
        let frameCount: Int
    }

    /// What the packs of a commit are named and made with.
    struct Names {
        let volume: VolumeID
        let epoch: Epoch
        let sequence: CommitSequence
        let settings: PackSettings
        let grains: Int
    }

    var packs: PackLedger<Store>
    var chunks: ChunkLedger<Store>
    var random: Random
    var statistics = CommitStatistics()

    private let names: Names
    private let store: Store
    private let uploads: PackUploads
    /// The packs that are on their way while the next is filled, oldest first.
    private var sending: [(key: String, pack: PackSending)] = []
    let cache: CleanCache
    var writer: PackWriter?
    /// The open pack's slot; nil as long as it holds nothing but pages.
    private(set) var slot: PackSlot?
    private var nodes: [WaitingNode] = []
    private var frameBytes = 0
    private var nodeBytes = 0
    private var number: UInt16 = 0
    private let progress: CommitProgress?
    /// What this commit packed, by content: equal blocks are stored once.
    private var stored: [Hash128: FramePointer] = [:]

    init(
        names: Names, store: Store, uploads: PackUploads, cache: CleanCache,
        packs: PackLedger<Store>, chunks: ChunkLedger<Store>, random: Random,
        progress: CommitProgress?
    ) {
        self.names = names
        self.store = store
        self.uploads = uploads
        self.cache = cache
        self.packs = packs
        self.chunks = chunks
        self.random = random
        self.progress = progress
    }

    // MARK: Members

    /// Stores the grains of `mask`, unless this commit did so before, and counts a reference. The
    /// frame is made in `room`.
    mutating func frame(
        _ content: UnsafeRawBufferPointer, mask: GrainMask, hash: Hash128,
        room: UnsafeMutableRawBufferPointer
    ) throws(CommitError) -> FramePointer {
        if let known = shared(hash, mask: mask) { return known }
        let bytes = Frame.encode(
            content, mask: mask, hash: hash, grains: names.grains, codec: names.settings.codec,
            zstdLevel: names.settings.zstdLevel, into: room)
        return try store(bytes, mask: mask, hash: hash)
    }

    /// As above, for a frame that is made already.
    mutating func frame(
        made bytes: UnsafeRawBufferPointer, mask: GrainMask, hash: Hash128
    ) throws(CommitError) -> FramePointer {
        if let known = shared(hash, mask: mask) { return known }
        return try store(bytes, mask: mask, hash: hash)
    }

    private mutating func shared(_ hash: Hash128, mask: GrainMask) -> FramePointer? {
        guard let known = stored[hash], known.mask == mask else { return nil }
        statistics.framesShared += 1
        packs.take(known.slot)
        return known
    }

    private mutating func store(
        _ bytes: UnsafeRawBufferPointer, mask: GrainMask, hash: Hash128
    ) throws(CommitError) -> FramePointer {
        let pointer = try append(bytes, mask: mask, hash: hash)
        stored[hash] = pointer
        packs.take(pointer.slot)
        return pointer
    }

    /// Stores a frame that is made already. Its references are for the caller to count.
    mutating func append(
        _ bytes: UnsafeRawBufferPointer, mask: GrainMask, hash: Hash128
    ) throws(CommitError) -> FramePointer {
        let payload = bytes.count - FrameHeader.byteCount(grains: names.grains)
        if frameBytes > 0, frameBytes + payload > names.settings.targetBytes || isCrowded {
            try close()
        }
        let slot = try openReferenced()
        guard let extent = writer?.append(frame: bytes, hash: hash) else {
            preconditionFailure("a pack is open")
        }
        frameBytes += payload
        statistics.frames += 1
        statistics.frameBytes += bytes.count
        return FramePointer(
            slot: slot, offset: extent.offset, length: extent.length, hash: hash, mask: mask)
    }

    /// Takes a changed chunk's node; its entry follows when the pack closes.
    mutating func add(_ node: MapNode, bytes: [UInt8]) throws(CommitError) {
        _ = try openReferenced()
        nodes.append(
            WaitingNode(
                chunk: node.chunk, bytes: bytes, digest: node.digest(),
                blockCount: node.blockCount, frameCount: node.frameCount))
        nodeBytes += bytes.count
        statistics.nodes += 1
        statistics.nodeBytes += bytes.count
        if nodeBytes >= max(names.settings.targetBytes / 2, 1) { try close() }
    }

    // MARK: Packs

    /// Members whose index still comes with one suffix read, or nearly.
    private static var membersMax: Int { 1 << 16 }

    /// Headers, nodes and the index of a pack of large blocks.
    private static var packOverheadBytes: Int { 1 << 20 }

    private var isCrowded: Bool { (writer?.memberCount ?? 0) >= Self.membersMax }

    /// The slot of the open pack, which is opened if need be.
    private mutating func openReferenced() throws(CommitError) -> PackSlot {
        if let slot { return slot }
        // One number stays for a last pack of nothing but pages.
        guard writer != nil || number < UInt16.max - 1 else { throw .tooManyPacks }
        let slot = try packs.open(openWriter())
        self.slot = slot
        return slot
    }

    mutating func openWriter() -> PackID {
        if let writer { return writer.pack }
        let pack = PackID(
            volume: names.volume, epoch: names.epoch, sequence: names.sequence, number: number,
            token: Token.random(from: &random))
        number += 1
        writer = PackWriter(
            pack: pack, reusing: uploads.buffers.take(),
            expectedBytes: names.settings.targetBytes + Self.packOverheadBytes)
        return pack
    }

    /// Puts the waiting nodes behind the frames and tells the chunk table where they lie.
    mutating func placeNodes() {
        guard let slot, writer != nil else { return }
        for node in nodes {
            guard let placed = writer?.append(node: node.bytes) else { continue }
            chunks.set(
                node.chunk,
                ChunkEntry(
                    slot: slot, offset: placed.extent.offset, length: placed.extent.length,
                    hash: placed.hash, digest: node.digest, blockCount: node.blockCount,
                    frameCount: node.frameCount))
            packs.take(slot)
        }
        nodes.removeAll(keepingCapacity: true)
        nodeBytes = 0
    }

    /// Sends the open pack. The last one is in the store on return, with all before it.
    mutating func close(isLast: Bool = false) throws(CommitError) {
        placeNodes()
        guard let open = writer.take() else {
            if isLast { try settle() }
            return
        }
        if let slot { packs.setBytes(open.byteCount, of: slot) }
        slot = nil
        frameBytes = 0
        let key = open.pack.key
        let bytes = open.finish()
        statistics.packs += 1
        statistics.packBytes += bytes.count
        switch bytes.withUnsafeBytes({ progress?.state(of: key, bytes: $0) ?? .wanted }) {
        case .wanted: break
        case .stored:
            uploads.buffers.give(bytes)
            if isLast { try settle() }
            return
        case .differs:
            progress?.forget()
            throw .packClash(key: key)
        }
        if isLast {
            // Nothing is left to do meanwhile.
            try put(key, bytes)
            try settle()
        } else {
            try settle(leaving: uploads.packsMax - 1)
            try send(key, bytes)
        }
    }

    private mutating func send(_ key: String, _ bytes: [UInt8]) throws(CommitError) {
        let sending = PackSending()
        let isElsewhere = uploads.start { [store, buffers = uploads.buffers] in
            sending.end { () throws(CommitError) in try Self.put(key, bytes, to: store) }
            buffers.give(bytes)
        }
        if isElsewhere {
            self.sending.append((key, sending))
        } else {
            try put(key, bytes)
        }
    }

    /// Waits until not more than `count` packs are on their way. Fails as the first PUT failed.
    private mutating func settle(leaving count: Int = 0) throws(CommitError) {
        while sending.count > count {
            let oldest = sending.removeFirst()
            try oldest.pack.wait()
            progress?.noteStored(oldest.key)
        }
    }

    /// After a failure: nothing of a build that ended may reach the store later.
    mutating func abandon() {
        while !sending.isEmpty { try? settle(leaving: sending.count - 1) }
    }

    private func put(_ key: String, _ bytes: [UInt8]) throws(CommitError) {
        try Self.put(key, bytes, to: store)
        progress?.noteStored(key)
        uploads.buffers.give(bytes)
    }

    /// The key holds a random token of ours: if it is taken, then by an earlier try of this very
    /// pack whose answer was lost.
    private static func put(
        _ key: String, _ bytes: [UInt8], to store: Store
    ) throws(CommitError) {
        let isThere: Bool
        do throws(ObjectStoreError) {
            switch try store.putIfAbsent(key, bytes) {
            case .created: isThere = true
            case .exists: isThere = try store.head(key) == UInt64(bytes.count)
            }
        } catch { throw .store(error) }
        guard isThere else { throw .packClash(key: key) }
        Failpoint.commitAfterPack.hit()
    }
}
