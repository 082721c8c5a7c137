// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The seam to the object store: immutable objects under string keys, created once, never
// overwritten, but by repair with what they were. Calls block; workers make them, shards never do.
// Implementations: `DirectoryStore` (local files) and `MemoryStore` (with injected faults). All
// pass the suite in Tests/ObjectStoreTests.
//
// Correctness of publishing stands on two promises of a store: `putIfAbsent` of one key succeeds
// once, for ever; and `list` shows every key whose PUT has returned.

/// A failed store call. `isAmbiguous` on a PUT: it may have been applied all the same.
public enum ObjectStoreError: Error, Equatable, Sendable {
    /// No object under the key.
    case notFound(key: String)
    /// Credentials were refused or lack the permission.
    case forbidden(key: String, detail: String)
    /// Nothing will succeed until somebody changes the settings, the credentials, the bucket or the
    /// clock. `remedy` says what; no retry helps before.
    case misconfigured(key: String, detail: String, remedy: String)
    /// The store did not answer, or answered that it cannot now. Worth retrying.
    case away(key: String, detail: String)
    /// The object is shorter than asked for, or the store answered nonsense.
    case damaged(key: String, detail: String)
    /// The request is one this store can never serve (bad key, too large).
    case refused(key: String, detail: String)

    public var isRetryable: Bool {
        if case .away = self { true } else { false }
    }

    /// The store is of no use for now, whatever it is asked: away, or until somebody puts it right.
    public var isAbsence: Bool {
        switch self {
        case .away, .misconfigured: true
        case .notFound, .forbidden, .damaged, .refused: false
        }
    }
}

/// As operators read it, in a status or a log.
extension ObjectStoreError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .notFound(let key): "\(key) is not in the store"
        case .forbidden(let key, let detail): "the store does not allow it (\(key)): \(detail)"
        case .misconfigured(_, let detail, let remedy): "\(detail) : \(remedy)"
        case .away(let key, let detail): "the store is away (\(key)): \(detail)"
        case .damaged(let key, let detail): "\(key) is damaged: \(detail)"
        case .refused(let key, let detail): "the store refuses \(key): \(detail)"
        }
    }
}

/// What became of a create-if-absent. A failure that is `away` is ambiguous: read the key to find
/// out.
public enum PutOutcome: Equatable, Sendable {
    case created
    case exists
}

/// One page of a listing, in byte order of keys.
public struct ListPage: Equatable, Sendable {
    public struct Entry: Equatable, Sendable {
        public let key: String
        public let bytes: UInt64
        public init(key: String, bytes: UInt64) {
            self.key = key
            self.bytes = bytes
        }
    }
    public let entries: [Entry]
    /// True if more keys follow; ask again with `after` the last one.
    public let isTruncated: Bool
    public init(entries: [Entry], isTruncated: Bool) {
        self.entries = entries
        self.isTruncated = isTruncated
    }
}

/// An object store. Keys are relative to the repository: `[A-Za-z0-9._~/-]`, at most 512 bytes, no
/// empty component, none that is `.` or `..`. Calls may come from any thread and block until
/// answered.
public protocol ObjectStore: Sendable {
    /// For messages, without secrets.
    var url: String { get }

    /// Keys that one request deletes at most: what `delete` costs.
    var deleteBatchMax: Int { get }

    /// Creates the object if the key is free. Durable and visible to `get` and `list` on return.
    func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome

    /// Puts the object under the key whatever is there: for repair alone, which knows that what is
    /// there is damaged and that `body` is what was written. Readers find the old bytes or the new
    /// ones, never a mixture, after a crash too; durable and visible to `get` and `list` on
    /// return. Repeating it changes nothing more, so a failure that is `away` is repeated.
    func replace(_ key: String, _ body: UnsafeRawBufferPointer) throws(ObjectStoreError)

    /// The whole object. Fails with `refused` if it is larger than `limit`.
    func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8]

    /// Fills `buffer` from `offset` on; `damaged` if the object ends before.
    func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError)

    /// The last `count` bytes, or the whole object if it is shorter.
    func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8]

    /// The size in bytes, or nil if the key is free.
    func head(_ key: String) throws(ObjectStoreError) -> UInt64?

    /// Keys that begin with `prefix` and sort behind `after`, at most `limit` (1 to 1,000).
    func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage

    /// Removes objects; absent ones are success.
    func delete(_ keys: [String]) throws(ObjectStoreError)

    /// The store's own date in seconds since 1970, as an answer of it tells: what this host's clock
    /// is held against before anything is deleted for its age. Nil if the store has no other clock
    /// than this host's. Costs a HEAD.
    func dateSeconds() throws(ObjectStoreError) -> UInt64?
}

extension ObjectStore {
    public func putIfAbsent(_ key: String, _ body: [UInt8]) throws(ObjectStoreError) -> PutOutcome {
        var failure: ObjectStoreError?
        let outcome = body.withUnsafeBytes { bytes -> PutOutcome in
            do throws(ObjectStoreError) { return try putIfAbsent(key, bytes) } catch {
                failure = error
                return .exists
            }
        }
        if let failure { throw failure }
        return outcome
    }

    public func replace(_ key: String, _ body: [UInt8]) throws(ObjectStoreError) {
        let failure = body.withUnsafeBytes { bytes -> ObjectStoreError? in
            do throws(ObjectStoreError) {
                try replace(key, bytes)
                return nil
            } catch { return error }
        }
        if let failure { throw failure }
    }

    /// Every key under a prefix, page by page.
    public func listAll(prefix: String) throws(ObjectStoreError) -> [ListPage.Entry] {
        var all: [ListPage.Entry] = []
        var after: String?
        while true {
            let page = try list(prefix: prefix, after: after, limit: 1000)
            all += page.entries
            guard page.isTruncated, let last = page.entries.last else { return all }
            after = last.key
        }
    }
}
