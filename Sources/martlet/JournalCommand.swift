// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet journal`: what lies in the journals of a cache directory. No daemon and no store is
// needed.

import ArgumentParser
import Daemon
import Glibc
import HostIO
import Primitives

struct JournalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "journal", abstract: "Get at writes that were never published.",
        subcommands: [SalvageCommand.self])
}

struct SalvageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "salvage",
        abstract: "Write what a journal holds beyond its last commit to a block diff.",
        discussion: """
            For writers that were fenced by another host, and for volumes that a daemon refuses. \
            VOLUME-DIR is CACHE/volumes/ID on the host that wrote, or a journal's folder in it. \
            Nothing is changed there, and no store is read. The diff starts from the commit that \
            it names: export that one, and martlet diff apply gives the disk as its writer had it.
            """)

    @Option(help: "Which journal, if the folder has several.") var journal: String?
    @Option(help: "v1: as other tools read it. v2: checksums, compression.")
    var format = DiffFormat.v1
    @Option(help: "How v2 stores data.") var codec = DiffCodec.zstd
    @Flag(help: "Take what stands before flushed data that cannot be read.") var partial = false
    @Flag(help: "Replace a file that is there.") var force = false
    @Flag(help: "Print JSON.") var json = false
    @Flag(name: .customLong("no-progress"), help: "Say nothing until the end.")
    var isSilent = false
    @Argument(
        help: ArgumentHelp("A volume's folder in a cache directory.", valueName: "volume-dir"))
    var folder: String
    @Argument(help: "The diff; - for standard output.") var out: String

    func run() throws {
        var order = SalvageOrder(folder: folder, file: out)
        order.journal = journal
        order.codec = format == .v2 ? codec.codec : nil
        order.replaces = force
        order.takesPart = partial
        let meter = ProgressMeter(isSilent: isSilent)
        let clock = SystemClock()
        let start = clock.now
        let answer = try JournalSalvage.run(order) {
            meter.tell($0, $1, 0, clock.now.nanoseconds(since: start))
        }
        meter.end()
        let text = json ? answer.json : answer.lines.joined(separator: "\n")
        // Standard output is the diff's if it goes there.
        Martlet.say(text, on: out == "-" ? STDERR_FILENO : STDOUT_FILENO)
    }
}
