// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The refs of an import: who holds the volume while it grows, where it starts from, and what names
// it in the end. Pins are made as the control plane makes them.

import Committer
import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives

extension Ingest {
    /// Others may take the next number of a series this many times.
    private static var changesMax: Int { 16 }

    /// What the export of an unfinished base image is called, before the name of the base.
    static var baseWorkPrefix: String { "bless." }

    /// The name that is asked for.
    var name: RefName {
        switch request.target {
        case .base(let name, _), .export(let name): name
        }
    }

    /// The name of the export that holds the volume until the work is done.
    private var workName: RefName {
        get throws(UserError) {
            guard case .base(let name, _) = request.target else { return name }
            guard let work = RefName(Self.baseWorkPrefix + name.text) else {
                throw UserError(
                    .badRequest, what: what, why: "the name is too long for a base",
                    remedy: "use at most "
                        + "\(Limits.nameCharactersMax - Self.baseWorkPrefix.utf8.count) characters")
            }
            return work
        }
    }

    // MARK: What is there

    /// The commit that the name means; nil if it is free, or if its import is not finished.
    func boundCommit() throws(UserError) -> Commit? {
        switch request.target {
        case .base(let name, _):
            guard let base: BaseRef = try refs.newest(.base(name)) else { return nil }
            return try Pinner(refs: refs).read(base.commit).commit
        case .export(let name):
            guard let export: ExportRef = try refs.newest(.export(name)) else { return nil }
            switch export.state {
            case .deleted: return nil
            case .creating where export.isImage: return nil
            case .live where export.isImage, .detached where export.isImage:
                return try headCommit(of: export)
            case .creating, .live, .detached: throw used(name, "an export that is no import")
            }
        }
    }

    func otherContent(_ bound: Commit) -> UserError {
        let remedy: String
        if case .base = request.target {
            remedy = "choose another name, or use --replace: forks keep what they were made from"
        } else {
            remedy = "choose another name, or delete \(name) first"
        }
        return UserError(
            .conflict, what: what,
            why: "\(name) exists and holds something else (digest \(bound.digest), \(bound.size) "
                + "bytes in blocks of \(bound.blockBytes))",
            remedy: remedy)
    }

    private func used(_ name: RefName, _ by: String) -> UserError {
        UserError(
            .conflict, what: what, why: "the name \(name) is that of \(by)",
            remedy: "choose another name")
    }

    /// The base to refer to, and its commit.
    func dedupBase(_ name: RefName) throws(UserError) -> (origin: ExportOrigin, commit: Commit) {
        guard let base: BaseRef = try refs.newest(.base(name)) else {
            throw UserError(
                .notFound, what: what, why: "there is no base \(name) to compare with",
                remedy: "leave --dedup-against out, or name a base that was blessed")
        }
        return (
            ExportOrigin(name: "base:\(name)", commit: base.commit),
            try Pinner(refs: refs).read(base.commit).commit
        )
    }

    /// A base that was bound by a try which died before it freed its working name.
    func forgetUnfinished() throws(UserError) {
        guard case .base = request.target,
            let export: ExportRef = try refs.newest(.export(try workName)),
            export.state == .creating, export.isImage
        else { return }
        _ = try refs.append(export.next { $0.state = .deleted })
    }

    // MARK: Beginning

    /// The export that holds the volume: a new one, or that of an earlier try.
    func begin(
        _ size: ByteCount, base: (origin: ExportOrigin, commit: Commit)?
    ) throws(UserError) -> (ref: ExportRef, isResumed: Bool) {
        let name = try workName
        for _ in 0..<Self.changesMax {
            let current: ExportRef? = try refs.newest(.export(name))
            switch current?.state {
            case .live, .detached: throw used(name, "an export")
            case .creating:
                guard let current else { continue }
                guard current.isImage else { throw used(name, "an export that is being created") }
                try checkSame(current, base: base?.origin)
                return (current, true)
            case nil, .deleted:
                let made = try newExport(name, size, base: base, after: current)
                if try refs.append(made) { return (made, false) }
            }
        }
        throw refs.contended
    }

    private func newExport(
        _ name: RefName, _ size: ByteCount, base: (origin: ExportOrigin, commit: Commit)?,
        after previous: ExportRef?
    ) throws(UserError) -> ExportRef {
        let blockBytes =
            request.blockBytes ?? base?.commit.blockBytes ?? Limits.blockBytesDefault
        if let base, base.commit.blockBytes != blockBytes {
            throw UserError(
                .badRequest, what: what,
                why: "\(base.origin.name) has blocks of \(base.commit.blockBytes) bytes, not "
                    + "\(blockBytes)",
                remedy: "leave --block-size out, or --dedup-against")
        }
        var transport = Transport.nbd
        if case .base = request.target { transport = .none }
        return ExportRef(
            name: name, number: (previous?.number ?? 0) + 1, volume: fresh(), state: .creating,
            definition: ExportDefinition(
                size: size, blockBytes: blockBytes, isReadOnly: false, transport: transport,
                source: ExportRef.imageSource(request.source)),
            size: size, isReadOnly: false, origin: base?.origin,
            firstSequence: try refs.firstFreeSequence(of: name, after: previous))
    }

    /// Refuses to go on with what was begun otherwise.
    private func checkSame(_ ref: ExportRef, base: ExportOrigin?) throws(UserError) {
        func conflict(_ why: String) -> UserError {
            UserError(
                .conflict, what: what, why: why,
                remedy: "repeat it as it was begun, or give it up with "
                    + "martlet gc --abandon \(ref.volume)")
        }
        if let asked = request.blockBytes, asked != ref.definition.blockBytes {
            throw conflict(
                "it was begun with blocks of \(ref.definition.blockBytes) bytes, not \(asked)")
        }
        if let base, base.name != ref.origin?.name {
            throw conflict(
                "it was begun against \(ref.origin?.name ?? "no base"), not \(base.name)")
        }
    }

    /// The volume's head: its first commit, which is made if it is not there, or what an earlier
    /// try published behind it.
    func head(of ref: ExportRef) throws(UserError) -> Commit {
        let found = try explain { () throws(CommitError) in
            try HeadFinder(store: store).head(of: ref.volume)?.commit
        }
        guard let found else {
            guard let origin = ref.origin else { return try publishFirst(of: ref, from: nil) }
            return try holding(origin.commit) { source throws(UserError) in
                try publishFirst(of: ref, from: source)
            }
        }
        guard found.state != .deleted else { throw abandoned }
        // It may have arrived late, after its source was collected: as with every pin, the root
        // comes first, and what it needs is looked at afterwards.
        return try Pinner(refs: refs).pin(found.pointer, create: { true }, undo: {}).commit
    }

    private func publishFirst(
        of ref: ExportRef, from source: Commit?
    ) throws(UserError) -> Commit {
        let stamp = CommitDrafts.Stamp(
            epoch: Epoch(1), token: fresh(), state: .clean, labelSeconds: clock.wallSeconds)
        let first =
            source.map {
                CommitDrafts.forked(from: $0, as: ref.volume, at: ref.firstSequence, stamp: stamp)
            }
            ?? CommitDrafts.first(
                of: ref.volume, size: ref.size, blockBytes: ref.definition.blockBytes,
                at: ref.firstSequence, stamp: stamp)
        let outcome = try explainStore(what) { () throws(ObjectStoreError) in
            try store.putIfAbsent(first.commit.key.key, first.bytes)
        }
        return outcome == .created ? first.commit : try headCommit(of: ref)
    }

    private func headCommit(of ref: ExportRef) throws(UserError) -> Commit {
        let head = try explain { () throws(CommitError) in
            try HeadFinder(store: store).head(of: ref.volume)?.commit
        }
        guard let head else {
            throw UserError(
                .failed, what: what, why: "the volume of \(ref.name) has no commit",
                remedy: "run martlet verify on the repository")
        }
        guard head.state != .deleted else { throw abandoned }
        return head
    }

    // MARK: Ending

    /// Gives the commit its name and lets the working name go.
    func bind(_ commit: CommitPointer, _ work: ExportRef) throws(UserError) {
        switch request.target {
        case .base(let name, let replaces):
            try bindBase(name, commit, replaces: replaces)
            // The base keeps the commit from here on. If the number is taken, somebody freed the
            // name before.
            _ = try refs.append(work.next { $0.state = .deleted })
        case .export: try bindExport(commit, work)
        }
    }

    private func bindBase(
        _ name: RefName, _ commit: CommitPointer, replaces: Bool
    ) throws(UserError) {
        for _ in 0..<Self.changesMax {
            let current: BaseRef? = try refs.newest(.base(name))
            if let current, current.commit == commit { return }
            guard current == nil || replaces else {
                throw UserError(
                    .conflict, what: what, why: "another process blessed \(name) meanwhile",
                    remedy: "repeat it to see whether the content is the same")
            }
            let next = BaseRef(
                name: name, number: (current?.number ?? 0) + 1, commit: commit,
                source: request.source)
            // A number of a series cannot be taken back once it was made, so the commit is pinned
            // before it.
            let isOurs = try holding(commit) { _ throws(UserError) in try refs.append(next) }
            if isOurs { return }
        }
        throw refs.contended
    }

    private func bindExport(_ commit: CommitPointer, _ work: ExportRef) throws(UserError) {
        let root = try Pinner(refs: refs).read(commit).commit
        let live = work.next { next in
            next.state = .live
            next.size = root.size
            next.definition.size = root.size
        }
        if try refs.append(live) { return }
        let current: ExportRef? = try refs.newest(.export(work.name))
        guard let current, current.volume == work.volume, current.state == .live else {
            throw abandoned
        }
    }

    /// Runs `body` while a reader ref pins the commit.
    func holding<Value>(
        _ commit: CommitPointer, _ body: (Commit) throws(UserError) -> Value
    ) throws(UserError) -> Value {
        try ReaderPins(refs: refs, node: request.node).holding(
            commit, id: fresh(), purpose: .fork
        ) { root throws(UserError) in try body(root.commit) }
    }
}
