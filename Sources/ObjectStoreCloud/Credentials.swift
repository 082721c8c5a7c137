// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Keys for signing, where they come from, and why they could not be had. Nothing here ever shows a
// key: descriptions name the source alone.

/// A pair of keys, with a session token where they are temporary.
struct Credentials: Equatable, Sendable, CustomStringConvertible, CustomReflectable {
    let accessKeyID: String
    let secretAccessKey: String
    let sessionToken: String?
    /// Seconds since 1970 at which they end; nil if they do not, or do not say.
    var expiresSeconds: UInt64?
    /// For messages, for example "the environment".
    let source: String

    var description: String { "credentials from \(source)" }
    var customMirror: Mirror { Mirror(self, children: ["source": source]) }
}

/// Why a source that should have credentials gave none.
struct CredentialError: Error, Equatable, Sendable {
    let why: String
    let remedy: String
    /// True if trying again may help without anybody doing anything.
    var isAway = false
}

/// One place where credentials may be. Calls block.
protocol CredentialSource: Sendable {
    /// Nil if this source has none, so that the next one is asked.
    func load() throws(CredentialError) -> Credentials?
}

/// What the settings say, or the environment: a pair of keys that is there whole or not at all.
struct FixedCredentials: CredentialSource {
    let accessKeyID: String
    let secretAccessKey: String
    let sessionToken: String
    let source: String
    /// The names of the two keys there, for messages.
    let names: (id: String, secret: String)

    static func configured(_ settings: S3Settings) -> FixedCredentials {
        FixedCredentials(
            accessKeyID: settings.accessKeyID, secretAccessKey: settings.secretAccessKey,
            sessionToken: settings.sessionToken, source: "the configuration",
            names: ("aws.access_key_id", "aws.secret_access_key"))
    }

    static func environment(_ variables: [String: String]) -> FixedCredentials {
        FixedCredentials(
            accessKeyID: variables["AWS_ACCESS_KEY_ID"] ?? "",
            secretAccessKey: variables["AWS_SECRET_ACCESS_KEY"] ?? "",
            sessionToken: variables["AWS_SESSION_TOKEN"] ?? "", source: "the environment",
            names: ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    }

    func load() throws(CredentialError) -> Credentials? {
        if accessKeyID.isEmpty && secretAccessKey.isEmpty { return nil }
        guard !accessKeyID.isEmpty, !secretAccessKey.isEmpty else {
            let (there, absent) =
                accessKeyID.isEmpty ? (names.secret, names.id) : (names.id, names.secret)
            throw CredentialError(
                why: "\(source) has \(there) without \(absent)",
                remedy: "set both, or neither to use the next source")
        }
        return Credentials(
            accessKeyID: accessKeyID, secretAccessKey: secretAccessKey,
            sessionToken: sessionToken.isEmpty ? nil : sessionToken, source: source)
    }
}
