// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Opening a volume's files before it goes to a shard, asking a shard, and what its answers mean to
// people.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import Journal
import ObjectStore
import Primitives
import Shard
import VolumeEngine
import VolumeMap

extension ShardHost {
    typealias Opened = (
        seed: VolumeSeed<HostDirectory>, worker: VolumeWorker<HostDirectory, VolumeStore>
    )

    /// Replays and seals the journal, or prepares a view. Blocks for as long as that takes. A
    /// journal that lost what it had promised is noted as such in the volume's folder: `status`
    /// says so from then on, and a forced claim sets it aside.
    func open(_ claim: VolumeClaim<HostDirectory>, _ what: String) throws(UserError) -> Opened {
        let directory = claim.writer?.directory ?? parts.views
        let local: LocalVolume<HostDirectory>
        do throws(VolumeOpenError) {
            local = try LocalVolume(volume: claim.served.volume, directory: directory)
        } catch { throw Self.explain(error, what) }
        do throws(VolumeOpenError) {
            return try open(claim, local, directory)
        } catch {
            if let damage = Self.damage(error) {
                local.recordFailure(.journalRotted(damage), labelSeconds: parts.clock.wallSeconds)
            }
            throw Self.explain(error, what)
        }
    }

    private func open(
        _ claim: VolumeClaim<HostDirectory>, _ local: LocalVolume<HostDirectory>,
        _ directory: HostDirectory
    ) throws(VolumeOpenError) -> Opened {
        let worker = VolumeWorker(
            local: local,
            store: WatchedStore(base: parts.store.counting(), tripwire: parts.tripwire),
            cache: parts.cache, pool: parts.pool,
            settings: parts.settings, uploads: parts.hands.packUploads,
            packing: { [pack = parts.hands.pack] in pack.spread($0, $1) }, random: SystemRandom(),
            spread: { [fetch = parts.hands.fetch] in fetch.spread($0, $1) },
            places: parts.compactionPlaces, pinned: pinned(claim.name))
        guard let writer = claim.writer else {
            return (.readOnly(claim.root.commit, directory: directory), worker)
        }
        let opening = VolumeOpening(
            root: claim.root.commit, pending: writer.pending,
            adoptsJournal: writer.adoptsJournal, isHeadConfirmed: writer.isHeadConfirmed,
            epoch: writer.epoch, bootID: parts.facts.bootID)
        return (try local.open(opening, pool: parts.pool), worker)
    }

    /// Asks the refs which of a volume's commits is the newest that something else keeps.
    private func pinned(_ name: String) -> PinnedCommit {
        { [pins = parts.pins] volume throws(FetchError) in
            guard let name = RefName(name) else { return nil }
            do throws(UserError) { return try pins.newest(of: volume, named: name) } catch {
                throw .away(key: RefKey.snapshotsPrefix(of: name), detail: error.why)
            }
        }
    }

    /// What of an answered FLUSH is gone; nil if nothing is.
    private static func damage(_ error: VolumeOpenError) -> String? {
        switch error {
        case .journal(.rotted(let segment, let batch, let claimed)):
            "batch \(batch) in \(segment) cannot be read, and everything up to batch \(claimed) "
                + "had been flushed"
        case .journalEndsEarly(let last, let cut):
            "it ends at record \(last), and a commit in progress has everything up to \(cut)"
        case .journal, .local, .root: nil
        }
    }

    private static func explain(_ error: VolumeOpenError, _ what: String) -> UserError {
        if let damage = damage(error) {
            return UserError(
                .failed, what: what, why: "its journal is damaged: \(damage)",
                remedy: "martlet open --force starts from the last commit and keeps the journal "
                    + "for martlet journal salvage")
        }
        if let failure = localFailure(error), failure.isOutOfSpace {
            return UserError(
                .failed, what: what, why: "\(failure)",
                remedy: "make room on that disk: its journal is kept, and the next client opens it")
        }
        return UserError(
            .failed, what: what, why: localFailure(error).map { "\($0)" } ?? "\(error)",
            remedy: "check the cache directory's disk")
    }

    private static func localFailure(_ error: VolumeOpenError) -> HostIOError? {
        switch error {
        case .local(let failure), .journal(.io(let failure)), .root(.local(let failure)): failure
        case .journal, .root, .journalEndsEarly: nil
        }
    }

    // MARK: Asking

    func ask(_ location: Location, _ verb: ControlVerb, _ deadline: Instant?) -> ControlResult {
        let answer = Answer<ControlResult>()
        guard send(.control(location.place, verb, deadline: deadline, answer), location.shard)
        else { return .absent }
        return answer.wait()
    }

    func ask(
        _ served: ServedVolume, _ verb: ControlVerb, _ deadline: Instant?, _ what: String
    ) throws(UserError) -> ControlResult {
        guard let location = location(served) else { throw failure(of: .absent, what) }
        return ask(location, verb, deadline)
    }

    /// Asks for what the volume does only while nothing is uncommitted: commits before, and again
    /// if a write came between.
    func whenQuiet(
        _ volume: VolumeID, _ verb: ControlVerb, reason: CommitReason, _ what: String
    ) throws(UserError) -> CommitSummary {
        let deadline = parts.clock.now.advanced(bySeconds: parts.commitWaitSeconds)
        for attempt in 1... {
            _ = try commitAll(volume, reason: reason, deadline: deadline)
            let result = try ask(ServedVolume(volume), verb, deadline, what)
            if case .failed(.refused) = result, attempt < Self.quietAttemptsMax { continue }
            return summary(try committed(result, what))
        }
        throw failure(of: .timedOut, what)
    }

    // MARK: Answers

    func summary(_ root: Root) -> CommitSummary {
        CommitSummary(
            sequence: root.commit.sequence, token: root.commit.token,
            labelSeconds: root.commit.labelSeconds)
    }

    func committed(_ result: ControlResult, _ what: String) throws(UserError) -> Root {
        if case .committed(let root) = result { return root }
        throw failure(of: result, what)
    }

    func failure(of result: ControlResult, _ what: String) -> UserError {
        switch result {
        case .failed(let failure): Self.explain(failure, what)
        case .timedOut:
            UserError(
                .storeAway, what: what, why: "the store did not take the commit in time",
                remedy: "see that the store can be reached, then try again")
        case .writersAttached(let count):
            UserError(
                .conflict, what: what, why: "\(count) clients have it open for writing",
                remedy: "disconnect them, then try again")
        case .absent: Self.stopping(what)
        case .committed, .resized, .left, .begun:
            UserError(
                .failed, what: what, why: "the volume answered something else",
                remedy: "see the daemon's log")
        }
    }

    private static func explain(_ failure: VolumeFailure, _ what: String) -> UserError {
        switch failure {
        case .fenced:
            UserError(
                .fenced, what: what, why: failure.reason,
                remedy: "martlet open takes it over again; its journal is kept for salvage")
        case .readOnly, .closing, .refused:
            UserError(.conflict, what: what, why: failure.reason, remedy: "try again later")
        case .journal, .journalRotted:
            UserError(
                .failed, what: what, why: failure.reason,
                remedy: "check the cache directory's disk; martlet open --force starts from the "
                    + "last commit")
        }
    }

    static func stopping(_ what: String) -> UserError {
        UserError(
            .conflict, what: what, why: "it does not run here, or the daemon is stopping",
            remedy: "try again")
    }
}
