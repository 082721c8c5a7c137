// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The end of an export here (its volume stays), and the end of its volume. What was acknowledged is
// committed before a plain delete takes anything away. A purge publishes the terminal commit first
// and frees the name last, so that a repeat finds the work where it stopped.

import Committer
package import Documents
import Formats
import HostIO
package import ObjectStore
public import Primitives

extension ControlPlane {
    /// Drains, takes the export off this host with its local cache, and says `detached` in the
    /// store. A volume that is open elsewhere, on a host that is not heard of, is closed by a
    /// fence, which records that acknowledged writes may be missing. With `purge` its snapshots and
    /// its volume go too, committed or not. A name that is gone already is success; one that never
    /// was is `notFound`.
    public func delete(_ name: String, purge: Bool) throws(UserError) {
        let what = "cannot delete \(name.prefix(140))"
        let name = try validName(name, what)
        try locks.withLock([name]) { () throws(UserError) in
            guard let ref = try newest(name, what) else { throw unknown(name, what) }
            if purge {
                try self.purge(ref, what)
            } else {
                switch ref.state {
                case .deleted: break
                case .creating:
                    throw UserError(
                        .conflict, what: what, why: "it is being created",
                        remedy: "repeat the request that creates it, or delete it with purge")
                case .live, .detached: try detach(ref, what)
                }
            }
            try takeOffEarlier(name, what)
        }
    }

    /// What runs under the name and had it before its volume does not outlast it here. The store is
    /// asked a second time: a ref may come damaged.
    private func takeOffEarlier(_ name: RefName, _ what: String) throws(UserError) {
        guard table.attachment(name) != nil, let ref = try newest(name, what) else { return }
        try takeOffOther(than: ref)
    }

    private func detach(_ ref: ExportRef, _ what: String) throws(UserError) {
        let served = ServedVolume(ref.volume)
        if try isWritable(ref, what) {
            _ = try attachWriter(ref, what)
            if let status = host.status(served), status.state == .fenced {
                throw UserError(
                    .fenced, what: what,
                    why:
                        "another host took \(ref.name) over; what this one had not committed is in "
                        + "its journal only",
                    remedy: "save it with martlet journal salvage, then martlet open \(ref.name) "
                        + "or martlet delete \(ref.name) on the other host")
            }
            try host.detach(served, clean: true, deadline: commitDeadline)
        } else if ref.state == .live {
            try refuseIfServedElsewhere(ref, what)
            if !ref.isReadOnly {
                try VolumeEnd(refs: refs(what), clock: clock).close(ref, token: fresh())
            }
        }
        forget(ref)
        var last = ref
        if ref.state == .live {
            last = try update(ref.name, what) { current in
                guard current.state == .live, current.volume == ref.volume else { return nil }
                return current.next { $0.state = .detached }
            }
        }
        try removeLocal(ref.volume, all: false, what)
        guard last.state != .live else { throw overtaken(ref, what) }
    }

    /// Another volume that runs under the name is not forgotten here: a ref may come damaged, and
    /// what was forgotten would run twice.
    private func forget(_ ref: ExportRef) {
        endView(of: ref.name)
        guard let running = table.attachment(ref.name) else { return }
        guard running.served == ServedVolume(ref.volume) || running.served.snapshot != nil else {
            return
        }
        table.setAttachment(nil, of: ref.name)
    }

    private func refuseIfServedElsewhere(_ ref: ExportRef, _ what: String) throws(UserError) {
        guard !ref.isReadOnly, let node = try liveServer(of: ref.volume) else { return }
        throw UserError(
            .conflict, what: what, why: "\(node) serves it now",
            remedy: "delete it there")
    }

    /// What was to go had the name when this began, and something else has it now.
    private func overtaken(_ ref: ExportRef, _ what: String) -> UserError {
        UserError(
            .conflict, what: what, why: "\(ref.name) was given to another volume meanwhile",
            remedy: "look at what it is now; repeat the request if that is to go too")
    }

    private func removeLocal(_ volume: VolumeID, all: Bool, _ what: String) throws(UserError) {
        try explainLocal(what) { () throws(HostIOError) in
            try LocalVolume.open(volume, in: cacheDirectory, create: false)?
                .remove(all: all, from: cacheDirectory)
        }
    }

    // MARK: Purge

    private func purge(_ ref: ExportRef, _ what: String) throws(UserError) {
        let served = ServedVolume(ref.volume)
        if table.attachment(ref.name)?.served != served, ref.state == .live {
            try refuseIfServedElsewhere(ref, what)
        }
        try host.detach(served, clean: false, deadline: nil)
        forget(ref)
        let refs = refs(what)
        try VolumeEnd(refs: refs, clock: clock).publish(ref, token: fresh())
        let keys = try refs.keys(prefix: RefKey.snapshotsPrefix(of: ref.name))
        for start in stride(from: 0, to: keys.count, by: 1000) {
            try refs.delete(Array(keys[start..<min(start + 1000, keys.count)]))
        }
        var last = ref
        if ref.state != .deleted {
            last = try update(ref.name, what) { current in
                guard current.volume == ref.volume else { return nil }
                return current.next { $0.state = .deleted }
            }
        }
        try removeLocal(ref.volume, all: true, what)
        guard last.state == .deleted else { throw overtaken(ref, what) }
    }
}

/// Ends volumes, and what other hosts have of them.
package struct VolumeEnd<Store: ObjectStore> {
    private let refs: RefStore<Store>
    private let clock: any Clock

    package init(refs: RefStore<Store>, clock: any Clock) {
        self.refs = refs
        self.clock = clock
    }

    /// Others may publish the next number this many times before it gives up.
    private static var attemptsMax: Int { 16 }

    /// The volume is closed, whoever had it open and is not heard of: that one learns it with its
    /// next commit, and its journal is kept. Nothing is done to one that is closed.
    package func close(_ ref: ExportRef, token: Token) throws(UserError) {
        for _ in 0..<Self.attemptsMax {
            let found = try explainCommit(refs.what) { () throws(CommitError) in
                try HeadFinder(store: refs.store).head(of: ref.volume)?.commit
            }
            guard let head = found, head.state == .open else { return }
            let now = clock.wallSeconds
            let stamp = CommitDrafts.Stamp(
                epoch: head.epoch.next, token: token, state: .clean, labelSeconds: now)
            // The oldest one that nobody acknowledged is kept.
            let unclean = UncleanTakeover(
                epoch: stamp.epoch, sequence: head.sequence, labelSeconds: now)
            let fence = CommitDrafts.successor(
                of: head, stamp: stamp, unclean: head.uncleanTakeover ?? unclean)
            if try create(fence.commit, fence.bytes) { return }
        }
        throw refs.contended
    }

    /// The volume's last commit, for ever: whoever still has it open is fenced, whoever is about to
    /// create it finds it ended.
    package func publish(_ ref: ExportRef, token: Token) throws(UserError) {
        for _ in 0..<Self.attemptsMax {
            let head = try explainCommit(refs.what) { () throws(CommitError) in
                try HeadFinder(store: refs.store).head(of: ref.volume)?.commit
            }
            if head?.state == .deleted { return }
            let last = Commit(
                volume: ref.volume, sequence: head?.sequence.next ?? ref.firstSequence,
                epoch: head?.epoch.next ?? Epoch(1), token: token,
                parentToken: head?.token ?? .zero, state: .deleted, isFence: true,
                size: head?.size ?? ref.size,
                blockBytes: head?.blockBytes ?? ref.definition.blockBytes,
                cut: head?.cut ?? RecordSequence(0), labelSeconds: clock.wallSeconds)
            if try create(last, last.encode()) { return }
        }
        throw refs.contended
    }

    /// False if others were faster.
    private func create(_ fence: Commit, _ bytes: [UInt8]) throws(UserError) -> Bool {
        let outcome = try explainStore(refs.what) { () throws(ObjectStoreError) in
            try refs.store.putIfAbsent(fence.key.key, bytes)
        }
        guard outcome == .created else { return false }
        return try explainCommit(refs.what) { () throws(CommitError) in
            try FenceCheck(store: refs.store).stands(fence)
        }
    }
}
