// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Map nodes and the frames that they point to. A node that several commits share is decoded once;
// if its slots mean the same packs to all of them, so are its frames.

import Formats
import ObjectStore
import Primitives
import VolumeMap

extension Verifier {
    /// Bytes of one GET of a sample: small, so that it takes from many places.
    private static var sampleRangeBytesMax: UInt64 { 1 << 20 }

    mutating func readNodes(_ batch: VerifyBatch) throws(VerifyError) {
        let order = batch.nodeOrder
        guard !order.isEmpty else { return }
        for place in order where needs != nil {
            needs?.add(packs[place.pack].id, .node, place.entry.extent, place.entry.hash)
        }
        let outcomes = try read(
            order.map { place in
                let (entry, chunk, blockBytes) = (place.entry, place.chunk, place.blockBytes)
                return Piece(
                    pack: place.pack, extent: entry.extent, hash: entry.hash,
                    part: FormatName.node.rawValue
                ) { bytes throws(FormatError) in
                    try MapChecks.node(
                        bytes, hash: entry.hash, chunk: chunk, blockBytes: blockBytes)
                }
            })
        counts.nodes += order.count
        for (place, outcome) in zip(order, outcomes) {
            let commits = batch.nodes[place] ?? []
            switch outcome {
            case .bytes(let buffer): try take(buffer, place, commits, batch)
            case .lost(let fault):
                for commit in commits {
                    let walked = batch.commits[commit]
                    walked.isWhole = false
                    log.hit(fault, walked.subject, walked.range(of: place.chunk))
                }
            }
        }
        batch.nodes.removeAll(keepingCapacity: true)
        batch.nodeOrder.removeAll(keepingCapacity: true)
    }

    /// Looks at a whole node, for all commits that lead to it.
    private mutating func take(
        _ buffer: FetchBuffer, _ place: NodePlace, _ commits: [Int], _ batch: VerifyBatch
    ) throws(VerifyError) {
        let view = MapNodeView(validated: UnsafeRawBufferPointer(buffer.bytes))
        compare(MapNode(view), place, commits, batch)
        let slots = references(of: view)
        for commit in commits {
            let walked = batch.commits[commit]
            for (slot, count) in slots.counts { walked.refer(to: slot, count: count) }
        }
        // Commits to which all slots mean the same are one use.
        var uses: [[UInt32]: [Int]] = [:]
        for commit in commits {
            let walked = batch.commits[commit]
            let meaning = slots.order.map { slot in
                if case .pack(let number) = walked.meaning(of: slot) {
                    number
                } else {
                    SlotPage.none
                }
            }
            uses[meaning, default: []].append(commit)
        }
        for (meaning, users) in uses {
            let packs = Dictionary(uniqueKeysWithValues: zip(slots.order, meaning))
            try take(view, NodeUse(chunk: place.chunk, commits: users), packs, batch)
        }
    }

    private func references(
        of view: MapNodeView
    ) -> (order: [PackSlot], counts: [PackSlot: UInt64]) {
        var order: [PackSlot] = []
        var counts: [PackSlot: UInt64] = [:]
        var next = view.firstPresent(from: 0)
        while let index = next {
            let stack = view.entry(at: index)
            for position in 0..<stack.count {
                let slot = stack[position].slot
                if counts[slot] == nil { order.append(slot) }
                counts[slot, default: 0] += 1
            }
            next = view.firstPresent(from: index + 1)
        }
        return (order, counts)
    }

    /// What the table says of the node, and what it is.
    private mutating func compare(
        _ node: MapNode, _ place: NodePlace, _ commits: [Int], _ batch: VerifyBatch
    ) {
        let entry = place.entry
        let digest = node.digest()
        guard
            digest != entry.digest || node.blockCount != entry.blockCount
                || node.frameCount != entry.frameCount
        else { return }
        let fault = self.place(of: entry.extent, in: place.pack, FormatName.node.rawValue)
        log.add(
            fault, .inconsistent,
            "digest \(digest), \(node.blockCount) blocks, \(node.frameCount) frames; the chunk "
                + "table says \(entry.digest), \(entry.blockCount), \(entry.frameCount)",
            owner: packs[place.pack].id.volume)
        for commit in commits { log.hit(fault, batch.commits[commit].subject, nil) }
    }

    private mutating func take(
        _ view: MapNodeView, _ nodeUse: NodeUse, _ slots: [PackSlot: UInt32],
        _ batch: VerifyBatch
    ) throws(VerifyError) {
        var use = batch.window.addUse(nodeUse)
        var next = view.firstPresent(from: 0)
        while let index = next {
            let stack = view.entry(at: index)
            for position in 0..<stack.count {
                let frame = stack[position]
                guard let pack = slots[frame.slot], pack != SlotPage.none else {
                    hitUnresolved(frame.slot, nodeUse, index, batch)
                    continue
                }
                if needs != nil {
                    needs?.add(
                        packs[pack].id, frame, grains: view.grains,
                        newestOf: position == 0 ? stack.contentKey : nil)
                } else if try isThere(pack) {
                    batch.window.add(
                        FramePlace(pack: pack, pointer: frame, grains: view.grains), use: use,
                        block: index)
                } else {
                    hit(missingPack(pack), nodeUse, index, batch)
                }
            }
            next = view.firstPresent(from: index + 1)
            if batch.window.isFull {
                try readFrames(batch)
                use = batch.window.addUse(nodeUse)
            }
        }
    }

    private mutating func hitUnresolved(
        _ slot: PackSlot, _ use: NodeUse, _ index: Int, _ batch: VerifyBatch
    ) {
        for commit in use.commits {
            let walked = batch.commits[commit]
            _ = resolve(slot, walked, range(use.chunk, index, walked))
        }
    }

    private mutating func hit(
        _ place: FaultPlace, _ use: NodeUse, _ index: Int, _ batch: VerifyBatch
    ) {
        for commit in use.commits {
            let walked = batch.commits[commit]
            log.hit(place, walked.subject, range(use.chunk, index, walked))
        }
    }

    /// The bytes of one block of a chunk.
    private func range(
        _ chunk: ChunkIndex, _ index: Int, _ walked: WalkedCommit
    ) -> Range<UInt64>? {
        let block = chunk.firstBlock.rawValue + UInt64(index)
        return walked.range(ofBlocks: block..<(block + 1))
    }

    // MARK: Frames

    /// Reads and decodes all frames of the window, or a sample of them.
    mutating func readFrames(_ batch: VerifyBatch) throws(VerifyError) {
        let frames = batch.window.frames
        guard !frames.isEmpty else { return batch.window.clear() }
        let wanted = frames.enumerated().map { tag, frame in
            WantedBytes(pack: packs[frame.pack].id, extent: frame.pointer.extent, tag: tag)
        }
        var ranges: [FetchRange]
        if options.sample == VerifyOptions.wholeSample {
            ranges = planRanges(wanted)
        } else {
            ranges = []
            for range in planRanges(wanted, rangeBytesMax: Self.sampleRangeBytesMax)
            where random.next(below: VerifyOptions.wholeSample) < options.sample {
                ranges.append(range)
            }
        }
        let failures = try read(ranges) { tag, bytes throws(FormatError) in
            let frame = frames[tag]
            let content = FetchBuffer(byteCount: frame.pointer.mask.count * Limits.grainBytes)
            try Frame.decode(
                bytes, pointer: frame.pointer, grains: frame.grains, into: content.bytes)
        }
        let read = ranges.reduce(0) { $0 + $1.members.count }
        counts.frames += read
        counts.framesSkipped += frames.count - read
        var places: [Int: FaultPlace] = [:]
        for (tag, failure) in failures.sorted(by: { $0.key < $1.key }) {
            let frame = frames[tag]
            places[tag] = fault(
                failure, frame.pointer.extent, frame.pack, FormatName.frame.rawValue)
        }
        if !places.isEmpty {
            for user in batch.window.users {
                guard let place = places[user.frame] else { continue }
                hit(place, batch.window.uses[user.use], Int(user.block), batch)
            }
        }
        batch.window.clear()
    }
}
