// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What is to be copied, as the source repository has it: names with their commits, in an order in
// which whatever a disk was forked from comes before it.

import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives

/// One name of the source.
struct CopyDisk {
    enum Kind {
        case export(ExportRef)
        case base(BaseRef)
    }

    let name: RefName
    let kind: Kind
    /// Ascending.
    let snapshots: [SnapshotRef]
    /// Of commits of this name.
    let tags: [TagRef]
    /// The last commit, or that of the base.
    let last: CommitPointer

    var isBase: Bool {
        if case .base = kind { true } else { false }
    }

    /// For people.
    var title: String { isBase ? "base \(name)" : "export \(name)" }

    /// What the disk was forked from.
    var origin: CommitPointer? {
        if case .export(let ref) = kind { ref.origin?.commit } else { nil }
    }

    /// Everything that is to be copied, ascending.
    var commits: [CommitPointer] {
        let pinned = snapshots.map(\.commit)
        return pinned.contains { $0.token == last.token } ? pinned : pinned + [last]
    }

    func snapshot(of token: Token) -> SnapshotRef? {
        snapshots.first { $0.commit.token == token }
    }
}

struct CopyPlan<Store: ObjectStore> {
    let refs: RefStore<Store>
    let takesSnapshots: Bool

    /// The disks of the names, each once, sources of forks first.
    func disks(_ names: [String]) throws(UserError) -> [CopyDisk] {
        var disks: [CopyDisk] = []
        for name in names {
            let disk = try disk(name)
            if !disks.contains(where: { $0.name == disk.name && $0.isBase == disk.isBase }) {
                disks.append(disk)
            }
        }
        return ordered(disks)
    }

    private func disk(_ text: String) throws(UserError) -> CopyDisk {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let kind = parts.count == 2 ? String(parts[0]) : ""
        guard parts.count <= 2, ["", "export", "base"].contains(kind), !text.contains("@"),
            let last = parts.last, let name = RefName(last)
        else {
            throw UserError(
                .badRequest, what: refs.what, why: "\"\(text.prefix(140))\" is no name to copy",
                remedy: "name exports as NAME, bases as base:NAME; snapshots and tags come along "
                    + "with --snapshots")
        }
        if kind != "base", let disk = try export(name) { return disk }
        if kind != "export", let base: BaseRef = try refs.newest(.base(name)) {
            return CopyDisk(
                name: name, kind: .base(base), snapshots: [], tags: [], last: base.commit)
        }
        throw UserError(
            .notFound, what: refs.what,
            why: "there is no \(kind.isEmpty ? "export or base" : kind) \(name) at "
                + refs.store.url,
            remedy: "see martlet list and martlet verify for what is there")
    }

    private func export(_ name: RefName) throws(UserError) -> CopyDisk? {
        guard let ref: ExportRef = try refs.newest(.export(name)),
            ref.state == .live || ref.state == .detached
        else { return nil }
        let source = try ForkSource(from: "export:\(name)")
        guard let (_, last) = try CommitSources(refs: refs).find(source) else { return nil }
        guard takesSnapshots else {
            return CopyDisk(
                name: name, kind: .export(ref), snapshots: [], tags: [], last: last)
        }
        let snapshots = try refs.snapshots(below: RefKey.snapshotsPrefix(of: name))
            .sorted { $0.commit.sequence < $1.commit.sequence }
        return CopyDisk(
            name: name, kind: .export(ref), snapshots: snapshots, tags: try tags(of: name),
            last: last)
    }

    private func tags(of export: RefName) throws(UserError) -> [TagRef] {
        var found: [TagRef] = []
        for (key, series) in try refs.newestKeys(below: RefKey.tagsPrefix) {
            let tag: TagRef = try refs.read(key, in: series)
            if tag.export == export { found.append(tag) }
        }
        return found
    }

    /// Depth first; a name that was forked into its own past is its own source and no obstacle.
    private func ordered(_ disks: [CopyDisk]) -> [CopyDisk] {
        var placed: [CopyDisk] = []
        var begun: Set<Int> = []
        func place(_ index: Int) {
            guard begun.insert(index).inserted else { return }
            if let origin = disks[index].origin {
                for (other, disk) in disks.enumerated()
                where disk.commits.contains(where: { $0.volume == origin.volume }) {
                    place(other)
                }
            }
            placed.append(disks[index])
        }
        for index in disks.indices { place(index) }
        return placed
    }
}
