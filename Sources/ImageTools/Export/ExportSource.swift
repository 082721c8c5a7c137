// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What to export, as people name it, and the commits that are meant, pinned for as long as they are
// read.

import ControlPlane
public import Documents
public import Formats
public import ObjectStore
public import Primitives

/// The commits of an export. Held pinned by whoever opened it, until `close`.
public struct ExportSource: Sendable {
    /// `snapshot:prod@7` or the like.
    public let name: String
    public let commit: Commit
    /// What a difference is from; nil: the image stands alone.
    public let base: Commit?
    /// Reader refs in the store, removed by `close`.
    let pins: [Token]

    /// True if nothing keeps the collector from what is read: no ref may be written here.
    public let isUnpinned: Bool
}

/// Finds and pins sources in one store. Stateless.
public struct ExportSources<Store: ObjectStore> {
    private let refs: RefStore<Store>
    private let pins: ReaderPins<Store>
    private let what: String

    /// `host` is for people, who see it with the pin. A daemon removes pins of its own node's name
    /// when it starts: those of tools have another.
    public init(store: Store, host: String, what: String) {
        self.init(store: store, node: RefName("export-\(host)"), what: what)
    }

    /// `node` is who pins, for a daemon: itself. Nil, where a name is none: a tool without one.
    public init(store: Store, node: RefName?, what: String) {
        let refs = RefStore(store: store, what: what)
        self.refs = refs
        self.what = what
        guard let node = node ?? RefName("export") else { preconditionFailure("a valid name") }
        pins = ReaderPins(refs: refs, node: node)
    }

    /// `source` is NAME, NAME@SEQ, tag:T, base:B or what `ForkSource` takes; `since` the same, or a
    /// number: of a snapshot of that name, else of a commit of the same volume. A commit that no
    /// snapshot names is found as long as it is there.
    public func open(
        _ source: String, since: String?, random: inout some RandomSource
    ) throws(UserError) -> ExportSource {
        let sources = CommitSources(refs: refs)
        let meant = try parse(source)
        guard let (name, target) = try sources.find(meant, history: true) else {
            throw sources.notFound(meant)
        }
        let base = try since.map { since throws(UserError) in
            try find(since, of: source, target.volume, sources)
        }
        let pin = Token.random(from: &random)
        let (commit, isPinned) = try pins.pin(target, id: pin, purpose: .read)
        guard let base else {
            return ExportSource(
                name: name, commit: commit, base: nil, pins: isPinned ? [pin] : [],
                isUnpinned: !isPinned)
        }
        let basePin = Token.random(from: &random)
        do throws(UserError) {
            let (older, isBasePinned) = try pins.pin(base, id: basePin, purpose: .read)
            return ExportSource(
                name: name, commit: commit, base: older,
                pins: (isPinned ? [pin] : []) + (isBasePinned ? [basePin] : []),
                isUnpinned: !isPinned || !isBasePinned)
        } catch {
            if isPinned { pins.unpin(pin) }
            throw error
        }
    }

    /// Lets the collector have what was read.
    public func close(_ source: ExportSource) {
        for pin in source.pins { pins.unpin(pin) }
    }

    private func parse(_ text: String) throws(UserError) -> ForkSource {
        do throws(UserError) { return try ForkSource(from: text) } catch {
            throw UserError(error.kind, what: what, why: error.why, remedy: error.remedy)
        }
    }

    private func find(
        _ since: String, of source: String, _ volume: VolumeID, _ sources: CommitSources<Store>
    ) throws(UserError) -> CommitPointer {
        guard let number = UInt64(since), number > 0 else {
            let meant = try parse(since)
            guard let (_, found) = try sources.find(meant, history: true) else {
                throw sources.notFound(meant)
            }
            return found
        }
        // NAME@7 since 5 means the snapshot NAME@5, also where the name has another volume by now.
        let name = source.split(separator: ":").last?.split(separator: "@").first ?? ""
        if !source.hasPrefix("tag:"), !source.hasPrefix("base:"),
            let meant = try? ForkSource(from: "snapshot:\(name)@\(number)"),
            let (_, found) = try sources.find(meant)
        {
            return found
        }
        guard let commit = try sources.commit(of: volume, CommitSequence(number)) else {
            throw UserError(
                .notFound, what: what, why: "there is no commit \(number) of volume \(volume)",
                remedy: "name a snapshot that martlet snapshots lists")
        }
        return commit.pointer
    }
}
