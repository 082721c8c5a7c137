// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a store around another does that changes some calls only: the others are passed on.

/// A store that passes on every call that it does not make itself.
public protocol ForwardingStore: ObjectStore {
    associatedtype Base: ObjectStore
    var base: Base { get }
}

extension ForwardingStore {
    public var url: String { base.url }

    public var deleteBatchMax: Int { base.deleteBatchMax }

    public func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome { try base.putIfAbsent(key, body) }

    public func replace(_ key: String, _ body: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        try base.replace(key, body)
    }

    public func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        try base.get(key, limit: limit)
    }

    public func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) { try base.get(key, at: offset, into: buffer) }

    public func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8] {
        try base.getSuffix(key, count: count)
    }

    public func head(_ key: String) throws(ObjectStoreError) -> UInt64? { try base.head(key) }

    public func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        try base.list(prefix: prefix, after: after, limit: limit)
    }

    public func delete(_ keys: [String]) throws(ObjectStoreError) { try base.delete(keys) }

    public func dateSeconds() throws(ObjectStoreError) -> UInt64? { try base.dateSeconds() }
}
