// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Some blocks of an image that are in memory at one time: their frames are read together, decoded
// on whatever thread they arrive, and laid into the blocks. Frames of one block fill grains of
// their own, so threads never meet in a byte.

import Committer
import Formats
import Primitives
import Synchronization
import VolumeMap

/// A block's part of an image, as sinks get it. The bytes are valid during the call.
struct ImageBlock {
    /// In the image.
    let offset: UInt64
    /// Grains that are told; the others are as they were.
    let grains: GrainMask
    /// The block, cut at the end of the image; grains that are not told hold anything. Nil: those
    /// that are told are zeros.
    let content: UnsafeRawBufferPointer?
    /// Bytes of the block inside the image.
    let byteCount: Int
    /// The block is not there: those that are told are zeros that take no space.
    var isHole = false

    /// Runs of told bytes, ascending, as offsets in the block.
    func forEachRun<Failure: Error>(
        _ body: (Range<Int>) throws(Failure) -> Void
    ) throws(Failure) {
        var next = grains.run(from: 0)
        while let run = next {
            let start = run.lowerBound * Limits.grainBytes
            guard start < byteCount else { return }
            try body(start..<min(run.upperBound * Limits.grainBytes, byteCount))
            next = grains.run(from: run.upperBound)
        }
    }
}

/// One window. Filled by the thread that exports, read into by any, then lent to a sink.
final class ContentWindow: @unchecked Sendable {
    // Confined: `add`, `plan` and `settle` to the thread that exports, before and after the reads.
    // During the reads threads write disjoint grains of `slab`, as `users` says.

    /// Frames of the target, or of the commit that a difference is from.
    enum Side: Hashable { case target, base }

    /// A frame that is to be read, and by what it is known.
    struct Wanted: Hashable {
        let side: Side
        let frame: FramePointer
    }

    /// A block that gets grains of a frame.
    private struct User {
        let slot: Int
        let cover: GrainMask
        let block: BlockIndex
    }

    private struct Place {
        let demand: BlockDemand
        /// Slots of the contents, -1: none.
        let slot: Int
        let olderSlot: Int
    }

    private let blockBytes: Int
    private let grains: Int
    private let slots: Int
    private let slab: FetchBuffer
    private var slotsUsed = 0
    private var places: [Place] = []
    private(set) var wanted: [Wanted] = []
    private var tags: [Wanted: Int] = [:]
    private var users: [[User]] = []

    /// False: content is read only where it decides what goes into the image.
    private let readsAll: Bool

    init(blockBytes: Int, bytes: Int, readsAll: Bool) {
        self.blockBytes = blockBytes
        self.readsAll = readsAll
        grains = blockBytes / Limits.grainBytes
        slots = max(2, bytes / blockBytes)
        slab = FetchBuffer(byteCount: slots * blockBytes)
    }

    var isEmpty: Bool { places.isEmpty }

    func clear() {
        slotsUsed = 0
        places.removeAll(keepingCapacity: true)
        wanted.removeAll(keepingCapacity: true)
        tags.removeAll(keepingCapacity: true)
        users.removeAll(keepingCapacity: true)
    }

    /// False if there is no room for another block. Demands of zeros alone take none, but are
    /// bounded too.
    var hasRoom: Bool { slotsUsed + 2 <= slots && places.count < 1 << 16 }

    func add(_ demand: BlockDemand) {
        precondition(hasRoom)
        var slot = -1
        var olderSlot = -1
        switch demand.filter {
        case .all:
            if readsAll, !demand.frames.isEmpty { slot = take(demand.frames, demand, .target) }
        case .unlike(let older):
            slot = take(demand.frames, demand, .target)
            olderSlot = take(older, demand, .base)
        }
        places.append(Place(demand: demand, slot: slot, olderSlot: olderSlot))
    }

    private func take(_ frames: [FramePointer], _ demand: BlockDemand, _ side: Side) -> Int {
        let slot = slotsUsed
        slotsUsed += 1
        let parts = covers(frames, demand.grains)
        if parts.first?.cover.isFull(grains: grains) != true {
            bytes(of: slot).initializeMemory(as: UInt8.self, repeating: 0)
        }
        for (frame, cover) in parts {
            let wanted = Wanted(side: side, frame: frame)
            let user = User(slot: slot, cover: cover, block: demand.block)
            if let tag = tags[wanted] {
                users[tag].append(user)
            } else {
                tags[wanted] = self.wanted.count
                self.wanted.append(wanted)
                users.append([user])
            }
        }
        return slot
    }

    private func bytes(of slot: Int) -> UnsafeMutableRawBufferPointer {
        let start = slot * blockBytes
        return UnsafeMutableRawBufferPointer(
            rebasing: slab.bytes[start..<(start + blockBytes)])
    }

    /// The lowest block that needs the frame.
    func block(of tag: Int) -> BlockIndex { users[tag][0].block }

    // MARK: Reading

    /// Any thread; again if it threw.
    func decode(_ tag: Int, _ frameBytes: UnsafeRawBufferPointer) throws(FormatError) {
        let frame = wanted[tag].frame
        let users = users[tag]
        let isFull = frame.isFull(grains: grains)
        if isFull, users.count == 1, users[0].cover == frame.mask {
            return try Frame.decode(
                frameBytes, pointer: frame, grains: grains, into: bytes(of: users[0].slot))
        }
        let content = FetchBuffer(byteCount: frame.mask.count * Limits.grainBytes)
        try Frame.decode(frameBytes, pointer: frame, grains: grains, into: content.bytes)
        for user in users {
            scatter(
                UnsafeRawBufferPointer(content.bytes), of: frame.mask, user.cover,
                into: bytes(of: user.slot))
        }
    }

    // MARK: What came out

    /// The blocks, ascending, once everything was read.
    func settle(size: ByteCount) -> [ImageBlock] {
        places.compactMap { place in
            let demand = place.demand
            let offset = demand.block.rawValue * UInt64(blockBytes)
            let byteCount = Int(min(UInt64(blockBytes), size.rawValue - offset))
            var told = demand.grains
            guard place.slot >= 0 else {
                return ImageBlock(
                    offset: offset, grains: told, content: nil, byteCount: byteCount,
                    isHole: demand.frames.isEmpty)
            }
            let content = UnsafeRawBufferPointer(bytes(of: place.slot))
            if place.olderSlot >= 0 {
                told = unlike(
                    content, UnsafeRawBufferPointer(bytes(of: place.olderSlot)), among: told)
                if told.isEmpty { return nil }
            }
            return ImageBlock(
                offset: offset, grains: told,
                content: UnsafeRawBufferPointer(rebasing: content[..<byteCount]),
                byteCount: byteCount)
        }
    }

    private func unlike(
        _ content: UnsafeRawBufferPointer, _ older: UnsafeRawBufferPointer, among told: GrainMask
    ) -> GrainMask {
        var unlike = GrainMask()
        var next = told.first(from: 0)
        while let grain = next {
            let range = (grain * Limits.grainBytes)..<((grain + 1) * Limits.grainBytes)
            if !isEqual(
                UnsafeRawBufferPointer(rebasing: content[range]),
                UnsafeRawBufferPointer(rebasing: older[range]))
            {
                unlike.insert(grain)
            }
            next = told.first(from: grain + 1)
        }
        return unlike
    }
}

/// Copies the grains `chosen` of a frame, whose grains `mask` lie one behind the other, to their
/// places in a block.
func scatter(
    _ content: UnsafeRawBufferPointer, of mask: GrainMask, _ chosen: GrainMask,
    into block: UnsafeMutableRawBufferPointer
) {
    precondition(content.count == mask.count * Limits.grainBytes && chosen.isSubset(of: mask))
    var source = 0
    var next = mask.first(from: 0)
    while let grain = next {
        if chosen.contains(grain) {
            let start = grain * Limits.grainBytes
            UnsafeMutableRawBufferPointer(rebasing: block[start..<(start + Limits.grainBytes)])
                .copyMemory(
                    from: UnsafeRawBufferPointer(
                        rebasing: content[source..<(source + Limits.grainBytes)]))
        }
        source += Limits.grainBytes
        next = mask.first(from: grain + 1)
    }
}
