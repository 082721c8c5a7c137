// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A host that notices a collector which is wrong, before the damage is done. It knows one thing
// better than any collector: what it is reading. A pack that its disk has needed since before set k
// existed cannot be in set k + 1, whose survey came later. If it is, the collector does not see
// what this host sees: the host writes a stop, and nothing is deleted until a person has looked.
//
// A pack in set k alone means nothing: that survey may be older than the disk's need of it, and
// pins deal with that. Between the set and the deletion lies the grace period: there is time to
// look rarely, and only where something is read.

import Committer
import ControlPlane
public import Documents
import Formats
public import ObjectStore
public import Primitives
import Synchronization

/// What this host serves, and where it reads: an export's head, or a commit of it.
public struct ReadSubject: Equatable, Sendable {
    public let export: RefName?
    public let volume: VolumeID
    /// Nil: the head.
    public let sequence: CommitSequence?

    public init(export: RefName?, volume: VolumeID, sequence: CommitSequence?) {
        self.export = export
        self.volume = volume
        self.sequence = sequence
    }
}

/// One per host. `note` may be called by any thread.
public final class Tripwire<Store: ObjectStore>: Sendable {
    /// Packs that are remembered; beyond, all are forgotten and learned again.
    public static var packsMax: Int { 65_536 }

    private enum Need {
        /// Read since the last look.
        case fresh
        /// Needed when the set of this run was the newest.
        case since(run: UInt64)
    }

    private let refs: RefStore<Store>
    private let node: String
    private let state = Lock(State())

    private struct State {
        var needs: [PackID: Need] = [:]
        var hasNews = false
    }

    public init(store: Store, node: String) {
        refs = RefStore(store: store, what: "cannot look at the condemned sets")
        self.node = node
    }

    /// Something was read. Costs no request.
    public func note(_ key: String) {
        guard key.hasPrefix("packs/"), let pack = try? PackID(key: key) else { return }
        state.withLock { state in
            state.hasNews = true
            guard state.needs[pack] == nil else { return }
            if state.needs.count >= Self.packsMax { state.needs = [:] }
            state.needs[pack] = .fresh
        }
    }

    /// Compares what was read with the newest set: one LIST, and one GET if there is a set. Nothing
    /// if nothing was read since the last time. The stop that was raised; nil is as it should be.
    public func look(
        reading subjects: () -> [ReadSubject], random: inout some RandomSource
    ) throws(UserError) -> CollectionStop? {
        guard state.withLock({ $0.hasNews }) else { return nil }
        let set: CondemnedSet? = try refs.newest(.collection)
        let run = set?.run ?? 0
        let suspects = self.suspects(run, condemned: set?.packs ?? [])
        guard !suspects.isEmpty else { return nil }
        for subject in subjects() {
            guard let commit = try named(subject) else { continue }
            let needed = try needs(of: commit)
            guard let pack = needed.intersection(suspects).min(by: { $0.key < $1.key }) else {
                continue
            }
            return try raise(pack, run, commit, &random)
        }
        // Read once, and not needed any more: a view that is gone, a block that was overwritten.
        forget(suspects)
        return nil
    }

    /// Packs that were needed before the set of an earlier run, and are condemned.
    private func suspects(_ run: UInt64, condemned: Set<PackID>) -> Set<PackID> {
        state.withLock { state in
            state.hasNews = false
            var suspects: Set<PackID> = []
            for (pack, need) in state.needs {
                switch need {
                case .fresh: state.needs[pack] = .since(run: run)
                case .since(let known):
                    if known < run, condemned.contains(pack) { suspects.insert(pack) }
                }
            }
            return suspects
        }
    }

    private func forget(_ packs: Set<PackID>) {
        state.withLock { state in for pack in packs { state.needs[pack] = nil } }
    }

    private func needs(of commit: Commit) throws(UserError) -> Set<PackID> {
        try explainStore(refs.what) { () throws(ObjectStoreError) in
            try CommitPacks(store: refs.store).unseen(of: commit).packs
        }
    }

    /// The commit, if the store says that somebody needs it: the head of an export, or what a
    /// reader pins.
    private func named(_ subject: ReadSubject) throws(UserError) -> Commit? {
        let finder = HeadFinder(store: refs.store)
        guard let sequence = subject.sequence else {
            guard let name = subject.export, let export: ExportRef = try refs.newest(.export(name)),
                export.volume == subject.volume, export.state == .live
            else { return nil }
            return try explainCommit(refs.what) { () throws(CommitError) in
                try finder.head(of: subject.volume)?.commit
            }
        }
        for key in try refs.keys(prefix: RefKey.readersPrefix) {
            guard let reader: ReaderRef = try refs.find(key),
                reader.commit.volume == subject.volume, reader.commit.sequence == sequence
            else { continue }
            return try explainCommit(refs.what) { () throws(CommitError) in
                try finder.commit(of: subject.volume, sequence).commit
            }
        }
        return nil
    }

    private func raise(
        _ pack: PackID, _ run: UInt64, _ commit: Commit, _ random: inout some RandomSource
    ) throws(UserError) -> CollectionStop {
        let stop = CollectionStop(
            id: Token.random(from: &random), node: node, pack: pack, run: run,
            commit: commit.pointer)
        guard try refs.create(RefKey.stop(stop.id).text, stop) else { throw refs.contended }
        // It is said once; the set is looked at anew when there is another.
        forget([pack])
        return stop
    }
}
