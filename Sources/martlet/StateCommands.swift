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
            TextTable.fields(
                Self.state(of: status) + Self.problems(of: status) + Self.account(of: status))
        }
    }

    private typealias Fields = [(String, String?)]

    private static func state(of status: StatusReply) -> Fields {
        let journal = "\(ByteSize.text(status.journalBytes)) in \(status.journalSegments) segments"
        let unpublished =
            "\(ByteSize.text(status.unpublishedBytes)), oldest \(status.unpublishedAgeSecs) s"
        return [
            ("name", status.name), ("state", status.operationState), ("failed", status.failed),
            ("size", ByteSize.text(status.sizeBytes)), ("sequence", "\(status.sequence)"),
            ("epoch", "\(status.epoch)"),
            ("clients", "\(status.writers) writing, \(status.readers) reading"),
            ("journal", journal), ("dirty blocks", "\(status.dirtyBlocks)"),
            ("unpublished", unpublished),
        ]
    }

    private static func problems(of status: StatusReply) -> Fields {
        let takeover = status.uncleanTakeover.map { takeover in
            "epoch \(takeover.epoch) after commit \(takeover.sequence); "
                + "confirm with martlet acknowledge \(status.name)"
        }
        let slowed = status.slowdownPercent == 0 ? nil : "\(status.slowdownPercent) %"
        let away = status.storeAwaySecs == 0 ? nil : "\(status.storeAwaySecs) s"
        let held = status.unreturnedSegments
        return [
            ("stalled", status.stalled), ("writers slowed", slowed), ("store away", away),
            ("last error", status.lastError),
            ("unreturned", held == 0 ? nil : "\(held) journal segments"),
            ("unclean take-over", takeover),
        ]
    }

    private static func account(of status: StatusReply) -> Fields {
        [
            ("store requests", status.storeRequests.map { requests($0) }),
            ("cost", status.cost.map { cost($0) }),
        ]
    }
}

/// Requests in one line.
private func requests(_ counts: StatusReply.StoreRequests) -> String {
    "\(counts.put) PUT, \(counts.get) GET, \(counts.head) HEAD, \(counts.list) LIST, "
        + "\(counts.delete) DELETE; \(ByteSize.text(counts.sentBytes)) sent, "
        + "\(ByteSize.text(counts.receivedBytes)) received"
}

private func cost(_ cost: StatusReply.Cost) -> String {
    func dollars(_ value: Double) -> String { "$\((value * 100).rounded() / 100)" }
    let stored = cost.storedUsdPerMonth.map { ", stored bytes \(dollars($0))" } ?? ""
    return "about \(dollars(cost.requestsUsdPerMonth)) a month for requests\(stored)"
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

struct ResetCacheCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset-cache",
        abstract: "Throw away what this host holds of an export, and open it from the store.",
        discussion: """
            Writes that no commit has yet are lost, flushed or not: the export goes back to its \
            last commit, and says so as after an unclean take-over. The way out where a journal \
            is damaged or not wanted; martlet journal salvage saves what it holds before.
            """)

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String
    @Flag(help: "Yes, lose what was not committed.") var yes = false

    mutating func validate() throws {
        guard yes else {
            throw ValidationError(
                "reset-cache loses every write that is not committed: confirm with --yes")
        }
    }

    mutating func run() async throws {
        try await client.show(.post, exportPath(name, "/cache/reset"), as: ResetReply.self) {
            let lost = $0.discardedUnpublishedBytes.map {
                $0 == 0 ? "nothing unpublished" : "\($0) bytes that no commit had"
            }
            return
                "discarded \(lost ?? "what the journal held"), \($0.discardedJournalBytes) bytes "
                + "of journal; it starts from commit \($0.sequence)"
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
