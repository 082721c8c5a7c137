// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A store that, if told so, takes no writes: nothing of a daemon that only reads may reach the
// bucket, whatever part of it would like to.

import ObjectStore

struct WriteGuard<Base: ObjectStore>: ObjectStore {
    let base: Base
    let isReadOnly: Bool

    var url: String { base.url }
    var deleteBatchMax: Int { base.deleteBatchMax }

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

    func delete(_ keys: [String]) throws(ObjectStoreError) {
        guard let first = keys.first else { return }
        try requireWritable(first)
        try base.delete(keys)
    }

    func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        try base.get(key, limit: limit)
    }

    func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        try base.get(key, at: offset, into: buffer)
    }

    func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8] {
        try base.getSuffix(key, count: count)
    }

    func head(_ key: String) throws(ObjectStoreError) -> UInt64? { try base.head(key) }

    func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        try base.list(prefix: prefix, after: after, limit: limit)
    }
}
