// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Commands that make, show and remove exports.

import AdminAPI
import ArgumentParser
import Primitives

struct CreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Create an export, or fork one.",
        discussion: """
            SOURCE is export:NAME, snapshot:NAME@SEQ, tag:T, base:B, or a bare name that is looked \
            up in that order. Repeating a create is harmless; a larger size grows the export.
            """)

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String
    @Option(help: "Size: bytes, or a number with K, M, G or T (binary).") var size: ByteSize?
    @Option(name: .customLong("block-size"), help: "Bytes of a block, a power of two.")
    var blockSize: ByteSize?
    @Option(help: ArgumentHelp("Fork from this.", valueName: "source")) var from: String?
    @Flag(help: "Serve it read-only.") var readonly = false
    @Option(help: "nbd or none.") var transport: String?

    mutating func validate() throws {
        guard size != nil || from != nil else {
            throw ValidationError("a new export needs --size, or --from to fork")
        }
    }

    mutating func run() async throws {
        var request = PutExportRequest()
        request.sizeBytes = size?.bytes
        request.blockSize = blockSize.map { Int(clamping: $0.bytes) }
        request.readonly = readonly ? true : nil
        request.transport = transport
        request.from = from
        try await client.show(.put, exportPath(name), body: request, as: ExportReply.self) {
            ExportText.fields($0)
        }
    }
}

struct ListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the exports of the store.")

    @OptionGroup var client: ClientOptions

    mutating func run() async throws {
        try await client.show(.get, "/api/exports", as: ExportList.self) { list in
            TextTable.columns(
                ["NAME", "SIZE", "BLOCK", "MODE", "TRANSPORT", "STATE"],
                list.exports.map { export in
                    [
                        export.name, ByteSize.text(export.sizeBytes),
                        ByteSize.text(UInt64(export.blockSize)),
                        export.readonly ? "ro" : "rw", export.transport, export.state,
                    ]
                })
        }
    }
}

struct InfoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info", abstract: "Describe an export.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String

    mutating func run() async throws {
        try await client.show(.get, exportPath(name), as: ExportReply.self) {
            ExportText.fields($0)
        }
    }
}

struct ResizeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resize", abstract: "Grow an export.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String
    @Option(help: "The new size: bytes, or a number with K, M, G or T (binary).")
    var size: ByteSize

    mutating func run() async throws {
        // A PUT would create what is not there.
        _ = try await client.client().call(.get, exportPath(name))
        var request = PutExportRequest()
        request.sizeBytes = size.bytes
        try await client.show(.put, exportPath(name), body: request, as: ExportReply.self) {
            ExportText.fields($0)
        }
    }
}

struct DeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Stop serving an export; its volume stays in the store.")

    @OptionGroup var client: ClientOptions
    @Argument(help: "Name of the export.") var name: String
    @Flag(help: "Give up the volume and its snapshots as well, for ever.") var purge = false

    mutating func run() async throws {
        let query = purge ? "?purge=true" : ""
        try await client.show(.delete, exportPath(name) + query, as: DoneReply.self) { _ in "" }
    }
}

/// An export for people.
enum ExportText {
    static func fields(_ info: ExportReply) -> String {
        TextTable.fields([
            ("name", info.name),
            ("size", "\(ByteSize.text(info.sizeBytes)) (\(info.sizeBytes) bytes)"),
            ("block size", ByteSize.text(UInt64(info.blockSize))),
            ("mode", info.readonly ? "read-only" : "read-write"),
            ("transport", info.transport), ("state", info.state),
            ("attached", info.attached.map { $0 ? "yes" : "no" }), ("device", info.device),
            ("volume", info.volume),
            ("from", info.from), ("forked at", info.sourceSequence.map { "commit \($0)" }),
            ("source age", info.sourceAgeSecs.map { "\($0) s" }),
            (
                "note",
                info.sourceIsCurrent == false
                    ? "the source is served elsewhere: its later writes are not in the fork" : nil
            ),
        ])
    }
}
