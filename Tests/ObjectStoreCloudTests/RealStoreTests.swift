// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The client against a real server, named by the environment (MARTLET_TEST_S3_ENDPOINT and others):
// the seam's whole suite, and what only a server that verifies signatures can show.

import Foundation
import HostIO
import ObjectStore
import Primitives
import StoreConformance
import TestSupport
import Testing

@testable import ObjectStoreCloud

/// The server under test; nil if none is named.
struct RealServer: Sendable {
    static let current = RealServer(ProcessInfo.processInfo.environment)

    let endpoint: String
    let bucket: String
    let region: String
    let accessKeyID: String
    let secretAccessKey: String
    let name: String
    /// It ignores preconditions: no more is expected of it than to be found out.
    let isUnfit: Bool
    /// What stands before it disturbs requests: each is tried as often as a daemon would.
    let isDisturbed: Bool

    init?(_ environment: [String: String]) {
        func value(_ name: String) -> String? { environment["MARTLET_TEST_S3_" + name] }
        guard let endpoint = value("ENDPOINT"), let bucket = value("BUCKET"),
            let id = value("ACCESS_KEY_ID"), let secret = value("SECRET_ACCESS_KEY")
        else { return nil }
        self.endpoint = endpoint
        self.bucket = bucket
        region = value("REGION") ?? "us-east-1"
        accessKeyID = id
        secretAccessKey = secret
        name = value("NAME") ?? "s3"
        isUnfit = value("UNFIT") == "1"
        isDisturbed = value("RETRYING") == "1"
    }

    static var isThere: Bool {
        if current != nil { return true }
        FileHandle.standardError.write(
            Data("SKIPPED: no MARTLET_TEST_S3_ENDPOINT: nothing asked of a real store\n".utf8))
        return false
    }

    static var isFit: Bool { isThere && current?.isUnfit == false }

    /// A store below a prefix that nobody else uses.
    func store(
        bucket: String? = nil, _ change: (inout S3Settings) -> Void = { _ in }
    ) throws -> any ObjectStore {
        var settings = S3Settings()
        settings.endpoint = endpoint
        settings.region = region
        settings.accessKeyID = accessKeyID
        settings.secretAccessKey = secretAccessKey
        change(&settings)
        let clock = SystemClock()
        let pause: @Sendable (UInt64) -> Bool = { nanoseconds in
            clock.sleep(nanoseconds: nanoseconds)
            return true
        }
        let store = try S3Store(
            try S3Location(
                parsing: "s3://\(bucket ?? self.bucket)/test/\(UUID().uuidString.lowercased())"),
            settings: settings,
            limits: HostLimits(uploads: 8, downloads: 16, clock: clock, pause: pause), clock: clock)
        guard isDisturbed else { return store }
        return RetryingStore(store, clock: clock, random: SystemRandom(), pause: pause)
    }

    func conformance() throws -> StoreConformance { StoreConformance(try store()) }
}

@Suite("a real S3 server keeps the promises of the seam", .enabled(if: RealServer.isFit))
struct RealStoreTests {
    private let server: RealServer

    init() throws { server = try #require(RealServer.current) }

    @Test("an object is created once and keeps its first content")
    func createOnce() throws { try server.conformance().createOnce() }

    @Test("ranges and suffixes are exact")
    func ranges() throws { try server.conformance().ranges() }

    @Test("an absent key is not found, and too large an object is refused")
    func absence() throws { try server.conformance().absence() }

    @Test("bad keys are refused before anything happens")
    func badKeys() throws { try server.conformance().badKeys() }

    @Test("keys are listed in byte order, whatever the prefix and page size")
    func listing() throws { try server.conformance().listing() }

    @Test("deleting frees the key, and deleting what is absent succeeds")
    func deletion() throws { try server.conformance().deletion() }

    @Test("of eight racing creators of a key one wins")
    func racing() throws { try server.conformance().racing() }

    @Test("replacing takes the key from whatever is there, and readers find old bytes or new ones")
    func replacing() throws { try server.conformance().replacing() }

    @Test("the probe accepts it for writing and leaves nothing")
    func probing() throws { try server.conformance().probing() }

    @Test("the store's date is near this host's")
    func dating() throws {
        let date = try #require(try server.store().dateSeconds())
        let now = SystemClock().wallSeconds
        #expect(max(now, date) - min(now, date) <= 60)
        // A request that is refused has a date all the same.
        let refused = try server.store { $0.secretAccessKey = "wrong" }
        #expect(try refused.dateSeconds() ?? 0 >= date)
    }

    @Test("wrong keys and an absent bucket are told by name")
    func refusals() throws {
        func misconfiguration(_ store: any ObjectStore) -> String {
            guard
                case .misconfigured(_, let detail, _)? = failure({
                    _ = try store.putIfAbsent("k", [1])
                })
            else { return "" }
            return detail
        }
        let wrongSecret = try server.store { $0.secretAccessKey = "wrong" }
        #expect(misconfiguration(wrongSecret).contains("SignatureDoesNotMatch"))
        let wrongKey = try server.store { $0.accessKeyID = "AKIANOBODYKNOWSTHIS" }
        #expect(misconfiguration(wrongKey).contains("InvalidAccessKeyId"))
        let noBucket = try server.store(bucket: "no-such-bucket-of-martlet")
        #expect(misconfiguration(noBucket).contains("NoSuchBucket"))
        // A HEAD has no words; the reason is found all the same.
        guard case .misconfigured? = failure({ _ = try wrongSecret.head("k") }) else {
            Issue.record("a HEAD with a wrong secret")
            return
        }
        var random = SystemRandom()
        #expect(throws: ObjectStoreError.self) {
            try StoreProbe.run(wrongSecret, random: &random)
        }
    }

    @Test(
        "unsigned requests may neither write nor read a private bucket",
        .disabled(
            if: RealServer.current?.name == "moto",
            "moto answers 500 to whatever is not signed; the others are asked"))
    func anonymous() throws {
        let store = try server.store { $0.isAnonymous = true }
        guard case .forbidden? = failure({ _ = try store.putIfAbsent("k", [1]) }),
            case .forbidden? = failure({ _ = try store.get("k", limit: 1) })
        else {
            Issue.record("an unsigned request was not forbidden")
            return
        }
    }

    @Test("objects of 33 MiB go and come back whole, in ranges and at once")
    func large() throws {
        let store = try server.store()
        let body = pattern(33 << 20)
        #expect(try store.putIfAbsent("large", body) == .created)
        #expect(try store.putIfAbsent("large", body) == .exists)
        var part = [UInt8](repeating: 0, count: 4 << 20)
        try part.withUnsafeMutableBytes { try store.get("large", at: 29 << 20, into: $0) }
        #expect(part == Array(body[(29 << 20)...]))
        #expect(try store.get("large", limit: 64 << 20) == body)
        try store.delete(["large"])
        #expect(try store.head("large") == nil)
    }

    @Test("2,100 keys are listed over pages and deleted in batches")
    func many() throws {
        let store = try server.store()
        let keys = (0..<2100).map { "many/\(10_000 + $0)" }
        let threads = try RacingThreads(count: 8) { index in
            for number in stride(from: index, to: keys.count, by: 8) {
                _ = try store.putIfAbsent(keys[number], [])
            }
        }
        try threads.join()
        #expect(try store.listAll(prefix: "many/").map(\.key) == keys)
        try store.delete(keys)
        #expect(try store.listAll(prefix: "").isEmpty)
    }
}

@Suite(
    "a server that ignores preconditions is found out",
    .enabled(if: RealServer.current?.isUnfit == true))
struct UnfitStoreTests {
    @Test("the probe refuses it for writing")
    func probing() throws {
        let store = try #require(RealServer.current).store()
        var random = SystemRandom()
        guard case .unfit = try StoreProbe.run(store, random: &random) else {
            Issue.record("an unfit store was taken")
            return
        }
    }
}
