// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// From a URL and settings to hosts, paths, regions and proxies; what cannot be is refused in words.

import Primitives
import Testing

@testable import ObjectStoreCloud

@Suite("stores, endpoints and proxies are read as people write them")
struct AddressTests {
    private func address(
        _ url: String, _ change: (inout S3Settings) -> Void = { _ in }
    ) throws -> S3Address {
        let location = try S3Location(parsing: url)
        var settings = S3Settings()
        change(&settings)
        return try S3Address(bucket: location.bucket, settings: location.applied(to: settings))
    }

    @Test("a URL has a bucket, a prefix and settings of its own")
    func locations() throws {
        let plain = try S3Location(parsing: "s3://my-bucket")
        #expect(
            plain.bucket == "my-bucket" && plain.prefix.isEmpty && plain.url == "s3://my-bucket")
        for text in ["s3://b.c/x/y", "s3://b.c/x/y/"] {
            let location = try S3Location(parsing: text)
            #expect(location.prefix == "x/y/" && location.url == "s3://b.c/x/y")
        }
        let full = try S3Location(
            parsing: "s3://bucket/p?endpoint=http%3A%2F%2F127.0.0.1:7480&region=x&path_style=true"
                + "&anonymous=true&profile=work")
        let settings = full.applied(to: S3Settings())
        #expect(settings.endpoint == "http://127.0.0.1:7480")
        #expect(settings.region == "x" && settings.usesPathStyle && settings.isAnonymous)
        #expect(settings.profile == "work" && full.url == "s3://bucket/p")
    }

    @Test(
        "what is no store is refused with what to write instead",
        arguments: [
            "s3://", "s3://ab", "s3://Bucket", "s3://a..b", "s3://-ab", "s3://bucket//x",
            "s3://bucket/a/../b", "s3://bucket/a b", "s3://bucket?colour=red",
            "s3://bucket?region=a&region=b", "s3://bucket?path_style=maybe", "s3://bucket?region=",
            "file:///x",
        ])
    func badLocations(url: String) {
        let error = #expect(throws: UserError.self) { try S3Location(parsing: url) }
        #expect(error?.kind == .badRequest)
        #expect(error?.remedy.isEmpty == false)
    }

    @Test("Amazon's buckets are in the host's name, unless dots or the setting forbid it")
    func amazon() throws {
        let plain = try address("s3://bucket/p") { $0.region = "eu-central-1" }
        #expect(plain.endpoint == "https://bucket.s3.eu-central-1.amazonaws.com")
        #expect(plain.path("p/k~1") == "/p/k~1" && plain.path(nil) == "/")
        let dotted = try address("s3://a.bucket") { $0.region = "eu-central-1" }
        #expect(dotted.endpoint == "https://s3.eu-central-1.amazonaws.com")
        #expect(dotted.path("k") == "/a.bucket/k" && dotted.path(nil) == "/a.bucket")
        let china = try address("s3://bucket?region=cn-north-1&path_style=true")
        #expect(china.endpoint == "https://s3.cn-north-1.amazonaws.com.cn")
        let guessed = try address("s3://bucket")
        #expect(guessed.region == "us-east-1" && guessed.isRegionGuessed)
        let moved = try #require(guessed.moved(to: "ap-south-1"))
        #expect(moved.endpoint == "https://bucket.s3.ap-south-1.amazonaws.com")
        #expect(!moved.isRegionGuessed)
    }

    @Test("other services are named by an endpoint; addresses have no buckets in front")
    func endpoints() throws {
        let cases = [
            ("http://127.0.0.1:7480", "http://127.0.0.1:7480", true),
            ("http://localhost", "http://localhost", true),
            ("https://[::1]:9000", "https://[::1]:9000", true),
            ("https://store.example/", "https://bucket.store.example", false),
            ("https://store.example:443", "https://bucket.store.example", false),
            ("http://store.example:443", "http://bucket.store.example:443", false),
        ]
        for (endpoint, expected, isPath) in cases {
            let found = try address("s3://bucket") { $0.endpoint = endpoint }
            #expect(found.endpoint == expected)
            #expect(found.usesPathStyle == isPath)
            #expect(found.path("k") == (isPath ? "/bucket/k" : "/k"))
        }
        for bad in [
            "store.example", "ftp://x", "http://", "http://a:b", "http://a/b", "http://u@h",
        ] {
            let error = #expect(throws: UserError.self) {
                try address("s3://bucket") { $0.endpoint = bad }
            }
            #expect(error?.what.contains(bad) == true)
        }
    }

    @Test("the region is that of the settings, else of the environment")
    func regions() throws {
        let environment = ["AWS_DEFAULT_REGION": "b", "AWS_REGION": "a"]
        #expect(try address("s3://bucket") { $0.environment = environment }.region == "a")
        let set = try address("s3://bucket") {
            $0.environment = environment
            $0.region = "c"
        }
        #expect(set.region == "c" && !set.isRegionGuessed)
        #expect(throws: UserError.self) { try address("s3://bucket") { $0.region = "a/b" } }
    }

    @Test("a proxy comes from the setting or the environment, with its exceptions")
    func proxies() throws {
        func choose(
            _ setting: String = "", _ environment: [String: String] = [:], isTLS: Bool = true
        ) throws -> ProxySettings? {
            try ProxySettings.choose(
                setting: setting, environment: environment, isTLS: isTLS, host: "b.store.example",
                port: 443)
        }
        #expect(try choose() == nil)
        let proxy = try #require(try choose("http://us%40er:p+w%3A@proxy.example:3128/"))
        #expect(proxy.host == "proxy.example" && proxy.port == 3128)
        #expect(proxy.user == "us@er" && proxy.password == "p+w:")
        #expect(try choose("proxy.example:8080")?.port == 8080)
        let environment = ["HTTPS_PROXY": "http://s:1", "HTTP_PROXY": "http://p:2"]
        #expect(try choose("", environment)?.host == "s")
        #expect(try choose("", environment, isTLS: false)?.host == "p")
        #expect(try choose("none", environment) == nil)
        let exceptions = [
            "*", "store.example", ".store.example", "*.store.example", "x, b.store.example",
            "STORE.EXAMPLE:443",
        ]
        for except in exceptions {
            #expect(try choose("", environment.merging(["NO_PROXY": except]) { $1 }) == nil)
        }
        for except in ["", "other.example", "ore.example", "store.example:80", "b.store"] {
            #expect(try choose("", environment.merging(["no_proxy": except]) { $1 }) != nil)
        }
        for bad in ["https://proxy", "http://", "http://:1@", "socks5://x:1", "http://a:0"] {
            #expect(throws: UserError.self) { try choose(bad) }
        }
    }

    @Test("a Content-Range is a range or nothing")
    func contentRanges() {
        let range = ContentRange(parsing: "bytes 5-9/20")
        #expect(range?.first == 5 && range?.last == 9 && range?.size == 20 && range?.count == 5)
        #expect(ContentRange(parsing: "bytes 0-0/*")?.size == nil)
        for bad in ["", "bytes */0", "bytes 9-5/20", "bytes 5-20/20", "5-9/20", "bytes 1-2"] {
            #expect(ContentRange(parsing: bad) == nil)
        }
    }
}
