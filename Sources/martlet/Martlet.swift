// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The command line: one binary for the daemon and the tools. Exit codes: 0 success, 1 failure, 2
// usage. Errors go to stderr as `martlet: what : why : what to do`.

import ArgumentParser
import Glibc
import Primitives

@main
enum Martlet {
    static func main() async {
        Limits.check()
        exit(await run(Array(CommandLine.arguments.dropFirst())))
    }

    /// Runs one command line; the exit code.
    static func run(_ arguments: [String]) async -> Int32 {
        if let word = arguments.first, let refusal = LaterCommands.refusal(of: word) {
            complain(refusal)
            return 2
        }
        do {
            var command = try MartletCommand.parseAsRoot(arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            return 0
        } catch let error as UserError {
            complain(error.description)
            return error.kind == .badRequest ? 2 : 1
        } catch {
            return report(error)
        }
    }

    /// The parser's own outcomes: help and version are success, everything else is usage.
    private static func report(_ error: any Error) -> Int32 {
        if let code = error as? ExitCode { return code.rawValue }
        guard MartletCommand.exitCode(for: error) != .success else {
            print(MartletCommand.fullMessage(for: error))
            return 0
        }
        let message = MartletCommand.message(for: error)
        complain("cannot read the command line : \(message) : see martlet --help")
        return 2
    }

    /// One line on stderr.
    static func complain(_ message: String) {
        let line = message.split(separator: "\n").joined(separator: " ")
        say("martlet: \(line)", on: STDERR_FILENO)
    }

    /// Writes a line at once. Not through the C library's streams: mutable globals that buffer.
    static func say(_ line: String, on descriptor: Int32) {
        var rest = Array("\(line)\n".utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

struct MartletCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet",
        abstract: "Block devices that live in an object store.",
        version: "martlet \(Version.text)",
        groupedSubcommands: [
            CommandGroup(name: "Daemon", subcommands: [InitCommand.self, RunCommand.self]),
            CommandGroup(
                name: "Exports",
                subcommands: [
                    CreateCommand.self, ListCommand.self, InfoCommand.self, ResizeCommand.self,
                    DeleteCommand.self, StatusCommand.self, OpenCommand.self,
                    PromoteCommand.self, DrainCommand.self, AcknowledgeCommand.self,
                    CompactCommand.self, ResetCacheCommand.self,
                ]),
            CommandGroup(
                name: "History",
                subcommands: [
                    SnapshotCommand.self, SnapshotsCommand.self, SnapshotDeleteCommand.self,
                    TagCommand.self, TagsCommand.self, RollbackCommand.self,
                ]),
            CommandGroup(
                name: "Without a daemon",
                subcommands: [
                    BlessCommand.self, ImportCommand.self, ExportCommand.self,
                    DiffCommand.self, CopyCommand.self, JournalCommand.self, VerifyCommand.self,
                    CollectCommand.self, InspectCommand.self,
                    DoctorCommand.self,
                    BenchCommand.self,
                ]),
        ])
}

enum Version {
    static let text = "0.1.0"
}
