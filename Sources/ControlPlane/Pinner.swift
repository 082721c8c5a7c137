// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Pins: every new ref to a commit is made so that the collector cannot delete what it needs. Create
// the ref, read the newest condemned set, read the commit. If that set lists anything that is
// needed, the next run may be about to delete it: it is asked for its plan, or given an empty one
// if it has none. Then look whether everything is there. No clocks. The other half is the module
// Maintenance; why both suffice is told in docs/decisions/0018-garbage-collection.md.

package import Committer
package import Documents
import Formats
package import ObjectStore
package import Primitives

package struct Pinner<Store: ObjectStore> {
    let refs: RefStore<Store>

    package init(refs: RefStore<Store>) { self.refs = refs }

    private var what: String { refs.what }

    /// Makes the commit safe by `create`, which is undone if that fails, and returns it. `create`
    /// says whether the ref is new: one that was there has been checked before.
    package func pin(
        _ pointer: CommitPointer, create: () throws(UserError) -> Bool,
        undo: () throws(UserError) -> Void
    ) throws(UserError) -> LocalRoot {
        guard try create() else { return try read(pointer) }
        do throws(UserError) {
            // Where no set is, nothing was ever deleted.
            guard let set: CondemnedSet = try refs.newest(.collection) else {
                return try read(pointer)
            }
            let root = try read(pointer)
            let needed = try packs(of: root.commit)
            let isListed =
                set.commits.contains(root.commit.key) || !set.packs.isDisjoint(with: needed)
            if isListed { try forestall(run: set.run + 1, root.commit, needed) }
            try requirePresence(of: needed, root.commit)
            return isListed ? try read(pointer) : root
        } catch {
            if error.kind != .storeAway { try undo() }
            throw error
        }
    }

    /// The commit that `pointer` means and no other.
    package func read(_ pointer: CommitPointer) throws(UserError) -> LocalRoot {
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

    private func packs(of commit: Commit) throws(UserError) -> Set<PackID> {
        do throws(ObjectStoreError) {
            return try CommitPacks(store: refs.store).unseen(of: commit).packs
        } catch {
            if case .notFound = error { throw collected(commit, "was collected, or is damaged") }
            throw UserError(what, error)
        }
    }

    /// Makes sure that the run which may delete what the commit needs does not. The first plan of
    /// a run holds: if there is none yet, an empty one is made, and whoever collects next finishes
    /// that run without deleting anything. Later runs see the ref.
    private func forestall(
        run: UInt64, _ commit: Commit, _ needed: Set<PackID>
    ) throws(UserError) {
        let empty = CollectionPlan(
            run: run, node: "a pin", labelSeconds: 0, keys: CollectedKeys())
        if try refs.append(empty) { return }
        // One that is gone by now is of a run that is over: what it deleted is not there.
        guard let plan: CollectionPlan = try refs.find(empty.series.key(run)) else { return }
        let isDoomed =
            plan.keys.commits.contains(commit.key) || !needed.isDisjoint(with: plan.keys.packs)
        if isDoomed { throw collected(commit, "is being collected") }
    }

    /// A fence stays as an object when its packs go.
    private func requirePresence(
        of needed: Set<PackID>, _ commit: Commit
    ) throws(UserError) {
        let volumes = Set(needed.map(\.volume))
        // In order: a seed of the simulator makes the same requests each time.
        for volume in volumes.sorted(by: { ($0.high, $0.low) < ($1.high, $1.low) }) {
            let there = Set(try refs.keys(prefix: PackID.keyPrefix(of: volume)))
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
