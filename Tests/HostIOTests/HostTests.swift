// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What only the host has: paths, clocks, randomness and facts.

import HostIO
import Primitives
import TestSupport
import Testing

@Suite("the host is read through its seam")
struct HostTests {
    @Test("opening by path makes missing directories, relative and absolute")
    func openByPath() throws {
        let scratch = try ScratchDirectory()
        let deep = try HostDirectory.open(path: scratch.path + "/a/b//c", create: true)
        _ = try deep.create("file")
        let again = try HostDirectory.open(path: scratch.path + "/a/b/c", create: false)
        #expect(try again.list() == ["file"])
        #expect(try again.identity() == deep.identity())
        #expect(throws: HostIOError.self) {
            _ = try HostDirectory.open(path: scratch.path + "/none", create: false)
        }
    }

    @Test(
        "what is in memory is read without waiting where the file system cannot promise it, too",
        .enabled(if: Requires.tools("/dev/shm")))
    func cachedReadsOnTmpfs() throws {
        // tmpfs takes no RWF_NOWAIT; nor do overlayfs and FUSE.
        let scratch = try ScratchDirectory(below: "/dev/shm")
        let file = try HostDirectory.open(path: scratch.path, create: false).create("file")
        try file.write(at: 0, [UInt8](repeating: 9, count: 5_000_000))
        for (offset, count) in [(0, 10_000), (4_500, 4096), (4_999_999, 512)] {
            var buffer = [UInt8](repeating: 0, count: count)
            let read = try buffer.withUnsafeMutableBytes {
                try file.readIfCached(at: UInt64(offset), into: $0)
            }
            let expected = min(count, 5_000_000 - offset)
            #expect(read == expected)
            #expect(buffer[expected - 1] == 9)
        }
    }

    @Test("an error names the call, the path and the reason")
    func errorText() throws {
        let scratch = try ScratchDirectory()
        let root = try HostDirectory.open(path: scratch.path, create: false)
        do {
            _ = try root.open("none", writable: false)
            Issue.record("the file should not open")
        } catch {
            #expect(error.operation == .open)
            #expect(error.description.contains(scratch.path + "/none"))
            #expect(error.description.contains("No such file"))
        }
    }

    @Test("the monotonic clock advances over a sleep and the wall clock is of this century")
    func clock() {
        let clock = SystemClock()
        let start = clock.now
        clock.sleep(nanoseconds: 2_000_000)
        #expect(clock.now.nanoseconds(since: start) >= 2_000_000)
        #expect(clock.wallSeconds > 1_700_000_000)
        let manual = ManualClock(start: Instant(nanoseconds: 5), wallSeconds: 100)
        manual.advance(seconds: 2)
        #expect(manual.now == Instant(nanoseconds: 2_000_000_005))
        #expect(manual.wallSeconds == 102)
    }

    @Test("facts are the same on a second look")
    func facts() throws {
        let disk = VolatileDisk()
        var random = SystemRandom()
        let first = try HostFacts.read(fallback: disk.root, random: &random)
        let second = try HostFacts.read(fallback: disk.root, random: &random)
        #expect(first.bootID == second.bootID && !first.bootID.isZero)
        #expect(first.machineID == second.machineID && first.machineID.utf8.count == 32)
        #expect(first.processorCount >= 1 && first.memoryBytes > 1 << 20)
        #expect(random.next() != random.next())
        #expect(HostFacts.environment("PATH") != nil)
        #expect(HostFacts.environment(prefix: "PAT")["PATH"] == HostFacts.environment("PATH"))
    }
}
