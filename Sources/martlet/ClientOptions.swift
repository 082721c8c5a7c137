// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What every command that talks to the daemon has in common: where it is, and how to print.

import AdminAPI
import ArgumentParser
import Daemon
import Glibc
import HostIO
import Primitives

struct ClientOptions: ParsableArguments {
    @Option(
        name: .customLong("api"),
        help: ArgumentHelp(
            "The daemon's API: unix:PATH or HOST:PORT (also MARTLET_API).",
            valueName: "address"))
    var address: String?

    @Flag(help: "Print the API's JSON.")
    var json = false

    /// The flag, else the variable, else the embedded daemon's socket if it is there, else its
    /// port.
    func endpoint(environment: [String: String]) throws(UserError) -> Endpoint {
        try Self.endpoint(address, environment: environment)
    }

    static func endpoint(
        _ address: String?, environment: [String: String]
    ) throws(UserError) -> Endpoint {
        let defaults = Configuration()
        if let text = address ?? environment["MARTLET_API"] {
            guard let endpoint = Endpoint(parsing: text) else {
                throw UserError(
                    .badRequest, what: "cannot reach the daemon", why: "\"\(text)\" is no address",
                    remedy: "give unix:PATH or HOST:PORT")
            }
            return endpoint
        }
        let socket = Endpoint.unix(path: defaults.nbd.apiSocket)
        if access(defaults.nbd.apiSocket, F_OK) == 0 { return socket }
        return Endpoint(parsing: defaults.nbd.apiAddress) ?? socket
    }

    func client() throws(UserError) -> APIClient {
        APIClient(endpoint: try endpoint(environment: Environment.all))
    }

    /// Calls, then prints the JSON as it came, or what `text` makes of it.
    func show<Value: Decodable>(
        _ verb: Verb, _ path: String, body: (any Encodable)? = nil, as type: Value.Type,
        text: (Value) -> String
    ) async throws {
        let reply = try await client().call(verb, path, body: body)
        if json {
            print(String(decoding: reply.body, as: UTF8.self))
        } else {
            let shown = text(try AdminJSON.decode(type, from: reply.body))
            if !shown.isEmpty { print(shown) }
        }
    }
}

/// The path of an export, or of something under it. Refuses bad names before anything is sent.
func exportPath(_ name: String, _ rest: String = "") throws(UserError) -> String {
    guard ExportName.isValid(name) else {
        throw UserError(
            .badRequest, what: "cannot use the name \"\(name)\"",
            why: "it breaks the rule for names", remedy: ExportName.rule)
    }
    return "/api/exports/\(name)\(rest)"
}
