// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet gc`: deletes what nobody needs from the store.

import ArgumentParser
import Daemon
import Maintenance
import Primitives

/// A span of time on the command line: `90s`, `10m`, `24h`, `30d`.
struct TimeSpan: ExpressibleByArgument {
    let seconds: UInt64

    init?(argument: String) {
        guard let seconds = parseDuration(argument) else { return nil }
        self.seconds = seconds
    }

}

struct CollectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc", abstract: "Delete what nobody needs from the store.",
        discussion: """
            Two runs take something away: the first condemns what no export, snapshot, tag, base, \
            reader or policy.retain needs, a later one deletes it if that is still so. Safe beside \
            daemons and beside another gc; a run that was broken off is finished by the next.
            """)

    @OptionGroup var settings: SettingOptions
    @Flag(help: "Tell what a run would do; change nothing.") var dryRun = false
    @Option(
        help: ArgumentHelp(
            "Time between condemning and deleting; gc.grace_period_secs if left out.",
            valueName: "time"))
    var gracePeriod: TimeSpan?
    @Option(help: "Objects to delete at most; gc.max_deletes if left out.") var maxDeletes: Int?
    @Option(
        help: ArgumentHelp(
            "Accepted for scripts made for other tools, and not used: the state is in the store.",
            valueName: "file"))
    var stateFile: String?
    @Option(
        help: ArgumentHelp(
            "Give up a reader, a stop, or an export that nobody finishes, instead of collecting.",
            valueName: "id"))
    var abandon: String?
    @Option(
        help: ArgumentHelp(
            "Delete snapshots that are older first; the newest of a name always stays.",
            valueName: "time"))
    var snapshotRetention: TimeSpan?
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
        guard maxDeletes ?? 0 >= 0 else { throw ValidationError("--max-deletes is 0 or more") }
        guard abandon == nil || snapshotRetention == nil else {
            throw ValidationError("--abandon collects nothing: leave --snapshot-retention out")
        }
    }

    func run() throws {
        let configuration = try ConfigurationLoader.load(
            try settings.sources(environment: Environment.all))
        var order = try CollectionOrder(configuration)
        if let gracePeriod { order.gracePeriodSeconds = gracePeriod.seconds }
        if let maxDeletes { order.deletesMax = maxDeletes }
        if let snapshotRetention { order.snapshotRetentionSeconds = snapshotRetention.seconds }
        order.isDryRun = dryRun
        order.abandon = abandon
        let answer = try GarbageCollection.run(configuration, order)
        print(json ? answer.json : answer.lines.joined(separator: "\n"))
    }
}
