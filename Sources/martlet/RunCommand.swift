// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet run`: settings from their four sources, then the daemon until a signal ends it.

import ArgumentParser
import Daemon
import Foundation
import Glibc
import Primitives

/// `--config`, `--store` and `--cache`, as the daemon and the commands on the store take them.
struct SettingOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Configuration file (TOML).", valueName: "file"))
    var config: String?
    @Option(help: ArgumentHelp("The object store.", valueName: "url")) var store: String?
    @Option(help: ArgumentHelp("Folder for journals and caches.", valueName: "dir"))
    var cache: String?

    func sources(environment: [String: String]) throws(UserError) -> ConfigurationSources {
        var sources = try Self.sources(config: config, environment: environment)
        sources.flags.store = store
        sources.flags.cache = cache
        return sources
    }

    /// A repository by its URL, with the settings of a configuration file, or by a configuration
    /// file of its own.
    static func repository(
        _ text: String, config: String?
    ) throws(UserError) -> Configuration {
        let isURL = text.contains("://")
        var sources = try sources(config: isURL ? config : text, environment: Environment.all)
        if isURL { sources.flags.store = text }
        return try ConfigurationLoader.load(sources)
    }

    /// The settings of a file and of the environment.
    static func sources(
        config: String?, environment: [String: String]
    ) throws(UserError) -> ConfigurationSources {
        var sources = ConfigurationSources()
        sources.environment = environment
        if let config {
            do {
                let bytes = try Data(contentsOf: URL(filePath: config))
                guard let text = String(validating: bytes, as: UTF8.self) else {
                    throw UserError(
                        .badRequest, what: "cannot use \(config)", why: "it is not UTF-8",
                        remedy: "save it as UTF-8")
                }
                sources.file = (config, text)
            } catch let error as UserError {
                throw error
            } catch {
                throw UserError(
                    .badRequest, what: "cannot read \(config)", why: error.localizedDescription,
                    remedy: "martlet init writes a sample")
            }
        }
        return sources
    }
}

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the daemon.",
        discussion: """
            Without arguments everything is under ./martlet-data: the store, the cache and the \
            sockets; NBD also listens on 127.0.0.1:10809 and the API on 127.0.0.1:8080.
            """)

    @OptionGroup var settings: SettingOptions
    @Option(help: ArgumentHelp("Listen for NBD: unix:PATH or HOST:PORT.", valueName: "address"))
    var nbd: [String] = []
    @Option(help: ArgumentHelp("Listen for the API: unix:PATH or HOST:PORT.", valueName: "address"))
    var api: [String] = []
    @Flag(help: "Claim nothing, write nothing to the store: serve what is there read-only.")
    var readonly = false

    mutating func run() async throws {
        let environment = Environment.all
        if let text = environment[FailpointSetting.variable] {
            try FailpointSetting(parsing: text).arm()
        }
        var sources = try settings.sources(environment: environment)
        sources.flags.nbd = nbd
        sources.flags.api = api
        sources.flags.readonly = readonly
        let configuration = try ConfigurationLoader.load(sources)
        let code = try await DaemonRunner.run(configuration, logger: DaemonRunner.logger()) {
            Martlet.say($0, on: STDOUT_FILENO)
        }
        guard code == 0 else { throw ExitCode(code) }
    }
}
