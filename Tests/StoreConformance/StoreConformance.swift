// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One suite for every object store: what INTERFACES and the publishing protocol build on. A target
// of its own, since the stores that need a network are tested elsewhere than those that do not.

public import ObjectStore
import Primitives
import Synchronization
import TestSupport
import Testing

/// Deterministic bytes that no compressor likes.
public func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var random = SplitMix64(seed: seed)
    return (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
}

/// The store's error that a call fails with; nil if it succeeds or fails otherwise.
public func failure(_ body: () throws -> Void) -> ObjectStoreError? {
    do {
        try body()
        return nil
    } catch {
        return error as? ObjectStoreError
    }
}

/// The promises of the seam, each a check of one store, which is empty at first and used for
/// nothing else.
public struct StoreConformance: Sendable {
    private let store: any ObjectStore

    public init(_ store: any ObjectStore) { self.store = store }

    /// An object is created once and keeps its first content.
    public func createOnce() throws {
        let body = pattern(300_000)
        #expect(try store.putIfAbsent("a/b/object", body) == .created)
        #expect(try store.putIfAbsent("a/b/object", [1]) == .exists)
        #expect(try store.get("a/b/object", limit: 300_000) == body)
        #expect(try store.head("a/b/object") == 300_000)
        #expect(try store.putIfAbsent("empty", []) == .created)
        #expect(try store.get("empty", limit: 0).isEmpty)
    }

    /// Ranges and suffixes are exact.
    public func ranges() throws {
        let body = pattern(10_000)
        _ = try store.putIfAbsent("k", body)
        for (offset, count) in [(0, 1), (4096, 4096), (9_999, 1), (10_000, 0), (0, 10_000)] {
            var bytes = [UInt8](repeating: 0, count: count)
            try bytes.withUnsafeMutableBytes {
                try store.get("k", at: UInt64(offset), into: $0)
            }
            #expect(bytes == Array(body[offset..<offset + count]))
        }
        var bytes = [UInt8](repeating: 0, count: 2)
        let error = failure {
            try bytes.withUnsafeMutableBytes { try store.get("k", at: 9_999, into: $0) }
        }
        guard case .damaged? = error else {
            Issue.record("a read beyond the end gave \(String(describing: error))")
            return
        }
        #expect(try store.getSuffix("k", count: 64) == Array(body.suffix(64)))
        #expect(try store.getSuffix("k", count: 20_000) == body)
    }

    /// An absent key is not found, and too large an object is refused.
    public func absence() throws {
        _ = try store.putIfAbsent("folder/object", [1, 2, 3])
        for key in ["none", "folder", "folder/none", "folder/object/below"] {
            #expect(failure { _ = try store.get(key, limit: 10) } == .notFound(key: key))
            #expect(failure { _ = try store.getSuffix(key, count: 1) } == .notFound(key: key))
            #expect(try store.head(key) == nil)
        }
        guard case .refused? = failure({ _ = try store.get("folder/object", limit: 2) }) else {
            Issue.record("a limit was not kept")
            return
        }
    }

    /// Bad keys are refused before anything happens.
    public func badKeys() throws {
        let long = String(repeating: "a/", count: 300) + "b"
        for key in ["", "/a", "a/", "a//b", ".", "a/../b", "a b", "ä", "a+b", "a\u{0}", long] {
            for call in [
                { _ = try store.putIfAbsent(key, [1]) }, { _ = try store.get(key, limit: 1) },
                { try store.replace(key, [1]) }, { try store.delete([key]) },
            ] {
                guard case .refused? = failure(call) else {
                    Issue.record("\(key) was taken")
                    return
                }
            }
        }
        #expect(try store.listAll(prefix: "").isEmpty)
    }

    /// Keys are listed in byte order, whatever the prefix and page size.
    public func listing() throws {
        let keys = [
            "a", "b-c", "b.d", "b/-", "b/c-e/x", "b/c.f", "b/c/d", "b/c/e/f", "b/c0", "b0",
            "ba/x", "volumes/v/commits/~1", "volumes/v/commits/~0",
            ".dot/x", "~t", "Z/z",
        ]
        for (index, key) in keys.enumerated() {
            _ = try store.putIfAbsent(key, [UInt8](repeating: 0, count: index))
        }
        let entries = keys.enumerated().map {
            ListPage.Entry(key: $0.element, bytes: UInt64($0.offset))
        }.sorted { Array($0.key.utf8).lexicographicallyPrecedes(Array($1.key.utf8)) }
        #expect(try store.listAll(prefix: "") == entries)
        for prefix in ["b", "b/", "b/c", "b/c/", "b/c-", "volumes/v/commits/", "none/", "none"] {
            let expected = entries.filter { $0.key.hasPrefix(prefix) }
            for limit in [1, 2, 3, 100] {
                var all: [ListPage.Entry] = []
                var page = try store.list(prefix: prefix, after: nil, limit: limit)
                all += page.entries
                while page.isTruncated, let last = all.last {
                    page = try store.list(prefix: prefix, after: last.key, limit: limit)
                    all += page.entries
                    #expect(page.entries.count <= limit && !page.entries.isEmpty)
                }
                #expect(all == expected, "prefix \(prefix) limit \(limit)")
            }
            // Starting points that are no keys themselves.
            for after in ["b", "b-", "b/", "b/c", "b/c/", "b/c~", "~~", "0"] {
                let page = try store.list(prefix: prefix, after: after, limit: 1000)
                #expect(
                    page.entries == expected.filter { $0.key > after }, "\(prefix) \(after)")
            }
        }
    }

    /// Deleting frees the key, and deleting what is absent succeeds.
    public func deletion() throws {
        _ = try store.putIfAbsent("a/1", [1])
        _ = try store.putIfAbsent("a/2", [2])
        _ = try store.putIfAbsent("b/c/3", [3])
        try store.delete(["a/1", "none", "b/c/3", "b/c", "a/1/x"])
        try store.delete([])
        #expect(try store.listAll(prefix: "").map(\.key) == ["a/2"])
        #expect(try store.putIfAbsent("a/1", [9]) == .created)
        #expect(try store.putIfAbsent("b/c/3", [9]) == .created)
        #expect(try store.get("a/1", limit: 1) == [9])
    }

    /// Of eight racing creators of a key one wins.
    public func racing() throws {
        for round in 0..<20 {
            let winners = Lock<[UInt8]>([])
            let threads = try RacingThreads(count: 8) { index in
                let body = [UInt8](repeating: UInt8(index), count: 5000)
                if try store.putIfAbsent("race/\(round)/key", body) == .created {
                    winners.withLock { $0.append(UInt8(index)) }
                }
            }
            try threads.join()
            let won = winners.withLock { $0 }
            #expect(won.count == 1)
            let content = try store.get("race/\(round)/key", limit: 5000)
            #expect(content == [UInt8](repeating: won.first ?? 99, count: 5000))
        }
    }

    /// Replacing takes the key from whatever is there, and readers find old bytes or new ones.
    public func replacing() throws {
        let old = pattern(200_000, seed: 1)
        let new = pattern(150_000, seed: 2)
        #expect(try store.putIfAbsent("a/b/object", old) == .created)
        #expect(try store.putIfAbsent("a/b/other", [1]) == .created)
        try store.replace("a/b/object", new)
        #expect(try store.get("a/b/object", limit: 200_000) == new)
        #expect(try store.head("a/b/object") == 150_000)
        #expect(try store.putIfAbsent("a/b/object", [1]) == .exists)
        try store.replace("a/c/absent", [3])
        try store.replace("a/c/absent", [3])
        #expect(try store.get("a/c/absent", limit: 1) == [3])
        #expect(
            try store.listAll(prefix: "").map(\.key) == ["a/b/object", "a/b/other", "a/c/absent"])
        let threads = try RacingThreads(count: 4) { index in
            for round in 0..<10 {
                if index == 0 {
                    try store.replace("a/b/object", round % 2 == 0 ? old : new)
                } else {
                    let found = try store.get("a/b/object", limit: 200_000)
                    #expect(found == old || found == new)
                }
            }
        }
        try threads.join()
        try store.delete(["a/b/object"])
        #expect(try store.head("a/b/object") == nil)
    }

    /// The probe accepts it for writing and leaves nothing.
    public func probing() throws {
        var random = SplitMix64(seed: 5)
        #expect(try StoreProbe.run(store, random: &random) == .readWrite)
        #expect(try store.listAll(prefix: "").isEmpty)
    }
}
