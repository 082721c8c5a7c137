// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Pins: every new ref to a commit is made so that the collector cannot delete what it needs. Read
// the number of the last collection run, create the ref, read the commit again, read the condemned
// sets: if anything needed is listed or gone, undo and refuse; if two runs ended meanwhile, start
// over. No clocks. The other half is the module Maintenance; why both suffice is told in
// docs/decisions/0018-garbage-collection.md.

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
            let before = try refs.newestNumber(.collection)
            // A second round finds the ref that the first one made.
            if try create() { isNew = true }
            let root: LocalRoot
            let newest: UInt64
            do throws(UserError) {
                root = try read(pointer)
                guard isNew else { return root }
                let sets: [CondemnedSet] = try refs.newest(.collection, count: 2)
                newest = sets.first?.run ?? 0
                try check(root.commit, against: sets)
            } catch {
                if isNew, error.kind != .storeAway { try undo() }
                throw error
            }
            if newest < before + 2 { return root }
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

    /// Refuses a commit if anything that it needs is listed, or is not there any more: a fence
    /// stays as an object when its packs go. Where no set is, nothing was ever deleted.
    private func check(_ commit: Commit, against sets: [CondemnedSet]) throws(UserError) {
        guard !sets.isEmpty else { return }
        let needed: Set<PackID>
        do throws(ObjectStoreError) {
            needed = try CommitPacks(store: refs.store).unseen(of: commit).packs
        } catch {
            if case .notFound = error { throw collected(commit, "was collected, or is damaged") }
            throw UserError(what, error)
        }
        let isListed = sets.contains { set in
            set.commits.contains(commit.key) || !set.packs.isDisjoint(with: needed)
        }
        if isListed { throw collected(commit, "is about to be collected") }
        for volume in Set(needed.map(\.volume)) {
            let keys = try refs.keys(prefix: PackID.keyPrefix(of: volume))
            let there = Set(keys)
            if needed.contains(where: { $0.volume == volume && !there.contains($0.key) }) {
                throw collected(commit, "was collected, or is damaged")
            }
        }
    }

    private func collected(_ commit: Commit, _ why: String) -> UserError {
        UserError(
            .conflict, what: what,
            why: "commit \(commit.sequence) of volume \(commit.volume) \(why)",
            remedy: "use a newer snapshot")
    }
}
