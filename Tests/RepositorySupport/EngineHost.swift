// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The real engine behind the real control plane, in one thread: what a guest writes becomes packs
// and commits in a store, as in the daemon.

package import BlockDevice
import CleanCache
package import Committer
package import ControlPlane
import Formats
package import HostIO
import Journal
package import ObjectStore
package import Primitives
package import VolumeEngine
import VolumeMap

package enum EngineFailure: Error {
    case refused(BlockError)
    case notAnswered
    case failed(VolumeFailure)
}

/// One volume and its worker. Confined to its test.
package final class RunningVolume {
    package private(set) var volume: Volume<VolatileDirectory>
    private let worker: VolumeWorker<VolatileDirectory, MemoryStore>
    private var outcomes: [UInt64: Completion.Outcome] = [:]
    private var answers: [UInt64: ControlAnswer] = [:]
    private var number: UInt64 = 0

    package init(
        _ volume: consuming Volume<VolatileDirectory>,
        _ worker: VolumeWorker<VolatileDirectory, MemoryStore>
    ) {
        self.volume = volume
        self.worker = worker
    }

    // MARK: The guest

    package func write(_ offset: UInt64, _ bytes: [UInt8]) throws {
        let payload = UnsafeMutableRawBufferPointer.allocate(
            byteCount: bytes.count, alignment: 16)
        defer { payload.deallocate() }
        payload.copyBytes(from: bytes)
        try submit { volume, tag in
            volume.write(
                at: ByteOffset(offset), payload: UnsafeRawBufferPointer(payload), fua: false,
                tag: tag)
        }
    }

    package func trim(_ range: Range<UInt64>) throws {
        try submit { volume, tag in
            volume.zero(
                at: ByteOffset(range.lowerBound), count: ByteCount(UInt64(range.count)),
                options: .trim, fua: false, tag: tag)
        }
    }

    package func read(_ offset: UInt64, _ count: Int) throws -> [UInt8] {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 16)
        defer { buffer.deallocate() }
        try submit { volume, tag in
            volume.read(at: ByteOffset(offset), into: buffer, tag: tag)
        }
        return Array(buffer)
    }

    private func submit(
        _ pass: (inout Volume<VolatileDirectory>, RequestTag) -> Submission
    ) throws {
        number += 1
        let tag = RequestTag(session: 1, slot: 1, cookie: number)
        for _ in 0..<100 {
            switch pass(&volume, tag) {
            case .done: return
            case .failed(let error): throw EngineFailure.refused(error)
            case .staged, .parked: try run()
            }
            switch outcomes.removeValue(forKey: number) {
            case .done: return
            case .failed(let error): throw EngineFailure.refused(error)
            case .retry: continue
            case nil: throw EngineFailure.notAnswered
            }
        }
        throw EngineFailure.notAnswered
    }

    // MARK: Control

    package func ask(
        _ body: (inout Volume<VolatileDirectory>, ControlRequest) -> Void
    ) throws -> ControlAnswer {
        number += 1
        body(&volume, ControlRequest(number: number))
        try run()
        guard let answer = answers.removeValue(forKey: number) else {
            throw EngineFailure.notAnswered
        }
        if case .failed(let failure) = answer { throw EngineFailure.failed(failure) }
        return answer
    }

    /// Turns until nothing is left to do.
    private func run() throws {
        for _ in 0..<10_000 {
            volume.endTurn()
            while let completion = volume.nextCompletion() {
                outcomes[completion.tag.cookie] = completion.outcome
            }
            var effects: [VolumeEffect<VolatileDirectory>] = []
            while let effect = volume.nextEffect() { effects.append(effect) }
            if effects.isEmpty, !volume.hasStaged { return }
            for effect in effects {
                if case .answer(let request, let answer) = effect {
                    answers[request.number] = answer
                } else if let event = worker.perform(effect, labelSeconds: 1) {
                    volume.handle(event)
                }
            }
        }
        throw EngineFailure.notAnswered
    }
}

package final class EngineHost: VolumeHost, @unchecked Sendable {
    // Confined: all of it to the thread of its test.
    package typealias Storage = VolatileDirectory

    private var running: [ServedVolume: RunningVolume] = [:]
    private let store: MemoryStore
    private let pool: SegmentPool<VolatileDirectory>
    private let views: VolatileDirectory
    private let clock: ManualClock
    private let random: SharedRandom

    package init(
        store: MemoryStore, folder: VolatileDirectory, clock: ManualClock, random: SharedRandom
    ) throws {
        self.store = store
        self.clock = clock
        self.random = random
        let segments = try folder.directory("segments", create: true)
        views = try folder.directory("views", create: true)
        try folder.sync()
        pool = SegmentPool(
            directory: segments, segmentPages: 64, budgetBytes: 1 << 30, random: random)
        try pool.prepare(bootID: BootID(low: 1, high: 1))
    }

    package subscript(volume: VolumeID) -> RunningVolume? { running[ServedVolume(volume)] }

    package func attach(_ claim: VolumeClaim<VolatileDirectory>) throws(UserError) {
        try explain { try self.open(claim) }
    }

    private func open(_ claim: VolumeClaim<VolatileDirectory>) throws {
        let directory = claim.writer?.directory ?? views
        let local = try LocalVolume(volume: claim.served.volume, directory: directory)
        let seed: VolumeSeed<VolatileDirectory>
        if let writer = claim.writer {
            seed = try local.open(
                VolumeOpening(
                    root: claim.root.commit, pending: writer.pending,
                    adoptsJournal: writer.adoptsJournal,
                    isHeadConfirmed: writer.isHeadConfirmed, epoch: writer.epoch,
                    bootID: BootID(low: 1, high: 1)),
                pool: pool)
        } else {
            seed = .readOnly(claim.root.commit, directory: directory)
        }
        // A cache of its own for each opening: what is not in it makes deltas.
        let cache = CleanCache(capacityBytes: Limits.cacheBytesMin)
        let worker = VolumeWorker(
            local: local, store: store, cache: cache, pool: pool, settings: PackSettings(),
            random: random)
        running[claim.served] = RunningVolume(
            Volume(seed, cache: cache, options: VolumeOptions(), now: clock.now), worker)
    }

    private func explain<Value>(_ body: () throws -> Value) throws(UserError) -> Value {
        do { return try body() } catch {
            throw UserError(.failed, what: "cannot", why: "\(error)", remedy: "look at the test")
        }
    }

    private func ask(
        _ served: ServedVolume,
        _ body: (inout Volume<VolatileDirectory>, ControlRequest) -> Void
    ) throws(UserError) -> CommitSummary {
        try explain {
            guard let volume = running[served] else { throw EngineFailure.notAnswered }
            guard case .committed(let root) = try volume.ask(body) else {
                throw EngineFailure.notAnswered
            }
            return CommitSummary(
                sequence: root.commit.sequence, token: root.commit.token,
                labelSeconds: root.commit.labelSeconds)
        }
    }

    package func commitAll(
        _ volume: VolumeID, reason: CommitReason, deadline: Instant?
    ) throws(UserError) -> CommitSummary {
        try ask(ServedVolume(volume)) { $0.requestCommit($1) }
    }

    @discardableResult
    package func detach(
        _ served: ServedVolume, clean: Bool, deadline: Instant?
    ) throws(UserError) -> CommitSummary? {
        guard running[served] != nil else { return nil }
        var summary: CommitSummary?
        if clean, served.snapshot == nil { summary = try ask(served) { $0.requestClose($1) } }
        running[served] = nil
        return summary
    }

    package func resize(_ volume: VolumeID, to size: ByteCount) throws(UserError) {
        try explain {
            guard let running = self[volume] else { throw EngineFailure.notAnswered }
            _ = try running.ask { $0.requestResize($1, to: size) }
        }
    }

    package func rollback(
        _ volume: VolumeID, to target: LocalRoot
    ) throws(UserError) -> CommitSummary {
        _ = try commitAll(volume, reason: .rollback, deadline: nil)
        let root = Root(commit: target.commit)
        return try ask(ServedVolume(volume)) { $0.requestRollback($1, to: root) }
    }

    package func acknowledge(_ volume: VolumeID) throws(UserError) -> CommitSummary {
        try ask(ServedVolume(volume)) { $0.requestAcknowledge($1) }
    }

    package func compact(_ volume: VolumeID) throws(UserError) {
        _ = try ask(ServedVolume(volume)) { $0.requestCompaction($1) }
    }

    package func status(_ served: ServedVolume) -> VolumeStatus? {
        guard let volume = running[served] else { return nil }
        let root = volume.volume.root
        return VolumeStatus(
            volume: served.volume, size: root.size, blockBytes: root.blockBytes,
            isReadOnly: false, state: .serving, sequence: root.commit.sequence,
            epoch: root.commit.epoch)
    }

    package func clientCounts(_ served: ServedVolume) -> ClientCounts {
        ClientCounts(readers: 0, writers: 0)
    }

    package func disconnect(_ served: ServedVolume) {}
}
