// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Reads TOML into plain assignments: a path of names and a value. Knows nothing of keys, so that
// every key is checked in one place, whatever source it came from.

private import TOMLKit

/// The text of a configuration file, taken apart.
struct ConfigurationFile {
    struct Assignment: Equatable {
        /// The full name, for example `servers.nbd.addresses`.
        let path: String
        /// Nil if TOML has a type there that no key takes.
        let value: SettingValue?
        /// TOML's word for the type, for messages.
        let typeName: String
    }

    /// Bytes of a file at most.
    static let bytesMax = 1 << 20
    /// Tables in tables: more than any key has.
    private static let depthMax = 8

    var assignments: [Assignment] = []
    /// The `[[exports]]` tables in order; paths are relative to each.
    var exports: [[Assignment]] = []

    /// Fails with a message that has the line.
    static func parse(_ text: String) throws(ConfigurationFileError) -> ConfigurationFile {
        let root: TOMLTable
        do {
            root = try TOMLTable(string: text)
        } catch let error as TOMLParseError {
            throw ConfigurationFileError(
                message: "line \(error.source.begin.line): \(error.description)")
        } catch {
            throw ConfigurationFileError(message: "\(error)")
        }
        var file = ConfigurationFile()
        for name in root.keys {
            guard name == "exports", let list = root[name]?.array else {
                if let value = root[name] {
                    collect(value, path: name, depth: 0, into: &file.assignments)
                }
                continue
            }
            for element in list {
                guard let table = element.table else {
                    throw ConfigurationFileError(message: "exports must be a list of tables")
                }
                var assignments: [Assignment] = []
                for key in table.keys {
                    if let value = table[key] {
                        collect(value, path: key, depth: 0, into: &assignments)
                    }
                }
                file.exports.append(assignments)
            }
        }
        withExtendedLifetime(root) {}
        return file
    }

    private static func collect(
        _ node: any TOMLValueConvertible, path: String, depth: Int, into list: inout [Assignment]
    ) {
        if let table = node.table, depth < depthMax {
            // A name with a dot in quotes would look like a table: it stays unknown either way.
            for name in table.keys {
                if let value = table[name] {
                    collect(value, path: path + "." + name, depth: depth + 1, into: &list)
                }
            }
            if table.isEmpty {
                list.append(Assignment(path: path, value: nil, typeName: "an empty table"))
            }
            return
        }
        list.append(
            Assignment(path: path, value: plain(node), typeName: node.type.description))
    }

    private static func plain(_ node: any TOMLValueConvertible) -> SettingValue? {
        if let text = node.string { return .text(text) }
        if let flag = node.bool { return .boolean(flag) }
        if let number = node.int { return .integer(Int64(number)) }
        if let number = node.double { return .decimal(number) }
        guard let array = node.array else { return nil }
        var texts: [String] = []
        for element in array {
            guard let text = element.string else { return nil }
            texts.append(text)
        }
        return .texts(texts)
    }
}

/// The text is not TOML.
struct ConfigurationFileError: Error {
    let message: String
}
