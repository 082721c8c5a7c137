// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A fresh base: begun by the daemon, watched from here. Whoever stops watching does not stop it.

import AdminAPI
import ArgumentParser
import HostIO
import Primitives

struct CompactCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compact",
        abstract: "Store an export again as one fresh base, in the order of its blocks.",
        discussion: """
            Nothing of it shares packs with a source or a fork afterwards. Guests go on reading and
            writing. The daemon does it, in as many commits as it takes; to stop watching does not
            stop it. What the old packs hold is freed by martlet gc, unless a snapshot needs it.
            """)

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String
    @Flag(help: "Return as soon as it has begun.") var noWait = false

    mutating func run() async throws {
        let path = try exportPath(name, "/compact")
        let statusPath = try exportPath(name, "/status")
        let api = try client.client()
        var reply = try AdminJSON.decode(
            CompactReply.self, from: try await api.call(.post, path).body)
        while reply.state == "running", !noWait {
            SystemClock().sleep(nanoseconds: 1_000_000_000)
            let status = try AdminJSON.decode(
                StatusReply.self, from: try await api.call(.get, statusPath).body)
            guard let now = status.compaction else {
                throw UserError(
                    .conflict, what: "cannot watch the compaction of \(name)",
                    why: "the volume was closed meanwhile", remedy: "run martlet compact again")
            }
            reply = now
        }
        if let error = reply.error {
            throw UserError(
                .failed, what: "cannot compact \(name)", why: error,
                remedy: "see martlet status \(name), then try again")
        }
        print(
            client.json
                ? String(decoding: AdminJSON.encode(reply), as: UTF8.self) : Self.text(reply))
    }

    private static func text(_ reply: CompactReply) -> String {
        guard let generation = reply.generation else {
            return "begun: \(reply.blocksDone ?? 0) of \(reply.blocksTotal ?? 0) blocks"
        }
        return "done with commit \(generation)"
    }
}
