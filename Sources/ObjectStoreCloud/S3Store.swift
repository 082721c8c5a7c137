// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The S3 client: the seam's calls as signed requests, each sent once. Repeating them is
// RetryingStore's; only what cannot have had an effect is sent again here: with credentials that
// were renewed, to the region that the store named, with a checksum that the bucket insists on.
//
//   worker ─▶ S3Store: request ─▶ gate ─▶ sign ─▶ HTTPExchange ─▶ check ─▶ outcome or error

import NIOHTTP1
import NIOSSL
public import ObjectStore
public import Primitives
import Synchronization

/// A bucket of S3 or of a service that speaks like it, below a prefix. Calls block; never made on a
/// shard.
public final class S3Store: ObjectStore {
    /// Of bodies that are no objects: errors, listings.
    static let answerBytesMax = 8 << 20
    /// Bytes for which a request gets another second.
    private static let bytesPerSecond = 256 << 10
    /// Bytes that a whole object is expected to have at most, for the same.
    private static let wholeBytes = 16 << 20

    public let url: String
    let prefix: String
    private let requestSeconds: Int64
    private let exchange: HTTPExchange
    private let limits: HostLimits
    private let chain: CredentialChain
    private let clock: any Clock
    private let address: Lock<S3Address>
    let etagRule = Lock(ETagRule())
    /// Relaxed: set once, and too late costs one more request.
    private let wantsContentMD5 = Atomic<Bool>(false)
    private let wantsSingleDeletes = Atomic<Bool>(false)
    private let sent = Lock(StoreCounts())

    /// Reads certificates; sends nothing. `limits` is shared by all stores of the host.
    public init(
        _ location: S3Location, settings: S3Settings, limits: HostLimits, clock: any Clock
    ) throws(UserError) {
        let settings = location.applied(to: settings)
        let address = try S3Address(bucket: location.bucket, settings: settings)
        let proxy = try ProxySettings.choose(
            setting: settings.proxy, environment: settings.environment, isTLS: address.isTLS,
            host: address.host, port: address.authority.port)
        url = location.url
        prefix = location.prefix
        requestSeconds = settings.requestSeconds
        exchange = HTTPExchange(
            HTTPExchange.Options(
                connectSeconds: settings.connectSeconds, connections: limits.ceiling,
                tls: try Self.tls(settings), proxy: proxy))
        self.limits = limits
        chain = CredentialChain(
            sources: CredentialChain.sources(settings),
            allowsAnonymous: settings.isAnonymous || settings.allowsAnonymous, clock: clock)
        self.clock = clock
        self.address = Lock(address)
    }

    deinit { exchange.close() }

    /// Refuses settings that no store could be opened with. Sends nothing.
    public static func check(
        _ location: S3Location, settings: S3Settings
    ) throws(UserError) {
        let settings = location.applied(to: settings)
        let address = try S3Address(bucket: location.bucket, settings: settings)
        _ = try ProxySettings.choose(
            setting: settings.proxy, environment: settings.environment, isTLS: address.isTLS,
            host: address.host, port: address.authority.port)
    }

    private static func tls(_ settings: S3Settings) throws(UserError) -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        guard let (path, name) = settings.trustFile else { return tls }
        do {
            tls.additionalTrustRoots = [
                .certificates(try NIOSSLCertificate.fromPEMFile(path))
            ]
        } catch {
            throw UserError(
                .badRequest, what: "cannot use the certificates of \(name)",
                why: "\(path) cannot be read as PEM (\(error))",
                remedy: "name a file with one certificate or more in PEM form")
        }
        return tls
    }

    /// HTTP requests sent so far, as the store's own log and bill count them: a batch of deletes is
    /// one, and what was sent again counts again. Bytes are those of bodies.
    public var counts: StoreCounts { sent.withLock { $0 } }

    private func count(_ request: S3Request) {
        sent.withLock { counts in
            counts.bytesSent += UInt64(request.body?.count ?? 0)
            switch (request.action, request.method) {
            case (.put, _): counts.puts += 1
            case (.list, _): counts.lists += 1
            case (.delete, _): counts.deletes += 1
            case (.get, .HEAD): counts.heads += 1
            case (.get, _): counts.gets += 1
            }
        }
    }

    // MARK: Requests

    /// The store's key for a key of ours.
    func object(_ key: String) throws(ObjectStoreError) -> String {
        try ObjectKey.check(key)
        return prefix + key
    }

    /// Sends a request until it succeeded or will not. An answer with a status in `expecting` is
    /// the caller's to read, as successes are.
    func perform(
        _ request: S3Request, key: String, plan: BodyPlan, expecting: Set<Int> = []
    ) throws(ObjectStoreError) -> HTTPReply {
        var request = request
        if request.action == .put, wantsContentMD5.load(ordering: .relaxed) {
            request.addContentMD5()
        }
        var isRenewed = false
        var isMoved = false
        while true {
            let address = self.address.withLock { $0 }
            let credentials = try credentials(key)
            let reply = try send(request, key: key, plan: plan, to: address, credentials)
            if (200..<300).contains(reply.status) || expecting.contains(reply.status) {
                return reply
            }
            let refusal = S3Refusal(reply)
            if refusal.isAboutCredentials, !isRenewed, chain.replace(credentials) {
                isRenewed = true
                continue
            }
            if refusal.isAboutRegion, address.isRegionGuessed, !isMoved,
                let region = refusal.region,
                let moved = address.moved(to: region)
            {
                isMoved = true
                self.address.withLock { $0 = moved }
                continue
            }
            if request.action == .put, refusal.wantsContentMD5, !request.hasContentMD5 {
                wantsContentMD5.store(true, ordering: .relaxed)
                request.addContentMD5()
                continue
            }
            throw refusal.error(
                S3Circumstances(
                    action: request.action, key: key, hasObject: request.key != nil,
                    credentials: credentials, address: address, nowSeconds: clock.wallSeconds))
        }
    }

    private func credentials(_ key: String) throws(ObjectStoreError) -> Credentials? {
        do throws(CredentialError) { return try chain.current() } catch {
            if error.isAway { throw .away(key: key, detail: error.why) }
            throw .misconfigured(key: key, detail: error.why, remedy: error.remedy)
        }
    }

    /// One request through its gate.
    private func send(
        _ request: S3Request, key: String, plan: BodyPlan, to address: S3Address,
        _ credentials: Credentials?
    ) throws(ObjectStoreError) -> HTTPReply {
        let gate = request.isUpload ? limits.uploads : limits.downloads
        guard let began = gate.enter() else {
            throw .away(key: key, detail: "the program is ending")
        }
        var outcome = Gate.Outcome.other
        defer { gate.leave(outcome, began: began) }
        // The time is that of the sending: signatures are good for some minutes only.
        let now = clock.wallSeconds
        let call = request.call(
            to: address, credentials, at: now, deadlineSeconds: deadline(request, plan))
        count(request)
        let reply: HTTPReply
        do throws(TransportError) { reply = try exchange.send(call, plan: plan) } catch {
            sent.withLock { $0.failures += 1 }
            throw Self.translate(error, key: key, plan: plan, address: address)
        }
        sent.withLock { $0.bytesReceived += UInt64(reply.bodyBytes) }
        if (200..<500).contains(reply.status), reply.status != 429 {
            outcome = .success
            return reply
        }
        sent.withLock { $0.failures += 1 }
        let refusal = S3Refusal(reply)
        if refusal.isThrottling { outcome = .throttled }
        if let seconds = refusal.holdSeconds(now: clock.wallSeconds) {
            limits.hold(seconds: seconds)
        }
        return reply
    }

    private func deadline(_ request: S3Request, _ plan: BodyPlan) -> Int64 {
        let down =
            switch plan {
            // Only objects are large: an error or a listing is no reason to wait longer.
            case .collect(let limit): request.action == .get ? min(limit, Self.wholeBytes) : 0
            case .fill(let target): target.count
            }
        return requestSeconds + Int64((request.body?.count ?? 0) + down)
            / Int64(Self.bytesPerSecond)
    }

    private static func translate(
        _ error: TransportError, key: String, plan: BodyPlan, address: S3Address
    ) -> ObjectStoreError {
        switch error {
        case .away(let detail):
            return .away(key: key, detail: "\(address.endpoint): \(detail)")
        case .untrusted(let detail):
            return .misconfigured(
                key: key, detail: "the certificate of \(address.host) is not trusted: \(detail)",
                remedy: "name its authority's certificate in storage.ca_file, or correct the "
                    + "endpoint")
        case .proxy(let detail):
            return .misconfigured(
                key: key, detail: "the proxy refuses: \(detail)",
                remedy: "correct storage.proxy or HTTPS_PROXY, with user and password if it wants "
                    + "them")
        case .tooLarge:
            if case .collect(let limit) = plan {
                return .refused(key: key, detail: "the object is larger than \(limit) bytes")
            }
            return .damaged(key: key, detail: "the store sent more than was asked for")
        }
    }

    // MARK: What the store turned out to want

    var deletesOneByOne: Bool { wantsSingleDeletes.load(ordering: .relaxed) }
    func deleteOneByOne() { wantsSingleDeletes.store(true, ordering: .relaxed) }
}
