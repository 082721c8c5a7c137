// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Listings and batches of deletes, page by page, against a server that keeps nothing but what a
// test gives it.

import HostIO
import ObjectStore
import StoreConformance
import Synchronization
import TestSupport
import Testing

@testable import ObjectStoreCloud

@Suite("listings are paged, deletes are batched")
struct ListingTests {
    private func store(_ server: ScriptedServer) throws -> S3Store {
        var settings = S3Settings()
        settings.endpoint = server.endpoint
        settings.isAnonymous = true
        let clock = SystemClock()
        return try S3Store(
            try S3Location(parsing: "s3://bucket/a/b"), settings: settings,
            limits: HostLimits(uploads: 2, downloads: 2, clock: clock) { _ in true }, clock: clock)
    }

    /// Pages of `keys`, as ListObjectsV2 cuts them.
    private static func page(_ keys: [String], _ request: ReceivedRequest) -> ScriptedAnswer {
        let query = request.query
        let limit = query["max-keys"].flatMap { Int($0) } ?? 1000
        let found = keys.filter {
            $0.hasPrefix(query["prefix"] ?? "") && $0 > (query["start-after"] ?? "")
        }
        let contents = found.prefix(limit).map {
            "<Contents><Key>\(URIText.encode($0))</Key><Size>5</Size></Contents>"
        }
        return .xml(
            200, [:],
            "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>"
                + "\(found.count > limit)</IsTruncated>\(contents.joined())</ListBucketResult>")
    }

    @Test("all pages come, below the prefix, without keys that cannot be ours")
    func pages() throws {
        let foreign = ["a/b/", "a/b/x y", "a/b/x//y", "a/bc", "a/b/zzz/"]
        let own = (0..<25).map { "a/b/k/\($0 + 100)" }
        let keys = (foreign + own + ["a/c/k"]).sorted()
        let server = try ScriptedServer { Self.page(keys, $0) }
        let store = try store(server)
        #expect(try store.listAll(prefix: "").map(\.key) == (100..<125).map { "k/\($0)" })
        for limit in [1, 2, 7] {
            var all: [String] = []
            var page = try store.list(prefix: "k/", after: nil, limit: limit)
            all += page.entries.map(\.key)
            while page.isTruncated {
                page = try store.list(prefix: "k/", after: all.last, limit: limit)
                all += page.entries.map(\.key)
            }
            #expect(all == (100..<125).map { "k/\($0)" })
        }
        let last = try #require(server.requests.last)
        #expect(last.query["prefix"] == "a/b/k/" && last.query["list-type"] == "2")
        // Pages full of foreign keys are read past.
        let noise = (0..<50).map { "a/b/!\($0 + 100)" } + ["a/b/own"]
        let noisy = try ScriptedServer { Self.page(noise, $0) }
        let page = try self.store(noisy).list(prefix: "", after: nil, limit: 10)
        #expect(page.entries.map(\.key) == ["own"] && !page.isTruncated)
    }

    @Test("a listing that is no listing is damaged")
    func damaged() throws {
        let texts = [
            "", "<ListBucketResult/>", "<Error/>",
            "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>other</Key>"
                + "<Size>1</Size></Contents></ListBucketResult>",
        ]
        for text in texts {
            let server = try ScriptedServer { _ in .xml(200, [:], text) }
            let store = try store(server)
            guard case .damaged? = failure({ _ = try store.list(prefix: "", after: nil, limit: 9) })
            else {
                Issue.record("\(text) was taken")
                return
            }
        }
    }

    @Test("deletes go in batches of 1,000 with a checksum, a single one by itself")
    func batches() throws {
        let server = try ScriptedServer { request in
            request.method == "DELETE" ? .reply(204) : .xml(200, [:], "<DeleteResult/>")
        }
        let store = try store(server)
        try store.delete((0..<2001).map { "k\($0)" })
        let requests = server.requests
        #expect(requests.map(\.method) == ["POST", "POST", "DELETE"])
        #expect(requests[0].query["delete"] == "" && requests[0].headers["content-md5"] != nil)
        let body = String(decoding: requests[0].body, as: UTF8.self)
        #expect(body.contains("<Key>a/b/k999</Key>") && !body.contains("k1000"))
        #expect(requests[2].path == "/bucket/a/b/k2000")
        // As the store's bill has it: requests, not keys.
        #expect(store.counts.deletes == 3)
    }

    @Test("keys of a batch that stay are errors; a store without batches gets single deletes")
    func failures() throws {
        let denied = try ScriptedServer { _ in
            .xml(
                200, [:],
                "<DeleteResult><Error><Key>a/b/y</Key><Code>AccessDenied</Code></Error>"
                    + "</DeleteResult>")
        }
        guard case .forbidden("y", _)? = failure({ try store(denied).delete(["x", "y"]) }) else {
            Issue.record("a refused key")
            return
        }
        let busy = try ScriptedServer { _ in
            .xml(
                200, [:],
                "<DeleteResult><Error><Key>a/b/x</Key><Code>NoSuchKey</Code></Error><Error>"
                    + "<Key>a/b/y</Key><Code>InternalError</Code></Error></DeleteResult>")
        }
        #expect(failure { try store(busy).delete(["x", "y"]) }?.isRetryable == true)
        let single = try ScriptedServer { request in
            request.method == "POST"
                ? .error(501, "NotImplemented")
                : request.path.hasSuffix("x") ? .error(404, "NoSuchKey") : .reply(204)
        }
        let lone = try store(single)
        try lone.delete(["x", "y"])
        try lone.delete(["x", "z"])
        #expect(single.requests.map(\.method) == ["POST", "DELETE", "DELETE", "DELETE", "DELETE"])
    }
}
