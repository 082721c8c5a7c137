// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The table of keys against what is derived from it: each key can be set from each source, the
// documents are current, secrets stay hidden.

import Foundation
import Primitives
import Testing

@testable import Daemon

/// A value that the key takes and that is not its default; nil if only the default is taken.
private func otherValue<Root>(_ key: SettingKey<Root>, _ fallback: SettingValue) -> SettingValue? {
    if key.later != nil { return nil }
    switch key.kind {
    case .text, .secret:
        return .text(key.path == "storage.url" ? "file:///elsewhere" : textValue(key.path))
    case .boolean: return .boolean(fallback != .boolean(true))
    case .integer(let range):
        guard case .integer(let value) = fallback else { return nil }
        if key.path == "commit.max_unpublished_secs" { return .integer(1000) }
        return .integer(value == range.upperBound ? value - 1 : value + 1)
    case .decimal(let range):
        guard case .decimal(let value) = fallback else { return nil }
        return .decimal(value + 1 <= range.upperBound ? value + 1 : value / 2)
    case .texts: return .texts(["localhost:1", "[::1]:2"])
    case .choice(let now, _):
        return now.map { SettingValue.text($0) }.first { $0 != fallback }
    }
}

private func textValue(_ path: String) -> String {
    switch path {
    case "policy.retain": "10m:1h"
    default: path.hasSuffix("_address") ? "localhost:99" : "/elsewhere"
    }
}

private func environmentText(_ value: SettingValue) -> String {
    switch value {
    case .text(let text): text
    case .texts(let list): list.joined(separator: ",")
    default: value.literal
    }
}

@Suite("configuration table")
struct ConfigurationTableTests {
    private let defaults = Configuration()

    @Test("names are unique, and so are variables")
    func unique() {
        let keys = Configuration.keys
        #expect(Set(keys.map(\.path)).count == keys.count)
        #expect(Set(keys.map(\.variable)).count == keys.count)
        #expect(
            keys.allSatisfy { key in Configuration.sections.contains { $0.name == key.section } })
        #expect(Set(ExportSetting.keys.map(\.name)).count == ExportSetting.keys.count)
    }

    @Test("every key that is built is set by the file and by its variable, and changes only itself")
    func everyKey() throws {
        var seen = 0
        for key in Configuration.keys {
            let fallback = key.load(defaults)
            guard let value = otherValue(key, fallback) else { continue }
            seen += 1
            let file = try load("[\(key.section)]\n\(key.name) = \(value.literal)")
            let variable = try load(environment: [key.variable: environmentText(value)])
            #expect(key.load(file) == value, "\(key.path)")
            #expect(file == variable, "\(key.path)")
            for other in Configuration.keys where other.path != key.path {
                #expect(other.load(file) == other.load(defaults), "\(key.path), \(other.path)")
            }
        }
        #expect(seen == Configuration.keys.filter { $0.later == nil }.count - choicesWithOneValue)
    }

    /// `policy.durability` has one value so far.
    private var choicesWithOneValue: Int {
        Configuration.keys.filter { key in
            if case .choice(let now, _) = key.kind { now.count == 1 } else { false }
        }.count
    }

    @Test("a key that waits for a feature takes its default and names the feature otherwise")
    func laterKeys() throws {
        for key in Configuration.keys {
            guard let later = key.later else { continue }
            let fallback = key.load(defaults)
            #expect(refusal(of: "[\(key.section)]\n\(key.name) = \(fallback.literal)") == nil)
            let other: SettingValue =
                switch fallback {
                case .integer(let value): .integer(value + 1)
                case .decimal(let value): .decimal(value + 1)
                case .boolean(let value): .boolean(!value)
                default: .text("x")
                }
            let message = refusal(of: "[\(key.section)]\n\(key.name) = \(other.literal)")
            #expect(message?.contains("\(key.path) belongs to \(later)") == true, "\(key.path)")
        }
    }

    @Test("defaults are in their own ranges")
    func defaultsAreAccepted() {
        for key in Configuration.keys {
            let value = key.load(defaults)
            #expect(key.accept(value, fallback: value) == .success(value), "\(key.path)")
        }
    }

    @Test("the sample file, with every comment sign of a key removed, is the default configuration")
    func sampleFile() throws {
        #expect(try load(Configuration.sampleFile) == defaults)
        let bare = Configuration.sampleFile.split(separator: "\n").map { line in
            line.hasPrefix("#") && !line.hasPrefix("# ") ? line.dropFirst() : line
        }.joined(separator: "\n")
        var expected = defaults
        var export = ExportSetting()
        export.name = "prod"
        export.sizeGB = 10
        expected.exports = [export]
        #expect(try load(bare) == expected)
        #expect(bare.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    @Test("docs/operations/configuration.md is what the table says (REGENERATE=1 writes it)")
    func referencePage() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let file = root.appending(path: "docs/operations/configuration.md")
        if ProcessInfo.processInfo.environment["REGENERATE"] == "1" {
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(Configuration.referencePage.utf8).write(to: file)
        }
        let text = try String(contentsOf: file, encoding: .utf8)
        #expect(text == Configuration.referencePage)
    }

    @Test("a configuration that is printed shows no secret")
    func secrets() {
        var configuration = Configuration()
        configuration.aws.secretAccessKey = "hunter2"
        configuration.aws.accessKeyID = "hunter3"
        configuration.storage.proxy = "http://user:hunter5@proxy"
        configuration.cloudEnvironment = ["AWS_SECRET_ACCESS_KEY": "hunter6"]
        configuration.azure.accessKey = "hunter4"
        #expect(!"\(configuration)".contains("hunter"))
        #expect("\(configuration)".contains("aws.secret_access_key = \"(secret)\""))
        #expect("\(configuration)".contains("commit.max_age_secs = 30"))
    }

    @Test("a secret of the wrong type is refused without being shown")
    func secretOfWrongType() {
        let message = refusal(of: "[aws]\nsecret_access_key = 12345")
        #expect(message?.contains("aws.secret_access_key") == true)
        #expect(message?.contains("12345") == false)
    }
}

@Suite("nearest key")
struct NearestKeyTests {
    @Test(
        "the distance counts edits, and a swap of neighbours is one",
        arguments: [("", "", 0), ("a", "", 1), ("dir", "dri", 1), ("kitten", "sitting", 3)])
    func distance(left: String, right: String, edits: Int) {
        #expect(NearestKey.distance(left, right) == edits)
        #expect(NearestKey.distance(right, left) == edits)
    }

    @Test("of the candidates the one with the fewest edits is found; of none, none")
    func find() {
        #expect(NearestKey.find("codek", in: ["code", "codec"])?.word == "code")
        #expect(NearestKey.find("x", in: [])?.word == nil)
    }
}

@Suite("endpoints")
struct EndpointTests {
    @Test("unix paths, host names and bracketed addresses are read and printed alike")
    func valid() {
        #expect(Endpoint(parsing: "unix:/run/x.sock") == .unix(path: "/run/x.sock"))
        #expect(Endpoint(parsing: "localhost:0") == .tcp(host: "localhost", port: 0))
        #expect(Endpoint(parsing: "[::1]:65535") == .tcp(host: "::1", port: 65535))
        for text in ["unix:./x", "127.0.0.1:8080", "[::1]:1"] {
            #expect(Endpoint(parsing: text)?.description == text)
        }
    }

    @Test(
        "anything else is refused",
        arguments: [
            "", "unix:", "host", "host:", ":1", "host:65536", "host:-1", "host:1x", "::1:5",
            "a/b:1",
            "host:+1", "unix:" + String(repeating: "x", count: 108),
        ])
    func invalid(text: String) { #expect(Endpoint(parsing: text) == nil) }
}
