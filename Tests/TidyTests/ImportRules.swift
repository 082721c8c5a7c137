// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Which module may import which. The rows are the table of docs/ARCHITECTURE.md: a module imports
// from lower rows only. Every deviation, wider or narrower, is listed with its reason.

enum ImportRules {
    /// The layer table, lowest row first.
    static let rows: [[String]] = [
        ["CLinux", "CLZ4", "CZstd", "CXXHash", "CBLAKE3", "CZlib", "Primitives"],
        ["BlockDevice", "Formats"],
        ["HostIO", "ObjectStore", "ObjectStoreCloud", "Documents", "NBDProtocol"],
        ["Shard", "Journal", "CleanCache"],
        ["VolumeMap", "Committer", "VolumeEngine"],
        ["NBDServer"],
        ["ControlPlane", "Maintenance", "ImageTools", "Simulator"],
        ["AdminAPI", "Daemon"],
        ["martlet", "martlet-sim"],
    ]

    struct Edge: Hashable {
        let from: String
        let to: String
        init(_ from: String, _ to: String) {
            self.from = from
            self.to = to
        }
    }

    /// Imports within a row, each with its reason. They must not form a cycle.
    static let sideways: [Edge: String] = [
        Edge("Primitives", "CLZ4"): "Primitives wraps the C libraries for everyone",
        Edge("Primitives", "CZstd"): "Primitives wraps the C libraries for everyone",
        Edge("Primitives", "CXXHash"): "Primitives wraps the C libraries for everyone",
        Edge("Primitives", "CBLAKE3"): "Primitives wraps the C libraries for everyone",
        Edge("ObjectStore", "HostIO"): "the directory store runs over the local-storage seam",
        Edge("ObjectStoreCloud", "ObjectStore"):
            "its S3 store is one of the seam's implementations",
        Edge("ObjectStoreCloud", "HostIO"): "credentials lie in files",
        Edge("Committer", "VolumeMap"): "row 4 is ordered: map, committer, engine",
        Edge("VolumeEngine", "VolumeMap"): "row 4 is ordered: map, committer, engine",
        Edge("VolumeEngine", "Committer"): "row 4 is ordered: map, committer, engine",
        Edge("Maintenance", "ControlPlane"):
            "the collector is the other half of the pins, and reads refs as they do",
        Edge("ImageTools", "ControlPlane"):
            "tools find commits by their names and pin them as daemons do",
        Edge("Simulator", "ControlPlane"): "the simulator drives the life cycle too",
        Edge("Simulator", "Maintenance"): "its collectors run beside the writers",
        Edge("Daemon", "AdminAPI"): "the daemon composes the API server",
    ]

    /// Imports that the rows would allow and that are refused all the same.
    static let refused: [Edge: String] = [
        Edge("NBDServer", "VolumeEngine"): "a transport knows BlockDevice, never the engine",
        Edge("NBDServer", "Committer"): "a transport knows BlockDevice, never the engine",
        Edge("NBDServer", "VolumeMap"): "a transport knows BlockDevice, never the engine",
        Edge("NBDServer", "Journal"): "a transport knows BlockDevice, never the journal",
        Edge("NBDServer", "CleanCache"): "a transport knows BlockDevice, never the cache",
        Edge("NBDServer", "ObjectStore"): "a transport knows BlockDevice, never the store",
    ]

    /// Modules without I/O, threads or Foundation: their functions depend on arguments alone.
    static let pure: Set<String> = ["Primitives", "BlockDevice", "Formats", "NBDProtocol"]

    /// What a pure module may take all the same, each with its reason.
    static let pureExceptions: [Edge: String] = [
        Edge("Primitives", "Synchronization"):
            "a failpoint is one atomic, off in the product; Lock is the toolchain's mutex",
        Edge("Primitives", "Glibc"): "Lock under the thread sanitizer is the C library's mutex",
    ]

    /// Modules that may import all of Foundation, and those that may take its essentials.
    static let foundation: Set<String> = ["ControlPlane", "AdminAPI", "Daemon", "martlet"]
    static let foundationEssentials: Set<String> = foundation.union([
        "Documents", "ObjectStoreCloud",
    ])

    /// Toolchain modules that are not Foundation's.
    static let toolchain: Set<String> = [
        "Glibc", "Synchronization", "Dispatch", "Testing", "PackageDescription", "Builtin", "Swift",
    ]

    /// Packages from elsewhere: only the composition, the executable and the clients of clouds
    /// reach the HTTP stack.
    static let packages: [String: Set<String>] = [
        "ObjectStoreCloud": [
            "AsyncHTTPClient", "Crypto", "NIOCore", "NIOHTTP1", "NIOPosix", "NIOSSL",
        ],
        "AdminAPI": [
            "Hummingbird", "HummingbirdCore", "NIOCore", "NIOPosix", "HTTPTypes", "Logging",
            "ServiceLifecycle",
        ],
        "Daemon": ["TOMLKit", "Logging", "UnixSignals"],
        "martlet": [
            "ArgumentParser", "AsyncHTTPClient", "NIOCore", "NIOHTTP1", "NIOFoundationCompat",
        ],
    ]

    /// An `import` line of a file: the module it names and where.
    struct Import: Equatable {
        let line: Int
        let module: String
    }

    static func imports(of source: SourceText) -> [Import] {
        source.codeLines.enumerated().flatMap { number, line in
            line.split(separator: ";").compactMap { statement in
                var words = statement.split { $0 == " " || $0 == "\t" }[...]
                while let word = words.first, word != "import" {
                    guard modifiers.contains(where: { word.hasPrefix($0) }) else { return nil }
                    words = words.dropFirst()
                }
                words = words.dropFirst()
                if let kind = words.first, kinds.contains(String(kind)) {
                    words = words.dropFirst()
                }
                guard let name = words.first else { return nil }
                return Import(
                    line: number + 1, module: String(name.prefix { $0 != "." && $0 != "`" }))
            }
        }
    }

    private static let modifiers = [
        "@testable", "@preconcurrency", "@_exported", "@_implementationOnly", "@_spi", "public",
        "package", "internal", "fileprivate", "private",
    ]
    private static let kinds: Set<String> = [
        "struct", "class", "enum", "protocol", "func", "var", "let", "typealias",
    ]

    static func row(of module: String) -> Int? {
        rows.firstIndex { $0.contains(module) }
    }

    /// Findings of one file under `Sources/`.
    static func check(_ source: SourceText) -> [Finding] {
        guard let module = source.module, source.path.hasSuffix(".swift") else { return [] }
        guard let row = row(of: module) else {
            return [
                Finding(
                    path: source.path, line: 1,
                    message: "module \(module) is not in the layer table: add it to its row")
            ]
        }
        return imports(of: source).compactMap { found in
            problem(with: found.module, importedBy: module, inRow: row).map {
                Finding(path: source.path, line: found.line, message: $0)
            }
        }
    }

    private static func problem(
        with imported: String, importedBy module: String, inRow row: Int
    ) -> String? {
        if imported == module { return "\(module) imports itself" }
        if let importedRow = self.row(of: imported) {
            let edge = Edge(module, imported)
            if let reason = refused[edge] { return "\(module) imports \(imported): \(reason)" }
            if importedRow < row || sideways[edge] != nil { return nil }
            return
                "\(module) (row \(row)) imports \(imported) (row \(importedRow)): only lower rows"
        }
        if imported.hasPrefix("Foundation") {
            if foundation.contains(module) { return nil }
            if imported == "FoundationEssentials", foundationEssentials.contains(module) {
                return nil
            }
            return "\(module) imports \(imported): use the standard library and Primitives"
        }
        if toolchain.contains(imported) {
            return pure.contains(module) && pureExceptions[Edge(module, imported)] == nil
                ? "\(module) is pure and imports \(imported): pass what it needs as arguments" : nil
        }
        return packages[module]?.contains(imported) == true
            ? nil : "\(module) imports \(imported), which is not in its list of packages"
    }
}
