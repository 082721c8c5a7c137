// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The command line as a parser: sizes, exit codes, addresses, and words that are taken but not
// built.

import AdminAPI
import ArgumentParser
import Daemon
import Primitives
import TestSupport
import Testing

@testable import martlet

@Suite("sizes")
struct ByteSizeTests {
    @Test(
        "bytes and binary units are read",
        arguments: [
            ("0", 0), ("4096", 4096), ("10K", 10 << 10), ("10M", 10 << 20), ("10G", 10 << 30),
            ("1T", 1 << 40), ("1t", 1 << 40), ("18446744073709551615", UInt64.max),
        ] as [(String, UInt64)])
    func valid(text: String, bytes: UInt64) {
        #expect(ByteSize(argument: text)?.bytes == bytes)
    }

    @Test(
        "anything else is refused",
        arguments: [
            "", "G", "1.5G", "-1", "+1", "10X", "10GB", "1 G", "0x10", "18446744073709551616",
            "16777216T", "١٠",
        ])
    func invalid(text: String) { #expect(ByteSize(argument: text) == nil) }

    @Test("sizes are shown in the unit that fits")
    func text() {
        #expect(ByteSize.text(0) == "0 B")
        #expect(ByteSize.text(512) == "512 B")
        #expect(ByteSize.text(131_072) == "128 KiB")
        #expect(ByteSize.text(10 << 30) == "10 GiB")
        #expect(ByteSize.text(500_000_000_000) == "465.6 GiB")
        #expect(ByteSize.text(UInt64(16) << 40) == "16 TiB")
    }
}

@Suite("command line")
struct CommandLineTests {
    @Test(
        "usage errors exit with 2",
        arguments: [
            ["nonsense"], ["create"], ["create", "a"], ["create", "a", "--size", "10X"],
            ["resize", "a"], ["rollback", "a", "--to", "5"], ["list", "--frob"],
            ["run", "--store", "gs://bucket"], ["run", "--nbd", "nowhere"],
            ["run", "--config", "/nonexistent/martlet.toml"],
            ["info", "a/b", "--api", "127.0.0.1:1"], ["info", "a", "--api", "nowhere"],
        ])
    func usage(arguments: [String]) async { #expect(await Martlet.run(arguments) == 2) }

    @Test(
        "help and version exit with 0", arguments: [["--help"], ["--version"], ["run", "--help"]])
    func help(arguments: [String]) async { #expect(await Martlet.run(arguments) == 0) }

    @Test("a daemon that is not there is a failure, not a usage error")
    func noDaemon() async {
        #expect(await Martlet.run(["list", "--api", "127.0.0.1:1"]) == 1)
        #expect(await Martlet.run(["list", "--api", "unix:/nonexistent/api.sock"]) == 1)
    }

    @Test(
        "a share is a percentage above 0 and up to 100",
        arguments: [
            ("5%", 50_000), ("0.1%", 1_000), ("100%", 1_000_000), ("0.0001%", 1),
            ("12.5%", 125_000),
            ("0%", nil), ("100.1%", nil), ("5", nil), ("%", nil), (".5%", nil), ("5.%", nil),
            ("-5%", nil), ("0.00001%", nil), ("99999%", nil), ("٥%", nil), ("", nil),
        ] as [(String, UInt64?)])
    func share(text: String, millionths: UInt64?) {
        #expect(Share(argument: text)?.millionths == millionths)
    }

    @Test(
        "a span of time is a number with a unit or of seconds",
        arguments: [
            ("90s", 90), ("10m", 600), ("24h", 86_400), ("30d", 2_592_000), ("7", 7), ("0", 0),
            ("h", nil), ("1.5h", nil), ("-1h", nil), ("1w", nil), ("", nil),
            ("999999999999999999d", nil),
        ] as [(String, UInt64?)])
    func span(text: String, seconds: UInt64?) {
        #expect(TimeSpan(argument: text)?.seconds == seconds)
    }

    @Test("progress tells how far, how fast, and how long still, and never promises the end")
    func progress() {
        let second: UInt64 = 1_000_000_000
        let half = ProgressMeter.line(512 << 20, 1 << 30, 0, 2 * second)
        #expect(half.hasPrefix("512 MiB of about 1 GiB, 50 %, ") && half.hasSuffix(", 2 s left"))
        let all = ProgressMeter.line(1 << 30, 1 << 30, 2, 4 * second)
        #expect(all.hasPrefix("1 GiB, ") && all.hasSuffix("/s, 2 faults"))
        // Nothing yet, and a total that was too low.
        #expect(ProgressMeter.line(0, 0, 0, second).hasPrefix("0"))
        #expect(!ProgressMeter.line(3 << 30, 1 << 30, 0, second).contains("left"))
    }

    @Test(
        "commands of later releases are refused by name",
        arguments: [
            "attach", "detach", "mount", "top",
        ])
    func later(word: String) async {
        #expect(LaterCommands.refusal(of: word)?.hasPrefix("cannot run \(word) : ") == true)
        #expect(await Martlet.run([word, "--anything"]) == 2)
    }

    @Test("a repair names where it takes bytes from, and never the repository itself")
    func repairs() async throws {
        let verify = try VerifyCommand.parse(
            ["prod", "--repair", "from=file:///a", "--repair", "from=b.toml"])
        #expect(verify.repairs == ["from=file:///a", "from=b.toml"] && verify.name == "prod")
        let folder = try ScratchDirectory()
        let store = "file://\(folder.path)"
        for how in ["from=", "from", "file:///a", "guess", "from=\(store)"] {
            let status = await Martlet.run(["verify", "--store", store, "--repair", how])
            #expect(status != 0, "\(how)")
        }
        #expect(await Martlet.run(["verify", "--repair"]) == 2)
        #expect(await Martlet.run(["verify", "--repair", "last-good", "--sample", "5%"]) == 2)
    }

    @Test("copy takes two stores and names; a new export of a diff takes a store and no force")
    func copies() async throws {
        let copy = try CopyCommand.parse(["--snapshots", "file:///a", "b.toml", "prod", "base:x"])
        #expect(copy.snapshots && copy.source == "file:///a" && copy.destination == "b.toml")
        #expect(copy.names == ["prod", "base:x"])
        #expect(await Martlet.run(["copy", "file:///a", "file:///b"]) == 2)
        #expect(await Martlet.run(["copy", "--threads", "0", "file:///a", "file:///b", "x"]) == 2)
        let diff = try DiffApplyCommand.parse(
            ["-", "export:new", "--base", "prod@7", "--store", "file:///a"])
        #expect(diff.target == "export:new" && diff.settings.store == "file:///a")
        #expect(await Martlet.run(["diff", "apply", "-", "export:new", "--force"]) == 2)
        #expect(await Martlet.run(["diff", "apply", "-", "new", "--store", "file:///a"]) == 2)
    }

    @Test("diff takes its names, formats and refusals")
    func diff() async throws {
        let made = try DiffCreateCommand.parse(["-", "work", "--base", "base"])
        #expect(made.out == "-" && made.target == "work" && made.base == "base")
        #expect(made.format == .v1 && made.codec.codec == .zstd && !made.skipsDigests)
        let second = try DiffCreateCommand.parse(
            ["o", "t", "--format", "v2", "--codec", "none", "--no-digests", "--force"])
        #expect(second.format.version == 2 && second.codec.codec == .raw && second.force)
        #expect(try DiffApplyCommand.parse(["-", "t", "--trust-base"]).trustsBase)
        for arguments in [
            ["diff", "create", "out"], ["diff", "create", "o", "t", "--format", "v3"],
            ["diff", "apply", "in"], ["diff", "view"], ["diff", "view", "-", "--check"],
        ] {
            #expect(await Martlet.run(arguments) == 2, "\(arguments)")
        }
        #expect(await Martlet.run(["diff", "view", "/nonexistent/diff"]) == 1)
    }

    @Test("an export since a commit is a block diff unless another format is named")
    func exports() async throws {
        let plain = try ExportCommand.parse(["disk", "file"])
        #expect(plain.format == nil && plain.since == nil && !plain.digests)
        let since = try ExportCommand.parse(["disk@7", "-", "--since", "5"])
        #expect(since.since == "5" && since.format == nil)
        let second = try ExportCommand.parse(
            ["disk", "f", "--format", "bdiff-v2", "--digests", "--compress"])
        #expect(second.format == .bdiffV2 && second.digests && second.compress)
        for arguments in [
            ["disk", "f", "--since", "5", "--format", "raw"], ["disk", "f", "--digests"],
            ["disk", "f", "--since", "5", "--format", "qcow2"],
            ["disk", "f", "--since", "5", "--compress"],
            ["disk", "f", "--format", "bdiff", "--digests"],
        ] {
            #expect(
                await Martlet.run(["export", "--store", "file:///nonexistent"] + arguments) == 2,
                "\(arguments)")
        }
    }

    @Test("no command is both built and refused")
    func disjoint() {
        for command in MartletCommand.configuration.groupedSubcommands.flatMap(\.subcommands) {
            #expect(LaterCommands.refusal(of: command._commandName) == nil)
        }
    }

    @Test("the daemon's address comes from the flag, else the variable")
    func endpoint() throws {
        var options = try ClientOptions.parse(["--api", "unix:/x"])
        let variables = ["MARTLET_API": "localhost:7"]
        #expect(try options.endpoint(environment: variables) == .unix(path: "/x"))
        options = try ClientOptions.parse([])
        #expect(try options.endpoint(environment: variables) == .tcp(host: "localhost", port: 7))
        #expect(throws: UserError.self) { try options.endpoint(environment: ["MARTLET_API": "x"]) }
    }

    @Test("columns are aligned and have no trailing spaces")
    func table() {
        #expect(
            TextTable.columns(["A", "LONG"], [["abc", "x"], ["d", ""]])
                == "A    LONG\nabc  x\nd")
        #expect(TextTable.fields([("a", "1"), ("bcd", nil), ("ef", "2")]) == "a:  1\nef: 2")
    }
}
