// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The client against a server that answers as no good one would: what is wrong is noticed before it
// is used, what may be repeated is told from what may not, and a store's wishes are met.

import HostIO
import ObjectStore
import Primitives
import StoreConformance
import Synchronization
import TestSupport
import Testing

@testable import ObjectStoreCloud

@Suite("answers are checked before they are used")
struct S3StoreTests {
    private func store(
        _ server: ScriptedServer, prefix: String = "p", requestSeconds: Int64 = 5,
        _ change: (inout S3Settings) -> Void = { _ in }
    ) throws -> S3Store {
        var settings = S3Settings()
        settings.endpoint = server.endpoint
        settings.region = "us-east-1"
        settings.accessKeyID = "AKID"
        settings.secretAccessKey = "SECRET"
        settings.connectSeconds = 2
        settings.requestSeconds = requestSeconds
        change(&settings)
        let clock = SystemClock()
        return try S3Store(
            try S3Location(parsing: "s3://bucket/\(prefix)"), settings: settings,
            limits: HostLimits(uploads: 2, downloads: 2, clock: clock) {
                clock.sleep(nanoseconds: $0)
                return true
            }, clock: clock)
    }

    private func isDamaged(_ error: ObjectStoreError?) -> Bool {
        if case .damaged? = error { true } else { false }
    }

    private func range(_ store: S3Store, _ offset: UInt64, _ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xEE, count: count)
        try bytes.withUnsafeMutableBytes { try store.get("k", at: offset, into: $0) }
        return bytes
    }

    @Test("a PUT is conditional, signed, and tells created from existing and from refused")
    func puts() throws {
        let server = try ScriptedServer { request in
            switch request.path {
            case "/bucket/p/new": .reply(200, ["ETag": "\"x\""])
            case "/bucket/p/old": .error(412, "PreconditionFailed")
            case "/bucket/p/busy": .error(409, "ConditionalRequestConflict")
            case "/bucket/p/never": .error(501, "NotImplemented")
            case "/bucket/p/lost": .drop
            default: .error(403, "AccessDenied")
            }
        }
        let store = try store(server)
        #expect(try store.putIfAbsent("new", [1, 2, 3]) == .created)
        #expect(try store.putIfAbsent("old", [1]) == .exists)
        #expect(failure { _ = try store.putIfAbsent("busy", [1]) }?.isRetryable == true)
        #expect(failure { _ = try store.putIfAbsent("lost", [1]) }?.isRetryable == true)
        guard case .refused? = failure({ _ = try store.putIfAbsent("never", [1]) }),
            case .forbidden? = failure({ _ = try store.putIfAbsent("other", [1]) })
        else {
            Issue.record("refusals")
            return
        }
        let put = try #require(server.requests.first)
        #expect(put.headers["if-none-match"] == "*" && put.body == [1, 2, 3])
        #expect(put.headers["x-amz-content-sha256"] == Signer.hash([1, 2, 3]))
        #expect(
            put.headers["authorization"]?.contains("if-none-match;x-amz-content-sha256") == true)
        #expect(server.requests.count == 6)
    }

    @Test("a replacement is one PUT without a condition, and tells refusals")
    func replacements() throws {
        let server = try ScriptedServer { request in
            request.path == "/bucket/p/pack"
                ? .reply(200, ["ETag": "\"x\""]) : .error(403, "AccessDenied")
        }
        let store = try store(server)
        try store.replace("pack", [1, 2, 3])
        let put = try #require(server.requests.first)
        #expect(put.headers["if-none-match"] == nil && put.body == [1, 2, 3])
        #expect(put.headers["x-amz-content-sha256"] == Signer.hash([1, 2, 3]))
        guard case .forbidden? = failure({ try store.replace("other", [1]) }) else {
            Issue.record("a refusal")
            return
        }
    }

    @Test("ranges are compared with what was asked for")
    func ranges() throws {
        let body = pattern(100)
        let server = try ScriptedServer { request in
            let asked = request.headers["range"] ?? ""
            switch asked {
            case "bytes=10-19":
                return .reply(206, ["Content-Range": "bytes 10-19/100"], Array(body[10..<20]))
            case "bytes=20-29":
                return .reply(206, ["Content-Range": "bytes 30-39/100"], Array(body[30..<40]))
            case "bytes=40-49": return .reply(206, [:], Array(body[40..<50]))
            case "bytes=50-59":
                return .reply(206, ["Content-Range": "bytes 50-58/100"], Array(body[50..<59]))
            case "bytes=95-104":
                return .reply(206, ["Content-Range": "bytes 95-99/100"], Array(body[95...]))
            case "bytes=100-109": return .error(416, "InvalidRange")
            case "bytes=60-69": return .reply(200, [:], Array(body[60..<70]))
            case "bytes=70-79":
                return .truncated(
                    206, ["Content-Range": "bytes 70-79/100"], Array(body[70..<75]), missing: 5)
            case "bytes=80-89":
                return .reply(206, ["Content-Range": "bytes 80-99/100"], Array(body[80...]))
            default: return .reply(200, [:], body)
            }
        }
        let store = try store(server)
        #expect(try range(store, 10, 10) == Array(body[10..<20]))
        #expect(try range(store, 0, 100) == body)
        for offset in [20, 40, 50, 60, 80, 95, 100] {
            #expect(isDamaged(failure { _ = try range(store, UInt64(offset), 10) }), "\(offset)")
        }
        #expect(failure { _ = try range(store, 70, 10) }?.isRetryable == true)
        // The whole object where only its beginning was asked for.
        #expect(isDamaged(failure { _ = try range(store, 0, 50) }))
    }

    @Test("an end of an object is its end, also of short and empty ones")
    func suffixes() throws {
        let answers: [String: ScriptedAnswer] = [
            "/bucket/p/long": .reply(206, ["Content-Range": "bytes 90-99/100"], pattern(10)),
            "/bucket/p/middle": .reply(206, ["Content-Range": "bytes 80-89/100"], pattern(10)),
            "/bucket/p/short": .reply(206, ["Content-Range": "bytes 0-3/4"], pattern(4)),
            "/bucket/p/whole": .reply(200, [:], pattern(4)),
            "/bucket/p/less": .reply(206, ["Content-Range": "bytes 92-99/100"], pattern(8)),
        ]
        let server = try ScriptedServer { request in
            if request.path == "/bucket/p/empty" {
                return request.method == "HEAD"
                    ? .reply(200, ["Content-Length": "0"]) : .error(416, "InvalidRange")
            }
            return answers[request.path] ?? .reply(200, [:], pattern(100))
        }
        let store = try store(server)
        #expect(try store.getSuffix("long", count: 10) == pattern(10))
        #expect(try store.getSuffix("short", count: 10) == pattern(4))
        #expect(try store.getSuffix("whole", count: 10) == pattern(4))
        #expect(try store.getSuffix("empty", count: 10).isEmpty)
        #expect(isDamaged(failure { _ = try store.getSuffix("middle", count: 10) }))
        #expect(isDamaged(failure { _ = try store.getSuffix("less", count: 10) }))
        #expect(failure { _ = try store.getSuffix("ignored", count: 10) } != nil)
    }

    @Test("a body that ends early, a silence and a broken connection are worth another try")
    func transport() throws {
        let server = try ScriptedServer { request in
            switch request.path {
            case "/bucket/p/short": .truncated(200, [:], pattern(10), missing: 10)
            case "/bucket/p/silent": .silence(seconds: 3)
            default: .drop
            }
        }
        let store = try store(server, requestSeconds: 1)
        for key in ["short", "silent", "dropped"] {
            #expect(failure { _ = try store.get(key, limit: 1000) }?.isRetryable == true, "\(key)")
        }
        let nobody = try self.store(server) { $0.endpoint = "http://127.0.0.1:1" }
        #expect(failure { _ = try nobody.get("k", limit: 1) }?.isRetryable == true)
    }

    @Test("a request without an answer ends in its time, however long the answer might be")
    func deadlines() throws {
        let server = try ScriptedServer { _ in .silence(seconds: 8) }
        let store = try store(server, requestSeconds: 1)
        let clock = SystemClock()
        let calls: [() throws -> Void] = [
            { _ = try store.putIfAbsent("k", [1]) }, { _ = try store.head("k") },
            { _ = try store.list(prefix: "", after: nil, limit: 1000) },
            { try store.delete(["k"]) },
        ]
        for call in calls {
            let start = clock.now
            #expect(failure(call)?.isRetryable == true)
            #expect(clock.now.nanoseconds(since: start) < 6_000_000_000)
        }
    }

    @Test(
        "a small object that is not what its ETag says is damaged, once the store's ETags are MD5")
    func etags() throws {
        let isLying = Atomic<Bool>(false)
        let server = try ScriptedServer { request in
            let bytes: [UInt8] = [1, 2, 3]
            // MD5 of 1, 2, 3.
            let tag = ["ETag": "\"5289df737df57326fcdd22597afb1fac\""]
            if request.method == "PUT" { return .reply(200, tag) }
            return .reply(200, tag, isLying.load(ordering: .relaxed) ? [1, 2, 4] : bytes)
        }
        let store = try store(server)
        isLying.store(true, ordering: .relaxed)
        #expect(try store.get("k", limit: 10) == [1, 2, 4])
        #expect(try store.putIfAbsent("k", [1, 2, 3]) == .created)
        #expect(isDamaged(failure { _ = try store.get("k", limit: 10) }))
        isLying.store(false, ordering: .relaxed)
        #expect(try store.get("k", limit: 10) == [1, 2, 3])
        // A store that tags otherwise is believed.
        #expect(try store.putIfAbsent("k", [9]) == .created)
        isLying.store(true, ordering: .relaxed)
        #expect(try store.get("k", limit: 10) == [1, 2, 4])
    }

    @Test("a HEAD that fails without a reason is asked again in a way that has one")
    func heads() throws {
        let server = try ScriptedServer { request in
            switch (request.method, request.path) {
            case ("HEAD", "/bucket/p/there"): .reply(200, ["Content-Length": "12345678901"])
            case ("HEAD", "/bucket/p/none"): .reply(404)
            case ("HEAD", _): .reply(400)
            case (_, "/bucket/p/expired"): .error(400, "ExpiredToken")
            case (_, "/bucket/p/odd"):
                .reply(206, ["Content-Range": "bytes 0-0/77"], [1])
            default: .error(404, "NoSuchKey")
            }
        }
        let store = try store(server)
        #expect(try store.head("there") == 12_345_678_901)
        #expect(try store.head("none") == nil)
        #expect(try store.head("odd") == 77)
        #expect(try store.head("absent") == nil)
        guard case .misconfigured(_, let detail, _)? = failure({ _ = try store.head("expired") })
        else {
            Issue.record("no reason")
            return
        }
        #expect(detail.contains("ExpiredToken") && detail.contains("the configuration"))
    }

    @Test("new credentials are taken up once when the store refuses the old")
    func renewal() throws {
        let scratch = try ScratchFile("[default]\naws_access_key_id=OLD\naws_secret_access_key=s\n")
        let server = try ScriptedServer { request in
            request.headers["authorization"]?.contains("Credential=NEW/") == true
                ? .reply(200, [:], [7]) : .error(400, "ExpiredToken")
        }
        let store = try store(server) {
            $0.accessKeyID = ""
            $0.secretAccessKey = ""
            $0.environment = [
                "AWS_SHARED_CREDENTIALS_FILE": scratch.path, "AWS_EC2_METADATA_DISABLED": "true",
            ]
        }
        guard case .misconfigured? = failure({ _ = try store.get("k", limit: 1) }) else {
            Issue.record("an ended token")
            return
        }
        #expect(server.requests.count == 1)
        try scratch.write("[default]\naws_access_key_id=NEW\naws_secret_access_key=s\n")
        #expect(try store.get("k", limit: 1) == [7])
        #expect(server.requests.count == 3)
    }

    @Test("a region that nobody named is learned; one that was named wrongly is told")
    func regions() throws {
        let server = try ScriptedServer { request in
            request.headers["authorization"]?.contains("/eu-west-3/s3/") == true
                ? .reply(200, [:], [7])
                : .error(400, "AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>")
        }
        let guessing = try store(server) { $0.region = "" }
        #expect(try guessing.get("k", limit: 1) == [7])
        #expect(try guessing.get("k", limit: 1) == [7])
        #expect(server.requests.count == 3)
        guard
            case .misconfigured(_, _, let remedy)? = failure({
                _ = try store(server).get("k", limit: 1)
            })
        else {
            Issue.record("a wrong region")
            return
        }
        #expect(remedy == "set storage.region = \"eu-west-3\"")
    }

    @Test("a bucket that insists on Content-MD5 gets it, from the second request on")
    func checksums() throws {
        let server = try ScriptedServer { request in
            request.headers["content-md5"] == nil
                ? .xml(
                    400, [:],
                    "<Error><Code>InvalidRequest</Code><Message>Content-MD5 HTTP header is required"
                        + "</Message></Error>") : .reply(200)
        }
        let store = try store(server)
        #expect(try store.putIfAbsent("a", []) == .created)
        #expect(try store.putIfAbsent("b", []) == .created)
        #expect(server.requests.count == 3)
        #expect(server.requests.last?.headers["content-md5"] == "1B2M2Y8AsgTpgAmY7PhCfg==")
    }

    @Test("SlowDown narrows the gate, and Retry-After is waited for before the next request")
    func throttling() throws {
        let count = Atomic<Int>(0)
        let server = try ScriptedServer { _ in
            count.wrappingAdd(1, ordering: .relaxed).newValue == 1
                ? .xml(503, ["Retry-After": "2"], "<Error><Code>SlowDown</Code></Error>")
                : .reply(200, [:], [7])
        }
        let waited = Lock<[UInt64]>([])
        let clock = ManualClock()
        let limits = HostLimits(uploads: 2, downloads: 6, clock: clock) { nanoseconds in
            waited.withLock { $0.append(nanoseconds) }
            clock.advance(nanoseconds: nanoseconds)
            return true
        }
        var settings = S3Settings()
        settings.endpoint = server.endpoint
        settings.isAnonymous = true
        let store = try S3Store(
            try S3Location(parsing: "s3://bucket"), settings: settings, limits: limits,
            clock: clock)
        #expect(failure { _ = try store.get("k", limit: 1) }?.isRetryable == true)
        #expect(limits.allowed.uploads == 2 && limits.allowed.downloads == 3)
        #expect(try store.get("k", limit: 1) == [7])
        #expect(waited.withLock { $0 } == [2_000_000_000])
        #expect(server.requests.allSatisfy { $0.headers["authorization"] == nil })
        #expect(store.counts.gets == 2 && store.counts.failures == 1)
        #expect(store.counts.bytesReceived == 1)
    }
}
