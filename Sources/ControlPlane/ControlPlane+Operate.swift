// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What is done to a volume that exists: drain, status, open, promote, acknowledge, rollback.

import Committer
import Documents
import Formats
import HostIO
import ObjectStore
public import Primitives

extension ControlPlane {
    /// Commits everything acknowledged. Of an export that is not served here: its last commit.
    public func drain(_ name: String) throws(UserError) -> CommitSummary {
        let what = "cannot drain \(name.prefix(140))"
        let name = try validName(name, what)
        return try locks.withLock([name]) { () throws(UserError) in
            let (commit, _) = try lastCommit(of: liveExport(name, what), reason: .drain, what)
            return CommitSummary(
                sequence: commit.sequence, token: commit.token, labelSeconds: commit.labelSeconds)
        }
    }

    /// Of a volume that does not run here: what its newest commit says, if the store answers.
    public func status(_ name: String) throws(UserError) -> VolumeStatus {
        let what = "cannot show the status of \(name.prefix(140))"
        let name = try validName(name, what)
        let known = settledExport(name)
        let ref = if let known { known } else { try export(name, what) }
        if let running = attachment(of: ref), var status = host.status(running.served) {
            let counts = host.clientCounts(running.served)
            status.readers = counts.readers
            status.writers = counts.writers
            return status
        }
        var status = VolumeStatus(
            volume: ref.volume, size: ref.size, blockBytes: ref.definition.blockBytes,
            isReadOnly: ref.isReadOnly, state: .detached)
        let local = try explainLocal(what) { () throws(HostIOError) in
            try LocalVolume.open(ref.volume, in: cacheDirectory, create: false)?.failure()
        }
        if let local {
            status.failure = local
            status.state = .failed
        }
        if let head = try? head(of: ref, what).commit {
            status.sequence = head.sequence
            status.epoch = head.epoch
            status.size = head.size
            status.uncleanTakeover = head.uncleanTakeover
        }
        return status
    }

    /// Serves here a volume that is not, claiming it if it is read-write. One that was fenced or
    /// failed here is claimed anew. `force` takes it over from a live node.
    public func open(_ name: String, force: Bool) throws(UserError) -> ExportInfo {
        let what = "cannot open \(name.prefix(140))"
        let name = try validName(name, what)
        return try locks.withLock([name]) { () throws(UserError) in
            var ref = try export(name, what)
            if ref.state != .detached { try requireLive(ref, what) }
            if ref.isReadOnly {
                _ = try attach(ref, what)
            } else {
                _ = try attachWriter(ref, what, asksStore: true, isForced: force)
            }
            if ref.state == .detached {
                ref = try update(name, what) { current in
                    current.state == .detached ? current.next { $0.state = .live } : nil
                }
            }
            return describe(ref)
        }
    }

    /// Makes a read-only export writable: claims a new epoch. Its readers' connections end.
    public func promote(_ name: String, force: Bool) throws(UserError) -> ExportInfo {
        let what = "cannot promote \(name.prefix(140))"
        let name = try validName(name, what)
        return try locks.withLock([name]) { () throws(UserError) in
            let ref = try liveExport(name, what)
            guard ref.isReadOnly else { return describe(ref) }
            endView(of: name)
            _ = try attachWriter(ref, what, asksStore: true, isForced: force)
            let promoted = try update(name, what) { current in
                current.isReadOnly ? current.next { $0.isReadOnly = false } : nil
            }
            return describe(promoted)
        }
    }

    /// Confirms that an unclean take-over was seen. Nothing to confirm is success.
    public func acknowledge(_ name: String) throws(UserError) {
        let what = "cannot acknowledge the take-over of \(name.prefix(140))"
        let name = try validName(name, what)
        try locks.withLock([name]) { () throws(UserError) in
            let ref = try liveExport(name, what)
            guard !ref.isReadOnly else {
                throw UserError(
                    .conflict, what: what, why: "it is read-only",
                    remedy: "make it writable with martlet promote \(name)")
            }
            let attachment = try attachWriter(ref, what)
            guard host.status(attachment.served)?.uncleanTakeover != nil else { return }
            _ = try host.acknowledge(ref.volume)
        }
    }

    /// Begins to store the whole volume again, as one whole frame for each block, in block order,
    /// and returns how far that is; if it has begun it goes on. Whoever waits asks for the status
    /// again. A daemon that ends forgets it, and what was done by then stays done.
    public func compact(_ name: String) throws(UserError) -> VolumeStatus {
        let what = "cannot compact \(name.prefix(140))"
        let name = try validName(name, what)
        return try locks.withLock([name]) { () throws(UserError) in
            let ref = try liveExport(name, what)
            guard !ref.isReadOnly else {
                throw UserError(
                    .conflict, what: what, why: "it is read-only",
                    remedy: "make it writable with martlet promote \(name)")
            }
            let attachment = try attachWriter(ref, what)
            try host.compact(ref.volume)
            guard let status = host.status(attachment.served) else {
                throw UserError(
                    .conflict, what: what, why: "it was closed meanwhile", remedy: "try again")
            }
            return status
        }
    }

    public func rollback(
        _ name: String, toSequence sequence: UInt64
    ) throws(UserError) -> RollbackReply { try rollback(name, to: "\(sequence)") }

    /// Publishes a commit with an older one's content at the current size. The state before is kept
    /// as a snapshot. Refused while a client has the volume open for writing.
    ///
    /// - Parameter point: the number of a snapshot of the name or of a commit of its volume, or a
    ///   time as `2026-11-22T10:00:00Z`.
    public func rollback(_ name: String, to point: String) throws(UserError) -> RollbackReply {
        let what = "cannot roll \(name.prefix(140)) back to \(point.prefix(40))"
        let name = try validName(name, what)
        let target = try ForkSource(from: "snapshot:\(name)@\(point)")
        return try locks.withLock([name]) { () throws(UserError) in
            let ref = try liveExport(name, what)
            guard !ref.isReadOnly else {
                throw UserError(
                    .conflict, what: what, why: "it is read-only",
                    remedy: "make it writable with martlet promote \(name)")
            }
            guard let (_, commit) = try find(target, what) else { throw notFound(target, what) }
            let attachment = try attachWriter(ref, what)
            try refuseWriters(attachment.served, what)
            // The commit of the rollback needs no pin but its own head.
            return try holding(commit, purpose: .rollback, what) { root throws(UserError) in
                try rollback(ref, to: root, what)
            }
        }
    }

    private func rollback(
        _ ref: ExportRef, to target: LocalRoot, _ what: String
    ) throws(UserError) -> RollbackReply {
        guard target.commit.blockBytes == ref.definition.blockBytes else {
            throw UserError(
                .conflict, what: what, why: "that snapshot has blocks of another size",
                remedy: "fork the snapshot into another name instead")
        }
        let (before, _) = try lastCommit(of: ref, reason: .rollback, what)
        let now = try Pinner(refs: refs(what)).read(before)
        // A volume does not shrink, but an earlier one of the name may have been larger.
        guard target.commit.size <= now.commit.size else {
            throw UserError(
                .conflict, what: what,
                why: "that snapshot has \(target.commit.size) bytes, the volume of \(ref.name) has "
                    + "\(now.commit.size)",
                remedy: "grow it to that size first, or fork the snapshot into another name")
        }
        if now.commit.digest == target.commit.digest {
            return RollbackReply(
                sequence: before.sequence, etag: before.token.description, keptSnapshot: nil)
        }
        _ = try keepSnapshot(of: ref.name, before, tag: nil, what)
        let made = try host.rollback(ref.volume, to: target)
        return RollbackReply(
            sequence: made.sequence, etag: made.etag, keptSnapshot: before.sequence)
    }

    private func refuseWriters(_ served: ServedVolume, _ what: String) throws(UserError) {
        let writers = host.clientCounts(served).writers
        guard writers > 0 else { return }
        throw UserError(
            .conflict, what: what, why: "\(writers) clients have it open for writing",
            remedy: "disconnect them, then try again")
    }
}
