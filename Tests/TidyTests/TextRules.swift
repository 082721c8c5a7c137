// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a reader meets first: the header of each file, and links in documents that lead somewhere.

enum TextRules {
    static let license = "SPDX-License-Identifier: Apache-2.0"
    static let copyright = "SPDX-FileCopyrightText: "

    /// Files that open with something else, with the reason.
    static let withoutHeader: [String: String] = [
        "Package.swift": "its first line must name the tools version"
    ]

    /// How the file's language begins a comment line; nil if it needs no header.
    static func commentMark(of path: String) -> String? {
        for suffix in [".swift", ".c", ".h"] where path.hasSuffix(suffix) { return "//" }
        for suffix in [".sh", ".py", "Makefile", ".ci/run"] where path.hasSuffix(suffix) {
            return "#"
        }
        return nil
    }

    /// Two SPDX lines, an empty comment line, and a paragraph: what the file owns and the one thing
    /// to know. Scripts may have their interpreter line before.
    static func checkHeader(path: String, text: String) -> [Finding] {
        guard let mark = commentMark(of: path), withoutHeader[path] == nil else { return [] }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)[...]
        if lines.first?.hasPrefix("#!") == true { lines = lines.dropFirst() }
        let header = Array(lines.prefix(4))
        func problem(_ offset: Int, _ what: String) -> [Finding] {
            [Finding(path: path, line: lines.startIndex + offset + 1, message: what)]
        }
        guard header.count == 4 else { return problem(0, "no file header") }
        guard header[0] == "\(mark) \(license)" else { return problem(0, "no \(license) line") }
        guard header[1].hasPrefix("\(mark) \(copyright)") else {
            return problem(1, "no \(copyright)line")
        }
        guard header[2] == mark, header[3].hasPrefix("\(mark) "), header[3].count > mark.count + 8
        else { return problem(2, "no paragraph that says what the file owns") }
        return []
    }

    /// Links of a Markdown text to local files that `exists` does not know. Paths are relative to
    /// the document; anchors and addresses are not followed, code blocks and code spans are
    /// skipped.
    static func checkLinks(path: String, text: String, exists: (String) -> Bool) -> [Finding] {
        var findings: [Finding] = []
        var isInCodeBlock = false
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            if line.drop(while: { $0 == " " }).hasPrefix("```") { isInCodeBlock.toggle() }
            if isInCodeBlock { continue }
            for target in targets(in: withoutCodeSpans(line)) {
                guard let file = resolve(target, from: path) else { continue }
                if !exists(file) {
                    findings.append(
                        Finding(
                            path: path, line: number + 1, message: "dead link to \(target)"))
                }
            }
        }
        return findings
    }

    private static func withoutCodeSpans(_ line: Substring) -> String {
        line.split(separator: "`", omittingEmptySubsequences: false).enumerated()
            .map { $0.offset.isMultiple(of: 2) ? String($0.element) : "" }.joined(separator: "`")
    }

    /// The targets of `[text](target)`, without titles.
    static func targets(in line: String) -> [String] {
        var found: [String] = []
        var rest = line[...]
        while let opening = rest.firstRange(of: "](") {
            rest = rest[opening.upperBound...]
            guard let end = rest.firstIndex(of: ")") else { break }
            if let target = rest[..<end].split(separator: " ").first {
                found.append(String(target))
            }
            rest = rest[end...]
        }
        return found
    }

    /// The tree path that a link means, or nil if it leads elsewhere or into the same document.
    static func resolve(_ target: String, from path: String) -> String? {
        if target.contains("://") || target.hasPrefix("mailto:") || target.hasPrefix("#") {
            return nil
        }
        var parts = path.split(separator: "/").dropLast().map(String.init)
        for part in target.prefix(while: { $0 != "#" }).split(separator: "/") {
            switch part {
            case ".": continue
            case "..": if parts.popLast() == nil { return "../" + target }
            default: parts.append(String(part))
            }
        }
        return parts.joined(separator: "/")
    }
}
