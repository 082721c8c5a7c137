// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The life of the simulated process: creating the volume, opening it from the cache directory or
// from the store, the last drain, and the comparison of the whole disk with the model.

import BlockDevice
import CleanCache
import Committer
import ControlPlane
import Documents
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
        do throws(ObjectStoreError) {
            _ = try store.putIfAbsent(chain.head.key.key, chain.head.encode())
        } catch { throw failure("cannot create the volume: \(error)") }
    }

    /// Opens the volume, dying and starting over as the armed faults will have it.
    func openUntilServing(takesOver: Bool = false) throws(SimulationFailure) {
        node.isStarted = true
        var isForced = takesOver
        for attempt in 0..<200 {
            if chance(2_000), !options.without.contains(.crashInRecovery) {
                node.disk.crashAt(node.disk.operationCount + 1 + Int(random.next(below: 60)))
            }
            do {
                node.host = try open(asksStore: takesOver, isForced: isForced)
            } catch {
                report.note(0x0F)
                tell("not opened: \(error)")
                if let failure = error as? SimulationFailure { throw failure }
                if let stalledFailure { throw stalledFailure }
                // It says that its journal cannot be trusted: an operator insists.
                if let refusal = error as? UserError, refusal.kind == .failed { isForced = true }
                if attempt == 199 { throw failure("never opened: \(error)") }
            }
            if node.host != nil {
                node.disk.crashAt(nil)
                node.isStoreFaulty = hasStoreFaults
                return try settle()
            }
            if node.disk.isOff {
                // Died again, during the recovery.
                report.faults.note(.crashInRecovery)
                if chance(5_000) { node.disk.kill() } else { losePower() }
                _ = node.disk.reboot()
            } else {
                // The control plane would wait for the store, or for room; here they heal.
                heal()
            }
        }
    }

    private func open(asksStore: Bool, isForced: Bool) throws -> SimulatedHost {
        guard let name = RefName("disk") else { throw failure("a name that is none") }
        let root = node.disk.root
        let segments = try root.directory("segments", create: true)
        try root.sync()
        let pool = SegmentPool(
            directory: segments, segmentPages: Self.segmentPages, budgetBytes: 1 << 30,
            random: SplitMix64(seed: random.next()))
        try pool.prepare(bootID: node.bootID)
        let tokens = SharedRandom(seed: random.next())
        let claimer = Claimer(
            cache: root, store: node.store, machine: "machine-\(node.number)", clock: clock,
            token: {
                var tokens = tokens
                return Token.random(from: &tokens)
            }, server: { _ in nil })
        let claim = try claimer.claim(
            ClaimRequest(
                name: name, volume: volumeID, asksStore: asksStore, isForced: isForced))
        guard let writer = claim.writer else { throw failure("a claim for writing is none") }
        if let stalledFailure { throw stalledFailure }
        return try serve(claim.root.commit, writer, pool: pool)
    }

    private func serve(
        _ root: Commit, _ writer: WriterClaim<Storage>, pool: SegmentPool<Storage>
    ) throws -> SimulatedHost {
        try followChain(force: true)
        let cache = CleanCache(capacityBytes: Limits.cacheBytesMin)
        let local = try LocalVolume(volume: volumeID, directory: writer.directory)
        let opening = VolumeOpening(
            root: root, pending: writer.pending, adoptsJournal: writer.adoptsJournal,
            isHeadConfirmed: writer.isHeadConfirmed, epoch: writer.epoch, bootID: node.bootID)
        let seed = try local.open(opening, pool: pool)
        var options = VolumeOptions()
        options.commitBytes = (64 << 10) << random.next(below: 6)
        options.commitAgeSeconds = 1 + random.next(below: 4)
        let volume = Volume(seed, cache: cache, options: options, now: clock.now)
        let codecs = Codec.allCases + [.raw, .raw, .lz4]
        let settings = PackSettings(
            targetBytes: 1 << 18, codec: codecs[Int(random.next(below: UInt64(codecs.count)))])
        let worker = VolumeWorker(
            local: local, store: node.store, cache: cache, pool: pool, settings: settings,
            random: SharedRandom(seed: random.next()))
        let last = volume.report().lastRecord
        // An earlier try may have set the journal aside, and died behind its fence.
        let isAtFence = last == root.cut && node.claimed?.token == root.token
        if !writer.adoptsJournal || isAtFence {
            try startOver(from: root, adopts: writer.adoptsJournal)
        }
        tell("host \(node.number) opened \(root.sequence), records to \(last)")
        forgetCuts(after: last)
        noteOpened(opening, last: last)
        let host = SimulatedHost(volume: volume, worker: worker)
        host.recoveredLast = last
        host.openedPending = opening.pending?.commit.token
        return host
    }

    private func noteOpened(_ opening: VolumeOpening, last: RecordSequence) {
        if last > opening.root.cut { report.transitions.note(.replayed) }
        if opening.pending != nil { report.transitions.note(.openedPending) }
        report.transitions.note(
            opening.isHeadConfirmed ? .openedFromStore : .openedFromRoot)
    }

    /// The claim found nothing here that belongs to the head: the guest finds what the store has,
    /// and is told if that may be less than it was promised.
    private func startOver(from root: Commit, adopts: Bool) throws(SimulationFailure) {
        guard let claimed = node.claimed, claimed.token == root.token else {
            throw failure("host \(node.number) starts from a commit that is not its fence")
        }
        guard claimed.index >= node.history.published else {
            throw failure("the head is older than what was published")
        }
        let isPowerLoss = adopts && node.worstDeath == .power
        let promised = isPowerLoss ? node.history.flushed : node.history.acknowledged
        if promised > claimed.index, root.uncleanTakeover == nil {
            throw failure("what was acknowledged is gone, and the volume does not say so")
        }
        if node.history.count > 0 { report.transitions.note(.journalSetAside) }
        node.history = claimed.history
        node.indexByCut = [root.cut: claimed.index]
        node.worstDeath = .kill
    }

    /// Records that did not survive will be written again with other content.
    private func forgetCuts(after last: RecordSequence) {
        for cut in node.indexByCut.keys where cut > last { node.indexByCut[cut] = nil }
    }
}
