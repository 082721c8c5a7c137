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
            SOURCE is NAME (the last commit), NAME@SEQ, tag:T or base:B. Reads the store alone, \
            beside daemons, and checks every hash. The file is there whole or not at all. What an \
            export holds beyond its last commit is not in it: martlet drain, or take a snapshot.
            """)

    enum Format: String, CaseIterable, ExpressibleByArgument {
        case raw
        case qcow2

        var order: ExportOrder.Format {
            switch self {
            case .raw: .raw
            case .qcow2: .qcow2
            }
        }
    }

    @OptionGroup var settings: SettingOptions
    @Option(help: "raw or qcow2.") var format = Format.raw
    @Flag(help: "Compress the clusters of a qcow2 image with zstd.") var compress = false
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
        order.format = format.order
        order.compresses = compress
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
