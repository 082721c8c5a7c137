// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where credentials come from, in which order, and what happens when they end: files of a test, and
// a metadata service on loopback.

import Foundation
import HostIO
import Primitives
import Synchronization
import TestSupport
import Testing

@testable import ObjectStoreCloud

@Suite("credentials are found where AWS's tools find them")
struct CredentialTests {
    private func write(_ text: String, _ name: String, in scratch: ScratchDirectory) throws
        -> String
    {
        let path = scratch.path + "/" + name
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        return path
    }

    private func chain(_ settings: S3Settings, clock: any Clock = ManualClock()) -> CredentialChain
    {
        CredentialChain(
            sources: CredentialChain.sources(settings),
            allowsAnonymous: settings.isAnonymous || settings.allowsAnonymous, clock: clock)
    }

    private func settings(_ environment: [String: String] = [:]) -> S3Settings {
        var settings = S3Settings()
        settings.environment = environment
        settings.environment["AWS_EC2_METADATA_DISABLED"] = "true"
        return settings
    }

    @Test("the configuration goes before the environment, and that before the files")
    func order() throws {
        let scratch = try ScratchDirectory()
        let file = try write(
            "[default]\naws_access_key_id = F\naws_secret_access_key=f\n", "credentials",
            in: scratch)
        var settings = settings(["AWS_SHARED_CREDENTIALS_FILE": file])
        #expect(try chain(settings).current()?.accessKeyID == "F")
        settings.environment["AWS_ACCESS_KEY_ID"] = "E"
        settings.environment["AWS_SECRET_ACCESS_KEY"] = "e"
        settings.environment["AWS_SESSION_TOKEN"] = "t"
        let fromEnvironment = try #require(try chain(settings).current())
        #expect(fromEnvironment.accessKeyID == "E")
        #expect(fromEnvironment.sessionToken == "t")
        settings.accessKeyID = "C"
        settings.secretAccessKey = "c"
        let configured = try #require(try chain(settings).current())
        #expect(configured.accessKeyID == "C")
        #expect(configured.sessionToken == nil)
        settings.isAnonymous = true
        #expect(try chain(settings).current() == nil)
    }

    @Test("half a pair of keys is refused by name")
    func halves() throws {
        var settings = settings(["AWS_ACCESS_KEY_ID": "E"])
        let error = #expect(throws: CredentialError.self) { try chain(settings).current() }
        #expect(error?.why.contains("AWS_SECRET_ACCESS_KEY") == true)
        settings.environment = ["AWS_EC2_METADATA_DISABLED": "true"]
        settings.secretAccessKey = "c"
        let other = #expect(throws: CredentialError.self) { try chain(settings).current() }
        #expect(other?.why.contains("aws.access_key_id") == true)
    }

    @Test("profiles are read from both files, with comments, tokens and the region")
    func profiles() throws {
        let scratch = try ScratchDirectory()
        let credentials = try write(
            """
            # a comment
            [default]
            aws_access_key_id = D
            aws_secret_access_key = d
            [ work ]
            aws_access_key_id=W   ; mine
            aws_secret_access_key = w/x+y=
            aws_session_token = tok#en
            """, "credentials", in: scratch)
        let config = try write(
            """
            [default]
            region = eu-west-1
            [profile work]
            region = us-west-2
            s3 =
              addressing_style = path
            [profile other]
            aws_access_key_id = O
            aws_secret_access_key = o
            [profile assumed]
            role_arn = arn:aws:iam::1:role/x
            source_profile = default
            """, "config", in: scratch)
        var settings = settings([
            "AWS_SHARED_CREDENTIALS_FILE": credentials, "AWS_CONFIG_FILE": config,
        ])
        #expect(try chain(settings).current()?.accessKeyID == "D")
        #expect(settings.namedRegion == "eu-west-1")
        settings.environment["AWS_PROFILE"] = "work"
        let work = try #require(try chain(settings).current())
        #expect(work.accessKeyID == "W")
        #expect(work.secretAccessKey == "w/x+y=")
        #expect(work.sessionToken == "tok#en")
        #expect(settings.namedRegion == "us-west-2")
        settings.profile = "other"
        #expect(try chain(settings).current()?.accessKeyID == "O")
        settings.profile = "assumed"
        let error = #expect(throws: CredentialError.self) { try chain(settings).current() }
        #expect(error?.why.contains("role_arn") == true)
        settings.profile = "absent"
        let absent = #expect(throws: CredentialError.self) { try chain(settings).current() }
        #expect(absent?.why.contains("no profile absent") == true)
    }

    @Test("without any the remedy is named, or requests go out unsigned where that is allowed")
    func none() throws {
        let scratch = try ScratchDirectory()
        var settings = settings(["HOME": scratch.path])
        let error = #expect(throws: CredentialError.self) { try chain(settings).current() }
        #expect(error?.remedy.contains("aws.access_key_id") == true)
        #expect(error?.isAway == false)
        settings.allowsAnonymous = true
        #expect(try chain(settings).current() == nil)
    }

    @Test("nothing that is printed shows a key")
    func redaction() {
        let credentials = Credentials(
            accessKeyID: "AKIDX", secretAccessKey: "SECRETX", sessionToken: "TOKENX",
            source: "a test")
        var dumped = ""
        dump(credentials, to: &dumped)
        for text in ["\(credentials)", String(reflecting: credentials), dumped] {
            #expect(
                !text.contains("AKIDX") && !text.contains("SECRETX") && !text.contains("TOKENX"))
        }
    }

    @Test("keys that another program put into the file are taken up when the store refuses the old")
    func replaced() throws {
        let scratch = try ScratchDirectory()
        func keys(_ id: String) throws -> String {
            try write(
                "[default]\naws_access_key_id = \(id)\naws_secret_access_key = s\n", "credentials",
                in: scratch)
        }
        let settings = settings(["AWS_SHARED_CREDENTIALS_FILE": try keys("ONE")])
        let chain = chain(settings)
        let first = try chain.current()
        #expect(!chain.replace(first))
        _ = try keys("TWO")
        #expect(try chain.current()?.accessKeyID == "ONE")
        #expect(chain.replace(first))
        #expect(try chain.current()?.accessKeyID == "TWO")
    }
}

@Suite("a role's credentials come from the metadata service, and are renewed in time")
struct InstanceMetadataTests {
    /// Serves one role whose credentials have a number and an end.
    private final class Service: Sendable {
        let issued = Atomic<Int>(0)
        let isBroken = Atomic<Bool>(false)
        let endsAt = Lock("2027-01-15T08:10:00Z")

        func answer(_ request: ReceivedRequest) -> ScriptedAnswer {
            if isBroken.load(ordering: .relaxed) { return .reply(500) }
            if request.method == "PUT" {
                guard request.headers["x-aws-ec2-metadata-token-ttl-seconds"] != nil else {
                    return .reply(400)
                }
                return .reply(200, [:], Array("TOKEN".utf8))
            }
            guard request.headers["x-aws-ec2-metadata-token"] == "TOKEN" else { return .reply(401) }
            let base = "/latest/meta-data/iam/security-credentials/"
            if request.path == base { return .reply(200, [:], Array("my-role\n".utf8)) }
            guard request.path == base + "my-role" else { return .reply(404) }
            let number = issued.wrappingAdd(1, ordering: .relaxed).newValue
            let text = """
                {"Code" : "Success", "LastUpdated" : "2026-01-01T00:00:00Z", "Type" : "AWS-HMAC",
                 "AccessKeyId" : "ASIA\(number)", "SecretAccessKey" : "s\\/\(number)",
                  "Token" : "t",
                 "Expiration" : "\(endsAt.withLock { $0 })"}
                """
            return .reply(200, [:], Array(text.utf8))
        }
    }

    private func chain(_ server: ScriptedServer, _ clock: ManualClock) -> CredentialChain {
        CredentialChain(
            sources: [
                InstanceMetadata(environment: [
                    "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.endpoint + "/"
                ])
            ], allowsAnonymous: false, clock: clock)
    }

    @Test("they are kept while they are valid and renewed five minutes before their end")
    func renewal() throws {
        let service = Service()
        let server = try ScriptedServer { service.answer($0) }
        // 1,800,000,000 is 2027-01-15T08:00:00Z: ten minutes before their end.
        let clock = ManualClock()
        let chain = chain(server, clock)
        let first = try #require(try chain.current())
        #expect(first.accessKeyID == "ASIA1")
        #expect(first.secretAccessKey == "s/1")
        #expect(first.sessionToken == "t")
        clock.advance(seconds: 290)
        #expect(try chain.current()?.accessKeyID == "ASIA1")
        #expect(service.issued.load(ordering: .relaxed) == 1)
        service.endsAt.withLock { $0 = "2027-01-15T09:00:00Z" }
        clock.advance(seconds: 20)
        #expect(try chain.current()?.accessKeyID == "ASIA2")
        #expect(try chain.current()?.accessKeyID == "ASIA2")
        #expect(service.issued.load(ordering: .relaxed) == 2)
    }

    @Test("a service that fails for a while costs nothing before their end, and away after it")
    func outage() throws {
        let service = Service()
        let server = try ScriptedServer { service.answer($0) }
        let clock = ManualClock()
        let chain = chain(server, clock)
        #expect(try chain.current()?.accessKeyID == "ASIA1")
        service.isBroken.store(true, ordering: .relaxed)
        clock.advance(seconds: 400)
        let asked = server.requests.count
        #expect(try chain.current()?.accessKeyID == "ASIA1")
        #expect(server.requests.count > asked)
        // Not asked again at once.
        let again = server.requests.count
        #expect(try chain.current()?.accessKeyID == "ASIA1")
        #expect(server.requests.count == again)
        clock.advance(seconds: 300)
        let error = #expect(throws: CredentialError.self) { try chain.current() }
        #expect(error?.isAway == true)
        service.isBroken.store(false, ordering: .relaxed)
        service.endsAt.withLock { $0 = "2027-01-15T09:00:00Z" }
        #expect(try chain.current()?.accessKeyID == "ASIA2")
    }

    @Test("a host without the service, or without a role, has none")
    func absent() throws {
        let server = try ScriptedServer { request in
            request.method == "PUT" ? .reply(200, [:], Array("T".utf8)) : .reply(404)
        }
        let source = InstanceMetadata(environment: [
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.endpoint
        ])
        #expect(try source.load() == nil)
        let nobody = InstanceMetadata(environment: [
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"
        ])
        #expect(try nobody.load() == nil)
    }
}
