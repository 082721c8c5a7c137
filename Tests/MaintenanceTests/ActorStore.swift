// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The store as one participant of a test reaches it: somebody else may act in front of each of its
// requests, and it may lose the store for good, as the dead do.

import ObjectStore
import Primitives
import Synchronization

final class ActorStore: ObjectStore {
    /// Called in front of a request; true: the caller dies here.
    typealias Interruption = @Sendable (_ operation: StoreOperation, _ key: String) -> Bool

    let base: MemoryStore
    private let state = Lock(State())

    private struct State {
        var interruption: Interruption?
        var isDead = false
        var mutationsLeft: Int?
    }

    init(_ base: MemoryStore) { self.base = base }

    var url: String { base.url }
    var deleteBatchMax: Int { base.deleteBatchMax }

    func interrupt(_ body: Interruption?) { state.withLock { $0.interruption = body } }

    /// Dies behind the next `count` PUTs and DELETEs; nil: lives.
    func die(afterMutations count: Int?) {
        state.withLock {
            $0.mutationsLeft = count
            $0.isDead = false
        }
    }

    var isDead: Bool { state.withLock { $0.isDead } }

    private func request<Value>(
        _ operation: StoreOperation, _ key: String,
        _ body: () throws(ObjectStoreError) -> Value
    ) throws(ObjectStoreError) -> Value {
        let interruption = state.withLock { $0.interruption }
        if let interruption, interruption(operation, key) { state.withLock { $0.isDead = true } }
        let isMutation = operation == .put || operation == .delete
        let isDead = state.withLock { state -> Bool in
            if let left = state.mutationsLeft, isMutation {
                if left == 0 { state.isDead = true }
                state.mutationsLeft = max(0, left - 1)
            }
            return state.isDead
        }
        if isDead { throw .away(key: key, detail: "the caller is dead") }
        return try body()
    }

    func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        try request(.put, key) { () throws(ObjectStoreError) in try base.putIfAbsent(key, body) }
    }

    func replace(_ key: String, _ body: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        try request(.put, key) { () throws(ObjectStoreError) in try base.replace(key, body) }
    }

    func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        try request(.get, key) { () throws(ObjectStoreError) in try base.get(key, limit: limit) }
    }

    func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        try request(.get, key) { () throws(ObjectStoreError) in
            try base.get(key, at: offset, into: buffer)
        }
    }

    func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8] {
        try request(.get, key) { () throws(ObjectStoreError) in
            try base.getSuffix(key, count: count)
        }
    }

    func head(_ key: String) throws(ObjectStoreError) -> UInt64? {
        try request(.head, key) { () throws(ObjectStoreError) in try base.head(key) }
    }

    func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        try request(.list, prefix) { () throws(ObjectStoreError) in
            try base.list(prefix: prefix, after: after, limit: limit)
        }
    }

    func delete(_ keys: [String]) throws(ObjectStoreError) {
        try request(.delete, keys.first ?? "") { () throws(ObjectStoreError) in
            try base.delete(keys)
        }
    }

    func dateSeconds() throws(ObjectStoreError) -> UInt64? {
        try request(.head, "") { () throws(ObjectStoreError) in try base.dateSeconds() }
    }
}
