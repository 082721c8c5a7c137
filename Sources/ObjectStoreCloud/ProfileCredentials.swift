// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Credentials and the region of a profile in AWS's shared files. Read anew at each load, so that
// keys that another program replaces there are taken up.

import Glibc
import HostIO

struct ProfileCredentials: CredentialSource {
    let profile: String
    /// True if somebody named the profile: then it must be there.
    let isNamed: Bool
    private let credentialsPath: String?
    private let configurationPath: String?

    /// Ways to get credentials that a profile may ask for and that are not built, so that they are
    /// refused by name instead of passed over.
    private static let unsupported = [
        "credential_process", "role_arn", "sso_session", "sso_start_url",
        "web_identity_token_file",
    ]

    init(profile: String, environment: [String: String]) {
        let named = profile.isEmpty ? environment["AWS_PROFILE"] ?? "" : profile
        self.profile = named.isEmpty ? "default" : named
        isNamed = !named.isEmpty
        func path(_ variable: String, _ name: String) -> String? {
            if let path = environment[variable], !path.isEmpty { return path }
            guard let home = environment["HOME"], !home.isEmpty else { return nil }
            return "\(home)/.aws/\(name)"
        }
        credentialsPath = path("AWS_SHARED_CREDENTIALS_FILE", "credentials")
        configurationPath = path("AWS_CONFIG_FILE", "config")
    }

    func load() throws(CredentialError) -> Credentials? {
        let files = [(credentialsPath, false), (configurationPath, true)]
        var isKnown = false
        for (path, isConfiguration) in files {
            guard let path, let file = try Self.read(path),
                let settings = file.profile(profile, isConfiguration: isConfiguration)
            else { continue }
            isKnown = true
            let source = "profile \(profile) of \(path)"
            let fixed = FixedCredentials(
                accessKeyID: settings["aws_access_key_id"] ?? "",
                secretAccessKey: settings["aws_secret_access_key"] ?? "",
                sessionToken: settings["aws_session_token"] ?? "", source: source,
                names: ("aws_access_key_id", "aws_secret_access_key"))
            if let found = try fixed.load() { return found }
            if let way = Self.unsupported.first(where: { settings[$0] != nil }) {
                throw CredentialError(
                    why: "\(source) uses \(way), which martlet does not support",
                    remedy: "name a profile that has keys, or export them into the environment")
            }
        }
        guard isKnown || !isNamed else {
            throw CredentialError(
                why: "no profile \(profile) in " + files.compactMap(\.0).joined(separator: " or "),
                remedy: "correct aws.profile or AWS_PROFILE, or add the profile")
        }
        return nil
    }

    /// The profile's region, if a file names one. Files that cannot be read have none.
    var region: String? {
        for (path, isConfiguration) in [(configurationPath, true), (credentialsPath, false)] {
            guard let path, let file = try? Self.read(path),
                let settings = file.profile(profile, isConfiguration: isConfiguration)
            else { continue }
            if let region = settings["region"], !region.isEmpty { return region }
        }
        return nil
    }

    /// Nil if there is no such file.
    private static func read(_ path: String) throws(CredentialError) -> ProfileFile? {
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { String(path[..<$0]) } ?? "."
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        do throws(HostIOError) {
            let directory = try HostDirectory.open(
                path: folder.isEmpty ? "/" : folder, create: false)
            guard let bytes = try directory.readAll(name, limit: ProfileFile.bytesMax) else {
                return nil
            }
            return ProfileFile(parsing: String(decoding: bytes, as: UTF8.self))
        } catch {
            if error.code == ENOENT || error.code == ENOTDIR { return nil }
            throw CredentialError(
                why: error.description, remedy: "make the file readable for the user of martlet")
        }
    }
}
