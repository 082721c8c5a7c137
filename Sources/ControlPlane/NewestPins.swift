// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The newest commit of a volume that a ref keeps. Every pack of the volume that is as old as that
// is needed by it as well, if it is needed at all, so that compaction leaves it alone. A hint: who
// is wrong here stores in vain, and harms nothing. Readers' refs do not count, because they go.

package import Documents
package import ObjectStore
package import Primitives
internal import Synchronization

/// Looks through the refs of one store, on behalf of all volumes of a host. Any thread.
package final class NewestPins<Store: ObjectStore>: Sendable {
    private let store: Store
    /// What refs point at, by their keys: a key is written once.
    private let known = Lock<[String: [CommitPointer]]>([:])

    package init(store: Store) { self.store = store }

    /// The newest commit of `volume`, which is bound to `name`, that a snapshot, a tag, a base or a
    /// fork keeps. Nil if there is none. Reads each ref once in its life.
    package func newest(
        of volume: VolumeID, named name: RefName
    ) throws(UserError) -> CommitSequence? {
        let refs = RefStore(store: store, what: "cannot see what keeps old packs of \(name)")
        var newest = try newestSnapshot(of: volume, name, refs)
        for pointer in try pointers(refs) where pointer.volume == volume {
            newest = max(newest ?? pointer.sequence, pointer.sequence)
        }
        return newest
    }

    /// Numbers rise with the volumes that had the name: the first from behind that is of this one.
    private func newestSnapshot(
        of volume: VolumeID, _ name: RefName, _ refs: RefStore<Store>
    ) throws(UserError) -> CommitSequence? {
        for key in try refs.keys(prefix: RefKey.snapshotsPrefix(of: name)).reversed() {
            guard let ref: SnapshotRef = try refs.find(key) else { continue }
            if ref.commit.volume == volume { return ref.commit.sequence }
        }
        return nil
    }

    /// What all tags, bases and forks point at now.
    private func pointers(_ refs: RefStore<Store>) throws(UserError) -> [CommitPointer] {
        let prefixes = [RefKey.tagsPrefix, RefKey.basesPrefix, RefKey.exportsPrefix]
        var found: [String: [CommitPointer]] = [:]
        for prefix in prefixes {
            for (key, series) in try refs.newestKeys(below: prefix) {
                if let pointers = known.withLock({ $0[key] }) {
                    found[key] = pointers
                } else {
                    found[key] = try read(key, in: series, refs)
                }
            }
        }
        let now = found
        known.withLock { $0 = now }
        return found.values.flatMap { $0 }
    }

    private func read(
        _ key: String, in series: RefSeries, _ refs: RefStore<Store>
    ) throws(UserError) -> [CommitPointer] {
        switch series {
        case .tag:
            let tag: TagRef = try refs.read(key, in: series)
            return [tag.commit]
        case .base:
            let base: BaseRef = try refs.read(key, in: series)
            return [base.commit]
        case .export:
            let export: ExportRef = try refs.read(key, in: series)
            // A purged fork needs nothing of its source.
            return export.state == .deleted ? [] : export.origin.map { [$0.commit] } ?? []
        case .node, .collection, .collectionPlan: return []
        }
    }
}
