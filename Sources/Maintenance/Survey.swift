// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What is in the store and what of it is reachable. The order of the reading is part of safety:
//
//   1. packs and commits are listed: what appears later is not judged
//   2. readers: pins that are held until something else keeps the commit
//   3. snapshots, tags, bases, exports
//   4. heads of volumes: what a held pin was for has become one of 3 or 4 when the pin went
//   5. pack tables of all that: what they need is reachable
//   6. the rest of each volume's history
//
// A ref that is made behind one of these steps is not seen, and looks at the condemned sets itself.

import Committer
import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives

struct Survey<Store: ObjectStore> {
    /// A commit that something names.
    struct Root {
        /// Who names it, as an operator finds it.
        let holder: String
        let pointer: CommitPointer
        /// A reader whose commit is gone pins nothing: its pin was refused, or its node died then.
        let isReader: Bool
    }

    let refs: RefStore<Store>
    let retention: Retention
    let nowSeconds: UInt64
    /// Commits that an earlier run condemned: known to be no fences.
    let condemnedBefore: Set<CommitKey>

    private(set) var packs: [PackID: UInt64] = [:]
    private(set) var commits: [VolumeID: [CommitSequence: UInt64]] = [:]
    private(set) var readers: [ReaderRef] = []
    private(set) var creating: [ExportRef] = []
    private(set) var heads: [VolumeID: Commit] = [:]
    private(set) var roots: Set<CommitKey> = []
    /// Objects that nobody reaches.
    private(set) var unreachable = CollectedKeys()

    private var pins: [Root] = []
    private var bound: [ExportRef] = []
    /// Each with the root that needs it, for messages.
    private var needed: [PackID: String] = [:]
    private var tables: CommitPacks<Store>
    private var histories: [VolumeID] = []

    init(
        refs: RefStore<Store>, retention: Retention, nowSeconds: UInt64,
        condemnedBefore: Set<CommitKey>
    ) {
        self.refs = refs
        self.retention = retention
        self.nowSeconds = nowSeconds
        self.condemnedBefore = condemnedBefore
        tables = CommitPacks(store: refs.store)
    }

    private enum Stage {
        case listing, readers, named, exports, heads, tables, history, packs, done
    }
    private var stage = Stage.listing

    /// Makes one step; true when everything is known.
    mutating func step() throws(UserError) -> Bool {
        switch stage {
        case .listing:
            try list()
            stage = .readers
        case .readers:
            try readReaders()
            stage = .named
        case .named:
            try readNamed()
            stage = .exports
        case .exports:
            try readExports()
            stage = .heads
        case .heads:
            try readHeads()
            stage = .tables
        case .tables:
            try reachRoots()
            histories = commits.keys.sorted { ($0.high, $0.low) < ($1.high, $1.low) }
            stage = .history
        case .history:
            if let volume = histories.popLast() {
                try judgeHistory(of: volume)
            } else {
                stage = .packs
            }
        case .packs:
            try judgePacks()
            stage = .done
        case .done: break
        }
        return stage == .done
    }

    // MARK: 1. What is there

    private mutating func list() throws(UserError) {
        for entry in try entries("packs/") {
            let pack = try parse(entry.key) { () throws(FormatError) in try PackID(key: entry.key) }
            packs[pack] = entry.bytes
        }
        for entry in try entries("volumes/") {
            let key = try parse(entry.key) { () throws(FormatError) in
                try CommitKey(key: entry.key)
            }
            commits[key.volume, default: [:]][key.sequence] = entry.bytes
        }
    }

    private func entries(_ prefix: String) throws(UserError) -> [ListPage.Entry] {
        try explainStore(refs.what) { () throws(ObjectStoreError) in
            try refs.store.listAll(prefix: prefix)
        }
    }

    private func parse<Key>(
        _ key: String, _ body: () throws(FormatError) -> Key
    ) throws(UserError) -> Key {
        do throws(FormatError) { return try body() } catch {
            throw UserError(refs.what, key, .malformedKey(key))
        }
    }

    func bytes(of key: CommitKey) -> UInt64 { commits[key.volume]?[key.sequence] ?? 0 }

    // MARK: 2. and 3. Refs

    private mutating func readReaders() throws(UserError) {
        for key in try refs.keys(prefix: RefKey.readersPrefix) {
            guard case .reader(let id)? = RefKey(parsing: key) else { throw malformed(key) }
            // One that was deleted since the listing pins nothing.
            guard let reader: ReaderRef = try refs.find(key) else { continue }
            guard reader.id == id else { throw misplaced(key, "reader \(reader.id)") }
            readers.append(reader)
            pins.append(
                Root(
                    holder: "reader \(id) of \(reader.node)", pointer: reader.commit,
                    isReader: true))
        }
    }

    private mutating func readNamed() throws(UserError) {
        for snapshot in try refs.snapshots(below: RefKey.snapshotsPrefix) {
            pins.append(
                Root(
                    holder: "snapshot \(snapshot.name)@\(snapshot.commit.sequence)",
                    pointer: snapshot.commit, isReader: false))
        }
        for (key, series) in try refs.newestKeys(below: RefKey.tagsPrefix) {
            guard case .tag(let name) = series else { throw malformed(key) }
            let tag: TagRef = try refs.read(key, in: series)
            pins.append(Root(holder: "tag \(name)", pointer: tag.commit, isReader: false))
        }
        for (key, series) in try refs.newestKeys(below: RefKey.basesPrefix) {
            guard case .base(let name) = series else { throw malformed(key) }
            let base: BaseRef = try refs.read(key, in: series)
            pins.append(Root(holder: "base \(name)", pointer: base.commit, isReader: false))
        }
    }

    private mutating func readExports() throws(UserError) {
        for (key, series) in try refs.newestKeys(below: RefKey.exportsPrefix) {
            guard case .export = series else { throw malformed(key) }
            let export: ExportRef = try refs.read(key, in: series)
            switch export.state {
            case .deleted: continue
            case .creating: creating.append(export)
            case .live, .detached: break
            }
            bound.append(export)
        }
    }

    private func malformed(_ key: String) -> UserError {
        UserError(refs.what, key, .malformedKey(key))
    }

    private func misplaced(_ key: String, _ found: String) -> UserError {
        UserError(refs.what, key, .misplaced(key: key, found: found))
    }

    // MARK: 4. Heads

    private mutating func readHeads() throws(UserError) {
        let volumes = Set(commits.keys).union(packs.keys.map(\.volume)).union(bound.map(\.volume))
        let finder = HeadFinder(store: refs.store)
        for volume in volumes.sorted(by: { ($0.high, $0.low) < ($1.high, $1.low) }) {
            heads[volume] = try explainCommit(refs.what) { () throws(CommitError) in
                try finder.head(of: volume)?.commit
            }
        }
        for export in bound where heads[export.volume] == nil && export.state != .creating {
            throw UserError(
                .failed, what: refs.what,
                why: "the volume \(export.volume) of export \(export.name) has no commit",
                remedy: "run martlet verify on the repository")
        }
    }

    // MARK: 5. What is reachable

    private mutating func reachRoots() throws(UserError) {
        for export in bound {
            guard let head = heads[export.volume] else { continue }
            try reach(head, holder: "export \(export.name)")
        }
        for pin in pins where !pin.isReader {
            guard let commit = try commit(of: pin) else { continue }
            try reach(commit, holder: pin.holder)
        }
        // What was listed is there. The rest came since, or is damage.
        for pack in inOrder(needed.keys.filter { packs[$0] == nil }, of: \.key) {
            guard try isThere(pack) else { throw missing(pack.key, needed[pack] ?? "a root") }
        }
        for pin in pins where pin.isReader {
            guard let commit = try commit(of: pin) else { continue }
            try spare(commit, holder: pin.holder)
        }
    }

    private func commit(of root: Root) throws(UserError) -> Commit? {
        let pointer = root.pointer
        if let head = heads[pointer.volume], head.token == pointer.token,
            head.sequence == pointer.sequence
        {
            return head
        }
        let commit: Commit
        do throws(CommitError) {
            commit = try HeadFinder(store: refs.store)
                .commit(of: pointer.volume, pointer.sequence).commit
        } catch {
            guard case .store(.notFound(let key)) = error else { throw UserError(refs.what, error) }
            if root.isReader, try !isListed(key) { return nil }
            throw missing(key, root.holder)
        }
        guard commit.token == pointer.token else {
            if root.isReader { return nil }
            throw missing(commit.key.key, root.holder)
        }
        return commit
    }

    /// One that is listed and cannot be read is not gone: it may come back, and what it needs may
    /// not.
    private func isListed(_ key: String) throws(UserError) -> Bool {
        try explainStore(refs.what) { () throws(ObjectStoreError) in
            let page = try refs.store.list(prefix: key, after: nil, limit: 1)
            return page.entries.first?.key == key
        }
    }

    private mutating func reach(_ commit: Commit, holder: String) throws(UserError) {
        guard roots.insert(commit.key).inserted else { return }
        do throws(ObjectStoreError) {
            let unseen = try tables.unseen(of: commit)
            for pack in unseen.packs { needed[pack] = holder }
            tables.accept(unseen)
        } catch {
            if case .notFound(let key) = error { throw missing(key, holder) }
            throw UserError(refs.what, error)
        }
    }

    /// What a reader may read is kept, and nothing is missed: of a fence, and of the commit before
    /// it, the object alone stays, and a pin of that is refused.
    private mutating func spare(_ commit: Commit, holder: String) throws(UserError) {
        guard roots.insert(commit.key).inserted else { return }
        do throws(ObjectStoreError) {
            let unseen = try tables.unseen(of: commit)
            let listed = unseen.packs.filter { packs[$0] != nil }
            for pack in listed { needed[pack] = holder }
            if listed.count == unseen.packs.count { tables.accept(unseen) }
        } catch {
            guard case .notFound(let key) = error else { throw UserError(refs.what, error) }
            if try isListed(key) { throw missing(key, holder) }
        }
    }

    private func isThere(_ pack: PackID) throws(UserError) -> Bool {
        if packs[pack] != nil { return true }
        return try explainStore(refs.what) { () throws(ObjectStoreError) in
            try refs.store.head(pack.key) != nil
        }
    }

    private func missing(_ key: String, _ holder: String) -> UserError {
        UserError(
            .failed, what: refs.what, why: "\(holder) needs \(key), which is not in the store",
            remedy: "run martlet verify on the repository, then delete or abandon what cannot be "
                + "read")
    }

    // MARK: 6. Histories and packs

    /// Judges the commits below a volume's head. Fences and the last commit before each stay as
    /// objects, so that a stale writer meets one, but keep no pack.
    private mutating func judgeHistory(of volume: VolumeID) throws(UserError) {
        guard let listed = commits[volume], let head = heads[volume], let last = listed.keys.max()
        else { return }
        var read: [Commit] = []
        var fences: Set<CommitSequence> = head.isFence ? [head.sequence] : []
        var judged: [CommitSequence] = []
        for sequence in listed.keys.sorted() where sequence < head.sequence {
            let key = CommitKey(volume: volume, sequence: sequence)
            if condemnedBefore.contains(key) {
                judged.append(sequence)
                continue
            }
            guard let commit = try self.commit(key) else { continue }
            judged.append(sequence)
            read.append(commit)
            if commit.isFence { fences.insert(sequence) }
        }
        try retain(from: read, of: volume)
        for sequence in judged {
            let key = CommitKey(volume: volume, sequence: sequence)
            // Behind the last that was listed there may be a fence that nobody looked at.
            guard sequence < last, !roots.contains(key), !fences.contains(sequence),
                !fences.contains(sequence.next)
            else { continue }
            unreachable.commits.append(key)
        }
    }

    /// Nil if it was deleted since the listing.
    private func commit(_ key: CommitKey) throws(UserError) -> Commit? {
        do throws(CommitError) {
            return try HeadFinder(store: refs.store).commit(of: key.volume, key.sequence).commit
        } catch {
            if case .store(.notFound) = error { return nil }
            throw UserError(refs.what, error)
        }
    }

    private mutating func retain(
        from history: [Commit], of volume: VolumeID
    ) throws(UserError) {
        guard !retention.rules.isEmpty, bound.contains(where: { $0.volume == volume }) else {
            return
        }
        let kept = retention.kept(of: history, now: nowSeconds)
        for commit in history where kept.contains(commit.sequence) {
            let unseen: CommitPacks<Store>.Unseen
            do throws(ObjectStoreError) { unseen = try tables.unseen(of: commit) } catch {
                // Neither head nor named, and its packs are gone: a PUT that arrived late.
                if case .notFound = error { continue }
                throw UserError(refs.what, error)
            }
            var isWhole = true
            let unlisted = unseen.packs.filter { needed[$0] == nil && packs[$0] == nil }
            for pack in inOrder(Array(unlisted), of: \.key) where isWhole {
                isWhole = try isThere(pack)
            }
            guard isWhole else { continue }
            for pack in unseen.packs { needed[pack] = commit.key.key }
            tables.accept(unseen)
            roots.insert(commit.key)
        }
    }

    private mutating func judgePacks() throws(UserError) {
        unreachable.packs = inOrder(
            packs.keys.filter { needed[$0] == nil && !isInFlight($0) }, of: \.key)
        unreachable.commits = inOrder(unreachable.commits, of: \.key)
    }

    /// In the order of their keys, each of which is made once.
    private func inOrder<Name>(_ names: [Name], of key: (Name) -> String) -> [Name] {
        names.map { (key: key($0), name: $0) }.sorted { $0.key < $1.key }.map(\.name)
    }

    /// Newer than the head: of a commit that is on its way. Without any commit nothing is known.
    private func isInFlight(_ pack: PackID) -> Bool {
        guard let head = heads[pack.volume] else { return true }
        return (pack.epoch, pack.sequence) > (head.epoch, head.sequence)
    }
}
