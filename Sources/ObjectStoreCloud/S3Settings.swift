// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the S3 client is told, and how a store's URL may add to it.

/// Settings of the client. Empty text means: not said.
public struct S3Settings: Sendable {
    /// `http://host:port` or `https://host`; empty for Amazon's own.
    public var endpoint = ""
    public var region = ""
    /// The bucket stands in the path and not in the host's name.
    public var usesPathStyle = false
    public var connectSeconds: Int64 = 10
    /// For a small request; longer bodies get more.
    public var requestSeconds: Int64 = 60
    /// A file with certificates (PEM) that are trusted beside the system's.
    public var caFile = ""
    /// `http://[user:password@]host:port`, `none`, or empty for what the environment says.
    public var proxy = ""
    public var accessKeyID = ""
    public var secretAccessKey = ""
    public var sessionToken = ""
    /// A profile of the shared files.
    public var profile = ""
    /// Requests are never signed.
    public var isAnonymous = false
    /// Requests go out unsigned if no credentials are found: for public buckets that are only read.
    public var allowsAnonymous = false
    /// Variables of the process, as AWS's tools name them.
    public var environment: [String: String] = [:]

    public init() {}

    /// The variables that the client looks at, so that nothing else need be handed on.
    public static let variables = [
        "HOME", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
        "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_REGION", "AWS_DEFAULT_REGION",
        "AWS_CA_BUNDLE", "AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy",
    ]

    /// The region that somebody named: by the settings, the environment, or the profile.
    var namedRegion: String? {
        let named = [region, environment["AWS_REGION"], environment["AWS_DEFAULT_REGION"]]
        if let found = named.compactMap({ $0 }).first(where: { !$0.isEmpty }) { return found }
        if isAnonymous { return nil }
        return ProfileCredentials(profile: profile, environment: environment).region
    }

    /// The file with more trusted certificates, by whom, if any.
    var trustFile: (path: String, name: String)? {
        if !caFile.isEmpty { return (caFile, "storage.ca_file") }
        guard let path = environment["AWS_CA_BUNDLE"], !path.isEmpty else { return nil }
        return (path, "AWS_CA_BUNDLE")
    }
}
