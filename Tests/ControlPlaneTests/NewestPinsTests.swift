// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What keeps a volume's old packs, as compaction is told; and requests for a fresh base.

import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives
import Testing

@Suite("What keeps old packs, and fresh bases")
struct NewestPinsTests {
    private let shared = SharedStore()

    private func newest(_ volume: VolumeID, _ name: String = "prod") throws -> UInt64? {
        try NewestPins(store: shared.store)
            .newest(of: volume, named: try #require(RefName(name)))?.rawValue
    }

    @Test("snapshots, tags and forks keep what is as old as they are; deleted ones do not")
    func pins() throws {
        let node = try TestNode("a", shared)
        let volume = try node.make("prod", writes: [1])
        #expect(try newest(volume) == nil)
        let first = try node.plane.snapshot("prod", tag: nil).sequence
        #expect(try newest(volume) == first.rawValue)
        try node.host.write(2, to: volume)
        _ = try node.plane.drain("prod")
        #expect(try newest(volume) == first.rawValue)
        let tag = try node.plane.tag("prod", tag: "release").sequence
        #expect(tag > first)
        #expect(try newest(volume) == tag.rawValue)
        try node.host.write(3, to: volume)
        var request = PutRequest()
        request.source = try ForkSource(from: "export:prod")
        _ = try node.plane.put("copy", request)
        let fork = try #require(try newest(volume))
        #expect(fork > tag.rawValue)
        try node.plane.delete("copy", purge: true)
        #expect(try newest(volume) == tag.rawValue)
        try node.plane.deleteSnapshot("prod", sequence: first.rawValue)
        #expect(try newest(volume) == tag.rawValue)
    }

    @Test("a fresh base is begun on a volume that may be written, and on no other")
    func freshBase() throws {
        let node = try TestNode("a", shared)
        _ = try node.make("prod", writes: [1])
        #expect(
            try node.plane.compact("prod").freshBase == .running(blocksDone: 0, blocksTotal: 1))
        #expect(throws: UserError.self) { try node.plane.compact("nobody") }
        var request = PutRequest()
        request.source = try ForkSource(from: "export:prod")
        request.isReadOnly = true
        _ = try node.plane.put("view", request)
        #expect(throws: UserError.self) { try node.plane.compact("view") }
    }
}
