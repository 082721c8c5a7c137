// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet export`: the disk of a commit as a file.

import ArgumentParser
import Daemon
import Glibc
import Primitives

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write the disk of an export, a snapshot, a tag or a base to a file.",
        discussion: """
            SOURCE is NAME (the last commit), NAME@SEQ, NAME@TIME (the last commit by then, as \
            2026-11-22T10:00:00Z), tag:T or base:B. Reads the store alone, \
            beside daemons, and checks every hash. The file is there whole or not at all. What an \
            export holds beyond its last commit is not in it: martlet drain, or take a snapshot. \
            With --since only what changed is read, and written as a block diff, which martlet \
            diff apply turns into the newer disk.
            """)

    enum Format: String, CaseIterable, ExpressibleByArgument {
        case raw
        case qcow2
        case bdiff
        case bdiffV2 = "bdiff-v2"

        var order: ExportOrder.Format {
            switch self {
            case .raw: .raw
            case .qcow2: .qcow2
            case .bdiff: .blockDiff
            case .bdiffV2: .blockDiffV2
            }
        }
    }

    @OptionGroup var settings: SettingOptions
    @Option(help: "raw, qcow2, bdiff or bdiff-v2; raw if left out, with --since bdiff.")
    var format: Format?
    @Option(help: "What the diff starts from: a SEQ of the same name, or another SOURCE.")
    var since: String?
    @Flag(help: "Compress the clusters of qcow2, the pieces of bdiff-v2, with zstd.")
    var compress = false
    @Flag(help: "bdiff-v2: digests, so that a wrong base is refused; reads both disks in full.")
    var digests = false
    @Flag(help: "Replace a file that is there.") var force = false
    @Option(help: "Requests under way at one time.") var threads = 16
    @Flag(help: "Print JSON.") var json = false
    @Flag(name: .customLong("no-progress"), help: "Say nothing until the end.")
    var isSilent = false
    @Argument(help: "What to export.") var source: String
    @Argument(help: "The file; - for standard output.") var file: String

    func validate() throws {
        guard (1...256).contains(threads) else {
            throw ValidationError("from 1 to 256 threads")
        }
        guard !file.isEmpty, file.last != "/" else {
            throw ValidationError("FILE is the name of a file, or - for standard output")
        }
    }

    func run() throws {
        var order = ExportOrder(source: source, file: file)
        order.format = format?.order ?? (since == nil ? .raw : .blockDiff)
        order.since = since
        order.compresses = compress
        order.takesDigests = digests
        order.replaces = force
        order.threads = threads
        let sources = try settings.sources(environment: Environment.all)
        let meter = ProgressMeter(isSilent: isSilent)
        let answer = try VolumeImage.export(try ConfigurationLoader.load(sources), order) {
            meter.tell($0, $1, 0, $2)
        }
        meter.end()
        let text = json ? answer.json : answer.lines.joined(separator: "\n")
        // Standard output is the image's if it goes there.
        Martlet.say(text, on: file == "-" ? STDERR_FILENO : STDOUT_FILENO)
    }
}
