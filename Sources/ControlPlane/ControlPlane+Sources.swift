// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a name in a request stands for: the refs behind sources of forks, pinned attaches and
// manifests.

import Committer
import Documents
import Formats
import ObjectStore
public import Primitives

/// A source that was found.
struct ResolvedFork {
    let origin: ExportOrigin
    let root: LocalRoot
    let point: ForkPoint
}

extension ControlPlane {
    /// The first candidate that exists, with the commit it names now. Locks nothing, commits
    /// nothing. With `history`, as `CommitSources` has it.
    func find(
        _ source: ForkSource, history: Bool = true, _ what: String
    ) throws(UserError) -> (candidate: ForkSource.Candidate, commit: CommitPointer)? {
        for candidate in source.candidates {
            if let found = try find(candidate, history: history, what) { return found }
        }
        return nil
    }

    private func find(
        _ candidate: ForkSource.Candidate, history: Bool, _ what: String
    ) throws(UserError) -> (candidate: ForkSource.Candidate, commit: CommitPointer)? {
        // The table of exports learns what a lookup found.
        if case .export(let name) = candidate {
            guard let ref = try newest(name, what), ref.state == .live || ref.state == .detached
            else { return nil }
            return (candidate, try head(of: ref, what).commit.pointer)
        }
        return try CommitSources(refs: refs(what)).find(candidate, history: history)
    }

    func notFound(_ source: ForkSource, _ what: String) -> UserError {
        CommitSources(refs: refs(what)).notFound(source)
    }

    /// The commit to fork. An export that is served here commits first. With the locks of `name`
    /// and of all exports among the candidates held.
    func resolve(
        _ source: ForkSource, for name: RefName, _ what: String
    ) throws(UserError) -> ResolvedFork {
        guard let (candidate, named) = try find(source, what) else {
            throw notFound(source, what)
        }
        var commit = named
        var isCurrent = true
        if case .export(let other) = candidate {
            guard other != name else {
                throw UserError(
                    .conflict, what: what, why: "a name cannot be forked from itself",
                    remedy: "name a snapshot of it: snapshot:\(name)@SEQ")
            }
            let ref = try export(other, what)
            (commit, isCurrent) = try lastCommit(of: ref, reason: .fork, what)
        }
        let root = try Pinner(refs: refs(what)).read(commit)
        let now = clock.wallSeconds
        let age = now > commit.labelSeconds ? now - commit.labelSeconds : 0
        return ResolvedFork(
            origin: ExportOrigin(name: candidate.text, commit: commit), root: root,
            point: ForkPoint(
                name: candidate.text, sequence: commit.sequence, ageSeconds: age,
                isCurrent: isCurrent))
    }

    /// `bases/NAME` (or a tag of that name), `tags/NAME`, `snapshots/NAME@SEQ`, `exports/NAME`.
    /// Fails with `notFound`.
    public func manifest(prefix: String, name: String) throws(UserError) -> ManifestInfo {
        let what = "cannot find the manifest \(prefix.prefix(20))/\(name.prefix(300))"
        let source: ForkSource
        switch prefix {
        case "snapshots": source = try ForkSource(from: "snapshot:\(name)")
        case "bases", "tags", "exports":
            source = try ForkSource(manifestName: "\(prefix)/\(name)", snapshotSequence: nil)
        default:
            throw UserError(
                .notFound, what: what, why: "\(prefix.prefix(20)) is not a kind of manifest",
                remedy: "use bases, tags, snapshots or exports")
        }
        guard let (candidate, commit) = try find(source, history: false, what) else {
            throw notFound(source, what)
        }
        let kind: ManifestInfo.Kind =
            switch candidate {
            case .export: .export
            case .snapshot, .moment: .snapshot
            case .tag: .tag
            case .base: .base
            }
        return ManifestInfo(kind: kind, name: candidate.text, commit: commit)
    }
}
