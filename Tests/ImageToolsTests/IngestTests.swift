// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Bless and import when nothing goes wrong.

import Documents
import Formats
import HostIO
import ImageTools
import ObjectStore
import Primitives
import Testing

@Suite("Ingest")
struct IngestTests {
    /// Two chunks of 16 KiB blocks, less one and a half.
    private static let bytes = diskBytes((18 << 20) + 4096 + 512, seed: 1)

    @Test("a base holds every byte of a raw image, and its work leaves no export behind")
    func baseHoldsImage() throws {
        let rig = try ImageRig()
        let report = try rig.bless(rig.raw(Self.bytes))
        #expect(report.outcome == .created)
        let base = try #require(try rig.base())
        #expect(base.commit == report.commit)
        expectBytes(try rig.content(base.commit), Self.bytes)
        #expect(try rig.export("bless.debian")?.state == .deleted)
        #expect(rig.store.keys(prefix: "refs/readers/").isEmpty)
        #expect(rig.packCount > 3, "the image spans several packs")
        try rig.expectWhole()
    }

    @Test(
        "a volume's digest is the same for the same bytes, however many threads make it",
        arguments: [0, 1, 2, 7])
    func digestIsOfContent(threads: Int) throws {
        let single = try ImageRig()
        let expected = try single.bless(single.raw(Self.bytes)).digest
        let rig = try ImageRig()
        let report = try rig.bless(rig.raw(Self.bytes), threads: threads)
        #expect(report.digest == expected)
        expectBytes(try rig.content(report.commit), Self.bytes, "\(threads) threads")
        try rig.expectWhole()
    }

    @Test(
        "an image of any size is padded to sectors and read back",
        arguments: [
            1, 511, 512, 4095, 4096, 4097, 16 << 10, (16 << 10) + 512, (1 << 20) + 1,
            (16 << 20) + 3 * 512,
        ])
    func sizes(count: Int) throws {
        let rig = try ImageRig()
        let bytes = diskBytes(count, seed: UInt64(count)).map { $0 | 1 }
        let report = try rig.bless(rig.raw(bytes), threads: 2)
        let padded = (count + 511) / 512 * 512
        #expect(report.size == ByteCount(UInt64(padded)))
        expectBytes(
            try rig.content(report.commit), bytes + [UInt8](repeating: 0, count: padded - count))
        try rig.expectWhole()
    }

    @Test("zeros are not stored, and equal blocks are stored once")
    func zerosAndTwins() throws {
        let rig = try ImageRig()
        let block = diskBytes(ImageRig.blockBytes, seed: 4).map { $0 | 1 }
        let zeros = [UInt8](repeating: 0, count: ImageRig.blockBytes)
        let bytes = block + zeros + block + zeros + block
        let report = try rig.bless(rig.raw(bytes), threads: 2)
        #expect(report.blocksStored == 1)
        #expect(report.blocksReused == 2)
        expectBytes(try rig.content(report.commit), bytes)
        try rig.expectWhole()

        let empty = try rig.bless(
            rig.raw([UInt8](repeating: 0, count: 40 << 20)), "nothing", threads: 2)
        #expect(empty.packs == 0)
        #expect(empty.digest == Commit.emptyDigest)
        try rig.expectWhole()
    }

    @Test("a finished bless that is repeated changes nothing")
    func repeated() throws {
        let rig = try ImageRig()
        let first = try rig.bless(rig.raw(Self.bytes))
        let before = rig.store.objects.keys.sorted()
        let again = try rig.bless(rig.raw(Self.bytes), threads: 2)
        #expect(again.outcome == .unchanged)
        #expect(again.commit == first.commit)
        #expect(rig.store.objects.keys.sorted() == before)
    }

    @Test("a name with other content is refused unless it is to be replaced")
    func otherContent() throws {
        let rig = try ImageRig()
        let first = try rig.bless(rig.raw(Self.bytes))
        var changed = Self.bytes
        changed[5 << 20] ^= 1
        let error = try #require(throws: UserError.self) { try rig.bless(rig.raw(changed)) }
        #expect(error.kind == .conflict)
        #expect(try rig.base()?.commit == first.commit)

        let second = try rig.bless(rig.raw(changed), replaces: true, against: "debian")
        #expect(second.outcome == .replaced)
        #expect(second.blocksStored == 1, "all but one block are the old version's")
        #expect(try rig.base()?.number == 2)
        expectBytes(try rig.content(second.commit), changed)
        expectBytes(try rig.content(first.commit), Self.bytes)
        try rig.expectWhole()
    }

    @Test("against a base only unlike blocks are stored, wherever they lie, and it may go then")
    func dedup() throws {
        let rig = try ImageRig()
        try rig.bless(rig.raw(Self.bytes), "old")
        let block = ImageRig.blockBytes
        // Shorter, shifted by a block, with news in the middle.
        let news = diskBytes(3 * block, seed: 77)
        let bytes = Array(Self.bytes[block..<(8 << 20)]) + news + Array(Self.bytes[..<(2 << 20)])
        let report = try rig.bless(rig.raw(bytes), "new", threads: 2, against: "old")
        #expect(report.blocksStored <= 4)
        expectBytes(try rig.content(report.commit), bytes)
        #expect(try rig.frames().values.allSatisfy { $0 == 1 })
        try rig.expectWhole()
    }

    @Test("an import becomes a live export; its name is refused to other content")
    func imported() throws {
        let rig = try ImageRig()
        let request = try rig.request("disk", isBase: false)
        let report = try rig.ingest(request, threads: 2).run(rig.raw(Self.bytes))
        let export = try #require(try rig.export("disk"))
        #expect(export.state == .live)
        #expect(export.size == ByteCount(UInt64(Self.bytes.count)))
        expectBytes(try rig.content(report.commit), Self.bytes)
        #expect(try rig.ingest(request).run(rig.raw(Self.bytes)).outcome == .unchanged)
        let error = try #require(throws: UserError.self) {
            try rig.ingest(request).run(rig.raw([1, 2, 3]))
        }
        #expect(error.kind == .conflict)
        try rig.expectWhole()
    }

    @Test("a store without a repository, an empty image and a missing base are refused by name")
    func refusals() throws {
        let rig = try ImageRig()
        let empty = try rig.file([])
        #expect(throws: ImageError.self) { try RawDisk(empty) }
        let unknown = try #require(throws: UserError.self) {
            try rig.bless(rig.raw([1]), against: "nobody")
        }
        #expect(unknown.kind == .notFound)
        try rig.store.delete([RefKey.repository.text])
        let bare = try #require(throws: UserError.self) { try rig.bless(rig.raw([1])) }
        #expect(bare.kind == .notFound)
        #expect(rig.store.objects.isEmpty)
    }
}
