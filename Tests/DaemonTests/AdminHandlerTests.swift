// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Every endpoint of the API: what it asks of the service, what it answers, and how each mistake of
// a client is told.

import Foundation
import Primitives
import Testing

@testable import AdminAPI

/// One exchange with a handler over a fake service.
private func send(
    _ request: String, _ body: String = "", to service: FakeAdminService = FakeAdminService()
) async -> AdminResponse {
    let words = request.split(separator: " ", maxSplits: 1).map(String.init)
    let parts = words[1].split(separator: "?", maxSplits: 1).map(String.init)
    return await AdminHandler(service: service).respond(
        to: AdminRequest(
            words[0], parts[0], query: parts.count > 1 ? parts[1] : "", body: Array(body.utf8)))
}

extension AdminResponse {
    fileprivate var text: String { String(decoding: body, as: UTF8.self) }
    fileprivate var error: ErrorReply? { try? AdminJSON.decode(ErrorReply.self, from: body) }
}

private let infoText =
    #"{"block_size":131072,"name":"prod","readonly":false,"size_bytes":4096,"state":"live","#
    + #""transport":"nbd","volume":"00"}"#

@Suite("API endpoints")
struct AdminEndpointTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let request: String
        var body = ""
        let call: String?
        var status = 200
        let reply: String
        var testDescription: String { request + " " + body }
    }

    static let cases: [Case] = [
        Case(request: "GET /api/exports", call: "exports", reply: #"{"exports":[\#(infoText)]}"#),
        Case(
            request: "PUT /api/exports/prod", body: #"{"size_gb":500}"#,
            call: "put prod size=500000000000", status: 201, reply: infoText),
        Case(
            request: "PUT /api/exports/prod", body: #"{"size_gb":0.512,"block_size":65536}"#,
            call: "put prod size=512000000 block=65536", status: 201, reply: infoText),
        Case(
            request: "PUT /api/exports/f",
            body: #"{"manifest_name":"prod","snapshot_sequence":5,"readonly":true}"#,
            call: "put f readonly=true manifest=prod at=5", status: 201, reply: infoText),
        Case(
            request: "PUT /api/exports/f",
            body: #"{"from":"tag:x","transport":"none","size_bytes":1024}"#,
            call: "put f size=1024 transport=none from=tag:x", status: 201, reply: infoText),
        Case(request: "GET /api/exports/prod", call: "export prod", reply: infoText),
        Case(
            request: "DELETE /api/exports/prod", call: "delete prod purge=false",
            reply: #"{"success":true}"#),
        Case(
            request: "DELETE /api/exports/prod?purge=true", call: "delete prod purge=true",
            reply: #"{"success":true}"#),
        Case(
            request: "POST /api/exports/prod/drain", call: "drain prod",
            reply: #"{"manifest_etag":"e7","sequence":7,"success":true}"#),
        Case(
            request: "POST /api/exports/prod/snapshot", call: "snapshot prod tag=-",
            reply: #"{"manifest_etag":"e42","sequence":42}"#),
        Case(
            request: "POST /api/exports/prod/snapshot", body: #"{"tag":"v1"}"#,
            call: "snapshot prod tag=v1",
            reply: #"{"manifest_etag":"e42","sequence":42,"tag":"v1"}"#),
        Case(
            request: "GET /api/exports/prod/snapshots", call: "snapshots prod", reply: "[1,5,42]"),
        Case(
            request: "GET /api/exports/prod/snapshots?detail=true", call: "snapshots prod",
            reply: "["
                + [1, 5, 42].map { #"{"manifest_etag":"e\#($0)","sequence":\#($0)}"# }
                .joined(separator: ",") + "]"),
        Case(
            request: "DELETE /api/exports/prod/snapshots/5", call: "delete snapshot prod@5",
            reply: #"{"success":true}"#),
        Case(
            request: "POST /api/exports/prod/tag", body: #"{"tag":"v2"}"#, call: "tag prod v2",
            reply: #"{"export":"prod","sequence":9,"tag":"v2","volume":"00"}"#),
        Case(
            request: "GET /api/tags", call: "tags",
            reply: #"{"tags":[{"sequence":9,"tag":"t","volume":"00"}]}"#),
        Case(
            request: "POST /api/exports/prod/promote", call: "promote prod force=false",
            reply: infoText),
        Case(
            request: "POST /api/exports/prod/promote?force=true", call: "promote prod force=true",
            reply: infoText),
        Case(
            request: "POST /api/exports/prod/rollback", body: #"{"snapshot_sequence":5}"#,
            call: "rollback prod to=5",
            reply: #"{"kept_snapshot":7,"manifest_etag":"e8","sequence":8,"success":true}"#),
        Case(
            request: "POST /api/exports/prod/rollback",
            body: #"{"time":"2026-11-22T10:00:00Z"}"#,
            call: "rollback prod to=2026-11-22T10:00:00Z",
            reply: #"{"kept_snapshot":7,"manifest_etag":"e8","sequence":8,"success":true}"#),
        Case(
            request: "POST /api/exports/prod/open?force=true", call: "open prod force=true",
            reply: infoText),
        Case(
            request: "POST /api/exports/prod/acknowledge", call: "acknowledge prod",
            reply: #"{"success":true}"#),
        Case(
            request: "GET /api/exports/prod/metrics", call: "metrics prod",
            reply: #"{"journal_bytes":5}"#),
        Case(request: "HEAD /api/manifests/bases/img", call: "manifest bases img", reply: ""),
        Case(
            request: "HEAD /api/manifests/snapshots/a@5", call: "manifest snapshots a@5",
            reply: ""),
        Case(request: "GET /health", call: nil, reply: #"{"status":"ok"}"#),
        Case(request: "GET /health/ready", call: nil, reply: #"{"ready":true,"reasons":[]}"#),
    ]

    @Test("asks the service and answers", arguments: cases)
    func endpoint(test: Case) async {
        let service = FakeAdminService()
        let response = await send(test.request, test.body, to: service)
        #expect(response.status == test.status, "\(response.text)")
        #expect(response.text == test.reply)
        #expect(service.calls == (test.call.map { [$0] } ?? []))
        #expect(response.contentType == "application/json")
    }

    @Test("status carries what is known, in snake case")
    func status() async throws {
        let response = await send("GET /api/exports/prod/status")
        let status = try AdminJSON.decode(StatusReply.self, from: response.body)
        #expect(status.operationState == "serving")
        #expect(status.uncleanTakeover?.sequence == 2)
        for key in [
            "operation_state", "unpublished_age_secs", "unpublished_bytes", "dirty_blocks", "epoch",
            "journal_bytes", "sequence", "unclean_takeover", "size_bytes",
        ] {
            #expect(response.text.contains("\"\(key)\":"))
        }
        #expect(!response.text.contains("failed"))
    }

    @Test("a PUT of what is there already answers 200")
    func putAgain() async {
        let service = FakeAdminService()
        service.set(isCreated: false)
        let response = await send("PUT /api/exports/prod", #"{"size_gb":1}"#, to: service)
        #expect(response.status == 200)
    }

    @Test("a cached block is its bytes, 404 if there is none, 400 for what is no hash")
    func cachedBlock() async {
        let service = FakeAdminService()
        let hash = String(repeating: "5a", count: 16)
        let found = await send("GET /api/cache/blocks/\(hash)", to: service)
        #expect(found.status == 200 && found.text == "token")
        #expect(found.contentType == "application/octet-stream")
        #expect(service.calls == ["cached \(hash)"])
        service.set(manifest: nil)
        #expect(await send("GET /api/cache/blocks/\(hash)", to: service).status == 404)
        for bad in ["5a", String(repeating: "0", count: 32), hash + "5a"] {
            #expect(await send("GET /api/cache/blocks/\(bad)", to: service).status == 400)
        }
        #expect(await send("POST /api/cache/blocks/\(hash)", to: service).status == 405)
    }

    @Test("a manifest that exists carries its token, one that does not answers 404")
    func manifest() async {
        let service = FakeAdminService()
        #expect(await send("HEAD /api/manifests/bases/x", to: service).etag == "token")
        service.set(manifest: nil)
        #expect(await send("HEAD /api/manifests/bases/x", to: service).status == 404)
    }

    @Test("readiness is 503 with its reasons")
    func notReady() async {
        let service = FakeAdminService()
        service.set(reasons: ["the store is away"])
        let response = await send("GET /health/ready", to: service)
        #expect(response.status == 503)
        #expect(response.text == #"{"ready":false,"reasons":["the store is away"]}"#)
    }

    @Test("/metrics is Prometheus text and counts requests")
    func metrics() async {
        let handler = AdminHandler(service: FakeAdminService())
        _ = await handler.respond(to: AdminRequest("GET", "/health"))
        _ = await handler.respond(to: AdminRequest("BREW", "/health"))
        let response = await handler.respond(to: AdminRequest("GET", "/metrics"))
        #expect(response.contentType.hasPrefix("text/plain; version=0.0.4"))
        #expect(response.text.contains("martlet_up 1\n"))
        #expect(
            response.text.contains(
                #"martlet_api_requests_total{method="GET",status="200"} 1"# + "\n"))
        #expect(response.text.contains(#"{method="other",status="405"} 1"#))
    }

    @Test("names may be escaped")
    func escapedName() async {
        let service = FakeAdminService()
        _ = await send("GET /api/exports/pr%6Fd", to: service)
        #expect(service.calls == ["export prod"])
    }
}

@Suite("API refusals")
struct AdminRefusalTests {
    @Test(
        "a failure of the service becomes its status and code",
        arguments: [
            (UserError.Kind.badRequest, 400), (.notFound, 404), (.conflict, 409), (.fenced, 409),
            (.tooLarge, 413), (.storeAway, 503), (.forbidden, 403), (.failed, 500),
        ])
    func failures(kind: UserError.Kind, status: Int) async {
        let service = FakeAdminService()
        service.fail(with: kind)
        let response = await send("GET /api/exports/prod", to: service)
        #expect(response.status == status)
        #expect(
            response.text
                == #"{"code":"\#(kind.rawValue)","error":"w : y : r","success":false}"#)
    }

    @Test(
        "a body that is not understood is refused by what is wrong with it",
        arguments: [
            ("PUT /api/exports/a", "[", "not a JSON object"),
            ("PUT /api/exports/a", "[]", "not a JSON object"),
            ("PUT /api/exports/a", "3", "not a JSON object"),
            ("PUT /api/exports/a", #"{"size":3}"#, "unknown key size"),
            ("PUT /api/exports/a", #"{"size_gb":"3"}"#, "size_gb is not a size"),
            ("PUT /api/exports/a", #"{"size_gb":-3}"#, "size_gb is not a size"),
            ("PUT /api/exports/a", #"{"size_bytes":1.5}"#, "size_bytes is not a whole number"),
            ("PUT /api/exports/a", #"{"size_bytes":1000}"#, "the size is 1000 bytes"),
            ("PUT /api/exports/a", #"{"size_bytes":0}"#, "the size is 0 bytes"),
            ("PUT /api/exports/a", #"{"size_gb":16001}"#, "the size is 16001000000000 bytes"),
            ("PUT /api/exports/a", #"{"size_gb":1,"size_bytes":512}"#, "differ"),
            ("PUT /api/exports/a", #"{"block_size":5000}"#, "block_size is 5000"),
            ("PUT /api/exports/a", #"{"block_size":2048}"#, "block_size is 2048"),
            ("PUT /api/exports/a", #"{"readonly":1}"#, "readonly is not a boolean"),
            ("PUT /api/exports/a", #"{"transport":"ublk"}"#, "not built yet"),
            ("PUT /api/exports/a", #"{"transport":"smoke"}"#, "transport is \"smoke\""),
            ("PUT /api/exports/a", #"{"from":"x","manifest_name":"y"}"#, "both name a source"),
            ("PUT /api/exports/a", #"{"snapshot_sequence":3}"#, "has no manifest_name"),
            ("PUT /api/exports/a", #"{"size_gb":1,"size_gb":2}"#, "size_gb is there twice"),
            ("PUT /api/exports/a", #"{"size_gb":1,"size_g\u0062":1}"#, "size_gb is there twice"),
            ("PUT /api/exports/a", #"{"size_bytes":4096.0}"#, "size_bytes is not a whole number"),
            ("PUT /api/exports/a", #"{"size_bytes":1e9}"#, "size_bytes is not a whole number"),
            ("PUT /api/exports/a", #"{"size_bytes":0512}"#, "leading zero"),
            ("PUT /api/exports/a", #"{"size_gb":1e999}"#, "beyond all bounds"),
            ("PUT /api/exports/a", #"{"size_gb":NaN}"#, "expected a value"),
            ("PUT /api/exports/a", #"{"size_gb":[1]}"#, "an object or a list"),
            ("PUT /api/exports/a", #"{"size_gb":1} {}"#, "bytes behind the value"),
            ("PUT /api/exports/a", #"{"size_gb":1,}"#, "not a JSON object"),
            ("PUT /api/exports/a", #"{"from":"\ud800"}"#, "not a JSON object"),
            ("PUT /api/exports/a", #"{"from":"\ud800\u0041"}"#, "half of a surrogate pair"),
            ("PUT /api/exports/a", "\u{FEFF}{}", "not a JSON object"),
            ("PUT /api/exports/a", "{\u{0}}", "not a JSON object"),
            ("POST /api/exports/a/tag", #"{"tag":"x","tag":"y"}"#, "tag is there twice"),
            ("POST /api/exports/a/tag", "", "tag is missing"),
            ("POST /api/exports/a/tag", #"{"tag":"a b"}"#, "the tag name"),
            ("POST /api/exports/a/tag", #"{"tag":3}"#, "tag is not a string"),
            ("POST /api/exports/a/snapshot", #"{"tga":"x"}"#, "unknown key tga"),
            ("POST /api/exports/a/rollback", "{}", "snapshot_sequence is missing"),
            (
                "POST /api/exports/a/rollback", #"{"snapshot_sequence":5,"time":"x"}"#,
                "it has a time as well"
            ),
            ("POST /api/exports/a/drain", #"{"now":true}"#, "unknown key now"),
        ])
    func badBody(request: String, body: String, why: String) async {
        let service = FakeAdminService()
        let response = await send(request, body, to: service)
        #expect(response.status == 400)
        #expect(response.error?.code == "bad_request")
        #expect(response.error?.error.contains(why) == true, "\(response.text)")
        #expect(service.calls.isEmpty)
    }

    @Test(
        "names that break the rule are refused before the service hears of them",
        arguments: [
            "GET /api/exports/.x", "GET /api/exports/a%20b", "GET /api/exports/%2e%2e",
            "PUT /api/exports/a%2Fb", "POST /api/exports/-a/drain",
            "GET /api/exports/" + String(repeating: "a", count: 129),
        ])
    func badName(request: String) async {
        let service = FakeAdminService()
        let response = await send(request, to: service)
        #expect(response.status == 400)
        #expect(response.error?.error.contains("breaks the rule for names") == true)
        #expect(service.calls.isEmpty)
    }

    @Test("a bad snapshot number and a bad query are refused")
    func badParameters() async {
        for request in [
            "DELETE /api/exports/a/snapshots/x", "DELETE /api/exports/a/snapshots/-1",
            "DELETE /api/exports/a?purge=yes", "DELETE /api/exports/a?force=true",
            "GET /api/exports?all=true", "POST /api/exports/a/open?force",
            "DELETE /api/exports/a?purge=false&purge=true",
        ] {
            #expect(await send(request).status == 400, "\(request)")
        }
        #expect(await send("DELETE /api/exports/a?purge=false").status == 200)
    }

    @Test(
        "an unknown path is 404 in JSON",
        arguments: [
            "GET /", "GET /api", "GET /api/exports/", "GET /api//exports", "GET /api/exports/a/b",
            "GET /api/exports/%zz", "GET /api/exports/a/cache", "POST /api/exports/a%", "GET /nope",
        ])
    func unknownPath(request: String) async {
        let response = await send(request)
        #expect(response.status == 404)
        #expect(response.error?.code == "not_found")
    }

    @Test(
        "a wrong method is 405 in JSON and says which would do",
        arguments: [
            ("POST /api/exports", "GET"), ("PATCH /api/exports/a", "PUT, GET, DELETE"),
            ("GET /api/exports/a/drain", "POST"), ("GET /api/manifests/bases/a", "HEAD"),
            ("DELETE /health", "GET"),
        ])
    func wrongMethod(request: String, allow: String) async {
        let response = await send(request)
        #expect(response.status == 405)
        #expect(response.allow == allow)
        #expect(response.error?.code == "method_not_allowed")
    }

    @Test("a difference comes as a stream that begins when there is something to send")
    func diff() async throws {
        for (query, call) in [
            ("?from=5&to=7", "from=5 to=7 version=1"), ("", "from=- to=- version=1"),
            ("?version=2&from=18446744073709551615", "from=18446744073709551615 to=- version=2"),
        ] {
            let service = FakeAdminService()
            let response = await send("GET /api/exports/prod/diff" + query, to: service)
            #expect(response.status == 200)
            #expect(response.contentType == "application/octet-stream")
            #expect(service.calls == ["diff prod " + call])
            let stream = try #require(response.stream)
            #expect(stream.first == [1, 2])
            #expect(try await stream.rest.next() == [3])
            #expect(try await stream.rest.next() == nil)
        }
        let service = FakeAdminService()
        service.failStreams(with: .notFound)
        let refused = await send("GET /api/exports/prod/diff?from=5", to: service)
        #expect(refused.status == 404 && refused.stream == nil)
        #expect(refused.error?.code == "not_found")
    }

    @Test(
        "a query that no difference has is refused",
        arguments: [
            "from=x", "from=-1", "from=0", "to=", "to", "version=3", "from=1&from=1",
            "from=99999999999999999999", "since=1",
        ])
    func badDiff(query: String) async {
        let service = FakeAdminService()
        let response = await send("GET /api/exports/prod/diff?" + query, to: service)
        #expect(response.status == 400, "\(query)")
        #expect(service.calls.isEmpty)
    }

    @Test("HEAD answers wherever GET does")
    func head() async { #expect(await send("HEAD /api/exports/prod").status == 200) }

    @Test("a reset of the cache says what it threw away, and takes no body")
    func reset() async {
        let service = FakeAdminService()
        let response = await send("POST /api/exports/prod/cache/reset", to: service)
        #expect(response.status == 200)
        #expect(service.calls == ["reset prod"])
        #expect(
            String(decoding: response.body, as: UTF8.self).contains(
                #""discarded_journal_bytes":4096"#))
        #expect(await send("POST /api/exports/prod/cache/reset", #"{"yes":true}"#).status == 400)
    }

    @Test("a body over 64 KiB is 413 in JSON; one of exactly 64 KiB is read")
    func tooLarge() async {
        let fits = "{}" + String(repeating: " ", count: Limits.apiBodyBytesMax - 2)
        #expect(await send("POST /api/exports/a/drain", fits).status == 200)
        let response = await send("POST /api/exports/a/drain", fits + " ")
        #expect(response.status == 413)
        #expect(response.error?.code == "too_large")
    }

    @Test("an unknown key does not show more of the body than its name")
    func nothingButTheName() async {
        let response = await send("POST /api/exports/a/snapshot", #"{"x":"hunter2"}"#)
        #expect(!response.text.contains("hunter2"))
    }
}

@Suite("metrics text")
struct PrometheusTextTests {
    @Test("families are sorted, labels escaped, whole numbers bare")
    func render() {
        var second = MetricFamily("b_total", .counter, "Back\\slash\nline \"quoted\".")
        second.add(3, ("name", "a\"b\\c\nd"), ("x", "y"))
        second.add(UInt64(1) << 40)
        var first = MetricFamily("a_ratio", .gauge, "First.")
        first.samples = [
            .init(labels: [], value: 0.25), .init(labels: [], value: .infinity),
            .init(labels: [], value: .nan),
        ]
        let text = PrometheusText.render([second, first])
        #expect(
            text == """
                # HELP a_ratio First.
                # TYPE a_ratio gauge
                a_ratio 0.25
                a_ratio +Inf
                a_ratio NaN
                # HELP b_total Back\\\\slash\\nline "quoted".
                # TYPE b_total counter
                b_total{name="a\\"b\\\\c\\nd",x="y"} 3
                b_total 1099511627776

                """)
    }
}
