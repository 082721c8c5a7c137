// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A second look behind a fence. Who makes one reads the head, and takes the number behind it. If it
// sleeps in between, the writer goes on, and a collector may free that very number: then the PUT
// succeeds in the middle of history, and stops nobody. Whoever would act upon the fence looks
// whether it is the head.

public import Formats
public import ObjectStore

/// Looks at fences that are in the store. Stateless; calls block.
public struct FenceCheck<Store: ObjectStore>: Sendable {
    private let store: Store

    public init(store: Store) { self.store = store }

    /// True if nothing lies behind `fence`: from now on whoever held the volume meets it. One that
    /// history has passed is taken back; one that others have built on stays for ever, and does not
    /// stand either. Costs one listing of one key, and one HEAD.
    public func stands(_ fence: Commit) throws(CommitError) -> Bool {
        let finder = HeadFinder(store: store)
        guard let newest = try finder.headSequence(of: fence.volume), newest > fence.sequence
        else { return true }
        // Who builds on a fence without having made it claims a later epoch.
        if let head = try finder.head(of: fence.volume), head.commit.epoch <= fence.epoch {
            do throws(ObjectStoreError) { try store.delete([fence.key.key]) } catch {
                throw .store(error)
            }
        }
        return false
    }
}
