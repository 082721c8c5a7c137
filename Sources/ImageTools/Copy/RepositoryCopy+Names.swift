// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The refs of a copy: who holds a volume while it grows, and what names it in the end.

import Committer
import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives

extension RepositoryCopy {
    /// Others may take the next number of a series this many times.
    private static var changesMax: Int { 16 }

    // MARK: Work

    /// The export that holds the volume while it grows.
    private func workName(of disk: CopyDisk) throws(UserError) -> RefName {
        let prefix = disk.isBase ? "copy-base." : "copy."
        guard let name = RefName(prefix + disk.name.text) else {
            throw UserError(
                .badRequest, what: target.what, why: "the name \(disk.name) is too long",
                remedy: "use at most \(Limits.nameCharactersMax - prefix.utf8.count) characters")
        }
        return name
    }

    /// The work's export: a new one, or that of an earlier try, with the commit if that was made.
    func begin(
        _ original: Commit, of disk: CopyDisk
    ) throws(UserError) -> (work: ExportRef, commit: Commit?) {
        let name = try workName(of: disk)
        for _ in 0..<Self.changesMax {
            let current: ExportRef? = try target.newest(.export(name))
            guard let current, current.state != .deleted else {
                let made = newWork(name, original, after: current)
                if try target.append(made) { return (made, nil) }
                continue
            }
            guard current.state == .creating, isWork(current) else {
                throw UserError(
                    .conflict, what: target.what,
                    why: "the name \(name), under which a copy grows, is that of an export",
                    remedy: "delete \(name) there, or give it another name")
            }
            let head = try explainCommit(target.what) { () throws(CommitError) in
                try HeadFinder(store: target.store).head(of: current.volume)?.commit
            }
            if let head, head.copied?.token == original.token { return (current, head) }
            if head == nil, suits(current, original, disk) { return (current, nil) }
            try giveUp(current, head, of: disk)
        }
        throw target.contended
    }

    /// What holds a copy while it grows says so: an import may have taken the name.
    private static func workSource(_ of: String) -> String {
        ExportRef.imageSource("copy:" + of)
    }

    private func isWork(_ ref: ExportRef) -> Bool {
        ref.definition.source?.hasPrefix(Self.workSource("")) ?? false
    }

    private func newWork(
        _ name: RefName, _ original: Commit, after previous: ExportRef?
    ) -> ExportRef {
        ExportRef(
            name: name, number: (previous?.number ?? 0) + 1, volume: fresh(), state: .creating,
            definition: ExportDefinition(
                size: original.size, blockBytes: original.blockBytes, isReadOnly: false,
                transport: .none,
                source: Self.workSource(original.key.key)),
            size: original.size, isReadOnly: false, origin: nil,
            firstSequence: original.sequence)
    }

    /// A snapshot has the number that it has in the source. The last commit of a disk that moves on
    /// may have a lower one, of the try that began: so what was uploaded is of use.
    private func suits(_ work: ExportRef, _ original: Commit, _ disk: CopyDisk) -> Bool {
        guard work.definition.blockBytes == original.blockBytes else { return false }
        if work.firstSequence == original.sequence { return true }
        let pinned = disk.snapshots.map(\.commit)
        guard !pinned.contains(where: { $0.token == original.token }) else { return false }
        let least = pinned.last?.sequence ?? .none
        return work.firstSequence > least && work.firstSequence < original.sequence
    }

    /// Ends what an earlier try left and this one cannot go on with. A commit that is whole and is
    /// an older state of the name is worth having: the name moves on to it.
    private func giveUp(
        _ work: ExportRef, _ head: Commit?, of disk: CopyDisk
    ) throws(UserError) {
        if let head, let copied = head.copied, case .export(let ref) = disk.kind {
            let isNewer = there.copies.values.allSatisfy { $0.sequence < head.sequence }
            if isNewer { try bind(ref, to: head) }
            there.add(head, copyOf: copied.token)
        } else if head == nil {
            try VolumeEnd(refs: target, clock: clock).publish(work, token: fresh())
        }
        try free(work)
    }

    /// The work is done. If the number is taken, somebody freed the name before.
    func free(_ work: ExportRef) throws(UserError) {
        _ = try target.append(work.next { $0.state = .deleted })
    }

    /// Of a try that died between its last name and its end.
    func freeLeftover(of disk: CopyDisk) throws(UserError) {
        guard let work: ExportRef = try target.newest(.export(try workName(of: disk))),
            work.state == .creating, isWork(work)
        else { return }
        let head = try explainCommit(target.what) { () throws(CommitError) in
            try HeadFinder(store: target.store).head(of: work.volume)?.commit
        }
        if head == nil {
            try VolumeEnd(refs: target, clock: clock).publish(work, token: fresh())
        }
        try free(work)
    }

    // MARK: Names

    func bind(_ snapshot: SnapshotRef, to commit: Commit) throws(UserError) {
        let ref = SnapshotRef(name: snapshot.name, commit: commit.pointer, tag: snapshot.tag)
        let key = RefKey.snapshot(snapshot.name, snapshot.commit.sequence).text
        _ = try Pinner(refs: target).pin(
            commit.pointer, create: { () throws(UserError) in try target.create(key, ref) },
            undo: { () throws(UserError) in try target.delete([key]) })
    }

    /// The name means the copy from here on. It is free, or means an older copy that nobody wrote
    /// to.
    func bind(_ origin: ExportRef, to commit: Commit) throws(UserError) {
        let current: ExportRef? = try target.newest(.export(origin.name))
        if let current, current.volume == commit.volume, current.state != .deleted { return }
        if let current { try there.checkUntouched(current) }
        let definition = ExportDefinition(
            size: commit.size, blockBytes: commit.blockBytes,
            isReadOnly: origin.definition.isReadOnly, transport: origin.definition.transport)
        let next = ExportRef(
            name: origin.name, number: (current?.number ?? 0) + 1, volume: commit.volume,
            state: origin.state, definition: definition, size: commit.size,
            isReadOnly: origin.isReadOnly, origin: nil, firstSequence: commit.sequence)
        guard try target.append(next) else { throw taken(origin.name) }
    }

    private func taken(_ name: RefName) -> UserError {
        UserError(
            .conflict, what: target.what, why: "\(name) was changed there meanwhile",
            remedy: "look at what it is now, then repeat the copy")
    }

    func bind(_ origin: BaseRef, to commit: Commit) throws(UserError) {
        for _ in 0..<Self.changesMax {
            let current: BaseRef? = try target.newest(.base(origin.name))
            if current?.commit == commit.pointer { return }
            let next = BaseRef(
                name: origin.name, number: (current?.number ?? 0) + 1, commit: commit.pointer,
                source: origin.source)
            // A number of a series cannot be taken back, so the commit is pinned before it.
            let isOurs = try holding(commit.pointer, .tag) { () throws(UserError) in
                try target.append(next)
            }
            if isOurs { return }
        }
        throw target.contended
    }

    /// A tag of a commit that was copied. One that means something else in the destination stays.
    func copy(_ tag: TagRef) throws(UserError) {
        guard let commit = there.copies[tag.commit.token] else { return }
        let title = "tag \(tag.tag)"
        for _ in 0..<Self.changesMax {
            let current: TagRef? = try target.newest(.tag(tag.tag))
            if let current {
                if current.commit == commit.pointer {
                    report.items.append(CopyReport.Item(.unchanged, commit).named(title))
                    return
                }
                let other = try CommitSources(refs: target)
                    .commit(of: current.commit.volume, current.commit.sequence)
                guard current.export == tag.export, other?.copied != nil else {
                    report.items.append(CopyReport.Item(.kept, commit).named(title))
                    return
                }
            }
            let next = TagRef(
                tag: tag.tag, number: (current?.number ?? 0) + 1, commit: commit.pointer,
                export: tag.export)
            let isOurs = try holding(commit.pointer, .tag) { () throws(UserError) in
                try target.append(next)
            }
            if isOurs {
                report.items.append(CopyReport.Item(.copied, commit).named(title))
                return
            }
        }
        throw target.contended
    }
}
