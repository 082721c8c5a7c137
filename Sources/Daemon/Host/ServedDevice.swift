// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A volume as a shard keeps it: the device that sessions call, which leaves the effects of each
// turn in the shard's outbox. So nobody has to search the shard's volumes for those that have
// something to do.

import BlockDevice
import HostIO
import Primitives
import VolumeEngine

/// Effects that the volumes of one shard gave out, in order. Confined to the shard's thread.
final class Outbox {
    struct Item {
        let slot: Int
        let effect: VolumeEffect<HostDirectory>
    }
    var items: [Item] = []
    /// Some volume holds answers back.
    var isPacing = false
}

/// A volume and its outbox. Forwards everything.
struct ServedDevice: BlockDevice, ~Copyable {
    var volume: Volume<HostDirectory>
    var slot = -1
    private let outbox: Outbox

    init(_ volume: consuming Volume<HostDirectory>, outbox: Outbox) {
        self.volume = volume
        self.outbox = outbox
    }

    @inline(__always)
    var geometry: DeviceGeometry { volume.geometry }

    @inline(__always)
    mutating func read(
        at offset: ByteOffset, into buffer: UnsafeMutableRawBufferPointer, tag: RequestTag
    ) -> Submission {
        volume.read(at: offset, into: buffer, tag: tag)
    }

    mutating func view(
        at offset: ByteOffset, count: Int, into pieces: inout MemoryPieces
    ) -> Bool {
        volume.view(at: offset, count: count, into: &pieces)
    }

    mutating func endView() { volume.endView() }

    @inline(__always)
    mutating func write(
        at offset: ByteOffset, payload: UnsafeRawBufferPointer, fua: Bool, tag: RequestTag
    ) -> Submission {
        volume.write(at: offset, payload: payload, fua: fua, tag: tag)
    }

    @inline(__always)
    mutating func zero(
        at offset: ByteOffset, count: ByteCount, options: ZeroOptions, fua: Bool, tag: RequestTag
    ) -> Submission {
        volume.zero(at: offset, count: count, options: options, fua: fua, tag: tag)
    }

    @inline(__always)
    mutating func flush(tag: RequestTag) -> Submission { volume.flush(tag: tag) }

    mutating func prefetch(at offset: ByteOffset, count: ByteCount, tag: RequestTag) -> Submission {
        volume.prefetch(at: offset, count: count, tag: tag)
    }

    mutating func extents(
        at offset: ByteOffset, count: ByteCount, limit: Int, into list: inout [Extent],
        tag: RequestTag
    ) -> Submission {
        volume.extents(at: offset, count: count, limit: limit, into: &list, tag: tag)
    }

    mutating func cancel(tag: RequestTag) { volume.cancel(tag: tag) }

    @inline(__always)
    mutating func endTurn() {
        volume.endTurn()
        while let effect = volume.nextEffect() {
            outbox.items.append(Outbox.Item(slot: slot, effect: effect))
        }
        if volume.holdsAnswers { outbox.isPacing = true }
    }

    @inline(__always)
    mutating func nextCompletion() -> Completion? { volume.nextCompletion() }
}
