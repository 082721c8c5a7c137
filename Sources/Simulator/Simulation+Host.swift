// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The life of the simulated process: creating the volume, opening it from the cache directory or
// from the store, the last drain, and the comparison of the whole disk with the model.

import BlockDevice
import CleanCache
import Committer
import Formats
import HostIO
import Journal
import ObjectStore
import Primitives
import VolumeEngine
import VolumeMap

extension Simulation {
    /// Pages of a simulated segment: small, so that a run rolls over many.
    private static var segmentPages: Int { 64 }

    /// Publishes commit 1.
    func createVolume() throws(SimulationFailure) {
        let commit = Commit(
            volume: volumeID, sequence: CommitSequence(1), epoch: Epoch(1),
            token: Token.random(from: &random), state: .open, isFence: true,
            size: ByteCount(UInt64(options.sectors * Limits.sectorBytes)),
            blockBytes: options.blockBytes, cut: RecordSequence(0),
            labelSeconds: clock.wallSeconds)
        indexByCut[RecordSequence(0)] = 0
        do throws(ObjectStoreError) {
            _ = try store.putIfAbsent(commit.key.key, commit.encode())
        } catch { throw failure("cannot create the volume: \(error)") }
    }

    /// Opens the volume, dying and starting over as the armed faults will have it.
    func openUntilServing() throws(SimulationFailure) {
        for attempt in 0..<200 {
            if chance(2_000), !options.without.contains(.crashInRecovery) {
                disk.crashAt(disk.operationCount + 1 + Int(random.next(below: 60)))
            }
            do {
                host = try open()
            } catch {
                report.note(0x0F)
                if attempt == 199 { throw failure("never opened: \(error)") }
            }
            if host != nil {
                disk.crashAt(nil)
                isStoreFaulty = hasStoreFaults
                return try settle()
            }
            if disk.isOff {
                // Died again, during the recovery.
                report.faults.note(.crashInRecovery)
                if chance(5_000) { disk.kill() } else { losePower() }
                _ = disk.reboot()
            } else {
                // The control plane would wait for the store, or for room; here they heal.
                heal()
            }
        }
    }

    /// A claim that did not come through; the next try finds out how things stand.
    enum OpenFailure: Error {
        case fenced
        case unresolved(String)
    }

    private func open() throws -> SimulatedHost {
        let root = disk.root
        let volumes = try root.directory("volumes", create: true)
        let directory = try volumes.directory(volumeID.description, create: true)
        let segments = try root.directory("segments", create: true)
        try volumes.sync()
        try root.sync()
        let pool = SegmentPool(
            directory: segments, segmentPages: Self.segmentPages, budgetBytes: 1 << 30,
            random: SplitMix64(seed: random.next()))
        try pool.prepare(bootID: bootID)
        return try serve(directory, pool: pool)
    }

    private func serve(
        _ directory: Storage, pool: SegmentPool<Storage>
    ) throws -> SimulatedHost {
        let cache = CleanCache(capacityBytes: Limits.cacheBytesMin)
        let seed: VolumeSeed<Storage>
        let local: LocalVolume<Storage>
        local = try LocalVolume(volume: volumeID, directory: directory)
        let opening = try claim(local)
        seed = try local.open(opening, pool: pool)
        var options = VolumeOptions()
        options.commitBytes = (64 << 10) << random.next(below: 6)
        options.commitAgeSeconds = 1 + random.next(below: 4)
        let volume = Volume(seed, cache: cache, options: options, now: clock.now)
        let codecs = Codec.allCases + [.raw, .raw, .lz4]
        let settings = PackSettings(
            targetBytes: 1 << 18, codec: codecs[Int(random.next(below: UInt64(codecs.count)))])
        let worker = VolumeWorker(
            local: local, store: store, cache: cache, pool: pool, settings: settings,
            random: SharedRandom(seed: random.next()))
        let last = volume.report().lastRecord
        tell("opened \(opening.root.sequence), records to \(last)")
        forgetCuts(after: last)
        if last > opening.root.cut { report.transitions.note(.replayed) }
        if opening.pending != nil { report.transitions.note(.openedPending) }
        report.transitions.note(
            opening.isHeadConfirmed ? .openedFromStore : .openedFromRoot)
        let host = SimulatedHost(volume: volume, worker: worker)
        host.recoveredLast = last
        host.openedPending = opening.pending?.commit.token
        return host
    }

    /// Records that did not survive will be written again with other content.
    private func forgetCuts(after last: RecordSequence) {
        for cut in indexByCut.keys where cut > last { indexByCut[cut] = nil }
    }

    /// From the local root if there is one; else takes the head of the store over with a fence.
    private func claim(_ local: LocalVolume<Storage>) throws -> VolumeOpening {
        let roots = try local.roots.load()
        if let current = roots.current {
            return VolumeOpening(
                root: current.commit, pending: roots.pending, adoptsJournal: true,
                isHeadConfirmed: false, epoch: current.commit.epoch, bootID: bootID)
        }
        let fence = try roots.pending ?? makeFence(local)
        switch try Publisher(store: store).publish(fence) {
        case .published: break
        case .fenced:
            try local.roots.discardPending(fence.commit.sequence)
            throw OpenFailure.fenced
        case .unresolved(let detail): throw OpenFailure.unresolved(detail)
        }
        try local.roots.promote(fence.commit.sequence)
        return VolumeOpening(
            root: fence.commit, pending: nil, adoptsJournal: true, isHeadConfirmed: true,
            epoch: fence.commit.epoch, bootID: bootID)
    }

    private func makeFence(_ local: LocalVolume<Storage>) throws(CommitError) -> LocalRoot {
        guard let head = try HeadFinder(store: store).head(of: volumeID) else {
            throw .store(.notFound(key: "head of \(volumeID)"))
        }
        var fence = head.commit
        fence.sequence = head.commit.sequence.next
        fence.epoch = head.commit.epoch.next
        fence.parentToken = head.commit.token
        fence.token = Token.random(from: &random)
        fence.isFence = true
        fence.labelSeconds = clock.wallSeconds
        let root = LocalRoot(commit: fence, bytes: fence.encode())
        try local.roots.writePending(fence.sequence, bytes: root.bytes)
        return root
    }
}
