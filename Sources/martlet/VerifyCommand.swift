// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet verify`: is everything in the store whole? With --repair, what is not is made whole from
// where the operator says. Exit 1 on any fault that is left.

import ArgumentParser
import Daemon
import Documents
import Glibc
import Primitives

/// A share of the whole: `5%`, `0.1%`, `100%`.
struct Share: Equatable, ExpressibleByArgument {
    /// 1 to 1,000,000.
    let millionths: UInt64

    init(millionths: UInt64) { self.millionths = millionths }

    var defaultValueDescription: String { "100%" }

    /// Nil for anything but a number with at most four decimals and a percent sign, above 0 and at
    /// most 100.
    init?(argument: String) {
        guard argument.last == "%" else { return nil }
        let parts = argument.dropLast().split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, parts.allSatisfy({ !$0.isEmpty && $0.utf8.count <= 4 }),
            parts.allSatisfy({ $0.allSatisfy { $0.isASCII && $0.isNumber } }),
            let whole = UInt64(parts[0])
        else { return nil }
        var fraction: UInt64 = 0
        if parts.count == 2 {
            let digits = parts[1] + String(repeating: "0", count: 4 - parts[1].utf8.count)
            fraction = UInt64(digits) ?? 0
        }
        millionths = whole * 10_000 + fraction
        guard (1...1_000_000).contains(millionths) else { return nil }
    }
}

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Check that everything in the store is whole.",
        discussion: """
            Reads every ref, commit, table, map node and frame, and checks their hashes. A fault \
            is named with its object and with the bytes of every disk that cannot be read for it. \
            Needs no daemon and may run beside some. Exits with 1 if anything is not whole.

            With --repair, damaged and missing packs and commits are put back under their own \
            keys, from the places given and only with bytes that have every hash that anything \
            names. Then everything is checked again: the exit is 0 if all is whole at the end.
            """)

    @OptionGroup var settings: SettingOptions
    @Option(help: ArgumentHelp("Read this share of the data: 5%.", valueName: "share"))
    var sample = Share(millionths: 1_000_000)
    @Option(
        name: .customLong("repair"),
        help: ArgumentHelp(
            "Repair what is damaged: from=URL takes it from another repository (or a configuration "
                + "file that names it), cache from this host's daemon and cache directory; "
                + "last-good has the daemon roll exports that stay damaged back to their newest "
                + "whole commit. May be given several times.", valueName: "how"))
    var repairs: [String] = []
    @Option(
        name: .customLong("api"),
        help: ArgumentHelp(
            "The daemon's API for cache and last-good: unix:PATH or HOST:PORT (also MARTLET_API).",
            valueName: "address"))
    var address: String?
    @Option(help: "Requests under way at one time.") var threads = 16
    @Flag(help: "Print JSON.") var json = false
    @Flag(name: .customLong("no-progress"), help: "Say nothing until the end.")
    var isSilent = false
    @Argument(help: "An export with its snapshots, a tag or a base; all if it is left out.")
    var name: String?

    func validate() throws {
        guard (1...256).contains(threads) else {
            throw ValidationError("from 1 to 256 threads")
        }
        guard !repairs.contains("last-good") || sample.millionths == 1_000_000 else {
            throw ValidationError("a sample cannot tell which commit is whole: read all of it")
        }
    }

    func run() throws {
        var options = RepositoryCheckOptions()
        options.sample = sample.millionths
        options.threads = threads
        if let name {
            guard let valid = RefName(name) else {
                throw UserError(
                    .badRequest, what: "cannot verify \"\(name.prefix(140))\"",
                    why: "it is not a valid name", remedy: "see martlet list")
            }
            options.name = valid
        }
        let daemon = try daemon()
        defer { daemon?.end() }
        try addRepairs(daemon, to: &options)
        let sources = try settings.sources(environment: Environment.all)
        let meter = ProgressMeter(isSilent: isSilent)
        let verdict = try RepositoryCheck.run(
            try ConfigurationLoader.load(sources), options, progress: meter.tell)
        meter.end()
        print(json ? verdict.json : verdict.lines.joined(separator: "\n"))
        guard verdict.isWhole else { throw ExitCode(1) }
    }
}

extension VerifyCommand {
    /// The daemon, if a repair needs it.
    private func daemon() throws(UserError) -> BlockingClient? {
        guard repairs.contains("cache") || repairs.contains("last-good") else { return nil }
        let endpoint = try ClientOptions.endpoint(address, environment: Environment.all)
        return BlockingClient(APIClient(endpoint: endpoint))
    }

    /// The cache first: what is at hand costs no request to any store.
    private func addRepairs(
        _ daemon: BlockingClient?, to options: inout RepositoryCheckOptions
    ) throws(UserError) {
        for how in repairs {
            if how == "cache", let daemon {
                let cache = RepairPlace.cache { hash throws(UserError) in try daemon.block(hash) }
                options.repairs.insert(cache, at: 0)
            } else if how == "last-good" {
                options.rollbacks = daemon
            } else if how.hasPrefix("from="), how.count > "from=".count {
                let place = String(how.dropFirst("from=".count))
                options.repairs.append(
                    .repository(try SettingOptions.repository(place, config: settings.config)))
            } else {
                throw UserError(
                    .badRequest, what: "cannot repair \"\(how.prefix(140))\"",
                    why: "it names no way to repair", remedy: "give from=URL, cache or last-good")
            }
        }
    }
}

/// How far a long command has come, on stderr: a line that is written over on a terminal, else one
/// every ten seconds. Confined to the thread of the command.
final class ProgressMeter {
    private let isSilent: Bool
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private var toldAt: UInt64 = 0
    private var width = 0

    init(isSilent: Bool) { self.isSilent = isSilent }

    func tell(_ done: UInt64, _ total: UInt64, _ faults: Int, _ nanoseconds: UInt64) {
        let pause: UInt64 = isTerminal ? 200_000_000 : 10_000_000_000
        guard !isSilent, nanoseconds > 1_000_000_000, nanoseconds - toldAt >= pause else { return }
        toldAt = nanoseconds
        let line = Self.line(done, total, faults, nanoseconds)
        guard isTerminal else { return Martlet.say(line, on: STDERR_FILENO) }
        let padding = String(repeating: " ", count: max(0, width - line.count))
        width = line.count
        write("\r" + line + padding)
    }

    /// Leaves a clean line behind.
    func end() {
        guard isTerminal, width > 0 else { return }
        write("\r" + String(repeating: " ", count: width) + "\r")
        width = 0
    }

    static func line(
        _ done: UInt64, _ total: UInt64, _ faults: Int, _ nanoseconds: UInt64
    ) -> String {
        let milliseconds = max(1, nanoseconds / 1_000_000)
        let rate = max(1, done / milliseconds * 1000)
        var line = "\(ByteSize.text(done))"
        if total > done {
            let percent = done / max(1, total / 100)
            line += " of about \(ByteSize.text(total)), \(min(99, percent)) %"
        }
        line += ", \(ByteSize.text(rate))/s"
        if total > done { line += ", \((total - done) / rate) s left" }
        if faults > 0 { line += ", \(faults) faults" }
        return line
    }

    private func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count)
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
