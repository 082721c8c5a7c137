// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `s3://bucket/prefix?setting=value`: which bucket, below which prefix, and settings that hold for
// this store alone. Settings in a URL win over those of the configuration.

public import Primitives

public struct S3Location: Equatable, Sendable {
    public static let scheme = "s3://"

    /// Bytes of a prefix: with the longest key of ours it stays below the 1,024 that S3 takes.
    private static let prefixBytesMax = 400
    private static let settingNames = ["endpoint", "region", "path_style", "anonymous", "profile"]

    public let bucket: String
    /// Empty, or with a slash at its end.
    public let prefix: String
    /// Settings of the URL, each at most once.
    public let overrides: [String: String]

    public init(parsing url: String) throws(UserError) {
        func refusal(_ why: String, _ remedy: String) -> UserError {
            UserError(.badRequest, what: "cannot use the store \(url)", why: why, remedy: remedy)
        }
        guard url.hasPrefix(Self.scheme) else {
            throw refusal("that is no S3 URL", "use s3://bucket/prefix")
        }
        let text = url.dropFirst(Self.scheme.count)
        let parts = text.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = parts[0].split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        bucket = String(path[0])
        guard Self.isBucket(bucket) else {
            throw refusal(
                "\"\(bucket)\" is no bucket's name",
                "a bucket has 3 to 63 lower-case letters, digits, hyphens and dots")
        }
        var prefix = path.count > 1 ? String(path[1]) : ""
        if !prefix.isEmpty && !prefix.hasSuffix("/") { prefix += "/" }
        guard Self.isPrefix(prefix) else {
            throw refusal(
                "\"\(prefix)\" is no prefix of keys",
                "use letters, digits, . _ ~ - and single slashes, \(Self.prefixBytesMax) at most")
        }
        self.prefix = prefix
        var overrides: [String: String] = [:]
        for item in parts.count > 1 ? parts[1].split(separator: "&") : [] {
            let pair = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(pair[0])
            guard Self.settingNames.contains(name) else {
                throw refusal(
                    "it has an unknown setting \(name)",
                    "a store URL takes " + Self.settingNames.joined(separator: ", "))
            }
            guard pair.count == 2, overrides[name] == nil,
                let value = URIText.decode(String(pair[1])),
                !value.isEmpty
            else { throw refusal("its setting \(name) has no single value", "give it once") }
            if ["path_style", "anonymous"].contains(name), value != "true", value != "false" {
                throw refusal("its setting \(name) is \(value)", "give true or false")
            }
            overrides[name] = value
        }
        self.overrides = overrides
    }

    /// Without settings, for messages.
    public var url: String {
        Self.scheme + bucket + (prefix.isEmpty ? "" : "/\(prefix.dropLast())")
    }

    /// The settings with those of the URL over them.
    public func applied(to settings: S3Settings) -> S3Settings {
        var settings = settings
        settings.endpoint = overrides["endpoint"] ?? settings.endpoint
        settings.region = overrides["region"] ?? settings.region
        settings.profile = overrides["profile"] ?? settings.profile
        settings.usesPathStyle =
            overrides["path_style"].map { $0 == "true" } ?? settings.usesPathStyle
        settings.isAnonymous = overrides["anonymous"].map { $0 == "true" } ?? settings.isAnonymous
        return settings
    }

    private static func isBucket(_ name: String) -> Bool {
        func isEnd(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte)
        }
        guard (3...63).contains(name.utf8.count), let first = name.utf8.first,
            let last = name.utf8.last, isEnd(first), isEnd(last), !name.contains("..")
        else { return false }
        return name.utf8.allSatisfy {
            isEnd($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".")
        }
    }

    private static func isPrefix(_ prefix: String) -> Bool {
        if prefix.isEmpty { return true }
        return prefix.utf8.count <= prefixBytesMax
            && prefix.dropLast().split(separator: "/", omittingEmptySubsequences: false).allSatisfy
            {
                !$0.isEmpty && $0 != "." && $0 != ".." && $0.utf8.allSatisfy(URIText.isUnreserved)
            }
    }
}
