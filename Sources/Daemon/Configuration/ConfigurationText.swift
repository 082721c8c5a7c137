// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The table of keys as text: the sample file of `martlet init` and
// docs/operations/configuration.md, which a test compares with this.

extension Configuration {
    /// A commented `martlet.toml` with every key at its default.
    public static var sampleFile: String {
        var lines = [
            "# Martlet configuration. Every key is here, commented out, at its default.",
            "# Variables override it: MARTLET_<SECTION>_<KEY>, for example MARTLET_CACHE_DIR.",
            "# $NAME in a string is replaced by the environment variable; $$ is a dollar sign.",
        ]
        let defaults = Configuration()
        for section in sections {
            lines += ["", "# \(section.summary)", "[\(section.name)]"]
            for key in keys where key.section == section.name {
                lines += wrap("\(key.summary)\(laterNote(key))", prefix: "# ", width: 98)
                lines.append("#\(key.name) = \(key.load(defaults).literal)")
            }
        }
        lines += ["", "# An export that the daemon makes sure of at start."]
        lines += ["#[[exports]]"]
        for key in ExportSetting.keys {
            lines += wrap(key.summary, prefix: "# ", width: 98)
            lines.append("#\(key.name) = \(exampleLiteral(key))")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The reference page of the documents.
    public static var referencePage: String {
        var lines = [
            "# Configuration", "",
            "Made from the table of keys in `Sources/Daemon/Configuration`; a test compares them.",
            "",
            "Later sources win: built-in defaults, the file (`martlet run --config martlet.toml`),",
            "the environment (the variable of each key), the flags `--store`, `--cache`, `--nbd`,",
            "`--api`. `martlet init` writes a commented file. An unknown key or variable is",
            "refused with the nearest known one. In the strings of a file `$NAME` and `${NAME}`",
            "are replaced by environment variables, `$$` is a dollar sign, and an undefined",
            "variable is an error. Lists in variables are separated by commas. Secrets are never",
            "logged.", "",
            "Sizes in `_gb` count 10^9 bytes, sizes in `_mb` count 2^20 bytes.",
            "*Not built yet*: the key is known, and any value but its default is refused by name.",
        ]
        let defaults = Configuration()
        for section in sections {
            lines += ["", "## [\(section.name)]", "", section.summary, ""]
            lines += tableHead("Variable")
            for key in keys where key.section == section.name {
                lines.append(row(key, fallback: key.load(defaults), variable: key.variable))
            }
        }
        lines += [
            "", "## [[exports]]", "",
            "Exports that the daemon makes sure of at start, as if each had been created by name.",
            "They stand in the file only.", "",
        ]
        lines += tableHead(nil)
        for key in ExportSetting.keys {
            lines.append(row(key, fallback: key.load(ExportSetting()), variable: nil))
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func tableHead(_ last: String?) -> [String] {
        let extra = last.map { " \($0) |" } ?? ""
        let rule = last == nil ? "" : " --- |"
        return ["| Key | Value | Default | Meaning |\(extra)", "| --- | --- | --- | --- |\(rule)"]
    }

    private static func row<Root: Sendable>(
        _ key: SettingKey<Root>, fallback: SettingValue, variable: String?
    ) -> String {
        var name = "`\(key.name)`"
        if let alias = key.alias { name += ", `\(alias)`" }
        let meaning = key.summary + laterNote(key)
        let last = variable.map { " `\($0)` |" } ?? ""
        return
            "| \(name) | \(key.kind.typeName) | `\(fallback.literal)` | \(meaning) |\(last)"
    }

    private static func laterNote<Root: Sendable>(_ key: SettingKey<Root>) -> String {
        if let later = key.later { return " (Not built yet: \(later).)" }
        guard case .choice(_, let later) = key.kind, !later.isEmpty else { return "" }
        return " (Not built yet: \(later.map { "\"\($0)\"" }.joined(separator: ", ")).)"
    }

    private static func exampleLiteral(_ key: SettingKey<ExportSetting>) -> String {
        switch key.name {
        case "name": "\"prod\""
        case "size_gb": "10"
        default: key.load(ExportSetting()).literal
        }
    }

    /// Breaks at spaces.
    private static func wrap(_ text: String, prefix: String, width: Int) -> [String] {
        var lines: [String] = []
        var line = prefix
        for word in text.split(separator: " ") {
            if line.count + word.count > width, line != prefix {
                lines.append(String(line.dropLast()))
                line = prefix
            }
            line += word + " "
        }
        lines.append(String(line.dropLast()))
        return lines
    }
}
