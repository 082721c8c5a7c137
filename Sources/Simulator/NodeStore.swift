// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The store as one host reaches it: the shared one, with a note of which host sent which commit,
// and a place before every request where the world may go on without the host that asks.

import Formats
import ObjectStore
import Primitives
import Synchronization

/// Which host sent a commit's bytes, also if they land late.
final class SentCommits: Sendable {
    private let senders = Lock<[UInt64: Int]>([:])

    func note(_ key: String, _ body: UnsafeRawBufferPointer, by node: Int) {
        let name = Fingerprint.of(key, after: XXH3.hash(body, seed: 0))
        senders.withLock { senders in if senders[name] == nil { senders[name] = node } }
    }

    func sender(_ key: String, _ body: [UInt8]) -> Int? {
        let name = body.withUnsafeBytes { Fingerprint.of(key, after: XXH3.hash($0, seed: 0)) }
        return senders.withLock { $0[name] }
    }
}

struct NodeStore: ObjectStore {
    /// What happens before a request. Confined: to the one thread of its simulation.
    final class Pause: @unchecked Sendable {
        var requestsLeft = 0
        var body: (() -> Void)?

        func pass() {
            guard body != nil else { return }
            requestsLeft -= 1
            guard requestsLeft <= 0, let body else { return }
            self.body = nil
            body()
        }
    }

    let base: MemoryStore
    let node: Int
    let sent: SentCommits
    let pause = Pause()

    init(base: MemoryStore, node: Int, sent: SentCommits) {
        self.base = base
        self.node = node
        self.sent = sent
    }

    var url: String { base.url }
    var deleteBatchMax: Int { base.deleteBatchMax }

    func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        pause.pass()
        if key.hasPrefix("volumes/") { sent.note(key, body, by: node) }
        return try base.putIfAbsent(key, body)
    }

    func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        pause.pass()
        return try base.get(key, limit: limit)
    }

    func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        pause.pass()
        try base.get(key, at: offset, into: buffer)
    }

    func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8] {
        pause.pass()
        return try base.getSuffix(key, count: count)
    }

    func head(_ key: String) throws(ObjectStoreError) -> UInt64? {
        pause.pass()
        return try base.head(key)
    }

    func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        pause.pass()
        return try base.list(prefix: prefix, after: after, limit: limit)
    }

    func delete(_ keys: [String]) throws(ObjectStoreError) {
        pause.pass()
        try base.delete(keys)
    }

    func dateSeconds() throws(ObjectStoreError) -> UInt64? {
        pause.pass()
        return try base.dateSeconds()
    }
}
