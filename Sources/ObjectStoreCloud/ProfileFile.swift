// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The format of AWS's shared files: sections in brackets, `name = value` below them, comments, and
// indented lines that belong to the setting before. Unknown names are kept; nothing is executed.

/// The sections of one file.
struct ProfileFile: Equatable {
    /// Bytes of a file at most: far above any that people write.
    static let bytesMax = 1 << 20

    private(set) var sections: [String: [String: String]] = [:]

    init(parsing text: String) {
        var section: String?
        for line in text.split(whereSeparator: \.isNewline) {
            // Nested settings: of no use here.
            if line.first?.isWhitespace == true { continue }
            let trimmed = Self.trimmed(line)
            if trimmed.isEmpty || trimmed.hasPrefix("#") || trimmed.hasPrefix(";") { continue }
            if trimmed.hasPrefix("["), let end = trimmed.firstIndex(of: "]") {
                let name = Self.trimmed(trimmed[trimmed.index(after: trimmed.startIndex)..<end])
                section = name
                sections[name] = sections[name] ?? [:]
                continue
            }
            guard let section, let equals = trimmed.firstIndex(of: "=") else { continue }
            let name = Self.trimmed(trimmed[..<equals]).lowercased()
            sections[section]?[name] = Self.value(trimmed[trimmed.index(after: equals)...])
        }
    }

    /// The settings of a profile; in the configuration file all but the default one are called
    /// `profile NAME`.
    func profile(_ name: String, isConfiguration: Bool) -> [String: String]? {
        guard isConfiguration else { return sections[name] }
        if let found = sections["profile \(name)"] { return found }
        return name == "default" ? sections[name] : nil
    }

    /// A comment after a value begins with a space.
    private static func value(_ text: Substring) -> String {
        var end = text.endIndex
        for mark in [" #", " ;", "\t#", "\t;"] {
            if let found = text.firstRange(of: mark), found.lowerBound < end {
                end = found.lowerBound
            }
        }
        return trimmed(text[..<end])
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        let rest = text.drop(while: \.isWhitespace)
        guard let last = rest.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(rest[...last])
    }
}
