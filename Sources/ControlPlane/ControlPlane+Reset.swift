// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Giving up what this host holds of an export beyond the store: the way back to the last commit
// when its journal is not wanted, or cannot be read.

import Committer
import Documents
import HostIO
import ObjectStore
public import Primitives

/// What a reset took away, and where the export is now.
public struct CacheReset: Equatable, Sendable {
    /// Of acknowledged writes that no commit had; nil where that is not known, since the volume did
    /// not run.
    public let unpublishedBytes: UInt64?
    /// Of journal files.
    public let journalBytes: UInt64
    public let status: VolumeStatus
}

extension ControlPlane {
    /// Throws away root and journal of an export and opens it from the store's newest commit, which
    /// records an unclean take-over if anything may have been lost. Journals that were set aside
    /// earlier stay. Refused with `conflict` while a client has it open for writing, and with
    /// `storeAway`, before anything is gone, while the store cannot be read.
    public func resetCache(_ name: String) throws(UserError) -> CacheReset {
        let what = "cannot reset the cache of \(name.prefix(140))"
        let name = try validName(name, what)
        return try locks.withLock([name]) { () throws(UserError) in
            let ref = try liveExport(name, what)
            guard !ref.isReadOnly, !configuration.isReadOnly else {
                throw UserError(
                    .conflict, what: what, why: "it is read-only, and nothing of it is kept here",
                    remedy: "clean blocks of all exports share one cache, which frees itself")
            }
            let served = ServedVolume(ref.volume)
            guard host.clientCounts(served).writers == 0 else {
                throw UserError(
                    .conflict, what: what, why: "clients have it open for writing",
                    remedy: "disconnect them first")
            }
            if host.status(served) == nil, let node = try liveServer(of: ref.volume) {
                throw UserError(
                    .conflict, what: what, why: "\(node) serves it now", remedy: "reset it there")
            }
            // What goes is to be read again from there.
            _ = try head(of: ref, what)
            let unpublished = host.status(served)?.unpublishedBytes
            try host.detach(served, clean: false, deadline: nil)
            table.setAttachment(nil, of: name)
            let journalBytes = try discardLocal(ref.volume, what)
            let attachment = try attachWriter(ref, what)
            guard let status = host.status(attachment.served) else {
                throw UserError(
                    .conflict, what: what, why: "it was closed meanwhile", remedy: "try again")
            }
            return CacheReset(
                unpublishedBytes: unpublished, journalBytes: journalBytes, status: status)
        }
    }

    private func discardLocal(_ volume: VolumeID, _ what: String) throws(UserError) -> UInt64 {
        try explainLocal(what) { () throws(HostIOError) in
            guard let local = try LocalVolume.open(volume, in: cacheDirectory, create: false) else {
                return 0
            }
            let bytes = try local.journalBytes()
            try local.remove(all: false, from: cacheDirectory)
            return bytes
        }
    }
}
