// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Lays defaults, file, environment and flags over one another, later ones winning, and refuses by
// name whatever it does not know. Pure: the caller reads the file and the environment.

import ObjectStoreCloud
public import Primitives

/// What the settings come from.
public struct ConfigurationSources: Sendable {
    /// The flags of `martlet run` and of the commands on the store.
    public struct Flags: Sendable {
        public var store: String?
        public var cache: String?
        public var nbd: [String] = []
        public var api: [String] = []
        public var readonly = false
        public init() {}
    }

    /// The file's name for messages, and its text.
    public var file: (name: String, text: String)?
    public var environment: [String: String] = [:]
    public var flags = Flags()
    public init() {}
}

/// Builds a configuration from its sources.
public struct ConfigurationLoader {
    private var configuration = Configuration()
    private let environment: [String: String]
    /// Where the value at hand comes from, for messages.
    private var origin = ""

    private static let defaults = Configuration()
    private static let documents = "docs/operations/configuration.md lists every key"

    public static func load(_ sources: ConfigurationSources) throws(UserError) -> Configuration {
        var loader = ConfigurationLoader(environment: sources.environment)
        if let file = sources.file { try loader.apply(file: file.name, text: file.text) }
        try loader.applyEnvironment()
        try loader.apply(sources.flags)
        loader.configuration.cloudEnvironment = sources.environment.filter {
            S3Settings.variables.contains($0.key)
        }
        try loader.configuration.check()
        return loader.configuration
    }

    private init(environment: [String: String]) { self.environment = environment }

    // MARK: File

    private mutating func apply(file name: String, text: String) throws(UserError) {
        origin = name
        let file: ConfigurationFile
        do throws(ConfigurationFileError) {
            file = try ConfigurationFile.parse(text)
        } catch {
            throw refusal(error.message, remedy: "correct the file; martlet init writes a sample")
        }
        for assignment in file.assignments {
            if assignment.typeName == "an empty table" {
                guard Self.isSection(assignment.path) else { throw unknown(assignment.path) }
                continue
            }
            guard let key = Self.key(at: assignment.path) else { throw unknown(assignment.path) }
            let value = try expanded(assignment, name: key.path, kind: key.kind)
            try assign(key, value, to: &configuration, fallback: key.load(Self.defaults))
        }
        for (index, table) in file.exports.enumerated() {
            configuration.exports.append(try export(table, number: index + 1))
        }
    }

    private func export(
        _ table: [ConfigurationFile.Assignment], number: Int
    ) throws(UserError) -> ExportSetting {
        var setting = ExportSetting()
        for assignment in table {
            let found = ExportSetting.keys.first { $0.name == assignment.path }
            guard let key = found else {
                let nearest = NearestKey.find(assignment.path, in: ExportSetting.keys.map(\.name))
                throw refusal(
                    "unknown key \(assignment.path) in [[exports]] number \(number)",
                    remedy: "did you mean \(nearest?.word ?? "name")? " + Self.documents)
            }
            let value = try expanded(assignment, name: key.path, kind: key.kind)
            try assign(key, value, to: &setting, fallback: key.load(ExportSetting()))
        }
        return setting
    }

    /// The value with `$VAR` replaced in its strings.
    private func expanded(
        _ assignment: ConfigurationFile.Assignment, name: String, kind: SettingKind
    ) throws(UserError) -> SettingValue {
        switch assignment.value {
        case .text(let text): return .text(try expand(text, name: name))
        case .texts(let list):
            var texts: [String] = []
            for text in list { texts.append(try expand(text, name: name)) }
            return .texts(texts)
        case .some(let value): return value
        case nil:
            throw refusal(
                "\(name) is \(assignment.typeName)", remedy: "give \(kind.typeName)")
        }
    }

    private func expand(_ text: String, name: String) throws(UserError) -> String {
        do throws(VariableExpansion.Failure) {
            return try VariableExpansion.expand(text, environment)
        } catch {
            switch error {
            case .undefined(let variable):
                throw refusal(
                    "\(name) uses $\(variable), which is not set",
                    remedy: "set the variable, or write $$ for a dollar sign")
            case .malformed:
                throw refusal(
                    "\(name) has a $ that names no variable",
                    remedy: "write $NAME or ${NAME}, or $$ for a dollar sign")
            }
        }
    }

    // MARK: Environment and flags

    private mutating func applyEnvironment() throws(UserError) {
        let prefixes = Configuration.sections.map { section in
            "MARTLET_" + section.name.map { $0 == "." ? "_" : $0.uppercased() }.joined() + "_"
        }
        for variable in environment.keys.sorted() {
            guard prefixes.contains(where: { variable.hasPrefix($0) }) else { continue }
            origin = "the environment"
            guard let key = Configuration.keys.first(where: { $0.variable == variable }) else {
                let nearest = NearestKey.find(variable, in: Configuration.keys.map(\.variable))
                throw refusal(
                    "unknown variable \(variable)",
                    remedy: "did you mean \(nearest?.word ?? "")? " + Self.documents)
            }
            try apply(key, text: environment[variable] ?? "", name: variable)
        }
    }

    private mutating func apply(_ flags: ConfigurationSources.Flags) throws(UserError) {
        if let store = flags.store { try apply("storage.url", text: store, flag: "--store") }
        if flags.readonly { configuration.storage.readonly = true }
        if let cache = flags.cache { try apply("cache.dir", text: cache, flag: "--cache") }
        if !flags.nbd.isEmpty {
            for text in flags.nbd where Endpoint(parsing: text) == nil {
                origin = "the command line"
                throw refusal("--nbd is \(text)", remedy: "give unix:PATH or HOST:PORT")
            }
            configuration.nbd.unixSocket = ""
            configuration.nbd.addresses = flags.nbd
        }
        if !flags.api.isEmpty { try applyAPI(flags.api) }
    }

    private mutating func applyAPI(_ list: [String]) throws(UserError) {
        origin = "the command line"
        configuration.nbd.apiSocket = ""
        configuration.nbd.apiAddress = ""
        for text in list {
            switch Endpoint(parsing: text) {
            case .unix(let path) where configuration.nbd.apiSocket.isEmpty:
                configuration.nbd.apiSocket = path
            case .tcp where configuration.nbd.apiAddress.isEmpty:
                configuration.nbd.apiAddress = text
            case nil:
                throw refusal("--api is \(text)", remedy: "give unix:PATH or HOST:PORT")
            default:
                throw refusal(
                    "--api is given twice for the same kind of address",
                    remedy: "give at most one unix:PATH and one HOST:PORT")
            }
        }
    }

    private mutating func apply(
        _ path: String, text: String, flag: String
    ) throws(UserError) {
        origin = "the command line"
        guard let key = Self.key(at: path) else { return }
        try apply(key, text: text, name: flag)
    }

    private mutating func apply(
        _ key: SettingKey<Configuration>, text: String, name: String
    ) throws(UserError) {
        guard let value = key.parse(text) else {
            throw refusal("\(name) is \"\(text)\"", remedy: "give \(key.kind.typeName)")
        }
        try assign(
            key, value, to: &configuration, fallback: key.load(Self.defaults), name: name)
    }

    // MARK: One value

    private func assign<Root: Sendable>(
        _ key: SettingKey<Root>, _ value: SettingValue, to root: inout Root,
        fallback: SettingValue, name: String? = nil
    ) throws(UserError) {
        let name = name ?? key.path
        switch key.accept(value, fallback: fallback) {
        case .success(let typed): key.store(&root, typed)
        case .failure(.wrong(let found)):
            throw refusal("\(name) is \(found)", remedy: "give \(key.kind.typeName)")
        case .failure(.notBuilt(let choice)):
            throw refusal(
                "\(name) = \(choice) is not built yet", remedy: "give \(key.kind.typeName)")
        case .failure(.awaits(let feature)):
            throw refusal(
                "\(name) belongs to \(feature), which is not built yet", remedy: "remove it")
        }
    }

    private func refusal(_ why: String, remedy: String) -> UserError {
        UserError(
            .badRequest, what: "cannot use the configuration of \(origin)", why: why,
            remedy: remedy)
    }

    // MARK: Names

    private static func key(at path: String) -> SettingKey<Configuration>? {
        Configuration.keys.first { key in
            key.path == path || key.alias.map { key.section + "." + $0 == path } == true
        }
    }

    private static func isSection(_ path: String) -> Bool {
        Configuration.sections.contains { $0.name == path || $0.name.hasPrefix(path + ".") }
    }

    /// The error for a name that no key has, with the key it is closest to: by its whole name, or
    /// by its last part in another table.
    private func unknown(_ path: String) -> UserError {
        let whole = NearestKey.find(path, in: Configuration.keys.map(\.path))
        let name = path.split(separator: ".").last.map(String.init) ?? path
        let last = NearestKey.find(name, in: Configuration.keys.map(\.name))
        var nearest = whole?.word ?? ""
        if let whole, let last, last.edits + 1 < whole.edits,
            let key = Configuration.keys.first(where: { $0.name == last.word })
        {
            nearest = key.path
        }
        return refusal(
            "unknown key \(path)", remedy: "did you mean \(nearest)? " + Self.documents)
    }
}
