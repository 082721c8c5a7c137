// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One life of a process that serves a volume: the volume, its worker, pool and cache, opened from
// the cache directory as the control plane does it.

import BlockDevice
import CleanCache
import Committer
import Formats
import Glibc
import HostIO
import Journal
import ObjectStore
import Primitives
import Testing
import VolumeEngine
import VolumeMap

/// What the volumes of a test are like.
struct EngineShape {
    var size: UInt64 = 8 << 20
    var blockBytes = 128 << 10
    /// Small, so that requests roll over segments: 256 KiB.
    var segmentPages = 64
    var segmentsMax: UInt64 = 4096
    var cacheBytes = Limits.cacheBytesMin
    var options = VolumeOptions()
    var settings = PackSettings()
    var takeover: UncleanTakeover?
    /// The newest commit that something else keeps.
    var pinned: CommitSequence?
}

enum EngineFailure: Error, Equatable {
    case rootIsGone
    case notAnswered
}

/// Confined to its test.
final class EngineHost {
    typealias Storage = VolatileDirectory

    var volume: Volume<Storage>
    let worker: VolumeWorker<Storage, MemoryStore>
    let pool: SegmentPool<Storage>
    let local: LocalVolume<Storage>
    let cache: CleanCache

    /// Opens what the directory holds; `first` is published if it is given.
    init(
        root: Storage, store: MemoryStore, shape: EngineShape, id: VolumeID, first: LocalRoot?,
        bootID: BootID, random: SharedRandom, now: Instant
    ) throws {
        let segments = try root.directory("segments", create: true)
        let folder = try root.directory("volume", create: true)
        try root.sync()
        pool = SegmentPool(
            directory: segments, segmentPages: shape.segmentPages,
            budgetBytes: shape.segmentsMax * UInt64(shape.segmentPages * Limits.grainBytes),
            random: random)
        try pool.prepare(bootID: bootID)
        local = try LocalVolume(volume: id, directory: folder)
        if let first {
            _ = try store.putIfAbsent(first.commit.key.key, first.bytes)
            try local.roots.adopt(first.commit.sequence, bytes: first.bytes)
        }
        let roots = try local.roots.load()
        guard let current = roots.current else { throw EngineFailure.rootIsGone }
        let seed = try local.open(
            VolumeOpening(
                root: current.commit, pending: roots.pending, adoptsJournal: true,
                isHeadConfirmed: first != nil, epoch: current.commit.epoch, bootID: bootID),
            pool: pool)
        cache = CleanCache(capacityBytes: shape.cacheBytes)
        volume = Volume(seed, cache: cache, options: shape.options, now: now)
        worker = VolumeWorker(
            local: local, store: store, cache: cache, pool: pool, settings: shape.settings,
            random: random,
            pinned: { [pinned = shape.pinned] _ throws(FetchError) in pinned })
    }
}
