// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet bench`: measured numbers of this host and its store.

import ArgumentParser
import Daemon
import Primitives

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure this host and its store.",
        subcommands: [Store.self])

    struct Store: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "How fast objects go to the store and come back.",
            discussion: """
                Makes objects of random bytes below probe/, reads them whole and in pieces, and \
                removes them. Moves some 300 MB at its defaults.
                """)

        @OptionGroup var settings: SettingOptions
        @Option(help: ArgumentHelp("Bytes of an object.", valueName: "size"))
        var size = ByteSize(bytes: 4 << 20)
        @Option(help: "Objects to make.") var objects = 32
        @Option(help: ArgumentHelp("Bytes of a small read.", valueName: "size"))
        var pieceSize = ByteSize(bytes: 128 << 10)
        @Option(help: "Small reads to make.") var pieces = 512
        @Option(help: "Requests under way at one time.") var threads = 4
        @Flag(help: "Print JSON.") var json = false

        func validate() throws {
            guard (4096...(1 << 30)).contains(size.bytes), (1...100_000).contains(objects),
                (1...(1 << 30)).contains(pieceSize.bytes), (1...1_000_000).contains(pieces),
                (1...64).contains(threads)
            else {
                throw ValidationError(
                    "sizes from 4K to 1G, at least one of each, and at most 64 threads")
            }
        }

        func run() throws {
            var options = StoreBenchOptions()
            options.objectBytes = Int(size.bytes)
            options.objects = objects
            options.pieceBytes = Int(pieceSize.bytes)
            options.pieces = pieces
            options.threads = threads
            let sources = try settings.sources(environment: Environment.all)
            let report = try StoreBench.run(try ConfigurationLoader.load(sources), options)
            print(json ? report.json : report.lines.joined(separator: "\n"))
        }
    }
}
