// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Disks from one repository to another, commit by commit, oldest first, on the stores alone.
//
//   for each commit:  export ref `copy.NAME`, creating ─▶ packs ─▶ commit ─▶ its names ─▶ `deleted`
//
// Each copied commit is the first of a volume of its own, under the number that it has in the
// source, with the tables of the copy before it as its parent's; only what differs is read and
// stored. It says what it is a copy of, and that is all that a later run needs to go on. Wherever a
// run stops, every name of the destination means a whole commit. See docs/decisions/0026-copy.md.

public import Committer
import ControlPlane
import Documents
import Formats
public import ObjectStore
public import Primitives
import Shard
public import VolumeMap

/// What a copy may use.
public struct CopyResources: Sendable {
    /// Reads of the source.
    public var reads: FetchSpread
    /// Hashing and compressing, which run beside the reads.
    public var frames: FetchSpread
    public var uploads: PackUploads

    public init(
        reads: @escaping FetchSpread = oneByOne, frames: @escaping FetchSpread = oneByOne,
        uploads: PackUploads = .none
    ) {
        self.reads = reads
        self.frames = frames
        self.uploads = uploads
    }
}

/// One copy. Confined to its caller; blocks.
public final class RepositoryCopy<
    Source: ObjectStore, Target: ObjectStore, Time: Clock, Random: RandomSource
> {
    let source: RefStore<Source>
    let target: RefStore<Target>
    let request: CopyRequest
    let clock: Time
    let resources: CopyResources
    let progress: (CopyProgress) -> Bool
    var random: Random
    var there: CopyTarget<Target>
    var report = CopyReport()

    /// Both stores should retry by themselves what is worth it. Copies of `random` must not repeat
    /// one another. `progress` is called by the thread that calls `run`, and says whether to go on.
    public init(
        _ request: CopyRequest, from source: Source, to target: Target, clock: Time,
        random: Random, resources: CopyResources = CopyResources(),
        progress: @escaping (CopyProgress) -> Bool = { _ in true }
    ) {
        let what = "cannot copy to \(target.url)"
        self.request = request
        self.source = RefStore(store: source, what: "cannot copy from \(source.url)")
        self.target = RefStore(store: target, what: what)
        self.clock = clock
        self.random = random
        self.resources = resources
        self.progress = progress
        there = CopyTarget(refs: self.target)
    }

    func fresh<ID: Identifier128>(_ type: ID.Type = ID.self) -> ID {
        ID.random(from: &random)
    }

    /// Copies everything that was asked for. On return all names are there, durably. Fails with
    /// `conflict` if the destination has something else under a name; nothing of it is touched.
    /// After any other failure the same call goes on where this one ended.
    public func run() throws(UserError) -> CopyReport {
        try checkRepositories()
        let plan = CopyPlan(refs: source, takesSnapshots: request.takesSnapshots)
        let disks = try plan.disks(request.names)
        // What is refused is refused before anything is copied.
        for disk in disks {
            try there.learn(disk, last: Pinner(refs: source).read(disk.last).commit)
            if case .export(let ref) = disk.kind, let origin = ref.origin {
                try there.learnOrigin(origin)
            }
        }
        for disk in disks { try copy(disk) }
        return report
    }

    private func checkRepositories() throws(UserError) {
        guard let from: Repository = try source.find(RefKey.repository.text) else {
            throw source.noRepository
        }
        guard let onto: Repository = try target.find(RefKey.repository.text) else {
            throw UserError(
                .notFound, what: target.what,
                why: "there is no repository at \(target.store.url)",
                remedy: "the first start of a daemon makes one: martlet run --store "
                    + target.store.url)
        }
        guard from.id != onto.id else {
            throw UserError(
                .badRequest, what: target.what, why: "both stores are the same repository",
                remedy: "fork or snapshot inside of one; name two repositories to copy")
        }
    }

    private func copy(_ disk: CopyDisk) throws(UserError) {
        var hasGrown = false
        for pointer in disk.commits {
            let isLast = pointer.token == disk.last.token
            if let found = there.copies[pointer.token] {
                try name(found, pointer, of: disk, isLast: isLast, item: .init(.unchanged, found))
                continue
            }
            let (commit, ref, item) = try grow(pointer, of: disk)
            there.add(commit, copyOf: pointer.token)
            try name(commit, pointer, of: disk, isLast: isLast, item: item)
            // Its names keep the volume from here on.
            try free(ref)
            hasGrown = true
        }
        if !hasGrown { try freeLeftover(of: disk) }
        for tag in disk.tags { try copy(tag) }
    }

    /// Gives a copied commit the names that it has in the source.
    private func name(
        _ commit: Commit, _ pointer: CommitPointer, of disk: CopyDisk, isLast: Bool,
        item: CopyReport.Item
    ) throws(UserError) {
        if let snapshot = disk.snapshot(of: pointer.token) {
            try bind(snapshot, to: commit)
            report.items.append(
                item.named("snapshot \(disk.name)@\(snapshot.commit.sequence)"))
        }
        guard isLast else { return }
        switch disk.kind {
        case .export(let ref): try bind(ref, to: commit)
        case .base(let ref): try bind(ref, to: commit)
        }
        report.items.append(item.named(disk.title))
    }
}

extension CopyReport.Item {
    init(_ outcome: Outcome, _ commit: Commit, blocks: Int = 0, packBytes: UInt64 = 0) {
        self.init(
            outcome: outcome, name: "", commit: commit.pointer, blocks: blocks,
            packBytes: packBytes)
    }

    func named(_ name: String) -> Self {
        Self(outcome: outcome, name: name, commit: commit, blocks: blocks, packBytes: packBytes)
    }
}
