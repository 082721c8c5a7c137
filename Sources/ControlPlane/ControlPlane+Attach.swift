// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// From names to running volumes. A writer is claimed at the first attach and then stays; a
// read-only view claims nothing, pins its commit by a reader ref, and goes with its last client.

import Committer
import Documents
import Formats
import HostIO
import ObjectStore
public import Primitives

extension ControlPlane {
    /// Makes sure that what `name` means runs here: `NAME`, read-only `NAME@SEQ`, `tag:T`,
    /// `base:B`. Called at a client's attach; the claim of an export that nobody opened yet happens
    /// here.
    public func attach(_ name: String) throws(UserError) -> Attachment {
        let what = "cannot attach \(name.prefix(300))"
        if let plain = RefName(name) {
            // No lock and no store for what runs: connections come in waves.
            if let running = table.attachment(plain), isCurrent(running, plain),
                host.status(running.served) != nil
            {
                return running
            }
            return try locks.withLock([plain]) { () throws(UserError) in
                try attach(currentExport(plain, what), what)
            }
        }
        let source = try ForkSource(from: name)
        guard let (candidate, pointer) = try find(source, what) else {
            throw notFound(source, what)
        }
        if case .export(let plain) = candidate { return try attach(plain.text) }
        return try view(pointer, name: candidate.text, what)
    }

    /// The last client of a read-only view has left: its pin goes. A writer stays. Harmless if it
    /// does not run.
    public func release(_ served: ServedVolume) {
        guard served.snapshot != nil else { return }
        endView(served) {
            let counts = self.host.clientCounts(served)
            return counts.readers + counts.writers == 0
        }
    }

    // MARK: Writers

    /// What is served without asking the store must be known without it. Who has to ask it anyway
    /// asks for the name first: what is known of it may be of a start without the store, or of
    /// before another host gave it to another volume.
    private func currentExport(_ name: RefName, _ what: String) throws(UserError) -> ExportRef {
        if let known = settledExport(name), try isServable(known) { return known }
        return try liveExport(name, what)
    }

    /// It runs here, or can be served, or refused, without the store.
    private func isServable(_ ref: ExportRef) throws(UserError) -> Bool {
        if let running = attachment(of: ref), host.status(running.served) != nil { return true }
        guard !ref.isReadOnly, !configuration.isReadOnly else { return false }
        return try !claimer.asksStore(for: ref.volume, named: ref.name)
    }

    /// The ref as it is known here, if it is live. Nil too if another volume runs under the name:
    /// either the name was given away or a ref came damaged, and the store knows which.
    func settledExport(_ name: RefName) -> ExportRef? {
        guard let known = table.ref(name), known.state == .live else { return nil }
        if let running = table.attachment(name), !isCurrent(running, name) { return nil }
        return known
    }

    /// False if this node has seen that another volume has the name now: who was told of that one
    /// must not be given what had the name before.
    private func isCurrent(_ running: Attachment, _ name: RefName) -> Bool {
        table.ref(name).map { $0.volume == running.served.volume } ?? true
    }

    /// What runs here of the volume that the ref means.
    func attachment(of ref: ExportRef) -> Attachment? {
        table.attachment(ref.name).flatMap { $0.served.volume == ref.volume ? $0 : nil }
    }

    /// Takes off what runs under the name of `ref` and is another volume; a view of one stays for
    /// its clients. With the export's lock held.
    func takeOffOther(than ref: ExportRef) throws(UserError) {
        guard let running = table.attachment(ref.name), running.served.volume != ref.volume else {
            return
        }
        if running.served.snapshot == nil {
            try host.detach(running.served, clean: false, deadline: nil)
        } else {
            release(running.served)
        }
        table.setAttachment(nil, of: ref.name)
    }

    /// With the export's lock held.
    func attach(_ ref: ExportRef, _ what: String) throws(UserError) -> Attachment {
        if !ref.isReadOnly && !configuration.isReadOnly { return try attachWriter(ref, what) }
        if let running = attachment(of: ref), host.status(running.served) != nil { return running }
        let head = try head(of: ref, what)
        let attachment = try view(pointer(to: head.commit), name: ref.name.text, what)
        try takeOffOther(than: ref)
        table.setAttachment(attachment, of: ref.name)
        return attachment
    }

    /// With the export's lock held. A volume that runs is left as it is, unless `asksStore`: then
    /// one that was fenced or failed is taken off first, and claimed anew; one that was taken over
    /// and did not notice yet counts as fenced.
    func attachWriter(
        _ ref: ExportRef, _ what: String, asksStore: Bool = false, isForced: Bool = false
    ) throws(UserError) -> Attachment {
        if let running = table.attachment(ref.name), running.served == ServedVolume(ref.volume) {
            if let status = host.status(running.served) {
                guard asksStore else { return running }
                let isUsable = status.state != .fenced && status.state != .failed
                if isUsable, try head(of: ref, what).commit.epoch <= status.epoch { return running }
                try host.detach(running.served, clean: false, deadline: nil)
            }
            table.setAttachment(nil, of: ref.name)
        }
        let claim = try claimer.claim(
            ClaimRequest(
                name: ref.name, volume: ref.volume, asksStore: asksStore, isForced: isForced))
        // Another volume that had the name is given up only now: a ref may come damaged, and who
        // forgot what runs would run it twice, on one journal.
        try takeOffOther(than: ref)
        try keepLocally(ref, what)
        try host.attach(claim)
        let status = host.status(claim.served)
        let attachment = Attachment(
            served: claim.served, size: status?.size ?? claim.root.commit.size,
            blockBytes: claim.root.commit.blockBytes, isReadOnly: false)
        table.setAttachment(attachment, of: ref.name)
        return attachment
    }

    // MARK: Views

    /// Runs a read-only view of one commit.
    func view(
        _ commit: CommitPointer, name: String, _ what: String
    ) throws(UserError) -> Attachment {
        let served = ServedVolume(commit.volume, snapshot: commit.sequence)
        return try viewLocks.withLock([viewLock(served)]) { () throws(UserError) in
            try lockedView(served, of: commit, name: name, what)
        }
    }

    private func lockedView(
        _ served: ServedVolume, of commit: CommitPointer, name: String, _ what: String
    ) throws(UserError) -> Attachment {
        if let running = table.view(served), host.status(served) != nil {
            return running.attachment
        }
        let (root, reader) = try pinByReader(commit, purpose: .read, what)
        do throws(UserError) {
            try host.attach(
                VolumeClaim(served: served, name: name, root: root, writer: nil))
        } catch {
            if let reader { unpin(reader) }
            throw error
        }
        let attachment = Attachment(
            served: served, size: root.commit.size, blockBytes: root.commit.blockBytes,
            isReadOnly: true)
        table.setView(ExportTable.View(attachment: attachment, reader: reader), of: served)
        return attachment
    }

    /// Takes the read-only view of an export off this host.
    func endView(of name: RefName) {
        guard let running = table.attachment(name), running.served.snapshot != nil else { return }
        endView(running.served) { true }
    }

    private func endView(_ served: ServedVolume, if isWanted: () -> Bool) {
        try? viewLocks.withLock([viewLock(served)]) { () throws(UserError) in
            guard let view = table.view(served), isWanted() else { return }
            // A view has nothing to lose: a failure to take it off leaves it running, pinned.
            try host.detach(served, clean: false, deadline: nil)
            table.setView(nil, of: served)
            if let reader = view.reader { unpin(reader) }
        }
    }

    private func viewLock(_ served: ServedVolume) -> String {
        "\(served.volume)@\(served.snapshot ?? .none)"
    }

    /// Pins the commit by a reader ref, where one may be written: read-only credentials read
    /// unpinned.
    func pinByReader(
        _ commit: CommitPointer, purpose: ReaderRef.Purpose, _ what: String
    ) throws(UserError) -> (root: LocalRoot, reader: Token?) {
        try ReaderPins(refs: refs(what), node: configuration.node)
            .root(of: commit, id: fresh(), purpose: purpose)
    }

    /// Runs `body` while the commit is pinned. A pin that has to stay goes with the next start of
    /// this node.
    func holding<Value>(
        _ commit: CommitPointer, purpose: ReaderRef.Purpose, _ what: String,
        _ body: (LocalRoot) throws(UserError) -> Value
    ) throws(UserError) -> Value {
        try ReaderPins(refs: refs(what), node: configuration.node)
            .holding(commit, id: fresh(), purpose: purpose, body)
    }

    /// A pin that stays by a failure costs space until the next start of this node.
    func unpin(_ reader: Token) { try? store.delete([RefKey.reader(reader).text]) }

    // MARK: Commits

    /// True if this host has the volume open for writing, or had when it stopped.
    func isWritable(_ ref: ExportRef, _ what: String) throws(UserError) -> Bool {
        if ref.isReadOnly { return false }
        if table.attachment(ref.name)?.served == ServedVolume(ref.volume) { return true }
        return try hasLocalState(ref, what)
    }

    func head(of ref: ExportRef, _ what: String) throws(UserError) -> LocalRoot {
        try CommitSources(refs: refs(what)).head(of: ref)
    }

    func pointer(to commit: Commit) -> CommitPointer { commit.pointer }

    /// The newest commit of an export, made now if it is served here. `isCurrent` is false if
    /// writes after it may exist elsewhere. With the export's lock held.
    func lastCommit(
        of ref: ExportRef, reason: CommitReason, _ what: String
    ) throws(UserError) -> (pointer: CommitPointer, isCurrent: Bool) {
        if try isWritable(ref, what) {
            _ = try attachWriter(ref, what)
            let summary = try host.commitAll(ref.volume, reason: reason, deadline: commitDeadline)
            return (
                CommitPointer(
                    volume: ref.volume, sequence: summary.sequence, token: summary.token,
                    labelSeconds: summary.labelSeconds), true
            )
        }
        let commit = try head(of: ref, what).commit
        return (pointer(to: commit), commit.state == .clean)
    }
}
