// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the destination has of a disk: the commits that say of themselves what they are copies of,
// below the names that a copy gives. A name that holds anything else is not touched.

import Committer
import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives

struct CopyTarget<Store: ObjectStore> {
    let refs: RefStore<Store>
    /// By the token of what they are copies of.
    private(set) var copies: [Token: Commit] = [:]
    /// What a disk's name means, by its title: worth comparing with, whatever the source's name
    /// meant when it was copied.
    private(set) var named: [String: Commit] = [:]

    init(refs: RefStore<Store>) { self.refs = refs }

    mutating func add(_ commit: Commit, copyOf token: Token) { copies[token] = commit }

    /// Looks at everything that has the disk's name. Fails with `conflict` if that is no copy of
    /// it, or was written since. `last` is the disk's last commit, in the source.
    mutating func learn(_ disk: CopyDisk, last: Commit) throws(UserError) {
        for snapshot in try refs.snapshots(below: RefKey.snapshotsPrefix(of: disk.name))
        where !disk.isBase {
            let commit = try Pinner(refs: refs).read(snapshot.commit).commit
            if let copied = commit.copied { copies[copied.token] = commit }
            let number = snapshot.commit.sequence
            if let wanted = disk.snapshots.first(where: { $0.commit.sequence == number }),
                wanted.commit.token != commit.copied?.token
            {
                throw conflict("snapshot \(disk.name)@\(number)", "is no copy of it")
            }
        }
        switch disk.kind {
        case .export: try learnExport(disk)
        case .base: try learnBase(disk, last)
        }
    }

    /// The commit that a disk was forked from, if the destination has a copy of it under its name.
    mutating func learnOrigin(_ origin: ExportOrigin) throws(UserError) {
        guard copies[origin.commit.token] == nil, let source = try? ForkSource(from: origin.name)
        else { return }
        do throws(UserError) {
            guard let (_, pointer) = try CommitSources(refs: refs).find(source) else { return }
            let commit = try Pinner(refs: refs).read(pointer).commit
            if let copied = commit.copied { copies[copied.token] = commit }
        } catch {
            // Without it more is copied; that is no reason to stop.
            if error.kind == .storeAway { throw error }
        }
    }

    private mutating func learnExport(_ disk: CopyDisk) throws(UserError) {
        guard let current: ExportRef = try refs.newest(.export(disk.name)) else { return }
        guard current.state != .deleted else { return try checkNumbers(disk, current) }
        let first = try checkUntouched(current)
        if let first, let copied = first.copied {
            copies[copied.token] = first
            named[disk.title] = first
        }
    }

    /// The copy that an export means; nil if it was purged. Fails with `conflict` if it is no copy,
    /// or was written since.
    @discardableResult
    func checkUntouched(_ current: ExportRef) throws(UserError) -> Commit? {
        let title = "export \(current.name)"
        switch current.state {
        case .deleted: return nil
        case .creating: throw conflict(title, "is being created")
        case .live, .detached: break
        }
        guard let first = try first(of: current), first.copied != nil else {
            throw conflict(title, "is no copy of it")
        }
        let head = try CommitSources(refs: refs).head(of: current).commit
        let isSame = head.state == .clean && head.digest == first.digest
        guard head.token == first.token || (isSame && head.size == first.size) else {
            throw conflict(
                title, "was opened for writing since it was copied (commit \(head.sequence))")
        }
        return first
    }

    private func first(of ref: ExportRef) throws(UserError) -> Commit? {
        try CommitSources(refs: refs).commit(of: ref.volume, ref.firstSequence)
    }

    /// A number of a name means one commit for ever.
    private func checkNumbers(_ disk: CopyDisk, _ current: ExportRef) throws(UserError) {
        let free = try refs.firstFreeSequence(of: disk.name, after: current)
        guard let least = disk.commits.map(\.sequence).min(), least < free else { return }
        throw conflict(disk.title, "was used, with numbers up to \(free.rawValue - 1), and purged")
    }

    private mutating func learnBase(
        _ disk: CopyDisk, _ last: Commit
    ) throws(UserError) {
        guard let current: BaseRef = try refs.newest(.base(disk.name)) else { return }
        let commit = try Pinner(refs: refs).read(current.commit).commit
        if let copied = commit.copied {
            copies[copied.token] = commit
            named[disk.title] = commit
        } else if commit.digest == last.digest, commit.size == last.size,
            commit.blockBytes == last.blockBytes
        {
            // The same image was blessed in both.
            copies[last.token] = commit
        } else {
            throw conflict(disk.title, "is no copy of it")
        }
    }

    private func conflict(_ title: String, _ why: String) -> UserError {
        UserError(
            .conflict, what: refs.what, why: "\(title) at \(refs.store.url) \(why)",
            remedy: "purge it there, or keep it and fork it to another name first")
    }
}
