// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The project's own files, found from where this one was compiled.

import Foundation

enum Tree {
    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Folders below the root that hold files of ours.
    static let folders = [
        "Sources", "Tests", "Fuzz", "Benchmarks", "scripts", "docs", ".ci", "changelog",
    ]

    /// Paths relative to the root, sorted: what is in our folders, and plain files at the top.
    static let paths: [String] = {
        let manager = FileManager.default
        var all: [String] = []
        for name in (try? manager.contentsOfDirectory(atPath: root.path)) ?? [] {
            let isFolder =
                (try? root.appendingPathComponent(name).resourceValues(
                    forKeys: [.isDirectoryKey]))?.isDirectory ?? false
            if !isFolder { all.append(name) }
        }
        for folder in folders {
            let base = root.appendingPathComponent(folder).path
            for case let name as String in manager.enumerator(atPath: base) ?? .init() {
                if name.split(separator: "/").contains(where: { $0.hasPrefix(".build") }) {
                    continue
                }
                all.append(folder + "/" + name)
            }
        }
        return all.sorted()
    }()

    static func text(of path: String) throws -> String {
        String(
            decoding: try Data(contentsOf: root.appendingPathComponent(path)), as: UTF8.self)
    }

    static func exists(_ path: String) -> Bool {
        FileManager.default.fileExists(atPath: root.appendingPathComponent(path).path)
    }

    /// Files whose name ends in one of `suffixes`, in any of `folders` or, with "", at the top.
    static func files(in folders: [String], endingIn suffixes: [String]) -> [String] {
        paths.filter { path in
            suffixes.contains { path.hasSuffix($0) }
                && folders.contains {
                    $0.isEmpty ? !path.contains("/") : path.hasPrefix($0 + "/")
                }
        }
    }
}
