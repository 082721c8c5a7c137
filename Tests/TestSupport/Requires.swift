// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a test needs of the host. A test whose needs are not met is skipped, and says so on stderr:
// a green run that skipped something must not look like one that did not.

import Foundation

/// Needs of tests, for `.enabled(if:)`.
public enum Requires {
    /// Every named program is on the path.
    public static func tools(_ names: String...) -> Bool {
        let missing = names.filter { find($0) == nil }
        if missing.isEmpty { return true }
        complain("not installed: \(missing.joined(separator: ", "))")
        return false
    }

    /// The system's Python has libnbd.
    public static func pythonNBD() -> Bool {
        let found = try? Command.run(["/usr/bin/python3", "-c", "import nbd"])
        if found?.status == 0 { return true }
        complain("not installed: python3-libnbd")
        return false
    }

    static func find(_ name: String) -> String? {
        if name.hasPrefix("/") { return FileManager.default.fileExists(atPath: name) ? name : nil }
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        for folder in path.split(separator: ":") {
            let candidate = "\(folder)/\(name)"
            if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
        }
        return nil
    }

    private static func complain(_ text: String) {
        FileHandle.standardError.write(Data("SKIPPED: \(text)\n".utf8))
    }
}

/// Runs programs to their end.
public enum Command {
    public struct Outcome: Sendable {
        public let status: Int32
        /// Standard output and standard error as they came.
        public let output: String
    }

    public enum Failure: Error {
        case notFound(String)
    }

    public static func run(_ words: [String], seconds: Int = 60) throws -> Outcome {
        guard let name = words.first, let path = Requires.find(name) else {
            throw Failure.notFound(words.first ?? "")
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
        process.arguments = ["\(seconds)", path] + words.dropFirst()
        let pipe = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Outcome(
            status: process.terminationStatus, output: String(decoding: data, as: UTF8.self))
    }
}
