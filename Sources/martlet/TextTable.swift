// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Aligned columns for people.

enum TextTable {
    /// A head line and rows, columns two spaces apart; no trailing spaces.
    static func columns(_ head: [String], _ rows: [[String]]) -> String {
        let all = [head] + rows
        let widths = head.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            var line = ""
            for (text, width) in zip(row, widths) {
                line += text + String(repeating: " ", count: width - text.count + 2)
            }
            while line.last == " " { line.removeLast() }
            return line
        }.joined(separator: "\n")
    }

    /// `name: value` lines, values aligned; absent values are left out.
    static func fields(_ fields: [(String, String?)]) -> String {
        let present = fields.compactMap { field in field.1.map { (field.0, $0) } }
        let width = present.map(\.0.count).max() ?? 0
        return present.map { name, value in
            name + ":" + String(repeating: " ", count: width - name.count + 1) + value
        }.joined(separator: "\n")
    }
}
