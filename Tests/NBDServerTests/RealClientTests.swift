// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The clients that people use: libnbd's tools, QEMU's, fio, and libnbd from Python. Each runs
// against a device that parks every seventh call, so that nothing depends on answers at once.

import Foundation
import NBDServer
import TestSupport
import Testing

@Suite("Real clients") struct RealClientTests {
    func served(_ body: (TestServer, TestDisk) throws -> Void) throws {
        let disk = TestDisk("disk", size: (32 << 20) + 512)
        disk.script.update { $0.parkEvery = 7 }
        try withServer([disk, TestDisk("other")], shards: 2) { server in try body(server, disk) }
    }

    func run(_ words: String...) throws -> String {
        let outcome = try Command.run(words)
        #expect(outcome.status == 0, "\(words.joined(separator: " ")): \(outcome.output)")
        return outcome.output
    }

    func makeFile(_ scratch: ScratchDirectory) throws -> String {
        let path = scratch.path + "/image"
        var bytes = pattern((32 << 20) + 512, seed: 42)
        bytes.replaceSubrange(4 << 20..<8 << 20, with: repeatElement(0, count: 4 << 20))
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return path
    }

    @Test(
        "nbdinfo shows the export, its contexts and the list",
        .enabled(if: Requires.tools("nbdinfo")))
    func nbdinfo() throws {
        try served { server, _ in
            let info = try run("nbdinfo", server.uri("disk"))
            for line in [
                "export-size: 33554944", "base:allocation", "can_multi_conn: true",
                "can_df: true", "can_fast_zero: true", "block_size_preferred: 4096",
                "block_size_maximum: 33554432", "description: test disk disk",
            ] { #expect(info.contains(line), "\(line) in \(info)") }
            let list = try run("nbdinfo", "--list", server.uri(""))
            #expect(list.contains("export=\"disk\"") && list.contains("export=\"other\""))
            let map = try run("nbdinfo", "--map", server.uri("disk"))
            #expect(map.contains("hole,zero"))
        }
    }

    @Test(
        "nbdcopy with four connections, there and back, and qemu-img agrees",
        .enabled(if: Requires.tools("nbdcopy", "qemu-img", "cmp")))
    func nbdcopy() throws {
        let scratch = try ScratchDirectory()
        let file = try makeFile(scratch)
        try served { server, _ in
            _ = try run(
                "nbdcopy", "--connections=4", "--flush", file, server.uri("disk"))
            _ = try run(
                "qemu-img", "compare", "-f", "raw", "-F", "raw", file, server.uri("disk"))
            _ = try run(
                "nbdcopy", "--connections=4", server.uri("disk"), scratch.path + "/back")
            _ = try run("cmp", file, scratch.path + "/back")
        }
    }

    @Test("qemu-io writes, zeroes, trims and verifies", .enabled(if: Requires.tools("qemu-io")))
    func qemuIO() throws {
        try served { server, _ in
            let output = try run(
                "qemu-io", "-f", "raw", "-c", "write -P 0xa5 512 1M", "-c", "write -z 64k 64k",
                "-c", "discard 512k 128k", "-c", "read -P 0xa5 512 65024",
                "-c", "read -P 0 64k 64k", "-c", "read -P 0 512k 128k", "-c", "write -f -P 1 0 4k",
                "-c", "flush", "-c", "read -P 1 0 4k", server.uri("disk"))
            #expect(!output.contains("failed"), "\(output)")
        }
    }

    @Test(
        "fio verifies mixed sizes from 512 bytes on",
        .enabled(if: Requires.tools("fio")), arguments: [1, 16])
    func fio(depth: Int) throws {
        try served { server, _ in
            let output = try run(
                "fio", "--name=verify", "--ioengine=nbd",
                "--uri=nbd+unix:///disk?socket=\(server.socketPath)", "--rw=randwrite",
                "--bssplit=512/40:4k/30:64k/20:1m/10", "--size=32m", "--iodepth=\(depth)",
                "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0",
                "--randseed=\(depth)")
            #expect(output.contains("err= 0"), "\(output)")
        }
    }

    @Test("libnbd from Python agrees with a model", .enabled(if: Requires.pythonNBD()))
    func python() throws {
        let script = """
            import nbd, random, sys
            uri, size = sys.argv[1], 33554944
            handles = []
            for _ in range(4):
                h = nbd.NBD(); h.add_meta_context("base:allocation"); h.connect_uri(uri)
                assert h.get_size() == size and h.can_multi_conn() and h.can_df()
                assert h.get_structured_replies_negotiated()
                handles.append(h)
            model, r = bytearray(size), random.Random(1)
            for step in range(1500):
                h, kind = r.choice(handles), r.randrange(6)
                offset = r.randrange(size); count = min(size - offset, 1 << r.randrange(1, 21))
                if kind < 2:
                    data = r.randbytes(count); h.pwrite(data, offset)
                    model[offset:offset+count] = data
                elif kind == 2: h.zero(count, offset); model[offset:offset+count] = bytes(count)
                elif kind == 3: assert h.pread(count, offset) == model[offset:offset+count]
                elif kind == 4: assert h.pread_structured(
                    count, offset, lambda *_: 0, nbd.CMD_FLAG_DF) == model[offset:offset+count]
                else:
                    seen = []
                    h.block_status(count, offset, lambda c, o, e, err: seen.extend(e) or 0)
                    assert seen and sum(seen[0::2]) <= count
            for h in handles: h.flush()
            assert b"".join(handles[0].pread(1 << 20, o) for o in range(0, size - 512, 1 << 20)) \\
                == model[:size - 512]
            try: handles[0].pread(512, size)
            except nbd.Error as e: print("refused", e.errno)
            for h in handles: h.shutdown()
            """
        try served { server, _ in
            _ = try run("/usr/bin/python3", "-c", script, server.uri("disk"))
        }
    }
}
