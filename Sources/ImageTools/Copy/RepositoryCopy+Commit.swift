// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One commit: what it is compared with, what an earlier try left of it, and its blocks.

import CleanCache
import Committer
import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives
import VolumeMap

/// What a commit is copied onto.
struct CopyParent {
    /// The copy, in the destination.
    let copy: Commit
    /// What it is a copy of, in the source; nil if that is no longer there: then everything is
    /// read, and what the copy has is not stored again.
    let original: Commit?
}

extension RepositoryCopy {
    /// Bytes of map nodes and table pages of the destination that are kept at hand.
    private static var cacheBytes: Int { 64 << 20 }

    /// Copies a commit into a volume of its own, under the work's name. On return the commit is in
    /// the destination, durably.
    func grow(
        _ pointer: CommitPointer, of disk: CopyDisk
    ) throws(UserError) -> (commit: Commit, work: ExportRef, item: CopyReport.Item) {
        try reading(pointer) { original throws(UserError) in
            let (work, found) = try begin(original, of: disk)
            if let found { return (found, work, .init(.copied, found)) }
            guard let parent = try parent(of: original, disk) else {
                let (commit, item) = try publish(original, onto: nil, work)
                return (commit, work, item)
            }
            return try holding(parent.copy.pointer, .fork) { () throws(UserError) in
                guard let older = parent.original else {
                    let (commit, item) = try publish(original, onto: parent, work)
                    return (commit, work, item)
                }
                return try reading(older.pointer) { _ throws(UserError) in
                    let (commit, item) = try publish(original, onto: parent, work)
                    return (commit, work, item)
                }
            }
        }
    }

    /// The nearest older commit of the same name that both have, or what the name means in the
    /// destination, or what the disk was forked from; where none of them is left in the source, a
    /// copy of one.
    private func parent(
        of original: Commit, _ disk: CopyDisk
    ) throws(UserError) -> CopyParent? {
        var candidates = disk.commits.filter { $0.sequence < original.sequence }
        candidates += there.copies.values.compactMap(\.copied)
            .filter { $0.volume == original.volume && $0.sequence < original.sequence }
            .map(Self.pointer)
        candidates.sort { $0.sequence > $1.sequence }
        if let copied = there.named[disk.title]?.copied { candidates.append(Self.pointer(copied)) }
        if let origin = disk.origin { candidates.append(origin) }
        var spare: Commit?
        for pointer in candidates {
            guard let copy = there.copies[pointer.token], copy.blockBytes == original.blockBytes
            else { continue }
            spare = spare ?? copy
            guard copy.size <= original.size,
                let older = try CommitSources(refs: source)
                    .commit(of: pointer.volume, pointer.sequence), older.token == pointer.token
            else { continue }
            return CopyParent(copy: copy, original: older)
        }
        return spare.map { CopyParent(copy: $0, original: nil) }
    }

    private static func pointer(_ copied: CopiedCommit) -> CommitPointer {
        CommitPointer(
            volume: copied.volume, sequence: copied.sequence, token: copied.token, labelSeconds: 0)
    }

    // MARK: Blocks

    private func publish(
        _ original: Commit, onto parent: CopyParent?, _ work: ExportRef
    ) throws(UserError) -> (Commit, CopyReport.Item) {
        let keepsRest = parent?.original != nil
        let draft = draft(of: original, parent?.copy, work)
        let known = KnownFrames()
        let sink = BlockIntake(
            ImageBuilder(
                ImageBuilderSource(
                    parent: Root(commit: draft), isDraft: true, keepsRest: keepsRest),
                size: original.size, settings: request.settings, store: target.store,
                uploads: resources.uploads, cache: CleanCache(capacityBytes: Self.cacheBytes),
                known: known, random: random),
            known: known, settings: request.settings, blockBytes: original.blockBytes,
            spread: resources.frames)
        do throws(UserError) {
            try prime(sink, draft, learnsParent: parent != nil && !keepsRest)
            try read(original, since: parent?.original, into: sink, work)
            let made = try explainCommit(target.what) { () throws(CommitError) in
                try sink.finish(
                    token: fresh(), labelSeconds: original.labelSeconds,
                    copied: CopiedCommit(
                        volume: original.volume, sequence: original.sequence,
                        token: original.token))
            }
            guard let made else { preconditionFailure("a first commit is always made") }
            try publish(made)
            let statistics = sink.builder.statistics
            return (
                made.commit,
                .init(
                    .copied, made.commit, blocks: statistics.frames,
                    packBytes: UInt64(statistics.packBytes))
            )
        } catch {
            sink.abandon()
            throw error
        }
    }

    /// What the new commit is compared with: the parent's copy as if it were the commit before.
    private func draft(of original: Commit, _ copy: Commit?, _ work: ExportRef) -> Commit {
        var draft =
            copy
            ?? Commit(
                volume: work.volume, sequence: .none, epoch: Epoch(1), token: .zero,
                state: .clean, isFence: true, size: original.size,
                blockBytes: original.blockBytes, cut: RecordSequence(0), labelSeconds: 0)
        draft.volume = work.volume
        draft.sequence = CommitSequence(work.firstSequence.rawValue - 1)
        draft.epoch = Epoch(1)
        draft.cut = RecordSequence(0)
        draft.size = max(draft.size, original.size)
        return draft
    }

    private func prime(
        _ sink: BlockIntake<Target, Random>, _ draft: Commit, learnsParent: Bool
    ) throws(UserError) {
        // Packs of this very commit that an earlier try left: nothing is sent twice.
        let earlier = try EarlierPacks(
            store: target.store, what: target.what, spread: resources.reads
        ).of(draft)
        try explainCommit(target.what) { () throws(CommitError) in
            try sink.prime { builder throws(CommitError) in
                if learnsParent { try builder.learnParent() }
                for found in earlier { try builder.adopt(found.index, bytes: found.bytes) }
            }
        }
    }

    private func read(
        _ original: Commit, since older: Commit?, into sink: BlockIntake<Target, Random>,
        _ work: ExportRef
    ) throws(UserError) {
        let title = "\(work.name)@\(original.sequence)"
        do throws(ExportError) {
            let reader = try ImageReader(
                store: source.store, target: original, base: older, tellsWhole: true,
                spread: resources.reads)
            try reader.run(into: sink) {
                progress(
                    CopyProgress(name: title, doneBytes: $0.bytes, totalBytes: $0.bytesTotal))
            }
        } catch {
            if let failure = sink.failure { throw UserError(target.what, failure) }
            guard case .stopped = error else { throw error.userError(source.what) }
            throw UserError(
                .failed, what: target.what, why: "it was interrupted",
                remedy: "repeat it to go on: nothing is copied twice")
        }
    }

    private func publish(_ made: LocalRoot) throws(UserError) {
        let outcome = try explainCommit(target.what) { () throws(CommitError) in
            try Publisher(store: target.store).publish(made)
        }
        switch outcome {
        case .published: return
        case .unresolved(let detail):
            throw UserError(target.what, .away(key: made.commit.key.key, detail: detail))
        case .fenced:
            throw UserError(
                .conflict, what: target.what,
                why: "another process copies the same name, or it was abandoned by martlet gc",
                remedy: "wait for the other, then repeat this: nothing is copied twice")
        }
    }

    // MARK: Pins

    /// Runs `body` while a reader ref pins a commit of the source, where one may be written.
    private func reading<Value>(
        _ pointer: CommitPointer, _ body: (Commit) throws(UserError) -> Value
    ) throws(UserError) -> Value {
        try ReaderPins(refs: source, node: request.node).holding(
            pointer, id: fresh(), purpose: .read
        ) { root throws(UserError) in try body(root.commit) }
    }

    /// Runs `body` while a reader ref pins a commit of the destination.
    func holding<Value>(
        _ pointer: CommitPointer, _ purpose: ReaderRef.Purpose,
        _ body: () throws(UserError) -> Value
    ) throws(UserError) -> Value {
        try ReaderPins(refs: target, node: request.node).holding(
            pointer, id: fresh(), purpose: purpose
        ) { _ throws(UserError) in try body() }
    }
}
