// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Start, and what a node knows of the others' exports. A start claims nothing. Without the store it
// knows what its cache directory knows, which is enough to serve what was open here.

import Committer
import Documents
import Formats
import HostIO
import ObjectStore
public import Primitives
import Synchronization

extension ControlPlane {
    private static var repositoryName: String { "repository.json" }

    /// Creates or verifies `martlet.json`, learns all exports, removes this node's own reader refs.
    /// With the store away only what the cache directory knows is known, and the report says so:
    /// call `refresh` until it succeeds. `run` may read refs on several threads.
    public func start(run: JobRunner = sequentially) throws(UserError) -> StartReport {
        let what = "cannot start"
        try learnLocal(what)
        do throws(UserError) {
            return try refresh(run: run)
        } catch {
            guard error.kind == .storeAway else { throw error }
            let kept = try localRepository(what)
            return StartReport(
                repository: kept?.id, isStoreReachable: false, exports: table.refs.count)
        }
    }

    /// Learns the exports of the store again. Fails with `storeAway`.
    public func refresh(run: JobRunner = sequentially) throws(UserError) -> StartReport {
        let what = "cannot read the repository at \(store.url)"
        let repository = try verifyRepository(what)
        try learnExports(what, run: run)
        if table.views.isEmpty { removeOwnReaders(what) }
        return StartReport(
            repository: repository.id, isStoreReachable: true, exports: list().count)
    }

    /// Exports whose writes of before the start may lie in a journal here. Attach them at start, so
    /// that what was acknowledged reaches the store.
    public func exportsOpenHere() -> [String] {
        table.refs.filter { ref in
            ref.state == .live && !ref.isReadOnly && table.attachment(ref.name) == nil
                && (try? hasLocalState(ref, "cannot look")) == true
        }.map(\.name.text)
    }

    // MARK: The repository

    private func verifyRepository(_ what: String) throws(UserError) -> Repository {
        let refs = refs(what)
        let key = RefKey.repository.text
        var repository: Repository? = try refs.find(key)
        if repository == nil, configuration.isReadOnly {
            throw UserError(
                .failed, what: what, why: "there is no repository, and this node may only read",
                remedy: "correct the store's URL, or start once without --readonly")
        }
        if repository == nil {
            let made = Repository(id: fresh(), createdSeconds: clock.wallSeconds)
            // Whoever was first: read what is there.
            _ = try refs.create(key, made)
            repository = try refs.get(key)
        }
        guard let repository else { throw refs.contended }
        let kept = try localRepository(what)
        // No hash is in it: one answer neither binds a cache directory for good nor refuses it.
        if kept?.id != repository.id, try refs.get(key, as: Repository.self) != repository {
            throw UserError(what, .damaged(key: key, detail: "it was read twice, and differs"))
        }
        if let kept {
            guard kept.id == repository.id else {
                throw UserError(
                    .conflict, what: what,
                    why: "the cache directory belongs to repository \(kept.id), the store holds "
                        + "\(repository.id)",
                    remedy: "use another cache directory for this store")
            }
        } else {
            try explainLocal(what) { () throws(HostIOError) in
                try cacheDirectory.replaceDurably(Self.repositoryName, with: repository.encoded)
            }
        }
        return repository
    }

    private func localRepository(_ what: String) throws(UserError) -> Repository? {
        let bytes = try explainLocal(what) { () throws(HostIOError) in
            try cacheDirectory.readAll(Self.repositoryName, limit: Repository.bytesMax)
        }
        guard let bytes else { return nil }
        do throws(DocumentError) { return try Repository(decoding: bytes) } catch {
            throw UserError(what, Self.repositoryName, error)
        }
    }

    // MARK: Exports

    private func learnLocal(_ what: String) throws(UserError) {
        try explainLocal(what) { () throws(HostIOError) in
            for local in try LocalVolume.all(in: cacheDirectory) {
                if let ref = try local.export() { table.learn(ref) }
            }
        }
    }

    /// Reads the refs that are newer than what is known.
    private func learnExports(_ what: String, run: JobRunner) throws(UserError) {
        let refs = refs(what)
        var newest: [(key: String, series: RefSeries)] = []
        var last: RefName?
        for key in try refs.keys(prefix: RefKey.exportsPrefix) {
            guard case .numbered(.export(let name), let number) = RefKey(parsing: key) else {
                throw UserError(what, key, .malformedKey(key))
            }
            // The first key of a name has its highest number.
            defer { last = name }
            guard name != last, number > table.ref(name)?.number ?? 0 else { continue }
            newest.append((key, .export(name)))
        }
        let failure = Lock<UserError?>(nil)
        run(
            newest.map { entry in
                { [table] in
                    do throws(UserError) {
                        let ref: ExportRef = try refs.read(entry.key, in: entry.series)
                        table.learn(ref)
                    } catch {
                        failure.withLock { $0 = $0 ?? error }
                    }
                }
            })
        if let first = failure.withLock({ $0 }) { throw first }
    }

    /// A reader ref of this node that is there at start pins nothing any more, but for a rollback
    /// whose commit may still be published: then those stay until a later start. A failure costs
    /// space only.
    private func removeOwnReaders(_ what: String) {
        let refs = refs(what)
        let keepsRollbacks = (try? hasPendingCommit()) ?? true
        guard let keys = try? refs.keys(prefix: RefKey.readersPrefix) else { return }
        for key in keys {
            guard let reader = try? refs.get(key, as: ReaderRef.self),
                reader.node == configuration.node,
                reader.purpose != .rollback || !keepsRollbacks
            else { continue }
            try? refs.delete([key])
        }
    }

    private func hasPendingCommit() throws -> Bool {
        try LocalVolume.all(in: cacheDirectory).contains { local in
            try RootDirectory(volumeDirectory: local.directory).load().pending != nil
        }
    }

    // MARK: Lists

    /// All exports known here that are not deleted, by name. Does not ask the store.
    public func list() -> [ExportInfo] {
        table.refs.filter { $0.state != .deleted }.map(describe)
    }

    /// Asks the store only about a name that is not known here.
    public func info(_ name: String) throws(UserError) -> ExportInfo {
        let what = "cannot show \(name.prefix(140))"
        let name = try validName(name, what)
        if let known = table.ref(name), known.state != .deleted { return describe(known) }
        return describe(try export(name, what))
    }

    // MARK: Local state

    /// True if the volume was open here and may have more than the store has.
    func hasLocalState(_ ref: ExportRef, _ what: String) throws(UserError) -> Bool {
        let local = try explainLocal(what) { () throws(HostIOError) in
            try LocalVolume.open(ref.volume, in: cacheDirectory, create: false)
        }
        guard let local else { return false }
        let roots: LocalRoots
        do throws(CommitError) {
            roots = try RootDirectory(volumeDirectory: local.directory).load()
        } catch {
            // Damaged: the claim deals with it, and keeps the journal.
            return true
        }
        return roots.current?.commit.state == .open || roots.pending != nil
    }
}

/// Runs jobs one after the other on the calling thread.
public let sequentially: JobRunner = { jobs in
    for job in jobs { job() }
}
