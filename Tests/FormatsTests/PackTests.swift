// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Properties of frames, packs and commits over random objects, and damage that a checksum cannot
// tell.

import Formats
import Primitives
import Testing

@Suite("Frames")
struct FrameTests {
    static let shapes: [(grains: Int, full: Bool, codec: Codec)] =
        [1, 4, 32, 256].flatMap { grains in
            [true, false].flatMap { full in Codec.allCases.map { (grains, full, $0) } }
        }

    @Test("content comes back from a frame", arguments: shapes)
    func roundTrip(_ shape: (grains: Int, full: Bool, codec: Codec)) throws {
        var samples = Samples(seed: 11)
        for compressible in [true, false] {
            let made = samples.frameBytes(
                grains: shape.grains, full: shape.full, codec: shape.codec,
                compressible: compressible)
            var content = [UInt8](repeating: 0xAA, count: made.content.count)
            let header = try lend(made.frame) { lent throws(FormatError) in
                try FrameHeader(decoding: lent)
            }
            let stays = shape.codec == .raw || !compressible
            #expect((header.codec == .raw) == stays)
            let thrown = content.withUnsafeMutableBytes { room in
                refusal(of: made.frame) { lent throws(FormatError) in
                    try Frame.decode(lent, pointer: made.pointer, grains: shape.grains, into: room)
                }
            }
            #expect(thrown == nil && content == made.content)
        }
    }

    @Test("a whole frame that is not the one pointed to is refused")
    func misdirected() {
        var samples = Samples(seed: 12)
        let one = samples.frameBytes(grains: 4, full: true, codec: .raw)
        let other = samples.frameBytes(grains: 4, full: true, codec: .raw)
        #expect(one.frame.count == other.frame.count)
        #expect(
            refusal(of: other.frame) { lent throws(FormatError) in
                try Frame.header(of: lent, pointer: one.pointer, grains: 4)
            } == .wrongHash(.frame, found: other.pointer.hash, expected: one.pointer.hash))
    }

    @Test("content under another frame's hash is refused after decoding")
    func wrongContent() throws {
        var samples = Samples(seed: 13)
        let made = samples.frameBytes(grains: 4, full: true, codec: .lz4)
        let other: Hash128 = samples.identifier()
        let lie = made.content.withUnsafeBytes {
            Frame.encode($0, mask: made.pointer.mask, hash: other, grains: 4)
        }
        var pointer = made.pointer
        pointer.hash = other
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 16384, alignment: 16)
        defer { room.deallocate() }
        #expect(
            refusal(of: lie) { lent throws(FormatError) in
                try Frame.decode(lent, pointer: pointer, grains: 4, into: room)
            } == .wrongHash(.frame, found: made.pointer.hash, expected: other))
    }

    @Test("equal grains under unlike masks have unlike hashes")
    func deltaHash() {
        let bytes = [UInt8](repeating: 7, count: 4096)
        var first = GrainMask()
        first.insert(0)
        var second = GrainMask()
        second.insert(1)
        bytes.withUnsafeBytes { content in
            let one = Frame.hash(of: content, mask: first, grains: 32)
            #expect(one != Frame.hash(of: content, mask: second, grains: 32))
            #expect(one != Frame.hash(of: content, mask: first, grains: 1))
        }
    }
}

@Suite("Packs")
struct PackTests {
    @Test("the index finds every member, from a suffix alone", arguments: 0..<10 as Range<UInt64>)
    func roundTrip(seed: UInt64) throws {
        var samples = Samples(seed: seed)
        let bytes = samples.pack(frames: samples.number(1...12))
        #expect(try lend(bytes, repack) == bytes)
        let whole = try lend(bytes) { lent throws(FormatError) in try PackIndex.read(lent) }
        let suffix = Array(bytes.suffix(Int(whole.trailer.index.length) + Pack.trailerBytes))
        let (trailer, index) = try lend(suffix) { lent throws(FormatError) in
            let trailer = try PackTrailer(decodingEndOf: lent, packBytes: UInt64(bytes.count))
            let part = UnsafeRawBufferPointer(rebasing: lent[..<Int(trailer.index.length)])
            return (trailer, try PackIndex(decoding: part, trailer: trailer))
        }
        #expect(trailer == whole.trailer && index == whole.index)
        for member in index.members {
            let part = Array(bytes[Int(member.extent.offset)..<Int(member.extent.end)])
            #expect(
                refusal(of: part) { lent throws(FormatError) in
                    try Pack.verify(lent, hash: member.hash, kind: member.kind)
                } == nil)
        }
    }

    @Test("the size promised while writing is the size that comes out")
    func byteCount() {
        var samples = Samples(seed: 21)
        var writer = PackWriter(pack: samples.packID())
        #expect(writer.isEmpty)
        for _ in 0..<5 {
            let made = samples.frameBytes(grains: 4, full: true, codec: .lz4)
            _ = writer.append(frame: made.frame, hash: made.pointer.hash)
        }
        let promised = writer.byteCount
        #expect(writer.finish().count == promised)
    }

    @Test("a pack is made in the memory of the one before it")
    func reused() {
        var samples = Samples(seed: 24)
        func place(_ bytes: borrowing [UInt8]) -> UInt {
            bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
        }
        func filled(_ writer: consuming PackWriter) -> [UInt8] {
            let made = samples.frameBytes(grains: 4, full: true, codec: .lz4)
            _ = writer.append(frame: made.frame, hash: made.pointer.hash)
            return writer.finish()
        }
        let first = filled(PackWriter(pack: samples.packID(), expectedBytes: 1 << 20))
        let (home, capacity) = (place(first), first.capacity)
        let next = filled(
            PackWriter(pack: samples.packID(), reusing: consume first, expectedBytes: 1 << 20))
        #expect(place(next) == home && next.capacity == capacity)
    }

    @Test("an index with a gap, an overlap or pages before nodes is refused")
    func misordered() {
        var samples = Samples(seed: 22)
        let pack = samples.packID()
        func member(_ kind: PackMemberKind, _ offset: UInt32, _ length: UInt32) -> PackMember {
            PackMember(
                kind: kind, extent: PackExtent(offset: offset, length: length),
                hash: Hash128(low: 1, high: 1))
        }
        func thrown(_ members: [PackMember], end: UInt32) -> FormatError? {
            refusal(of: PackIndex(pack: pack, members: members).encode()) {
                lent throws(FormatError) in
                try PackIndex(unhashed: lent, offset: end)
            }
        }
        #expect(thrown([member(.frame, 64, 10), member(.node, 74, 5)], end: 79) == nil)
        #expect(thrown([member(.frame, 64, 10), member(.node, 75, 5)], end: 80) != nil)
        #expect(thrown([member(.frame, 64, 10), member(.node, 73, 5)], end: 78) != nil)
        #expect(thrown([member(.chunkPage, 64, 10), member(.node, 74, 5)], end: 79) != nil)
        #expect(thrown([member(.packPage, 64, 10), member(.chunkPage, 74, 5)], end: 79) == nil)
        #expect(thrown([member(.frame, 64, 10)], end: 75) != nil)
    }

    @Test("a pack read under another pack's name is refused")
    func misdirected() throws {
        var samples = Samples(seed: 23)
        let bytes = samples.pack(frames: 2)
        let other = samples.packID()
        #expect(
            refusal(of: bytes) { lent throws(FormatError) in
                try PackIndex.read(lent, pack: other)
            } != nil)
    }
}

@Suite("Commits")
struct CommitTests {
    @Test("a commit comes back from its bytes", arguments: 0..<40 as Range<UInt64>)
    func roundTrip(seed: UInt64) throws {
        var samples = Samples(seed: seed)
        var commit = samples.commit(inline: seed % 2 == 0, takeover: seed % 3 == 0)
        commit.keepsContent = seed % 5 == 0
        if seed % 7 == 0 {
            commit.copied = CopiedCommit(
                volume: commit.volume, sequence: commit.sequence, token: commit.token)
        }
        let bytes = commit.encode()
        let again = try lend(bytes) { lent throws(FormatError) in
            try Commit(decoding: lent, key: commit.key)
        }
        #expect(again == commit)
        #expect(commit.encode() == bytes)
    }

    @Test("a commit without pages is a volume of zeros")
    func empty() throws {
        let commit = Commit(
            volume: VolumeID(low: 1, high: 1), sequence: CommitSequence(1), epoch: Epoch(1),
            token: Token(low: 2, high: 2), state: .clean, isFence: true,
            size: ByteCount(512), blockBytes: 4096, cut: RecordSequence(0), labelSeconds: 0)
        let again = try lend(commit.encode()) { lent throws(FormatError) in
            try Commit(decoding: lent, key: nil)
        }
        #expect(again == commit && again.blockCount == 1)
        #expect(again.digest == Commit.volumeDigest([]))
    }

    @Test("a commit under another key is refused as misdirected")
    func misdirected() {
        var samples = Samples(seed: 31)
        let commit = samples.commit(inline: true, takeover: false)
        var other = commit.key
        other.sequence = other.sequence.next
        #expect(
            refusal(of: commit.encode()) { lent throws(FormatError) in
                try Commit(decoding: lent, key: other)
            }
                == .wrongIdentity(
                    .commit, field: "sequence", found: commit.sequence.rawValue,
                    expected: other.sequence.rawValue))
    }

    @Test("a body that claims more than 64 MiB, or less than it holds, is refused")
    func bomb() {
        let key = CommitKey(volume: VolumeID(low: 1, high: 1), sequence: CommitSequence(1))
        let zeros = [UInt8](repeating: 0, count: 65 << 20)
        var stored = [UInt8](repeating: 0, count: 1 << 20)
        let count = zeros.withUnsafeBytes { source in
            stored.withUnsafeMutableBytes {
                Compression.compress(source, into: $0, codec: .zstd) ?? 0
            }
        }
        let body = Array(stored[..<count])
        for rawBytes in [65 << 20, 64 << 20, 160, 159] {
            let bytes = Commit.seal(
                body, codec: .zstd, rawBytes: rawBytes, key: key, epoch: Epoch(1))
            let thrown = refusal(of: bytes) { lent throws(FormatError) in
                try Commit(decoding: lent, key: nil)
            }
            let isOutOfBounds = rawBytes > 64 << 20 || rawBytes < 160
            #expect(
                thrown
                    == (isOutOfBounds
                        ? .badValue(.commit, field: "raw", offset: 12, found: UInt64(rawBytes))
                        : .corruptCompression(
                            .commit, storedBytes: body.count, expectedBytes: rawBytes)))
        }
    }

    @Test("a number that leaves no room to count on from is refused")
    func last() {
        let volume = VolumeID(low: 1, high: 1)
        let refused: [(sequence: UInt64, epoch: UInt32, cut: UInt64, field: String)] = [
            (1 << 63, 1, 0, "sequence"), (.max, 1, 0, "sequence"), (1, 1 << 31, 0, "epoch"),
            (1, .max, 0, "epoch"), (1, 1, 1 << 63, "cut"), (1, 1, .max, "cut"),
        ]
        for (sequence, epoch, cut, field) in refused {
            let bytes = Commit(
                volume: volume, sequence: CommitSequence(sequence), epoch: Epoch(epoch),
                token: Token(low: 2, high: 2), state: .clean, isFence: true,
                size: ByteCount(512), blockBytes: 4096, cut: RecordSequence(cut), labelSeconds: 0
            ).encode()
            let thrown = refusal(of: bytes) { lent throws(FormatError) in
                try Commit(decoding: lent, key: nil)
            }
            guard case .badValue(.commit, field, _, _) = thrown else {
                Issue.record("\(field): \(String(describing: thrown))")
                continue
            }
        }
    }

    @Test("every bit of a body that no hash protects decodes whole or is refused")
    func damagedBody() {
        var samples = Samples(seed: 32)
        let commit = samples.commit(inline: true, takeover: true)
        let body = commitBody(commit.encode())
        for offset in body.indices {
            var damaged = body
            damaged[offset] ^= 0x81
            let again = try? lend(damaged) { lent throws(FormatError) in
                try Commit(body: lent, key: commit.key, epoch: commit.epoch)
            }
            #expect(again != commit)
        }
        for count in body.indices {
            #expect(
                refusal(of: Array(body[..<count])) { lent throws(FormatError) in
                    try Commit(body: lent, key: commit.key, epoch: commit.epoch)
                } != nil)
        }
    }

    @Test("page lists stay ascending, and an absent page is nil")
    func pageLists() {
        var samples = Samples(seed: 33)
        var list = PageList()
        var model: [UInt32: PageReference] = [:]
        for _ in 0..<300 {
            let index = UInt32(samples.number(0...40))
            let page: PageReference? = samples.chance(40) ? nil : .packed(samples.pointer())
            list[index] = page
            model[index] = page
            #expect(list.entries.map(\.index) == model.keys.sorted())
            #expect((0...41).allSatisfy { list[$0] == model[$0] })
        }
    }
}
