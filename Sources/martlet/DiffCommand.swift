// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet diff`: block diffs of files of this host, and their way into a store. No daemon is
// needed.

import ArgumentParser
import Daemon
import Documents
import HostIO
import ImageTools
import Primitives

struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Make, apply and look into block diffs of files.",
        discussion: """
            A block diff holds what a disk image has that another, its base, has not. On file \
            systems with reflinks (XFS, btrfs) what both share is not read.
            """,
        subcommands: [DiffCreateCommand.self, DiffApplyCommand.self, DiffViewCommand.self])
}

/// The version of a diff's format.
enum DiffFormat: String, ExpressibleByArgument, CaseIterable {
    case v1
    case v2

    var version: Int { self == .v1 ? 1 : 2 }
}

/// How pieces of version 2 are stored.
enum DiffCodec: String, ExpressibleByArgument, CaseIterable {
    case zstd
    case lz4
    case none

    var codec: Codec {
        switch self {
        case .zstd: .zstd
        case .lz4: .lz4
        case .none: .raw
        }
    }
}

struct DiffCreateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Write what TARGET has that BASE has not.")

    @Argument(help: "The diff; - for standard output.") var out: String
    @Argument(help: "The image that the diff leads to.") var target: String
    @Option(help: "The image that the diff starts from; nothing if it is left out.")
    var base: String?
    @Option(help: "v1: as other tools read it. v2: digests, checksums, compression.")
    var format = DiffFormat.v1
    @Option(help: "How v2 stores data.") var codec = DiffCodec.zstd
    @Flag(
        name: .customLong("no-digests"),
        help: "v2 without reading both images in full: a wrong base shows by its size only.")
    var skipsDigests = false
    @Flag(help: "Replace the diff if it exists.") var force = false
    @Flag(name: .customLong("no-progress"), help: "Say nothing until the end.")
    var isSilent = false

    func run() throws {
        try DiffCalls.run("cannot diff \(target)", isSilent: isSilent) { tool in
            var options = DiffCreation()
            options.version = format.version
            options.codec = codec.codec
            options.takesDigests = !skipsDigests
            options.replaces = force
            let made = try tool.create(
                try DiffCalls.end(out, .output), target: try ImagePlace(path: target),
                base: try base.map { try ImagePlace(path: $0) }, options)
            if out != "-" {
                print(
                    "\(out): \(made.rangeCount) ranges, \(ByteSize.text(made.changedBytes)) of"
                        + " \(ByteSize.text(made.head.targetBytes)) differ")
            }
        }
    }
}

struct DiffApplyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "apply", abstract: "Make the image, or the export, that a diff leads to.",
        discussion: """
            With export:NAME as the target a new export is made in the store, without a daemon: a \
            fork of BASE (NAME, NAME@SEQ, NAME@TIME, tag:T, base:B) and the changes as one commit. \
            It is there whole or not at all.
            """)

    @OptionGroup var settings: SettingOptions
    @Argument(help: "The diff; - for standard input.") var diff: String
    @Argument(help: "The image to make, or export:NAME.") var target: String
    @Option(help: "The image, or the SOURCE in the store, that the diff starts from.")
    var base: String?
    @Flag(name: .customLong("trust-base"), help: "Do not check the digest of the base.")
    var trustsBase = false
    @Flag(help: "Replace the image if it exists.") var force = false
    @Flag(name: .customLong("no-progress"), help: "Say nothing until the end.")
    var isSilent = false

    /// The name behind `export:`; nil for a file.
    private var export: String? {
        target.hasPrefix("export:") ? String(target.dropFirst("export:".count)) : nil
    }

    func validate() throws {
        guard export == nil || !force else {
            throw ValidationError("an export that exists is never replaced: leave out --force")
        }
        guard export != nil || (settings.store ?? settings.config ?? settings.cache) == nil else {
            throw ValidationError("a store is of use for export:NAME only")
        }
    }

    func run() throws {
        if let export { return try apply(to: export) }
        try DiffCalls.run("cannot apply \(diff)", isSilent: isSilent) { tool in
            var options = DiffApplication()
            options.trustsBase = trustsBase
            options.replaces = force
            let made = try tool.apply(
                try DiffCalls.end(diff, .input), target: try ImagePlace(path: target),
                base: try base.map { try ImagePlace(path: $0) }, options)
            print(
                "\(target): \(ByteSize.text(made.head.targetBytes)),"
                    + " \(ByteSize.text(made.changedBytes)) from the diff")
        }
    }
}

extension DiffApplyCommand {
    private func apply(to export: String) throws {
        guard let name = RefName(export) else {
            throw UserError(
                .badRequest, what: "cannot apply to \"\(export.prefix(140))\"",
                why: "it is not a valid name", remedy: "name it export:NAME")
        }
        let configuration = try ConfigurationLoader.load(
            try settings.sources(environment: Environment.all))
        let meter = ProgressMeter(isSilent: isSilent)
        defer { meter.end() }
        Interrupts.catchFirst()
        let clock = SystemClock()
        let start = clock.now
        let report = try ImageIngest.apply(
            configuration, diff, to: name, base: base, trustsBase: trustsBase
        ) { done, total in
            meter.tell(done, total, 0, clock.now.nanoseconds(since: start))
            return !Interrupts.wasCaught
        }
        meter.end()
        print(report.lines.joined(separator: "\n"))
    }
}

struct DiffViewCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "view", abstract: "List what a diff holds.")

    @Argument(help: "The diff; - for standard input.") var diff: String
    @Flag(help: "Read the data, too, and check it.") var check = false
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        try DiffCalls.run("cannot read \(diff)", isSilent: true, makesFiles: false) { tool in
            if check {
                guard diff != "-" else {
                    throw UserError(
                        .badRequest, what: "cannot check standard input",
                        why: "it can be read once only", remedy: "name a file")
                }
                _ = try tool.check(try DiffCalls.end(diff, .input))
            }
            try DiffText.view(try DiffCalls.end(diff, .input), by: tool, isJSON: json) {
                print($0)
            }
        }
    }
}

/// What the commands have in common.
enum DiffCalls {
    typealias Tool = BlockDiffTool<HostDirectory>

    static func end(
        _ path: String, _ stream: HostStream
    ) throws(ImageFileError) -> DiffEnd<HostDirectory> {
        path == "-" ? .stream(stream) : .file(try ImagePlace(path: path))
    }

    /// Runs with a line of progress. What makes files ends cleanly on an interrupt.
    static func run(
        _ what: String, isSilent: Bool, makesFiles: Bool = true, _ body: (Tool) throws -> Void
    ) throws {
        let meter = ProgressMeter(isSilent: isSilent)
        let clock = SystemClock()
        let start = clock.now
        var random = SystemRandom()
        if makesFiles { Interrupts.catchFirst() }
        let tool = Tool(token: random.next()) { done, total in
            meter.tell(done, total, 0, clock.now.nanoseconds(since: start))
            return !Interrupts.wasCaught
        }
        do {
            try body(tool)
            meter.end()
        } catch let error as BlockDiffError {
            meter.end()
            throw error.forUser(what)
        } catch let error as ImageFileError {
            meter.end()
            throw BlockDiffError(error).forUser(what)
        }
    }
}
