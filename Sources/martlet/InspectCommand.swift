// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet inspect` and `martlet doctor`: commands that need no daemon.

import ArgumentParser
import Daemon
import Primitives

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show what a file or an object of the store holds.",
        discussion: """
            FILE-OR-KEY is a file of this host if there is one of that name, else a key of the \
            store. Nothing is changed; what is wrong is named by its field and offset.
            """,
        subcommands: [Pack.self, Commit.self, Journal.self, Refs.self])

    struct Source: ParsableArguments {
        @OptionGroup var settings: SettingOptions
        @Flag(help: "Print JSON.") var json = false
        @Argument(help: ArgumentHelp("A file, or a key.", valueName: "file-or-key"))
        var name: String

        func inspector() throws(UserError) -> Inspector {
            let sources = try settings.sources(environment: Environment.all)
            let configuration = try ConfigurationLoader.load(sources)
            return Inspector(
                OfflineSource(name, verb: "inspect", configuration: configuration))
        }

        func show(_ inspection: Inspection) {
            print(json ? inspection.json : inspection.lines.joined(separator: "\n"))
        }
    }

    struct Pack: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The index of a pack; every member is read and its hash verified.")
        @OptionGroup var source: Source
        @Flag(help: "Show each frame, map node and table page.") var members = false

        func run() throws { source.show(try source.inspector().pack(members: members)) }
    }

    struct Commit: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "A commit with the table pages it holds itself.")
        @OptionGroup var source: Source

        func run() throws { source.show(try source.inspector().commit()) }
    }

    struct Journal: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "A journal segment, or a volume's journal and what recovery would accept.",
            discussion: """
                Takes a segment, a volume's folder, or its journal folder. Stop the daemon first: \
                a journal that is being written is seen half-way. Payloads are verified as after \
                a reboot.
                """)
        @OptionGroup var source: Source

        func run() throws { source.show(try source.inspector().journal()) }
    }

    struct Refs: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "A ref or another JSON document; with a key that ends in /, all below it.")
        @OptionGroup var source: Source

        func run() throws { source.show(try source.inspector().refs()) }
    }
}

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Find out what this host and its store can do.",
        discussion: "Exits with 1 if something keeps a daemon from serving well here.")

    @OptionGroup var settings: SettingOptions
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
        let sources = try settings.sources(environment: Environment.all)
        let report = Doctor.examine(try ConfigurationLoader.load(sources))
        print(json ? report.json : report.lines.joined(separator: "\n"))
        guard report.problems.isEmpty else { throw ExitCode(1) }
    }
}
