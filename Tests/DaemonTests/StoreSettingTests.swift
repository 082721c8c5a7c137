// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Settings of s3:// stores and their effects, seen by a server on loopback; and a daemon that only
// reads.

import ControlPlane
import Documents
import Foundation
import HostIO
import ObjectStore
import ObjectStoreCloud
import Primitives
import TestSupport
import Testing

@testable import Daemon

@Suite("settings of s3:// stores")
struct StoreSettingTests {
    /// Answers as an empty bucket.
    private func server() throws -> ScriptedServer {
        try ScriptedServer { request in
            request.query["list-type"] == nil
                ? .error(404, "NoSuchKey")
                : .xml(
                    200, [:],
                    "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        }
    }

    private func configuration(
        _ server: ScriptedServer, _ change: (inout Configuration) -> Void = { _ in }
    ) -> Configuration {
        var configuration = Configuration()
        configuration.storage.url = "s3://bucket/pre/fix"
        configuration.storage.endpoint = server.endpoint
        configuration.aws.accessKeyID = "AKIDX"
        configuration.aws.secretAccessKey = "SECRETX"
        configuration.cloudEnvironment = ["AWS_EC2_METADATA_DISABLED": "true"]
        change(&configuration)
        return configuration
    }

    /// What a request of a store of these settings looks like to the server.
    private func request(
        _ server: ScriptedServer, _ change: (inout Configuration) -> Void = { _ in }
    ) throws -> ReceivedRequest {
        let store = try OfflineSource.store(configuration(server, change), "cannot try")
        #expect(try store.head("key") == nil)
        return try #require(server.requests.last)
    }

    @Test("storage.endpoint, storage.region, aws.access_key_id, aws.secret_access_key")
    func signed() throws {
        let server = try server()
        let plain = try request(server) { $0.storage.region = "eu-south-9" }
        #expect(plain.path == "/bucket/pre/fix/key")
        let header = try #require(plain.headers["authorization"])
        #expect(header.contains("Credential=AKIDX/") && header.contains("/eu-south-9/s3/"))
        #expect(plain.headers["x-amz-security-token"] == nil)
        // Another secret makes another signature of the same request.
        func signature(_ request: ReceivedRequest) -> Substring? {
            request.headers["authorization"]?.split(separator: "=").last
        }
        let first = try request(server) { $0.storage.region = "eu-south-9" }
        let other = try request(server) {
            $0.storage.region = "eu-south-9"
            $0.aws.secretAccessKey = "OTHER"
        }
        #expect(signature(first) != signature(other))
    }

    @Test("aws.session_token, aws.profile, aws.anonymous")
    func credentials() throws {
        let server = try server()
        let token = try request(server) { $0.aws.sessionToken = "TOKENX" }
        #expect(token.headers["x-amz-security-token"] == "TOKENX")
        let scratch = try ScratchDirectory()
        let file = scratch.path + "/credentials"
        try "[work]\naws_access_key_id = WORKID\naws_secret_access_key = s\n".write(
            toFile: file, atomically: true, encoding: .utf8)
        let profile = try request(server) {
            $0.aws = Configuration.AWS()
            $0.aws.profile = "work"
            $0.cloudEnvironment["AWS_SHARED_CREDENTIALS_FILE"] = file
        }
        #expect(profile.headers["authorization"]?.contains("Credential=WORKID/") == true)
        let anonymous = try request(server) { $0.aws.anonymous = true }
        #expect(anonymous.headers["authorization"] == nil)
    }

    @Test("storage.path_style, storage.connect_timeout_secs: what the client is told")
    func told() throws {
        let server = try server()
        let settings = configuration(server) {
            $0.storage.pathStyle = true
            $0.storage.connectTimeoutSecs = 7
        }.s3Settings
        #expect(settings.usesPathStyle && settings.connectSeconds == 7)
        // Nobody answers at this address of documentation, or the network says so at once.
        let store = try OfflineSource.store(
            configuration(server) {
                $0.storage.endpoint = "http://192.0.2.1:81"
                $0.storage.connectTimeoutSecs = 1
            }, "cannot try")
        let clock = SystemClock()
        let start = clock.now
        #expect(throws: ObjectStoreError.self) { try store.head("key") }
        #expect(clock.now.nanoseconds(since: start) < 8_000_000_000)
    }

    @Test("storage.request_timeout_secs")
    func requestTimeout() throws {
        let server = try ScriptedServer { _ in .silence(seconds: 20) }
        let store = try OfflineSource.store(
            configuration(server) { $0.storage.requestTimeoutSecs = 1 }, "cannot try")
        let clock = SystemClock()
        let start = clock.now
        #expect(throws: ObjectStoreError.self) { try store.head("key") }
        let seconds = Double(clock.now.nanoseconds(since: start)) / 1e9
        #expect((0.9...10).contains(seconds))
    }

    @Test("storage.proxy: a tunnel is asked of it, with what it wants to know us by")
    func proxy() throws {
        let proxy = try ScriptedServer { _ in .error(407, "ProxyAuthenticationRequired") }
        let store = try OfflineSource.store(
            configuration(proxy) {
                $0.storage.endpoint = "http://store.example:81"
                $0.storage.proxy = "http://user:pass@127.0.0.1:\(proxy.port)"
            }, "cannot try")
        #expect(throws: ObjectStoreError.self) { try store.head("key") }
        let request = try #require(proxy.requests.last)
        #expect(request.method == "CONNECT")
        #expect(request.target == "bucket.store.example:81")
        #expect(request.headers["proxy-authorization"] == "Basic dXNlcjpwYXNz")
    }

    @Test("storage.ca_file: certificates are read at the start, and what is none is refused")
    func certificates() throws {
        let scratch = try ScratchDirectory()
        let file = scratch.path + "/ca.pem"
        try "no certificate".write(toFile: file, atomically: true, encoding: .utf8)
        let server = try server()
        for path in [file, scratch.path + "/absent"] {
            let error = #expect(throws: UserError.self) {
                try OfflineSource.store(
                    configuration(server) { $0.storage.caFile = path }, "cannot try")
            }
            #expect(error?.what.contains("storage.ca_file") == true)
        }
    }

    @Test("settings that no store can have are refused when they are loaded")
    func refused() throws {
        for (text, why) in [
            ("endpoint = \"store.example\"", "no address of a service"),
            ("region = \"a/b\"", "no region"), ("proxy = \"socks5://x\"", "not a URL"),
        ] {
            let message = refusal(of: "[storage]\nurl = \"s3://bucket\"\n\(text)")
            #expect(message?.contains(why) == true, "\(text): \(message ?? "taken")")
        }
        #expect(
            refusal(of: "[storage]\nurl = \"s3://bucket?colour=red\"")?.contains(
                "unknown setting colour") == true)
    }

    @Test("doctor tells misconfiguration from absence, with what to do")
    func doctor() throws {
        let server = try ScriptedServer { _ in .error(403, "SignatureDoesNotMatch") }
        let scratch = try ScratchDirectory()
        let report = Doctor.examine(
            configuration(server) { $0.cache.dir = scratch.path + "/cache" })
        #expect(report.json.contains("\"access\":\"misconfigured\""))
        #expect(report.problems.contains { $0.hasSuffix("correct the secret access key") })
        #expect(!report.json.contains("SECRETX"))
    }

    @Test("bench store moves what it was told, measures it, and leaves nothing")
    func bench() throws {
        let daemon = try TestDaemon()
        var options = StoreBenchOptions()
        options.objectBytes = 64 << 10
        options.objects = 5
        options.pieceBytes = 4 << 10
        options.pieces = 20
        let report = try StoreBench.run(daemon.configuration, options)
        #expect(report.lines.count == 3)
        for part in ["\"requests\":5", "\"requests\":20", "\"bytes\":4096", "\"threads\":4"] {
            #expect(report.json.contains(part), "\(report.json)")
        }
        #expect(try daemon.keys(under: "probe/").isEmpty)
        options.objectBytes = 8
        options.pieceBytes = 8
        daemon.configuration.storage.readonly = true
        daemon.configuration.storage.url += "/nowhere"
        #expect(throws: UserError.self) { try StoreBench.run(daemon.configuration, options) }
    }

    @Test("storage.readonly: a daemon serves what is there and writes nothing to the store")
    func readonly() throws {
        let daemon = try TestDaemon()
        try daemon.create("disk", size: 1 << 20)
        try daemon.connect("disk").write(0, noise(4096, seed: 1))
        let sequence = try daemon.control.snapshot("disk", tag: "t").sequence
        daemon.stop()
        daemon.configuration.cache.dir = daemon.scratch.path + "/other-cache"
        daemon.configuration.storage.readonly = true
        try daemon.start()
        let before = try daemon.keys(under: "")
        #expect(try daemon.control.info("disk").isReadOnly)
        for name in ["disk", "disk@\(sequence)", "tag:t"] {
            let client = try daemon.connect(name)
            #expect(client.isReadOnly)
            #expect(try client.read(0, 4096) == noise(4096, seed: 1))
        }
        let error = #expect(throws: UserError.self) { try daemon.create("new") }
        #expect(error?.kind == .forbidden && error?.why.contains("storage.readonly") == true)
        #expect(try daemon.keys(under: "") == before)
        daemon.stop()
        // Nothing to read is an error, not a new repository.
        daemon.configuration.storage.url = "file://" + daemon.scratch.path + "/nowhere"
        #expect(throws: UserError.self) { try daemon.start() }
        #expect(!FileManager.default.fileExists(atPath: daemon.scratch.path + "/nowhere"))
    }
}
