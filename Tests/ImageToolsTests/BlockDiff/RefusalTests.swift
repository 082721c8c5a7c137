// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What is refused, and that nothing is left behind by what failed.

import Formats
import Glibc
import HostIO
import ImageTools
import Primitives
import TestSupport
import Testing

/// Base, target and a diff of both versions on a disk with extents.
private func makeWorld(
    _ disk: VolatileDisk = VolatileDisk(hasExtents: true)
) throws -> DiffRig<VolatileDirectory> {
    let rig = DiffRig(directory: disk.root)
    var random = SplitMix64(seed: 11)
    try rig.make("base", random.bytes(6 * 4096))
    let target = try rig.clone("base", as: "target")
    try target.write(at: 4096, random.bytes(5000))
    #expect(try target.punch(at: 16384, count: 4096))
    try rig.create("one", "target", base: "base")
    try rig.create("two", "target", base: "base", version: 2, codec: .lz4)
    for name in ["base", "target", "one", "two"] {
        try rig.directory.open(name, writable: true).sync()
    }
    try rig.directory.sync()
    return rig
}

/// The first words of a header of version 1, and what follows.
private func header(_ target: UInt64, _ base: UInt64, _ count: UInt64, _ ranges: [UInt64])
    -> [UInt8]
{
    var writer = ByteWriter()
    writer.append(BlockDiffLead.magic)
    for word in [target, base, count] + ranges { writer.append(word) }
    writer.pad(to: 4096)
    return writer.bytes
}

@Suite("what block diffs refuse")
struct RefusalTests {
    @Test("a base that is missing, not wanted, of another size or content")
    func bases() throws {
        let rig = try makeWorld()
        try rig.make("short", [1, 2, 3])
        var other = try rig.bytes("base")
        other[5 * 4096] ^= 1
        try rig.make("other", other)
        let names = try rig.directory.list()
        #expect(diffError { try rig.apply("one", "new", base: nil) } == .baseMissing(bytes: 24576))
        #expect(
            diffError { try rig.apply("one", "new", base: "short") }
                == .wrongBaseSize("short", found: 3, expected: 24576))
        guard
            case .wrongBase("other", _, _)? = diffError({
                try rig.apply("two", "new", base: "other")
            })
        else {
            Issue.record("a wrong base is taken")
            return
        }
        #expect(try rig.directory.list() == names)
        try rig.apply("two", "trusted", base: "other", trustsBase: true)
        try rig.create("alone", "target", base: nil)
        #expect(
            diffError { try rig.apply("alone", "new", base: "base") } == .baseNotWanted("base"))
        // Without digests only the size speaks.
        try rig.create("quick", "target", base: "base", version: 2, takesDigests: false)
        try rig.apply("quick", "from quick", base: "base")
        expectEqualBytes(try rig.bytes("from quick"), try rig.bytes("target"))
    }

    @Test("names that are taken, directories, and a diff over what it is made of")
    func names() throws {
        let rig = try makeWorld()
        _ = try rig.directory.directory("folder", create: true)
        #expect(diffError { try rig.create("one", "target", base: "base") } == .exists("one"))
        #expect(diffError { try rig.apply("one", "base", base: "base") } == .exists("base"))
        #expect(
            diffError { try rig.create("folder", "target", base: "base", replaces: true) }
                == .notRegular("folder"))
        #expect(
            diffError { try rig.create("target", "target", base: "base", replaces: true) }
                == .sameFile("target"))
        #expect(
            diffError { try rig.apply("one", "one", base: "base", replaces: true) }
                == .sameFile("one"))
        try rig.create("two", "target", base: "base", replaces: true)
        expectEqualBytes(try rig.bytes("two"), try rig.bytes("one"))
    }

    @Test("links, and what is no file, on the host")
    func links() throws {
        let scratch = try ScratchDirectory()
        let rig = DiffRig(directory: try HostDirectory.open(path: scratch.path, create: false))
        try rig.make("base", [UInt8](repeating: 3, count: 9000))
        #expect(symlink("base", scratch.path + "/link") == 0)
        #expect(mkfifo(scratch.path + "/pipe", 0o600) == 0)
        // Read through, never replaced.
        try rig.create("diff", "link", base: nil)
        #expect(
            diffError { try rig.apply("diff", "link", base: nil, replaces: true) }
                == .notRegular("link"))
        #expect(
            diffError { try rig.apply("diff", "pipe", base: nil, replaces: true) }
                == .notRegular("pipe"))
        #expect(diffError { try rig.create("new", "pipe", base: nil) } == .notRegular("pipe"))
        #expect(try rig.directory.list() == ["base", "diff", "link", "pipe"])
        for path in ["", "/", "a/", ".", "x/.."] {
            #expect(throws: ImageFileError.self) { _ = try ImagePlace<HostDirectory>(path: path) }
        }
        #expect(try ImagePlace<HostDirectory>(path: scratch.path + "/base").name == "base")
    }

    @Test("a result takes the permissions of what it replaces, else of its base")
    func permissions() throws {
        let rig = try makeWorld()
        try rig.directory.open("base", writable: true).setMode(0o640)
        try rig.apply("one", "new", base: "base")
        #expect(try rig.directory.facts(of: "new")?.mode == 0o640)
        try rig.directory.open("new", writable: true).setMode(0o604)
        try rig.apply("one", "new", base: "base", replaces: true)
        #expect(try rig.directory.facts(of: "new")?.mode == 0o604)
    }

    @Test("headers of version 1 that lie")
    func lyingHeaders() throws {
        let rig = DiffRig(directory: VolatileDisk(hasExtents: true).root)
        let top = UInt64.max
        let cases: [(String, [UInt8])] = [
            ("other magic", [UInt8](repeating: 7, count: 5000)),
            ("nothing", []),
            ("half a lead", Array(header(4096, 0, 0, [])[..<20])),
            ("a count beyond the target", header(4096, 0, 4097, [])),
            ("a count beyond the limit", header(1 << 60, 0, (1 << 24) + 1, [])),
            ("a count beyond the file", header(1 << 60, 0, 1 << 24, [])),
            ("a target beyond any file", header(1 << 63, 0, 0, [])),
            ("a base beyond any file", header(4096, top, 0, [])),
            ("overlap", header(16384, 0, 2, [0, 8192, 4096, 4096])),
            ("not sorted", header(16384, 0, 2, [8192, 4096, 0, 4096])),
            ("twice the same", header(16384, 0, 2, [0, 4096, 0, 4096])),
            ("empty", header(16384, 0, 1, [4096, 0])),
            ("beyond the target", header(16384, 0, 1, [12288, 4097])),
            ("starting at the end", header(16384, 0, 1, [16384, 1])),
            ("around the corner", header(16384, 0, 1, [4096, top - 4095])),
            ("far away", header(16384, 0, 1, [top, 1])),
        ]
        for (what, bytes) in cases {
            // Data for all of them, so that it is not the length that is refused.
            try? rig.directory.remove("diff")
            try rig.make(
                "diff", bytes + (bytes.count > 4095 ? [UInt8](repeating: 1, count: 16384) : []))
            #expect(diffError { try rig.apply("diff", "new", base: nil) } != nil, "\(what)")
            #expect(diffError { _ = try rig.ranges("diff") } != nil, "\(what)")
            #expect(try rig.directory.list() == ["diff"], "\(what)")
        }
        var padded = header(4096, 0, 0, [])
        padded[4095] = 1
        try? rig.directory.remove("diff")
        try rig.make("diff", padded)
        guard case .format(.reservedNotZero, "diff", _)? = diffError({ _ = try rig.ranges("diff") })
        else {
            Issue.record("what stands in the padding is taken")
            return
        }
    }

    @Test("a diff that was cut short, at every length, or goes on")
    func lengths() throws {
        let rig = try makeWorld()
        for name in ["one", "two"] {
            let whole = try rig.bytes(name)
            for count in stride(from: 0, to: whole.count, by: 61) {
                try? rig.directory.remove("cut")
                try rig.make("cut", Array(whole[..<count]))
                #expect(
                    diffError { try rig.apply("cut", "new", base: "base") } != nil,
                    "\(name), \(count) bytes")
                #expect(diffError { _ = try rig.ranges("cut") } != nil, "\(name), \(count) bytes")
                #expect(diffError { _ = try rig.tool.check(rig.end("cut")) } != nil)
                #expect(try !rig.directory.exists("new"))
            }
            try rig.make(name + " and more", whole + [0])
            #expect(diffError { try rig.apply(name + " and more", "new", base: "base") } != nil)
            #expect(diffError { _ = try rig.ranges(name + " and more") } != nil)
        }
        #expect(try rig.directory.list().allSatisfy { !$0.hasSuffix(".part") })
    }

    @Test("every damaged bit of version 2 is found before the target has its name")
    func flipped() throws {
        let rig = try makeWorld()
        let whole = try rig.bytes("two")
        for offset in whole.indices {
            var damaged = whole
            damaged[offset] ^= 1 << UInt8(offset % 8)
            try? rig.directory.remove("damaged")
            try rig.make("damaged", damaged)
            #expect(
                diffError { _ = try rig.tool.check(rig.end("damaged")) } != nil, "byte \(offset)")
            guard offset % 16 == 0 else { continue }
            #expect(
                diffError { try rig.apply("damaged", "new", base: "base", trustsBase: true) } != nil
            )
            #expect(try !rig.directory.exists("new"))
        }
    }

    @Test("a file that is written meanwhile is an error, not a wrong diff")
    func writtenMeanwhile() throws {
        let disk = VolatileDisk(hasExtents: true)
        let rig = try makeWorld(disk)
        for name in ["target", "base"] {
            let file = try rig.directory.open(name, writable: true)
            var isFirst = true
            let tool = BlockDiffTool<VolatileDirectory>(token: 3) { _, _ in
                if isFirst { try? file.write(at: 0, [1]) }
                isFirst = false
                return true
            }
            let failure = diffError {
                _ = try tool.create(
                    rig.end("new"), target: rig.place("target"), base: rig.place("base"),
                    DiffCreation())
            }
            #expect(failure == .changed(name))
            #expect(try rig.directory.list() == ["base", "one", "target", "two"])
        }
    }

    @Test("work that is stopped leaves nothing behind")
    func stopped() throws {
        let rig = try makeWorld()
        let names = try rig.directory.list()
        for count in 0..<6 {
            var left = count
            let tool = BlockDiffTool<VolatileDirectory>(token: 3) { _, _ in
                left -= 1
                return left >= 0
            }
            let made = diffError {
                _ = try tool.create(
                    rig.end("new"), target: rig.place("target"), base: nil, DiffCreation())
            }
            try rig.directory.remove("new")
            let applied = diffError {
                _ = try tool.apply(
                    rig.end("two"), target: rig.place("new"), base: rig.place("base"),
                    DiffApplication())
            }
            #expect(made == .cancelled || made == nil)
            #expect(applied == .cancelled)
            #expect(try rig.directory.list() == names)
        }
    }

    @Test("whatever call fails, the name holds what it held and nothing else is left")
    func failures() throws {
        for replaces in [false, true] {
            for code in [EIO, ENOSPC] {
                var number = 1
                while true {
                    let disk = VolatileDisk(hasExtents: true)
                    let rig = try makeWorld(disk)
                    if replaces { try rig.make("new", [1, 2, 3]) }
                    let names = try rig.directory.list()
                    disk.failAt(disk.operationCount + number, code: code)
                    let failure = diffError {
                        try rig.apply("two", "new", base: "base", replaces: replaces)
                    }
                    if failure == nil { break }
                    let now = try rig.directory.list()
                    let isDone = try now.contains("new") && rig.bytes("new").count > 3
                    // A failed sync of the directory comes after the name.
                    #expect(now == names || isDone, "operation \(number), \(now)")
                    #expect(now.allSatisfy { !$0.hasSuffix(".part") }, "operation \(number)")
                    if isDone { expectEqualBytes(try rig.bytes("new"), try rig.bytes("target")) }
                    number += 1
                }
                #expect(number > 6)
            }
        }
    }

    @Test("after a crash at any point the name holds the old file or the whole new one")
    func crashes() throws {
        for seed in 1...4 as ClosedRange<UInt64> {
            var number = 1
            while true {
                let disk = VolatileDisk(seed: seed, hasExtents: true)
                let rig = try makeWorld(disk)
                try rig.make("new", [1, 2, 3]).sync()
                try rig.directory.sync()
                let target = try rig.bytes("target")
                disk.crashAt(disk.operationCount + number)
                let failure = diffError {
                    try rig.apply("one", "new", base: "base", replaces: true)
                }
                disk.crash(keeping: .random(seed: seed))
                let after = DiffRig(directory: disk.reboot())
                let found = try after.bytes("new")
                #expect(found == [1, 2, 3] || found == target, "operation \(number)")
                if failure == nil {
                    expectEqualBytes(found, target)
                    break
                }
                number += 1
            }
            #expect(number > 6)
        }
    }

    @Test("errors say what, why, and what to do")
    func words() throws {
        let errors: [BlockDiffError] = [
            .io(HostIOError(.open, path: "a", code: ENOENT)),
            .io(HostIOError(.write, path: "a", code: ENOSPC)),
            .format(.wrongMagic(.blockDiff, found: 1, expected: 2), diff: "d", offset: 0),
            .format(.reservedNotZero(.blockDiff, offset: 3), diff: "d", offset: 0),
            .wrongLength(diff: "d", found: 1, expected: 2), .trailing(diff: "d"),
            .baseMissing(bytes: 3), .baseNotWanted("b"),
            .wrongBaseSize("b", found: 1, expected: 2),
            .wrongBase("b", found: Hash128(low: 1, high: 2), expected: Hash128(low: 3, high: 4)),
            .exists("x"), .notRegular("x"), .changed("x"), .sameFile("x"), .terminal,
            .stream(HostIOError(.write, path: "standard output", code: EPIPE)), .cancelled,
        ]
        var seen: Set<String> = []
        for error in errors {
            let text = error.forUser("cannot apply d")
            #expect(text.what == "cannot apply d" && !text.why.isEmpty && !text.remedy.isEmpty)
            #expect(seen.insert(text.why).inserted, "\(text)")
        }
        #expect(errors[0].forUser("").kind == .notFound)
        #expect(errors[10].forUser("").kind == .conflict)
    }
}
