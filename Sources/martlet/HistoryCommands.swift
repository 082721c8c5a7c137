// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Commands on the history of an export: snapshots, tags, rollback.

import AdminAPI
import ArgumentParser
import Primitives

private struct TagBody: Encodable {
    var tag: String?
}

struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Commit everything and keep that commit.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String
    @Option(help: "Name the snapshot as well.") var tag: String?

    mutating func run() async throws {
        let path = try exportPath(name, "/snapshot")
        try await client.show(.post, path, body: TagBody(tag: tag), as: SnapshotReply.self) {
            "snapshot \($0.sequence)" + ($0.tag.map { ", tag \($0)" } ?? "")
        }
    }
}

struct SnapshotsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshots", abstract: "List the snapshots of an export.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String
    @Flag(help: "With --json: objects instead of sequence numbers.") var detail = false

    mutating func run() async throws {
        let isDetailed = detail || !client.json
        let path = try exportPath(name, "/snapshots" + (isDetailed ? "?detail=true" : ""))
        try await client.show(.get, path, as: [SnapshotReply].self) { list in
            TextTable.columns(
                ["SEQUENCE", "TAG", "ETAG"],
                list.map { snapshot in
                    ["\(snapshot.sequence)", snapshot.tag ?? "-", snapshot.manifestEtag]
                })
        }
    }
}

struct SnapshotDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot-delete", abstract: "Stop keeping a snapshot.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String
    @Argument(help: "Sequence of the snapshot.") var sequence: UInt64

    mutating func run() async throws {
        let path = try exportPath(name, "/snapshots/\(sequence)")
        try await client.show(.delete, path, as: DoneReply.self) { _ in "" }
    }
}

struct TagCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tag", abstract: "Name the last commit of an export; a tag moves.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String
    @Argument(help: "The tag.") var tag: String

    mutating func run() async throws {
        let path = try exportPath(name, "/tag")
        try await client.show(.post, path, body: TagBody(tag: tag), as: TagReply.self) {
            "tag \($0.tag) names commit \($0.sequence)"
        }
    }
}

struct TagsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tags", abstract: "List the tags of the store.")

    @OptionGroup var client: ClientOptions

    mutating func run() async throws {
        try await client.show(.get, "/api/tags", as: TagList.self) { list in
            TextTable.columns(
                ["TAG", "EXPORT", "SEQUENCE", "VOLUME"],
                list.tags.map { [$0.tag, $0.export ?? "-", "\($0.sequence)", $0.volume] })
        }
    }
}

struct RollbackCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Make an older commit the content of an export; the state before is kept.")

    private struct Body: Encodable {
        var snapshotSequence: UInt64?
        var time: String?
    }

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String
    @Option(help: "A snapshot's or a commit's number, or a time: 2026-11-22T10:00:00Z.")
    var to: String
    @Flag(help: "Yes, replace the content that clients see.") var yes = false

    mutating func validate() throws {
        guard yes else {
            throw ValidationError("rollback replaces the content of the export: confirm with --yes")
        }
    }

    mutating func run() async throws {
        let path = try exportPath(name, "/rollback")
        let number = UInt64(to)
        let body = Body(snapshotSequence: number, time: number == nil ? to : nil)
        try await client.show(
            .post, path, body: body, as: CommitReply.self
        ) {
            "rolled back; the new head is commit \($0.sequence)"
                + ($0.keptSnapshot.map { ", the state before is snapshot \($0)" } ?? "")
        }
    }
}
