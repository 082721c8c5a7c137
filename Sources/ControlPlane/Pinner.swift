// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Pins: every new ref to a commit is made so that the collector cannot delete what it needs. Read
// the number of the last collection run, create the ref, read the commit again, read the condemned
// sets: if anything needed is listed, undo and refuse; if two runs ended meanwhile, start over. No
// clocks.

import Committer
import Documents
import Formats
import ObjectStore
import Primitives

struct Pinner<Store: ObjectStore> {
    let refs: RefStore<Store>

    private static var attemptsMax: Int { 8 }

    private var what: String { refs.what }

    /// Makes the commit safe by `create`, which is undone if that fails, and returns it. `create`
    /// says whether the ref is new: one that was there has been checked before.
    func pin(
        _ pointer: CommitPointer, create: () throws(UserError) -> Bool,
        undo: () throws(UserError) -> Void
    ) throws(UserError) -> LocalRoot {
        var isNew = false
        for _ in 0..<Self.attemptsMax {
            let before = try condemned(count: 1).first?.run ?? 0
            // A second round finds the ref that the first one made.
            if try create() { isNew = true }
            let root: LocalRoot
            let sets: [CondemnedSet]
            let isCondemned: Bool
            do throws(UserError) {
                root = try read(pointer)
                sets = try isNew ? condemned(count: 2) : []
                isCondemned = try isAnyListed(root.commit, in: sets)
            } catch {
                if isNew, error.kind != .storeAway { try undo() }
                throw error
            }
            if !isNew { return root }
            if isCondemned {
                try undo()
                throw UserError(
                    .conflict, what: what,
                    why: "commit \(pointer.sequence) of volume \(pointer.volume) is about to be "
                        + "collected",
                    remedy: "use a newer snapshot")
            }
            if (sets.first?.run ?? 0) < before + 2 { return root }
        }
        throw refs.contended
    }

    /// The commit that `pointer` means and no other.
    func read(_ pointer: CommitPointer) throws(UserError) -> LocalRoot {
        let root: LocalRoot
        do throws(CommitError) {
            root = try HeadFinder(store: refs.store).commit(of: pointer.volume, pointer.sequence)
        } catch {
            if case .store(.notFound) = error { throw missing(pointer) }
            throw UserError(what, error)
        }
        guard root.commit.token == pointer.token else { throw missing(pointer) }
        return root
    }

    private func missing(_ pointer: CommitPointer) -> UserError {
        UserError(
            .notFound, what: what,
            why: "commit \(pointer.sequence) of volume \(pointer.volume) is no longer there",
            remedy: "choose a snapshot that martlet snapshots lists")
    }

    private func condemned(count: Int) throws(UserError) -> [CondemnedSet] {
        try refs.newest(.collection, count: count)
    }

    private func isAnyListed(
        _ commit: Commit, in sets: [CondemnedSet]
    ) throws(UserError) -> Bool {
        let listed = Set(sets.flatMap(\.commits)).union(sets.flatMap(\.packs))
        if listed.isEmpty { return false }
        if listed.contains(commit.key.key) { return true }
        for pack in commit.chunkPages.packs + commit.packPages.packs
        where listed.contains(pack.key) {
            return true
        }
        for entry in commit.packPages.entries {
            let page = try packPage(entry)
            for case let pack? in page.entries where pack.live > 0 && listed.contains(pack.pack.key)
            {
                return true
            }
        }
        return false
    }

    private func packPage(_ entry: PageList.Entry) throws(UserError) -> PackTablePage {
        var bytes: [UInt8]
        let key: String
        switch entry.page {
        case .inline(let inline):
            bytes = inline
            key = "an inline page"
        case .packed(let pointer):
            key = pointer.pack.key
            bytes = [UInt8](repeating: 0, count: Int(pointer.length))
            try read(key, at: UInt64(pointer.offset), into: &bytes)
            let hash = bytes.withUnsafeBytes { Pack.hash(ofPage: $0) }
            guard hash == pointer.hash else {
                throw UserError(what, .damaged(key: key, detail: "a table page has another hash"))
            }
        }
        var failure: FormatError?
        let page = bytes.withUnsafeBytes { buffer -> PackTablePage? in
            do throws(FormatError) {
                return try PackTablePage(decoding: buffer, index: entry.index)
            } catch {
                failure = error
                return nil
            }
        }
        guard let page else {
            throw UserError(
                what, .damaged(key: key, detail: failure.map { "\($0)" } ?? "unreadable"))
        }
        return page
    }

    private func read(
        _ key: String, at offset: UInt64, into bytes: inout [UInt8]
    ) throws(UserError) {
        var failure: ObjectStoreError?
        bytes.withUnsafeMutableBytes { buffer in
            do throws(ObjectStoreError) {
                try refs.store.get(key, at: offset, into: buffer)
            } catch { failure = error }
        }
        if let failure { throw UserError(what, failure) }
    }
}
