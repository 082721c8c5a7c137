// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The store as one host or collector reaches it: the shared one, with a note of who sent which
// commit, and a gate before every request, where the world may go on without the one who asks, and
// where that one may die.

import Formats
import ObjectStore
import Primitives
import Synchronization

/// Who sent a commit's bytes, also if they land late.
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
    final class Gate: @unchecked Sendable {
        /// Called when so many requests have passed, once.
        var requestsLeft = 0
        /// Of these keys; of all until something else is said.
        var bodyPrefix = ""
        var body: (() -> Void)? { didSet { if body == nil { bodyPrefix = "" } } }
        /// The export's ref that was read last.
        var lastExport: String?
        /// The one who asks is gone: nothing reaches the store.
        var isDead = false
        /// Others may act.
        var interlude: (() -> Void)?
        /// Judges a commit that is about to be sent.
        var onCommit: ((String, UnsafeRawBufferPointer) -> Void)?
        /// Judges what is about to be deleted.
        var onDelete: (([String]) -> Void)?
        /// Keys that listings leave out: a planted fault.
        var hides: ((String) -> Bool)?

        func pass(_ key: String) throws(ObjectStoreError) {
            if body != nil, key.hasPrefix(bodyPrefix) {
                requestsLeft -= 1
                if requestsLeft <= 0, let body {
                    self.body = nil
                    body()
                }
            }
            if !isDead { interlude?() }
            if isDead { throw .away(key: key, detail: "the one who asks is dead") }
        }
    }

    let base: MemoryStore
    let node: Int
    let sent: SentCommits
    let gate = Gate()

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
        try gate.pass(key)
        if key.hasPrefix("volumes/") {
            sent.note(key, body, by: node)
            gate.onCommit?(key, body)
        }
        return try base.putIfAbsent(key, body)
    }

    func replace(_ key: String, _ body: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        try gate.pass(key)
        try base.replace(key, body)
    }

    func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        try gate.pass(key)
        if key.hasPrefix("refs/exports/") { gate.lastExport = key }
        return try base.get(key, limit: limit)
    }

    func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        try gate.pass(key)
        try base.get(key, at: offset, into: buffer)
    }

    func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8] {
        try gate.pass(key)
        return try base.getSuffix(key, count: count)
    }

    func head(_ key: String) throws(ObjectStoreError) -> UInt64? {
        try gate.pass(key)
        return try base.head(key)
    }

    func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        try gate.pass(prefix)
        let page = try base.list(prefix: prefix, after: after, limit: limit)
        guard let hides = gate.hides else { return page }
        return ListPage(
            entries: page.entries.filter { !hides($0.key) }, isTruncated: page.isTruncated)
    }

    func delete(_ keys: [String]) throws(ObjectStoreError) {
        try gate.pass(keys.first ?? "")
        gate.onDelete?(keys)
        try base.delete(keys)
    }

    func dateSeconds() throws(ObjectStoreError) -> UInt64? {
        try gate.pass("")
        return try base.dateSeconds()
    }
}
