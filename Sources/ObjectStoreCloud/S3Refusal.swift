// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// An answer that is no success: read once, then said as what it means for the caller. The one place
// that knows S3's error codes.

import ObjectStore

struct S3Refusal {
    /// Characters of a server's text that are passed on.
    private static let textMax = 240
    /// Seconds of Retry-After that are honoured at most; what is longer is tried again then.
    static let holdSecondsMax: UInt64 = 30

    let status: Int
    /// Empty if the answer had none, as those to HEAD.
    let code: String
    let message: String
    /// Where the store says that the bucket is.
    let region: String?
    /// The store's clock.
    let dateSeconds: UInt64?
    let retryAfter: String?

    init(_ reply: HTTPReply) {
        status = reply.status
        let body = XMLElement.parse(reply.body)
        code = Self.plain(body?.text("Code") ?? "")
        message = Self.plain(body?.text("Message") ?? "")
        let named = reply.header("x-amz-bucket-region") ?? body?.text("Region")
        region = named.flatMap { $0.isEmpty ? nil : Self.plain($0) }
        dateSeconds = reply.header("date").flatMap(Timestamp.parseHTTP)
        retryAfter = reply.header("retry-after")
    }

    /// Servers' words, fit for a line of a log.
    private static func plain(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.prefix(textMax).map { $0.value < 0x20 ? " " : $0 }))
    }

    /// The store has too much to do, and says so.
    var isThrottling: Bool {
        if status == 429 || status == 503 { return true }
        return ["SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"]
            .contains(code)
    }

    /// Seconds for which the store wants no requests; nil if it does not say.
    func holdSeconds(now: UInt64) -> UInt64? {
        guard let retryAfter else { return nil }
        let seconds =
            UInt64(retryAfter)
            ?? Timestamp.parseHTTP(retryAfter).map { $0 > now ? $0 - now : 0 }
        return seconds.map { min($0, Self.holdSecondsMax) }
    }

    /// Other credentials may help, if there are any.
    var isAboutCredentials: Bool {
        switch code {
        case "ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired",
            "InvalidAccessKeyId", "SignatureDoesNotMatch":
            true
        default: false
        }
    }

    var isAboutRegion: Bool {
        switch code {
        case "AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect",
            "IllegalLocationConstraintException":
            true
        default: [301, 302, 307, 308].contains(status)
        }
    }

    /// The bucket keeps objects locked and takes no PUT without this header.
    var wantsContentMD5: Bool { status == 400 && message.contains("Content-MD5") }

    var detail: String {
        let text = [code, message].filter { !$0.isEmpty }.joined(separator: ": ")
        return text.isEmpty ? "HTTP status \(status)" : "\(text) (HTTP status \(status))"
    }
}

/// What a refusal is about.
struct S3Circumstances {
    let action: S3Request.Action
    /// As the caller knows it.
    let key: String
    /// True if the request names an object.
    let hasObject: Bool
    let credentials: Credentials?
    let address: S3Address
    /// Our clock.
    let nowSeconds: UInt64
}

extension S3Refusal {
    /// The seam's error for this answer.
    func error(_ at: S3Circumstances) -> ObjectStoreError {
        if isAboutCredentials { return credentialError(at) }
        if isAboutRegion { return regionError(at) }
        switch code {
        case "NoSuchKey": return .notFound(key: at.key)
        case "NoSuchBucket", "InvalidBucketName": return bucketError(at)
        case "RequestTimeTooSkewed", "RequestExpired": return clockError(at)
        case "AccessDenied", "AllAccessDisabled", "AccountProblem": return accessError(at)
        case "RequestTimeout", "OperationAborted", "IncompleteBody", "BadDigest",
            "XAmzContentSHA256Mismatch", "ConditionalRequestConflict", "InternalError":
            return .away(key: at.key, detail: detail)
        case "QuotaExceeded", "TooManyBuckets":
            return .misconfigured(
                key: at.key, detail: detail,
                remedy: "raise the quota of the bucket or its owner; nothing was lost")
        case "InvalidObjectState":
            return .misconfigured(
                key: at.key, detail: "\(detail): the object was moved to an archive class",
                remedy: "restore it, and remove the bucket's rule that archives objects")
        default: return errorByStatus(at)
        }
    }

    private func errorByStatus(_ at: S3Circumstances) -> ObjectStoreError {
        if isThrottling { return .away(key: at.key, detail: detail) }
        switch status {
        case 404:
            return at.hasObject && at.action != .put ? .notFound(key: at.key) : bucketError(at)
        case 401, 403: return accessError(at)
        case 407:
            return .misconfigured(
                key: at.key, detail: "the proxy wants credentials",
                remedy: "give them in storage.proxy: http://user:password@host:port")
        case 408, 409, 425, 500, 502, 504, 507...599: return .away(key: at.key, detail: detail)
        default: return .refused(key: at.key, detail: detail)
        }
    }

    private func credentialError(_ at: S3Circumstances) -> ObjectStoreError {
        let source = at.credentials?.source ?? "nowhere"
        let why: String
        let remedy: String
        switch code {
        case "InvalidAccessKeyId":
            why = "the store does not know the access key id of \(source)"
            remedy = "correct the access key id, or the endpoint if the key is of another service"
        case "SignatureDoesNotMatch":
            why = "the secret key of \(source) does not belong to its access key id"
            remedy = "correct the secret access key"
        default:
            why = "the session token of \(source) has ended"
            remedy =
                "put new credentials there; those of shared files are taken up at once, others "
                + "after a restart"
        }
        return .misconfigured(key: at.key, detail: "\(why): \(detail)", remedy: remedy)
    }

    private func regionError(_ at: S3Circumstances) -> ObjectStoreError {
        guard let region, region != at.address.region else {
            return .misconfigured(
                key: at.key,
                detail: "\(detail): bucket \(at.address.bucket) is not served at "
                    + at.address.endpoint,
                remedy: "correct storage.endpoint and storage.region")
        }
        return .misconfigured(
            key: at.key,
            detail: "bucket \(at.address.bucket) is in region \(region), not in "
                + "\(at.address.region): \(detail)",
            remedy: "set storage.region = \"\(region)\"")
    }

    private func bucketError(_ at: S3Circumstances) -> ObjectStoreError {
        .misconfigured(
            key: at.key,
            detail: "there is no bucket \(at.address.bucket) at \(at.address.authority.urlHost): "
                + detail,
            remedy: "create the bucket, or correct storage.url and storage.endpoint")
    }

    private func clockError(_ at: S3Circumstances) -> ObjectStoreError {
        var why = "this host's clock differs from the store's"
        if let store = dateSeconds {
            let (ahead, behind) = (at.nowSeconds, store)
            why =
                ahead >= behind
                ? "this host's clock is \(ahead - behind) seconds ahead of the store's"
                : "this host's clock is \(behind - ahead) seconds behind the store's"
        }
        return .misconfigured(
            key: at.key, detail: "\(why): \(detail)",
            remedy: "set the clock, and keep it right with NTP")
    }

    private func accessError(_ at: S3Circumstances) -> ObjectStoreError {
        var why = "\(at.action.rawValue) is not allowed"
        if let credentials = at.credentials {
            why += " with \(credentials)"
        } else {
            why += " without credentials"
        }
        if at.action == .get {
            why += " (to who may not list, an absent key looks the same)"
        }
        return .forbidden(key: at.key, detail: "\(why): \(detail)")
    }
}
