// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A store that counts what passes through it: requests by kind, bytes by direction. And it keeps
// what the last request found: the store there, or away and why.

import Primitives
import Synchronization

/// Requests and bytes so far. Deletes count as the store takes them: a batch is one request.
public struct StoreCounts: Equatable, Sendable {
    public var puts: UInt64 = 0
    public var gets: UInt64 = 0
    public var heads: UInt64 = 0
    public var lists: UInt64 = 0
    public var deletes: UInt64 = 0
    public var failures: UInt64 = 0
    public var bytesSent: UInt64 = 0
    public var bytesReceived: UInt64 = 0
    public init() {}
}

/// Counts around another store. A failed request counts as well.
public final class CountingStore<Base: ObjectStore>: ObjectStore {
    public let base: Base
    public var url: String { base.url }
    public var deleteBatchMax: Int { base.deleteBatchMax }

    // Each counter stands alone and orders nothing, so relaxed.
    private let puts = Atomic<UInt64>(0)
    private let gets = Atomic<UInt64>(0)
    private let heads = Atomic<UInt64>(0)
    private let lists = Atomic<UInt64>(0)
    private let deletes = Atomic<UInt64>(0)
    private let failures = Atomic<UInt64>(0)
    private let bytesSent = Atomic<UInt64>(0)
    private let bytesReceived = Atomic<UInt64>(0)
    private let isAway = Atomic<Bool>(false)
    private let lastError = Lock<ObjectStoreError?>(nil)

    public init(_ base: Base) { self.base = base }

    public var counts: StoreCounts {
        var counts = StoreCounts()
        counts.puts = puts.load(ordering: .relaxed)
        counts.gets = gets.load(ordering: .relaxed)
        counts.heads = heads.load(ordering: .relaxed)
        counts.lists = lists.load(ordering: .relaxed)
        counts.deletes = deletes.load(ordering: .relaxed)
        counts.failures = failures.load(ordering: .relaxed)
        counts.bytesSent = bytesSent.load(ordering: .relaxed)
        counts.bytesReceived = bytesReceived.load(ordering: .relaxed)
        return counts
    }

    /// Why the last request found the store away or misconfigured; nil if it got an answer, be it a
    /// refusal.
    public var absence: ObjectStoreError? {
        isAway.load(ordering: .relaxed) ? lastError.withLock { $0 } : nil
    }

    private func counted<Result>(
        _ body: () throws(ObjectStoreError) -> Result
    ) throws(ObjectStoreError) -> Result {
        do throws(ObjectStoreError) {
            let result = try body()
            if isAway.load(ordering: .relaxed) { isAway.store(false, ordering: .relaxed) }
            return result
        } catch {
            failures.wrappingAdd(1, ordering: .relaxed)
            let found = error
            if found.isAbsence { lastError.withLock { $0 = found } }
            isAway.store(found.isAbsence, ordering: .relaxed)
            throw error
        }
    }

    public func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        puts.wrappingAdd(1, ordering: .relaxed)
        bytesSent.wrappingAdd(UInt64(body.count), ordering: .relaxed)
        return try counted { () throws(ObjectStoreError) in try base.putIfAbsent(key, body) }
    }

    public func replace(_ key: String, _ body: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        puts.wrappingAdd(1, ordering: .relaxed)
        bytesSent.wrappingAdd(UInt64(body.count), ordering: .relaxed)
        try counted { () throws(ObjectStoreError) in try base.replace(key, body) }
    }

    public func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        gets.wrappingAdd(1, ordering: .relaxed)
        let bytes = try counted { () throws(ObjectStoreError) in
            try base.get(key, limit: limit)
        }
        bytesReceived.wrappingAdd(UInt64(bytes.count), ordering: .relaxed)
        return bytes
    }

    public func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        gets.wrappingAdd(1, ordering: .relaxed)
        try counted { () throws(ObjectStoreError) in
            try base.get(key, at: offset, into: buffer)
        }
        bytesReceived.wrappingAdd(UInt64(buffer.count), ordering: .relaxed)
    }

    public func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8] {
        gets.wrappingAdd(1, ordering: .relaxed)
        let bytes = try counted { () throws(ObjectStoreError) in
            try base.getSuffix(key, count: count)
        }
        bytesReceived.wrappingAdd(UInt64(bytes.count), ordering: .relaxed)
        return bytes
    }

    public func head(_ key: String) throws(ObjectStoreError) -> UInt64? {
        heads.wrappingAdd(1, ordering: .relaxed)
        return try counted { () throws(ObjectStoreError) in try base.head(key) }
    }

    public func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        lists.wrappingAdd(1, ordering: .relaxed)
        return try counted { () throws(ObjectStoreError) in
            try base.list(prefix: prefix, after: after, limit: limit)
        }
    }

    public func delete(_ keys: [String]) throws(ObjectStoreError) {
        let batch = base.deleteBatchMax
        deletes.wrappingAdd(UInt64((keys.count + batch - 1) / batch), ordering: .relaxed)
        try counted { () throws(ObjectStoreError) in try base.delete(keys) }
    }

    public func dateSeconds() throws(ObjectStoreError) -> UInt64? {
        heads.wrappingAdd(1, ordering: .relaxed)
        return try counted { () throws(ObjectStoreError) in try base.dateSeconds() }
    }
}
