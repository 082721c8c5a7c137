// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet copy`: disks from one repository to another. No daemon is needed in either.

import ArgumentParser
import Daemon
import Documents
import Glibc
import ImageTools
import Primitives

struct CopyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "copy", abstract: "Copy disks to another repository.",
        discussion: """
            SOURCE and DESTINATION are URLs of stores, or configuration files where their \
            credentials or endpoints differ. NAME is an export, or base:NAME. Copies the last \
            commit, with --snapshots every snapshot under its number and the tags of what is \
            copied. Repeated, it copies what is new; broken off, it goes on where it ended. A name \
            that was written at the destination is refused.
            """)

    @Option(help: ArgumentHelp("Settings for stores given as URLs (TOML).", valueName: "file"))
    var config: String?
    @Flag(help: "Snapshots and tags, too.") var snapshots = false
    @Option(help: "Requests under way at one time, to either store.") var threads = 16
    @Flag(help: "Print JSON.") var json = false
    @Flag(name: .customLong("no-progress"), help: "Say nothing until the end.")
    var isSilent = false
    @Argument(help: "The repository to copy from.") var source: String
    @Argument(help: "The repository to copy to.") var destination: String
    @Argument(help: "Exports and bases.") var names: [String]

    func validate() throws {
        guard (1...64).contains(threads) else { throw ValidationError("from 1 to 64 threads") }
    }

    func run() throws {
        var order = CopyOrder(names)
        order.takesSnapshots = snapshots
        order.threads = threads
        let meter = ProgressMeter(isSilent: isSilent)
        defer { meter.end() }
        let report = try StoreCopy.run(
            from: try SettingOptions.repository(source, config: config),
            to: try SettingOptions.repository(destination, config: config), order
        ) { meter.tell($0.doneBytes, $0.totalBytes, 0, $1) }
        meter.end()
        print(json ? report.json.text : report.lines.joined(separator: "\n"))
    }
}
