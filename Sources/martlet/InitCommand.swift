// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet init`: a configuration file to start from. Never overwrites one.

import ArgumentParser
import Daemon
import Glibc
import Primitives

struct InitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Write a commented martlet.toml.")

    @Argument(help: "The file to write.") var path = "martlet.toml"

    mutating func run() throws {
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            let remedy = errno == EEXIST ? "remove it or name another file" : "name another file"
            throw UserError(
                .failed, what: "cannot write \(path)", why: String(cString: strerror(errno)),
                remedy: remedy)
        }
        defer { close(descriptor) }
        var rest = Array(Configuration.sampleFile.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else {
                throw UserError(
                    .failed, what: "cannot write \(path)", why: String(cString: strerror(errno)),
                    remedy: "check the space left")
            }
            rest = rest.dropFirst(count)
        }
        print("wrote \(path); start the daemon with: martlet run --config \(path)")
    }
}
