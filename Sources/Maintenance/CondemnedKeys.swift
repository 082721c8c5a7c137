// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What collectors are about to delete: a repair must not write that. Everything relies on a key
// that was deleted never coming back, and on a collector being right that deletes by an old plan.

import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives

struct CondemnedKeys<Store: ObjectStore> {
    enum Verdict: Equatable {
        case free
        /// A set or a plan lists it.
        case condemned
        /// The sets cannot be read.
        case unknown(String)
    }

    private let refs: RefStore<Store>
    private var numbers: (set: UInt64, plan: UInt64)?
    private var keys: Set<String> = []
    /// No collector has ever finished or planned a run.
    private(set) var isUnused = true

    init(_ store: Store) { refs = RefStore(store: store, what: "cannot repair") }

    /// Looks at what there is now. Sets before plans: a plan is made of a set that is older.
    mutating func verdict(on key: String) -> Verdict {
        do throws(UserError) {
            let now = (
                set: try refs.newestNumber(.collection),
                plan: try refs.newestNumber(.collectionPlan)
            )
            if numbers.map({ $0 == now }) != true {
                let sets: [CondemnedSet] = try refs.newest(.collection, count: 2)
                let plans: [CollectionPlan] = try refs.newest(.collectionPlan, count: 2)
                keys = Set(plans.flatMap(\.keys.keys))
                for set in sets { for group in set.groups { keys.formUnion(group.keys.keys) } }
                isUnused = sets.isEmpty && plans.isEmpty
                numbers = now
            }
            return keys.contains(key) ? .condemned : .free
        } catch { return .unknown(error.why) }
    }
}
