// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// PUT of an export: create, fork, attach again, grow, or find that nothing is to be done.
//
//   no ref, deleted ──▶ ref `creating` (volume id, source fixed) ──▶ first commit ──▶ ref `live`
//   creating        ──▶ the same steps from where they stopped
//   detached        ──▶ `live`; a fork from a snapshot of the same name makes a new volume
//   live            ──▶ larger: grow; else nothing
//
// Every step is a create-if-absent of something the ref determines, so that a repeat after a crash,
// or another host with the same request, ends in the same export.

import Committer
import Documents
import Formats
import HostIO
import ObjectStore
public import Primitives

extension ControlPlane {
    public func put(_ name: String, _ request: PutRequest) throws(UserError) -> PutReply {
        let what = "cannot create export \(name.prefix(140))"
        let name = try validName(name, what)
        try checkRequest(request, what)
        var names: Set<RefName> = [name]
        for case .export(let source) in request.source?.candidates ?? [] { names.insert(source) }
        return try locks.withLock(names) { () throws(UserError) in
            try put(name, request, what)
        }
    }

    private func put(
        _ name: RefName, _ request: PutRequest, _ what: String
    ) throws(UserError) -> PutReply {
        for _ in 0..<Self.changesMax {
            let current = try newest(name, what)
            var reply: PutReply?
            switch current?.state {
            case nil, .deleted:
                reply = try create(name, request, after: current, what)
            case .detached where isOwnSnapshot(request.source, of: name):
                reply = try create(name, request, after: current, what)
            case .creating:
                if let current {
                    try checkNoImage(current, what)
                    try checkSame(current, request, what)
                    reply = try finish(current, isFresh: false, point: nil, what)
                }
            case .live, .detached:
                if let current { reply = try keep(current, request, what) }
            }
            if let reply { return reply }
        }
        throw refs(what).contended
    }

    private func isOwnSnapshot(_ source: ForkSource?, of name: RefName) -> Bool {
        switch source?.candidates.first {
        case .snapshot(name, _), .moment(name, _): true
        default: false
        }
    }

    // MARK: What is valid

    private func checkRequest(_ request: PutRequest, _ what: String) throws(UserError) {
        if let transport = request.transport, !configuration.transports.contains(transport) {
            throw UserError(
                .badRequest, what: what,
                why: "the transport \(transport.rawValue) is not built into this daemon",
                remedy: "use nbd")
        }
        if let block = request.blockBytes {
            let isValid =
                block.nonzeroBitCount == 1 && block >= Limits.blockBytesMin
                && block <= Limits.blockBytesMax
            guard isValid else {
                throw UserError(
                    .badRequest, what: what, why: "a block of \(block) bytes is not possible",
                    remedy: "use a power of two from \(Limits.blockBytesMin) to "
                        + "\(Limits.blockBytesMax)")
            }
        }
        if request.source == nil {
            // The block size of an export that exists is known later; then it is checked again.
            try checkSize(
                request.size, blockBytes: request.blockBytes ?? Limits.blockBytesMax, what)
        }
    }

    private func checkSize(
        _ size: ByteCount?, blockBytes: Int, _ what: String
    ) throws(UserError) {
        guard let size else { return }
        let most = min(
            Limits.volumeBytesMax, UInt64(blockBytes) * Limits.volumeBlocksMax)
        guard size.rawValue > 0, size.rawValue.isMultiple(of: UInt64(Limits.sectorBytes)),
            size.rawValue <= most
        else {
            throw UserError(
                .badRequest, what: what,
                why: "\(size) bytes is not a size that a volume of \(blockBytes)-byte blocks "
                    + "can have",
                remedy: "use a multiple of \(Limits.sectorBytes) from \(Limits.sectorBytes) to "
                    + "\(most)")
        }
    }

    /// Refuses a request that an existing export contradicts.
    private func checkSame(
        _ ref: ExportRef, _ request: PutRequest, _ what: String
    ) throws(UserError) {
        func conflict(_ why: String, _ remedy: String) -> UserError {
            UserError(.conflict, what: what, why: why, remedy: remedy)
        }
        if let source = request.source, !isRecorded(source, in: ref) {
            throw conflict(
                "it exists already, made from \(ref.definition.source ?? "nothing") and not from "
                    + source.text,
                "choose another name, or delete \(ref.name) first")
        }
        if let block = request.blockBytes, block != ref.definition.blockBytes {
            throw conflict(
                "it exists with blocks of \(ref.definition.blockBytes) bytes, not \(block)",
                "the block size is fixed at creation: choose another name")
        }
        if let size = request.size, size < ref.definition.size {
            throw conflict(
                "it was made with \(ref.definition.size) bytes, and \(size) is less",
                "a volume cannot shrink: ask for its size or more")
        }
        guard ref.state != .detached else { return }
        if let isReadOnly = request.isReadOnly, isReadOnly != ref.definition.isReadOnly,
            isReadOnly != ref.isReadOnly
        {
            throw conflict(
                "it exists and is \(ref.isReadOnly ? "read-only" : "read-write")",
                ref.isReadOnly
                    ? "make it writable with martlet promote \(ref.name)"
                    : "delete it without purge, then attach it read-only")
        }
        if let transport = request.transport, transport != ref.definition.transport {
            throw conflict(
                "it is served by \(ref.definition.transport.rawValue)",
                "delete it without purge, then attach it by \(transport.rawValue)")
        }
    }

    /// The content of an import comes from whoever imports it.
    private func checkNoImage(_ ref: ExportRef, _ what: String) throws(UserError) {
        guard ref.isImage else { return }
        throw UserError(
            .conflict, what: what, why: "an image is being imported under this name",
            remedy:
                "wait for martlet import, bless, copy or diff apply, repeat it if it was broken "
                + "off, or give it up with martlet gc --abandon \(ref.volume)")
    }

    private func isRecorded(_ source: ForkSource, in ref: ExportRef) -> Bool {
        if source.text == ref.definition.source { return true }
        guard source.candidates.count == 1, let only = source.candidates.first else { return false }
        return only.text == ref.origin?.name
    }

    // MARK: Creating

    /// Nil if another host took the number: look again.
    private func create(
        _ name: RefName, _ request: PutRequest, after previous: ExportRef?, _ what: String
    ) throws(UserError) -> PutReply? {
        let fork = try request.source.map { source throws(UserError) in
            try resolve(source, for: name, what)
        }
        let blockBytes =
            fork?.root.commit.blockBytes ?? request.blockBytes ?? Limits.blockBytesDefault
        if let fork, let asked = request.blockBytes, asked != fork.root.commit.blockBytes {
            throw UserError(
                .badRequest, what: what,
                why: "\(fork.origin.name) has blocks of \(fork.root.commit.blockBytes) bytes, not "
                    + "\(asked)",
                remedy: "leave the block size out: a fork keeps its source's")
        }
        let source = fork?.root.commit.size
        guard let asked = request.size ?? source else {
            throw UserError(
                .badRequest, what: what, why: "it does not exist and no size is given",
                remedy: "give its size, or what to fork it from")
        }
        try checkSize(asked, blockBytes: blockBytes, what)
        let ref = ExportRef(
            name: name, number: (previous?.number ?? 0) + 1, volume: fresh(), state: .creating,
            definition: ExportDefinition(
                size: asked, blockBytes: blockBytes, isReadOnly: request.isReadOnly ?? false,
                transport: request.transport ?? .nbd, source: request.source?.text),
            size: max(asked, source ?? asked), isReadOnly: request.isReadOnly ?? false,
            origin: fork?.origin,
            firstSequence: try refs(what).firstFreeSequence(of: name, after: previous))
        guard try refs(what).append(ref) else { return nil }
        table.learn(ref)
        return try finish(ref, isFresh: true, point: fork?.point, what)
    }

    /// First commit, then the ref `live`.
    private func finish(
        _ ref: ExportRef, isFresh: Bool, point: ForkPoint?, _ what: String
    ) throws(UserError) -> PutReply? {
        let first = try firstCommit(of: ref, isFresh: isFresh, what)
        let live = ref.next { next in
            next.state = .live
            next.size = first.size
        }
        guard try refs(what).append(live) else { return nil }
        table.learn(live)
        return PutReply(outcome: .created, export: describe(live), forkedFrom: point)
    }

    private func firstCommit(
        of ref: ExportRef, isFresh: Bool, _ what: String
    ) throws(UserError) -> Commit {
        if !isFresh, let there = try readFirst(of: ref, what) {
            try checkNotEnded(ref, what)
            // It may have arrived late, after its source was collected: as with every pin, the
            // root comes first, and what it needs is looked at afterwards.
            return try Pinner(refs: refs(what)).pin(
                pointer(to: there), create: { true }, undo: {}
            ).commit
        }
        guard let origin = ref.origin else { return try publishFirst(of: ref, from: nil, what) }
        // The new volume's head is a root of its own from here on.
        return try holding(origin.commit, purpose: .fork, what) { source throws(UserError) in
            try publishFirst(of: ref, from: source.commit, what)
        }
    }

    private func publishFirst(
        of ref: ExportRef, from source: Commit?, _ what: String
    ) throws(UserError) -> Commit {
        var first = Commit(
            volume: ref.volume, sequence: ref.firstSequence, epoch: Epoch(1), token: fresh(),
            state: .clean, isFence: true, size: ref.size, blockBytes: ref.definition.blockBytes,
            cut: RecordSequence(0), labelSeconds: clock.wallSeconds)
        if let source {
            first.chunkPages = source.chunkPages
            first.packPages = source.packPages
            first.slotCount = source.slotCount
            first.digest = source.digest
            first.uncleanTakeover = nil
        }
        let outcome = try explainStore(what) { () throws(ObjectStoreError) in
            try store.putIfAbsent(first.key.key, first.encode())
        }
        if outcome == .created { return first }
        guard let there = try readFirst(of: ref, what) else { throw refs(what).contended }
        return there
    }

    private func readFirst(of ref: ExportRef, _ what: String) throws(UserError) -> Commit? {
        let root: LocalRoot
        do throws(CommitError) {
            root = try finder.commit(of: ref.volume, ref.firstSequence)
        } catch {
            if case .store(.notFound) = error { return nil }
            throw UserError(what, error)
        }
        guard root.commit.state != .deleted else { throw ended(ref, what) }
        return root.commit
    }

    /// Who purges, or gives up what was being created, ends the volume before the name is free, and
    /// may have stopped in between.
    private func checkNotEnded(_ ref: ExportRef, _ what: String) throws(UserError) {
        let head = try explainCommit(what) { () throws(CommitError) in
            try finder.head(of: ref.volume)?.commit
        }
        if head?.state == .deleted { throw ended(ref, what) }
    }

    private func ended(_ ref: ExportRef, _ what: String) -> UserError {
        UserError(
            .conflict, what: what,
            why: "the volume that was made for \(ref.name) was purged, or given up",
            remedy: "repeat the delete with purge, then create it anew")
    }

    // MARK: Keeping

    /// An export that is there: attach it again, grow it, or nothing.
    private func keep(
        _ ref: ExportRef, _ request: PutRequest, _ what: String
    ) throws(UserError) -> PutReply? {
        try checkSame(ref, request, what)
        let wasDetached = ref.state == .detached
        let asked = max(request.size ?? ref.definition.size, ref.definition.size)
        try checkSize(asked, blockBytes: ref.definition.blockBytes, what)
        var next = ref.next { next in
            next.state = .live
            next.definition.size = asked
            guard wasDetached else { return }
            next.isReadOnly = request.isReadOnly ?? ref.isReadOnly
            next.definition.isReadOnly = next.isReadOnly
            next.definition.transport = request.transport ?? ref.definition.transport
        }
        let grows = asked > ref.size
        if grows {
            guard !next.isReadOnly else {
                throw UserError(
                    .conflict, what: what, why: "it is read-only and cannot grow",
                    remedy: "make it writable with martlet promote \(ref.name)")
            }
            next.size = try grow(next, to: asked, what)
        }
        if grows || wasDetached || asked != ref.definition.size {
            guard try refs(what).append(next) else { return nil }
            table.learn(next)
            try keepLocally(next, what)
        } else {
            next = ref
        }
        return PutReply(
            outcome: grows ? .grown : .unchanged, export: describe(next), forkedFrom: nil)
    }

    private func grow(
        _ ref: ExportRef, to size: ByteCount, _ what: String
    ) throws(UserError) -> ByteCount {
        let attachment = try attachWriter(ref, what)
        let now = host.status(attachment.served)?.size ?? attachment.size
        if now < size { try host.resize(ref.volume, to: size) }
        return max(now, size)
    }
}
