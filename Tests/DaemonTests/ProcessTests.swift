// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The executable itself: what it listens on, signals, exit codes, and its lock.

import CLinux
import Foundation
import TestSupport
import Testing

@testable import martlet

/// `martlet run` as a process of its own, with a folder of its own.
private final class MartletProcess {
    let scratch: ScratchDirectory
    private let process = Process()
    private let output = Pipe()
    let errors = Pipe()

    var store: String { scratch.path + "/store" }
    var socket: String { scratch.path + "/nbd.sock" }
    var api: String { "unix:\(scratch.path)/api.sock" }

    /// The executable beside the one that runs the tests.
    private static func executable() throws -> URL {
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(filePath: own).deletingLastPathComponent().appending(path: "martlet")
    }

    init(
        _ scratch: ScratchDirectory? = nil, more: [String] = [], environment: [String: String] = [:]
    ) throws {
        self.scratch = try scratch ?? ScratchDirectory()
        process.executableURL = try Self.executable()
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardOutput = output
        process.standardError = errors
        process.arguments =
            [
                "run", "--store", "file://" + store, "--cache", self.scratch.path + "/cache",
                "--nbd", "unix:" + socket, "--api", api,
            ] + more
        try process.run()
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
    }

    /// The first line that it prints.
    func ready() throws -> String {
        var line = Data()
        while true {
            let byte = try output.fileHandleForReading.read(upToCount: 1) ?? Data()
            if byte.isEmpty || byte == Data("\n".utf8) { break }
            line += byte
        }
        return String(decoding: line, as: UTF8.self)
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    func exitCode() -> Int32 {
        process.waitUntilExit()
        return process.terminationStatus
    }

    func commits() -> Int {
        let files = FileManager.default.enumerator(atPath: store + "/volumes")
        return files?.reduce(0) { "\($1)".contains("/commits/") ? $0 + 1 : $0 } ?? 0
    }
}

@Suite("martlet run")
struct ProcessTests {
    @Test("it listens where it is told, SIGUSR1 publishes and goes on, SIGTERM exits with 0")
    func signals() async throws {
        let daemon = try MartletProcess(more: ["--api", "127.0.0.1:0"])
        let line = try daemon.ready()
        #expect(line.hasPrefix("ready: nbd unix:\(daemon.socket), "))
        let words = line.split(separator: ",").map { $0.trimmingPrefix(" ") }
        let tcp = try #require(words.first { $0.hasPrefix("api 127.0.0.1:") }).dropFirst(4)
        for address in [daemon.api, String(tcp)] {
            #expect(await Martlet.run(["list", "--json", "--api", address]) == 0)
        }
        #expect(
            await Martlet.run(["create", "disk", "--size", "64M", "--api", daemon.api]) == 0)
        let client = try DiskClient(daemon.socket, "disk")
        try client.write(0, noise(4096, seed: 1))
        let commits = daemon.commits()
        daemon.signal(SIGUSR1)
        for _ in 0..<200 where daemon.commits() == commits {
            try await Task.sleep(for: .milliseconds(50))
        }
        #expect(daemon.commits() == commits + 1)
        try client.write(4096, noise(4096, seed: 2))
        daemon.signal(SIGTERM)
        #expect(daemon.exitCode() == 0)
        #expect(daemon.commits() > commits + 1)
    }

    @Test("what the store does not take within shutdown_secs makes the exit code 1")
    func shutdownTooLate() async throws {
        let daemon = try MartletProcess(environment: ["MARTLET_POLICY_SHUTDOWN_SECS": "1"])
        #expect(try daemon.ready().hasPrefix("ready: "))
        #expect(
            await Martlet.run(["create", "disk", "--size", "64M", "--api", daemon.api]) == 0)
        try DiskClient(daemon.socket, "disk").write(0, [1])
        for folder in ["packs", "volumes"] {
            rename("\(daemon.store)/\(folder)", "\(daemon.store)/\(folder).away")
            symlink(folder, "\(daemon.store)/\(folder)")
        }
        daemon.signal(SIGTERM)
        #expect(daemon.exitCode() == 1)
    }

    @Test("a second daemon on one cache directory is refused, and the first goes on")
    func lock() async throws {
        let first = try MartletProcess()
        #expect(try first.ready().hasPrefix("ready: "))
        let second = try MartletProcess(
            first.scratch, more: ["--api", "127.0.0.1:0", "--nbd", "127.0.0.1:0"])
        #expect(second.exitCode() == 1)
        let message = try second.errors.fileHandleForReading.readToEnd() ?? Data()
        #expect(
            String(decoding: message, as: UTF8.self).contains(
                "another daemon uses the cache directory"))
        #expect(await Martlet.run(["list", "--api", first.api]) == 0)
    }

    @Test("a failpoint of the environment kills the daemon, a wrong one is refused")
    func failpoint() async throws {
        let daemon = try MartletProcess(
            environment: ["MARTLET_FAILPOINT": "journal.after-append@1=kill"])
        #expect(try daemon.ready().hasPrefix("ready: "))
        #expect(
            await Martlet.run(["create", "disk", "--size", "64M", "--api", daemon.api]) == 0)
        let client = try DiskClient(daemon.socket, "disk")
        #expect(throws: Silence.self) { try client.write(0, [1]) }
        #expect(daemon.exitCode() == SIGKILL)
        let wrong = try MartletProcess(environment: ["MARTLET_FAILPOINT": "nowhere@1=kill"])
        #expect(wrong.exitCode() == 2)
    }
}
