// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet inspect` and `martlet doctor` on what a daemon left behind, whole and damaged.

import ControlPlane
import Foundation
import Primitives
import TestSupport
import Testing

@testable import Daemon
@testable import martlet

@Suite("inspecting")
struct InspectorTests {
    /// A store with a commit, and a journal behind it.
    private func material() throws -> (daemon: TestDaemon, pack: String, commit: String) {
        let daemon = try TestDaemon()
        try daemon.create("disk")
        let client = try daemon.connect("disk")
        try client.write(0, [UInt8](repeating: 7, count: 1 << 20))
        _ = try daemon.control.snapshot("disk", tag: "t")
        for round in 0..<3 {
            try client.write(UInt64(round) * 8192, noise(8192, seed: UInt64(round)))
            try client.flush()
        }
        let volume = try daemon.control.info("disk").volume
        let pack = try #require(try daemon.keys(under: "packs/").first)
        let commit = try #require(try daemon.keys(under: "volumes/\(volume)/commits/").first)
        daemon.crash()
        return (daemon, pack, commit)
    }

    private func inspector(_ daemon: TestDaemon, _ argument: String) -> Inspector {
        Inspector(OfflineSource(argument, verb: "inspect", configuration: daemon.configuration))
    }

    private func object(_ inspection: Inspection) throws -> [String: Any] {
        let data = Data(inspection.json.utf8)
        return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    @Test("a pack is shown by key and by file, with its members if asked for")
    func pack() throws {
        let (daemon, pack, _) = try material()
        let short = try inspector(daemon, pack).pack(members: false)
        #expect(short.lines.contains("pack: \(pack)"))
        #expect(short.lines.last?.hasPrefix("verified: ") == true)
        let long = try inspector(daemon, daemon.store + "/" + pack).pack(members: true)
        #expect(long.lines.contains { $0.hasSuffix("codec: lz4") })
        #expect(try object(long)["frame_at"] != nil)
        #expect(try object(long)["format"] as? String == "pack")
    }

    @Test("a commit, its refs and the repository are shown")
    func commitAndRefs() throws {
        let (daemon, _, commit) = try material()
        let shown = try inspector(daemon, commit).commit()
        #expect(shown.lines.contains("state: open"))
        #expect(shown.lines.contains("key: \(commit)"))
        #expect(try object(shown)["block_bytes"] as? Int == 131_072)
        #expect(!shown.lines.contains("label: 0"))
        let all = try inspector(daemon, "refs/exports/disk/").refs()
        #expect(all.lines.contains("  state: live"))
        let repository = try inspector(daemon, "martlet.json").refs()
        #expect(try object(repository)["kind"] as? String == "repository")
        let volume = try #require(commit.split(separator: "/").dropFirst().first)
        let identity = try inspector(daemon, daemon.cache + "/volumes/\(volume)/identity.json")
            .refs()
        #expect(try object(identity)["kind"] as? String == "identity")
    }

    @Test("a volume's journal is shown with what a recovery would accept")
    func journal() throws {
        let (daemon, _, commit) = try material()
        let volume = try #require(commit.split(separator: "/").dropFirst().first)
        let folder = daemon.cache + "/volumes/\(volume)"
        for path in [folder, folder + "/journal"] {
            let shown = try inspector(daemon, path).journal()
            // Three writes, and the cut of the commit that the store did not take.
            #expect(shown.lines.contains("  accepted units: 4"))
            #expect(shown.lines.contains("  accepted write bytes: 24576"))
        }
        let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/journal")
        let name = try #require(names.sorted().first)
        let segment = try inspector(daemon, folder + "/journal/" + name).journal()
        #expect(segment.lines.contains { $0.hasPrefix("  record ") })
    }

    @Test("damage is named by format, field and offset")
    func damage() throws {
        let (daemon, pack, commit) = try material()
        let bad = daemon.scratch.path + "/bad"
        func write(_ key: String, _ change: (inout Data) -> Void) throws {
            var bytes = try Data(contentsOf: URL(filePath: daemon.store + "/" + key))
            change(&bytes)
            try bytes.write(to: URL(filePath: bad))
        }
        func why(_ body: (Inspector) throws -> Inspection) throws -> String {
            let inspector = inspector(daemon, bad)
            let error = try #require(throws: UserError.self) { _ = try body(inspector) }
            #expect(error.kind == .failed)
            return error.why
        }
        try write(commit) { $0[0] ^= 1 }
        #expect(try why { try $0.commit() }.hasPrefix("commit: magic at the start is "))
        try write(commit) { $0[$0.count - 1] ^= 1 }
        #expect(try why { try $0.commit() }.hasPrefix("commit: hash is "))
        try write(pack) { $0.removeLast() }
        #expect(try why { try $0.pack(members: false) }.hasPrefix("pack trailer: "))
        try write(pack) { $0[70] ^= 1 }
        #expect(try why { try $0.pack(members: false) }.hasPrefix("frame: "))
        #expect(try why { try $0.journal() }.hasPrefix("journal segment: magic "))
        #expect(try why { try $0.refs() }.contains("at byte 0"))
        let missing = try #require(throws: UserError.self) {
            try inspector(daemon, "packs/none").pack(members: false)
        }
        #expect(missing.kind == .notFound)
    }

    @Test("inspect and doctor exit with 0, 1 on bad input, 2 on usage")
    func exitCodes() async throws {
        let (daemon, pack, _) = try material()
        let store = ["--store", daemon.configuration.storage.url]
        #expect(await Martlet.run(["inspect", "pack", pack, "--json"] + store) == 0)
        #expect(await Martlet.run(["inspect", "commit", pack] + store) == 1)
        #expect(await Martlet.run(["inspect", "commit", "none"] + store) == 1)
        #expect(await Martlet.run(["inspect", "nonsense", pack] + store) == 2)
        let cache = ["--cache", daemon.cache]
        #expect(await Martlet.run(["doctor", "--json"] + store + cache) == 0)
        #expect(await Martlet.run(["doctor", "--store", "file:///nonexistent"] + cache) == 1)
    }

    @Test("doctor measures the store and the disk, and names what is wrong")
    func doctor() throws {
        let (daemon, _, _) = try material()
        let report = Doctor.examine(daemon.configuration)
        #expect(report.problems.isEmpty)
        for key in ["put_us", "get_us", "list_us", "fsync_us", "boot_id", "ublk", "free_bytes"] {
            #expect(report.json.contains("\"\(key)\":"))
        }
        daemon.takeStoreAway()
        let away = Doctor.examine(daemon.configuration)
        #expect(away.problems.count == 1)
        #expect(away.json.contains("\"access\":\"away\""))
        daemon.bringStoreBack()
        #expect(try daemon.scratch.entries() == ["cache", "store"])
    }
}

extension ScratchDirectory {
    fileprivate func entries() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path).sorted()
    }
}
