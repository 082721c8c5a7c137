// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A store that, if told so, takes no writes: nothing of a daemon that only reads may reach the
// bucket, whatever part of it would like to.

import ObjectStore

struct WriteGuard<Base: ObjectStore>: ForwardingStore {
    let base: Base
    let isReadOnly: Bool

    /// One that is guarded alike and counts by itself.
    func counting<Store, Time, Random>() -> WriteGuard<
        RetryingStore<CountingStore<Store>, Time, Random>
    > where Base == RetryingStore<Store, Time, Random> {
        WriteGuard<RetryingStore<CountingStore<Store>, Time, Random>>(
            base: base.counting(), isReadOnly: isReadOnly)
    }

    private func requireWritable(_ key: String) throws(ObjectStoreError) {
        guard !isReadOnly else {
            throw .forbidden(
                key: key, detail: "this daemon only reads: it was told storage.readonly")
        }
    }

    func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        try requireWritable(key)
        return try base.putIfAbsent(key, body)
    }

    func replace(_ key: String, _ body: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        try requireWritable(key)
        try base.replace(key, body)
    }

    func delete(_ keys: [String]) throws(ObjectStoreError) {
        guard let first = keys.first else { return }
        try requireWritable(first)
        try base.delete(keys)
    }
}
