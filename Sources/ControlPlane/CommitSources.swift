// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Names of commits, looked up in the store alone, and the pins of those that read them: what the
// control plane does for a daemon, and tools do without one.

package import Committer
package import Documents
package import Formats
package import ObjectStore
package import Primitives

/// Finds what a name means now. Locks nothing, commits nothing, writes nothing.
package struct CommitSources<Store: ObjectStore> {
    package let refs: RefStore<Store>

    package init(refs: RefStore<Store>) { self.refs = refs }

    /// The first candidate that exists, as `snapshot:NAME@SEQ` or the like, with its commit. With
    /// `history`, NAME@SEQ and NAME@TIME may also mean a commit of the export's volume that no
    /// snapshot names, as long as it is there.
    package func find(
        _ source: ForkSource, history: Bool = false
    ) throws(UserError) -> (name: String, commit: CommitPointer)? {
        for candidate in source.candidates {
            if let found = try find(candidate, history: history) {
                return (found.candidate.text, found.commit)
            }
        }
        return nil
    }

    /// With what it turned out to be: a time is the number of a commit.
    func find(
        _ candidate: ForkSource.Candidate, history: Bool
    ) throws(UserError) -> (candidate: ForkSource.Candidate, commit: CommitPointer)? {
        if let commit = try find(candidate) { return (candidate, commit) }
        guard history else { return nil }
        switch candidate {
        case .snapshot(let name, let sequence):
            guard let export = try export(name),
                let commit = try commit(of: export.volume, sequence)
            else { return nil }
            return (candidate, commit.pointer)
        case .moment(let name, let seconds):
            guard let export = try export(name) else { return nil }
            let commit = try CommitHistory(refs: refs).last(of: export, notAfter: seconds)
            return (.snapshot(name, commit.sequence), commit.pointer)
        default: return nil
        }
    }

    /// Nil if it is not there.
    package func commit(
        of volume: VolumeID, _ sequence: CommitSequence
    ) throws(UserError) -> Commit? {
        do throws(CommitError) {
            return try HeadFinder(store: refs.store).commit(of: volume, sequence).commit
        } catch {
            if case .store(.notFound) = error { return nil }
            throw UserError(refs.what, error)
        }
    }

    private func find(_ candidate: ForkSource.Candidate) throws(UserError) -> CommitPointer? {
        switch candidate {
        case .export(let name):
            guard let ref = try export(name) else { return nil }
            return try head(of: ref).commit.pointer
        case .snapshot(let name, let sequence):
            let key = RefKey.snapshot(name, sequence).text
            guard let ref: SnapshotRef = try refs.find(key) else { return nil }
            guard ref.name == name, ref.commit.sequence == sequence else {
                throw UserError(refs.what, key, .misplaced(key: key, found: "\(ref.name)"))
            }
            return ref.commit
        case .moment: return nil
        case .tag(let name):
            return try refs.newest(.tag(name), as: TagRef.self)?.commit
        case .base(let name):
            return try refs.newest(.base(name), as: BaseRef.self)?.commit
        }
    }

    /// An export that has something to read.
    private func export(_ name: RefName) throws(UserError) -> ExportRef? {
        guard let ref: ExportRef = try refs.newest(.export(name)),
            ref.state == .live || ref.state == .detached
        else { return nil }
        return ref
    }

    package func head(of ref: ExportRef) throws(UserError) -> LocalRoot {
        let head = try explainCommit(refs.what) { () throws(CommitError) in
            try HeadFinder(store: refs.store).head(of: ref.volume)
        }
        guard let head, head.commit.state != .deleted else {
            throw UserError(
                .conflict, what: refs.what,
                why: "the volume of \(ref.name) has no commit to read",
                remedy: "repeat the request that created or deleted it")
        }
        return head
    }

    package func notFound(_ source: ForkSource) -> UserError {
        let tried = source.candidates.map(\.text).joined(separator: ", ")
        return UserError(
            .notFound, what: refs.what, why: "there is no \(source.text) (looked for \(tried))",
            remedy: "see martlet list, martlet snapshots NAME and martlet tags")
    }
}

extension Commit {
    /// How refs name the commit.
    package var pointer: CommitPointer {
        CommitPointer(
            volume: volume, sequence: sequence, token: token, labelSeconds: labelSeconds)
    }
}

/// Pins of readers: `refs/readers/<id>` says that a node reads a commit, and the collector leaves
/// what it needs alone.
package struct ReaderPins<Store: ObjectStore> {
    package let refs: RefStore<Store>
    /// A node removes the pins of its own name when it starts.
    package let node: RefName

    package init(refs: RefStore<Store>, node: RefName) {
        self.refs = refs
        self.node = node
    }

    /// Pins the commit and reads it. Where no ref may be written the commit is read unpinned, if
    /// reading is all that it is for.
    package func pin(
        _ commit: CommitPointer, id: Token, purpose: ReaderRef.Purpose
    ) throws(UserError) -> (commit: Commit, isPinned: Bool) {
        let (root, reader) = try root(of: commit, id: id, purpose: purpose)
        return (root.commit, reader != nil)
    }

    /// Runs `body` while the commit is pinned: what `body` makes keeps the commit from then on.
    package func holding<Value>(
        _ commit: CommitPointer, id: Token, purpose: ReaderRef.Purpose,
        _ body: (LocalRoot) throws(UserError) -> Value
    ) throws(UserError) -> Value {
        let (root, reader) = try root(of: commit, id: id, purpose: purpose)
        do throws(UserError) {
            let value = try body(root)
            if let reader { unpin(reader) }
            return value
        } catch {
            // A PUT that was not answered may still arrive, and needs the commit then. Reading
            // makes nothing.
            if let reader, error.kind != .storeAway || purpose == .read { unpin(reader) }
            throw error
        }
    }

    func root(
        of commit: CommitPointer, id: Token, purpose: ReaderRef.Purpose
    ) throws(UserError) -> (root: LocalRoot, reader: Token?) {
        let reader = ReaderRef(id: id, node: node, commit: commit, purpose: purpose)
        let key = RefKey.reader(id).text
        do throws(UserError) {
            let root = try Pinner(refs: refs).pin(
                commit, create: { () throws(UserError) in try refs.create(key, reader) },
                undo: { () throws(UserError) in try refs.delete([key]) })
            return (root, id)
        } catch {
            guard error.kind == .forbidden, purpose == .read else { throw error }
            return (try Pinner(refs: refs).read(commit), nil)
        }
    }

    /// A pin that stays for want of an answer is listed by the collector, and given up there.
    package func unpin(_ id: Token) { try? refs.store.delete([RefKey.reader(id).text]) }
}
