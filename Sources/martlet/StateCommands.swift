// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Commands on the state of an export: what it is doing, and who may write it.

import AdminAPI
import ArgumentParser
import Primitives

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show what an export is doing, and what is unpublished.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String

    mutating func run() async throws {
        try await client.show(.get, exportPath(name, "/status"), as: StatusReply.self) { status in
            TextTable.fields([
                ("name", status.name), ("state", status.operationState),
                ("failed", status.failed),
                ("size", ByteSize.text(status.sizeBytes)), ("sequence", "\(status.sequence)"),
                ("epoch", "\(status.epoch)"),
                ("clients", "\(status.writers) writing, \(status.readers) reading"),
                (
                    "journal",
                    "\(ByteSize.text(status.journalBytes)) in \(status.journalSegments) segments"
                ),
                ("dirty blocks", "\(status.dirtyBlocks)"),
                (
                    "unpublished",
                    "\(ByteSize.text(status.unpublishedBytes)), "
                        + "oldest \(status.unpublishedAgeSecs) s"
                ),
                (
                    "writers slowed",
                    status.slowdownPercent == 0 ? nil : "\(status.slowdownPercent) %"
                ),
                ("stalled", status.stalled),
                (
                    "store away",
                    status.storeAwaySecs == 0 ? nil : "\(status.storeAwaySecs) s"
                ),
                ("last error", status.lastError),
                (
                    "unclean take-over",
                    status.uncleanTakeover.map { takeover in
                        "epoch \(takeover.epoch) after commit \(takeover.sequence); "
                            + "confirm with martlet acknowledge \(status.name)"
                    }
                ),
            ])
        }
    }
}

struct OpenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "open", abstract: "Load an export of the store on this host.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String
    @Flag(help: "Take it over even if another host serves it.") var force = false

    mutating func run() async throws {
        let path = try exportPath(name, "/open") + (force ? "?force=true" : "")
        try await client.show(.post, path, as: ExportReply.self) { ExportText.fields($0) }
    }
}

struct PromoteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "promote", abstract: "Make a read-only export writable.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String
    @Flag(help: "Claim it even if another host serves it.") var force = false

    mutating func run() async throws {
        let path = try exportPath(name, "/promote") + (force ? "?force=true" : "")
        try await client.show(.post, path, as: ExportReply.self) { ExportText.fields($0) }
    }
}

struct DrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Publish everything that was written.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String

    mutating func run() async throws {
        try await client.show(.post, exportPath(name, "/drain"), as: CommitReply.self) {
            "published as commit \($0.sequence)"
        }
    }
}

struct AcknowledgeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "acknowledge",
        abstract: "Confirm that an unclean take-over was seen.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String

    mutating func run() async throws {
        try await client.show(.post, exportPath(name, "/acknowledge"), as: DoneReply.self) { _ in
            ""
        }
    }
}
