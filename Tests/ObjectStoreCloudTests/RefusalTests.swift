// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Error codes and statuses as what they mean: which error of the seam, whether a retry helps, and
// the words that tell a person what to do.

import NIOHTTP1
import ObjectStore
import Testing

@testable import ObjectStoreCloud

@Suite("refusals say what failed, why, and what to do")
struct RefusalTests {
    private func reply(
        _ status: Int, _ code: String, _ extra: String = "", headers: HTTPHeaders = [:]
    ) -> HTTPReply {
        let text =
            code.isEmpty
            ? "" : "<Error><Code>\(code)</Code><Message>m</Message>\(extra)</Error>"
        return HTTPReply(status: status, headers: headers, body: Array(text.utf8), bodyBytes: 0)
    }

    private func error(
        _ reply: HTTPReply, action: S3Request.Action = .get, hasObject: Bool = true,
        signed: Bool = true
    ) throws -> ObjectStoreError {
        var settings = S3Settings()
        settings.endpoint = "http://store.example"
        settings.region = "us-east-1"
        let credentials = Credentials(
            accessKeyID: "A", secretAccessKey: "S", sessionToken: nil, source: "a test")
        return S3Refusal(reply).error(
            S3Circumstances(
                action: action, key: "k", hasObject: hasObject,
                credentials: signed ? credentials : nil,
                address: try S3Address(bucket: "bucket", settings: settings),
                nowSeconds: 1_369_353_600))
    }

    @Test(
        "what passes by itself is away",
        arguments: [
            (500, "InternalError"), (503, "SlowDown"), (503, ""), (429, ""), (502, ""), (504, ""),
            (400, "RequestTimeout"), (409, "ConditionalRequestConflict"), (409, ""),
            (400, "IncompleteBody"), (400, "BadDigest"), (400, "XAmzContentSHA256Mismatch"),
            (408, ""), (409, "OperationAborted"),
        ])
    func away(status: Int, code: String) throws {
        #expect(try error(reply(status, code), action: .put).isRetryable)
    }

    @Test(
        "what needs somebody's hand is told with a remedy",
        arguments: [
            (403, "SignatureDoesNotMatch", "secret access key"),
            (403, "InvalidAccessKeyId", "access key id"), (400, "ExpiredToken", "new credentials"),
            (403, "RequestTimeTooSkewed", "clock"), (404, "NoSuchBucket", "create the bucket"),
            (400, "InvalidBucketName", "storage.url"), (301, "PermanentRedirect", "storage.region"),
            (403, "QuotaExceeded", "quota"), (403, "InvalidObjectState", "restore"),
            (407, "", "storage.proxy"),
        ])
    func misconfigured(status: Int, code: String, remedy: String) throws {
        let error = try error(reply(status, code))
        guard case .misconfigured("k", let detail, let found) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(found.contains(remedy) && !error.isRetryable)
        #expect(code.isEmpty || detail.contains(code))
    }

    @Test("a refusal of access names the permission, and is no matter of configuration")
    func access() throws {
        let cases: [(S3Request.Action, String)] = [
            (.put, "s3:PutObject"), (.get, "s3:GetObject"), (.list, "s3:ListBucket"),
            (.delete, "s3:DeleteObject"),
        ]
        for (action, permission) in cases {
            for body in [reply(403, "AccessDenied"), reply(403, ""), reply(401, "")] {
                guard case .forbidden(_, let detail) = try error(body, action: action) else {
                    Issue.record("\(action)")
                    return
                }
                #expect(detail.contains(permission) && detail.contains("a test"))
            }
        }
        guard case .forbidden(_, let detail) = try error(reply(403, ""), signed: false) else {
            Issue.record("an unsigned request")
            return
        }
        #expect(detail.contains("without credentials"))
    }

    @Test("an absent key is not found, an absent bucket is a mistake of the settings")
    func absence() throws {
        #expect(try error(reply(404, "NoSuchKey")) == .notFound(key: "k"))
        #expect(try error(reply(404, "")) == .notFound(key: "k"))
        for (action, hasObject) in [(S3Request.Action.put, true), (.list, false)] {
            guard
                case .misconfigured = try error(
                    reply(404, ""), action: action, hasObject: hasObject)
            else {
                Issue.record("\(action)")
                return
            }
        }
        guard case .refused = try error(reply(501, "NotImplemented"), action: .put) else {
            Issue.record("501")
            return
        }
    }

    @Test("clock and region are named with their numbers")
    func details() throws {
        let skewed = reply(
            403, "RequestTimeTooSkewed", headers: ["Date": "Fri, 24 May 2013 01:00:00 GMT"])
        #expect("\(try error(skewed))".contains("3600 seconds behind"))
        let malformed = reply(
            400, "AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>")
        #expect("\(try error(malformed))".contains("storage.region = \"eu-west-3\""))
        let moved = reply(301, "", headers: ["x-amz-bucket-region": "ap-south-1"])
        #expect("\(try error(moved))".contains("is in region ap-south-1, not in us-east-1"))
    }

    @Test("Retry-After is seconds or a date, at most half a minute")
    func retryAfter() {
        func hold(_ text: String) -> UInt64? {
            S3Refusal(reply(503, "", headers: ["Retry-After": text])).holdSeconds(
                now: 1_369_353_600)
        }
        #expect(hold("7") == 7)
        #expect(hold("3600") == 30)
        #expect(hold("Fri, 24 May 2013 00:00:09 GMT") == 9)
        #expect(hold("Fri, 24 May 2013 00:00:00 GMT") == 0)
        #expect(hold("soon") == nil && hold("-1") == nil)
    }

    @Test("a server's text is bounded and has no control characters")
    func texts() {
        let long = String(repeating: "x", count: 10_000) + "\n"
        let body = "<Error><Code>C\nD</Code><Message>\(long)</Message></Error>"
        let refusal = S3Refusal(
            HTTPReply(status: 400, headers: [:], body: Array(body.utf8), bodyBytes: 0))
        #expect(refusal.code == "C D")
        #expect(refusal.detail.count < 400 && !refusal.detail.contains("\n"))
    }
}
