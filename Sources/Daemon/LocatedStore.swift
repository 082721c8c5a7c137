// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The store that a URL names, whichever kind it is: opened once, by the daemon and by the tools
// that need none.

import HostIO
import ObjectStore
import ObjectStoreCloud
import Primitives

/// One of the stores that are built. An enum, so that callers stay specialised.
enum LocatedStore: ObjectStore {
    case directory(DirectoryStore<HostDirectory>)
    case s3(S3Store)

    /// Opens the store of a configuration; with `creates`, makes its folder. Sends nothing.
    static func open(
        _ configuration: Configuration, creates: Bool, what: String, limits: HostLimits
    ) throws(UserError) -> LocatedStore {
        switch try StoreLocation(parsing: configuration.storage.url) {
        case .directory(let path):
            var random = SystemRandom()
            do throws(HostIOError) {
                return .directory(
                    DirectoryStore(
                        root: try HostDirectory.open(path: path, create: creates),
                        token: Token.random(from: &random)))
            } catch {
                throw UserError(
                    .failed, what: what,
                    why: "the store \(configuration.storage.url) cannot be opened: \(error)",
                    remedy: creates
                        ? "choose a folder that this user may write"
                        : "name the store with --store or --config")
            }
        case .s3(let location):
            return .s3(
                try S3Store(
                    location, settings: configuration.s3Settings, limits: limits,
                    clock: SystemClock()))
        }
    }

    var url: String {
        switch self {
        case .directory(let store): store.url
        case .s3(let store): store.url
        }
    }

    var deleteBatchMax: Int {
        switch self {
        case .directory(let store): store.deleteBatchMax
        case .s3(let store): store.deleteBatchMax
        }
    }

    /// Requests as the store's own bill counts them; nil where there is nobody to send a bill.
    var sentCounts: StoreCounts? {
        switch self {
        case .directory: nil
        case .s3(let store): store.counts
        }
    }

    func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        switch self {
        case .directory(let store): try store.putIfAbsent(key, body)
        case .s3(let store): try store.putIfAbsent(key, body)
        }
    }

    func replace(_ key: String, _ body: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        switch self {
        case .directory(let store): try store.replace(key, body)
        case .s3(let store): try store.replace(key, body)
        }
    }

    func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        switch self {
        case .directory(let store): try store.get(key, limit: limit)
        case .s3(let store): try store.get(key, limit: limit)
        }
    }

    func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        switch self {
        case .directory(let store): try store.get(key, at: offset, into: buffer)
        case .s3(let store): try store.get(key, at: offset, into: buffer)
        }
    }

    func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8] {
        switch self {
        case .directory(let store): try store.getSuffix(key, count: count)
        case .s3(let store): try store.getSuffix(key, count: count)
        }
    }

    func head(_ key: String) throws(ObjectStoreError) -> UInt64? {
        switch self {
        case .directory(let store): try store.head(key)
        case .s3(let store): try store.head(key)
        }
    }

    func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        switch self {
        case .directory(let store): try store.list(prefix: prefix, after: after, limit: limit)
        case .s3(let store): try store.list(prefix: prefix, after: after, limit: limit)
        }
    }

    func delete(_ keys: [String]) throws(ObjectStoreError) {
        switch self {
        case .directory(let store): try store.delete(keys)
        case .s3(let store): try store.delete(keys)
        }
    }

    func dateSeconds() throws(ObjectStoreError) -> UInt64? {
        switch self {
        case .directory(let store): try store.dateSeconds()
        case .s3(let store): try store.dateSeconds()
        }
    }
}

extension Configuration {
    /// What the S3 client is told.
    var s3Settings: S3Settings {
        var settings = S3Settings()
        settings.endpoint = storage.endpoint
        settings.region = storage.region
        settings.usesPathStyle = storage.pathStyle
        settings.connectSeconds = storage.connectTimeoutSecs
        settings.requestSeconds = storage.requestTimeoutSecs
        settings.caFile = storage.caFile
        settings.proxy = storage.proxy
        settings.accessKeyID = aws.accessKeyID
        settings.secretAccessKey = aws.secretAccessKey
        settings.sessionToken = aws.sessionToken
        settings.profile = aws.profile
        settings.isAnonymous = aws.anonymous
        settings.allowsAnonymous = storage.readonly
        settings.environment = cloudEnvironment
        return settings
    }

    /// What all stores of this process may ask for at one time.
    func hostLimits(pause: @escaping @Sendable (_ nanoseconds: UInt64) -> Bool) -> HostLimits {
        HostLimits(
            uploads: Int(storage.maxUploads), downloads: Int(storage.maxDownloads),
            clock: SystemClock(), pause: pause)
    }
}
