// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Snapshots and tags. A snapshot is a commit and a ref to it; its number is the commit's, so that
// an unchanged volume gives the same number again. A tag is a name for a commit that may move.

import Committer
import Documents
import HostIO
import ObjectStore
public import Primitives

extension ControlPlane {
    /// Commits everything acknowledged and names the commit. The reply comes after the ref exists.
    /// Of an export served elsewhere it names the last commit.
    public func snapshot(_ name: String, tag: String?) throws(UserError) -> SnapshotInfo {
        let what = "cannot snapshot \(name.prefix(140))"
        let name = try validName(name, what)
        let tag = try tag.map { text throws(UserError) in try validName(text, what) }
        return try locks.withLock([name]) { () throws(UserError) in
            let ref = try liveOrDetached(name, what)
            let (commit, _) = try lastCommit(of: ref, reason: .snapshot, what)
            let snapshot = try keepSnapshot(of: name, commit, tag: tag, what)
            if let tag { _ = try move(tag, to: commit, of: name, what) }
            return info(snapshot, tag: tag)
        }
    }

    /// Ascending.
    public func snapshots(_ name: String) throws(UserError) -> [SnapshotInfo] {
        let what = "cannot list the snapshots of \(name.prefix(140))"
        let name = try validName(name, what)
        let refs = refs(what)
        let found = try refs.snapshots(below: RefKey.snapshotsPrefix(of: name))
        if found.isEmpty { _ = try export(name, what) }
        return found.map { info($0, tag: $0.tag) }
    }

    /// The numbers of a name's snapshots, ascending, from their keys alone. A name that never was
    /// has none.
    public func snapshotNumbers(_ name: String) throws(UserError) -> [CommitSequence] {
        let what = "cannot list the snapshots of \(name.prefix(140))"
        let name = try validName(name, what)
        return try refs(what).keys(prefix: RefKey.snapshotsPrefix(of: name)).compactMap { key in
            guard case .snapshot(_, let sequence)? = RefKey(parsing: key) else { return nil }
            return sequence
        }
    }

    /// The commit's blocks go when nothing else needs them. A tag of it stays.
    public func deleteSnapshot(_ name: String, sequence: UInt64) throws(UserError) {
        let what = "cannot delete snapshot \(sequence) of \(name.prefix(140))"
        let name = try validName(name, what)
        guard sequence > 0 else { return }
        try refs(what).delete([RefKey.snapshot(name, CommitSequence(sequence)).text])
    }

    /// Names the last commit, without a flush. An existing tag moves.
    public func tag(_ name: String, tag: String) throws(UserError) -> TagInfo {
        let what = "cannot tag \(name.prefix(140))"
        let name = try validName(name, what)
        let tag = try validName(tag, what)
        return try locks.withLock([name]) { () throws(UserError) in
            let ref = try liveOrDetached(name, what)
            return info(try move(tag, to: pointer(to: head(of: ref, what).commit), of: name, what))
        }
    }

    /// All tags, by name.
    public func tags() throws(UserError) -> [TagInfo] {
        let what = "cannot list the tags"
        let refs = refs(what)
        var found: [TagInfo] = []
        var last: RefName?
        for key in try refs.keys(prefix: RefKey.tagsPrefix) {
            guard case .numbered(.tag(let name), _) = RefKey(parsing: key) else {
                throw UserError(what, key, .malformedKey(key))
            }
            // The first key of a name has its highest number.
            defer { last = name }
            if name != last { found.append(info(try refs.read(key, in: .tag(name)))) }
        }
        return found
    }

    // MARK: Shared

    private func liveOrDetached(_ name: RefName, _ what: String) throws(UserError) -> ExportRef {
        let ref = try export(name, what)
        if ref.state == .creating { try requireLive(ref, what) }
        return ref
    }

    /// Makes the snapshot's ref, pinned. One that is there already names this commit or none of
    /// ours.
    func keepSnapshot(
        of name: RefName, _ commit: CommitPointer, tag: RefName?, _ what: String
    ) throws(UserError) -> SnapshotRef {
        let refs = refs(what)
        let key = RefKey.snapshot(name, commit.sequence).text
        let made = SnapshotRef(name: name, commit: commit, tag: tag)
        var there: SnapshotRef?
        _ = try Pinner(refs: refs).pin(
            commit,
            create: { () throws(UserError) in
                there = try refs.find(key)
                if there != nil { return false }
                if try refs.create(key, made) { return true }
                there = try refs.get(key)
                return false
            },
            undo: { () throws(UserError) in try refs.delete([key]) })
        guard let there else { return made }
        guard there.commit.token == commit.token, there.commit.volume == commit.volume else {
            throw UserError(
                .conflict, what: what,
                why: "snapshot \(commit.sequence) of \(name) names another commit",
                remedy: "delete that snapshot if it is not needed, then try again")
        }
        return there
    }

    private func move(
        _ tag: RefName, to commit: CommitPointer, of name: RefName, _ what: String
    ) throws(UserError) -> TagRef {
        let refs = refs(what)
        for _ in 0..<Self.changesMax {
            let current: TagRef? = try refs.newest(.tag(tag))
            if let current, current.commit == commit, current.export == name { return current }
            let next = TagRef(
                tag: tag, number: (current?.number ?? 0) + 1, commit: commit, export: name)
            // A number of a series cannot be taken back once it was made, so the commit is pinned
            // before it.
            let isOurs = try holding(commit, purpose: .tag, what) { _ throws(UserError) in
                try refs.append(next)
            }
            if isOurs { return next }
        }
        throw refs.contended
    }

    private func info(_ ref: SnapshotRef, tag: RefName?) -> SnapshotInfo {
        SnapshotInfo(
            name: ref.name.text, sequence: ref.commit.sequence, volume: ref.commit.volume,
            token: ref.commit.token, labelSeconds: ref.commit.labelSeconds,
            tag: (tag ?? ref.tag)?.text)
    }

    private func info(_ ref: TagRef) -> TagInfo {
        TagInfo(
            tag: ref.tag.text, export: ref.export.text, sequence: ref.commit.sequence,
            volume: ref.commit.volume, token: ref.commit.token,
            labelSeconds: ref.commit.labelSeconds)
    }
}
