// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Properties of masks, keys, nodes and pages over random objects.

import Formats
import Primitives
import Testing

@Suite("Grain masks")
struct GrainMaskTests {
    @Test("a mask behaves as a set of numbers", arguments: 0..<20 as Range<UInt64>)
    func behavesAsSet(seed: UInt64) {
        var samples = Samples(seed: seed)
        var mask = GrainMask()
        var model = Set<Int>()
        for _ in 0..<200 {
            let low = samples.number(0...255)
            let high = samples.number(low...256)
            if samples.chance(20) {
                mask.insert(low..<high)
                model.formUnion(low..<high)
            } else if samples.chance(60) {
                mask.remove(low)
                model.remove(low)
            } else {
                mask.insert(low)
                model.insert(low)
            }
            #expect(mask.count == model.count)
            #expect(mask.isEmpty == model.isEmpty)
            #expect((0..<256).allSatisfy { mask.contains($0) == model.contains($0) })
            #expect(mask.first(from: low) == model.filter { $0 >= low }.min())
        }
    }

    @Test("runs cover exactly the grains of a mask")
    func runs() {
        var samples = Samples(seed: 7)
        for _ in 0..<100 {
            let mask = samples.mask(grains: 256)
            var copy = GrainMask()
            var from = 0
            while let run = mask.run(from: from) {
                copy.insert(run)
                from = run.upperBound
            }
            #expect(copy == mask)
        }
    }

    @Test("only the mask of all grains is full", arguments: [1, 2, 32, 64, 128, 256])
    func full(grains: Int) {
        var mask = GrainMask(full: grains)
        #expect(mask.count == grains && mask.isFull(grains: grains))
        mask.remove(grains - 1)
        #expect(!mask.isFull(grains: grains))
        #expect(mask.isSubset(of: GrainMask(full: grains)))
    }
}

@Suite("Keys")
struct KeyTests {
    @Test("pack and commit keys parse back to what printed them")
    func roundTrip() throws {
        var samples = Samples(seed: 1)
        for _ in 0..<200 {
            let pack = samples.packID()
            #expect(try PackID(key: pack.key) == pack)
            let commit = CommitKey(
                volume: samples.identifier(),
                sequence: CommitSequence(1 + samples.random.next(below: 1 << 63 - 1)))
            #expect(try CommitKey(key: commit.key) == commit)
        }
    }

    @Test("later commits come first in key order")
    func order() {
        let volume = VolumeID(low: 1, high: 2)
        let keys = [1, 2, 9, 10, 255, 1 << 40, .max].map { CommitKey.key(volume, .init($0)) }
        #expect(keys.sorted() == keys.reversed())
    }

    @Test("any other spelling of a key is refused")
    func strict() throws {
        var samples = Samples(seed: 2)
        let pack = samples.packID().key
        let commit = CommitKey(volume: samples.identifier(), sequence: CommitSequence(77)).key
        for key in [pack, commit] {
            for index in key.utf8.indices {
                var damaged = key
                damaged.replaceSubrange(index...index, with: "G")
                #expect(throws: FormatError.self) { try PackID(key: damaged) }
                #expect(throws: FormatError.self) { try CommitKey(key: damaged) }
                damaged.remove(at: index)
                #expect(throws: FormatError.self) { try PackID(key: damaged) }
                #expect(throws: FormatError.self) { try CommitKey(key: damaged) }
            }
            for other in [key + "x", "x" + key, "/" + key, key + "/", "", key.uppercased()] {
                #expect(throws: FormatError.self) { try PackID(key: other) }
                #expect(throws: FormatError.self) { try CommitKey(key: other) }
            }
        }
        let plus = commit.replacing(".77", with: ".+77")
        #expect(throws: FormatError.malformedKey(.commitKey, key: plus)) {
            try CommitKey(key: plus)
        }
        // Who counts on from a number must not come to the end of its type.
        let volume: VolumeID = samples.identifier()
        for sequence in [0, 1 << 63, UInt64.max] {
            let key = CommitKey.key(volume, CommitSequence(sequence))
            #expect(throws: FormatError.malformedKey(.commitKey, key: key)) {
                try CommitKey(key: key)
            }
        }
    }
}

@Suite("Map nodes and table pages")
struct MapTests {
    @Test("a view finds what the decoded node holds", arguments: 0..<30 as Range<UInt64>)
    func viewAgrees(seed: UInt64) throws {
        var samples = Samples(seed: seed)
        let blockBytes = Limits.blockBytesMin << samples.number(0...8)
        let node = samples.node(blockBytes: blockBytes, blocks: samples.number(1...1500))
        let bytes = node.encode()
        #expect(try lend(bytes) { lent throws(FormatError) in try MapNode(decoding: lent) } == node)
        try lend(bytes) { lent throws(FormatError) in
            try MapNodeView.validate(lent, chunk: node.chunk, blockBytes: blockBytes)
            let view = MapNodeView(validated: lent)
            #expect(view.blockCount == node.blockCount && view.frameCount == node.frameCount)
            for index in 0..<Limits.chunkBlocks {
                let stack = view.entry(at: index)
                #expect(view.contains(index) == (node[index] != nil))
                #expect(stack.entry.frames == node[index]?.frames ?? [])
                guard let entry = node[index] else { continue }
                #expect(stack.contentKey == entry.contentKey(blockBytes: blockBytes))
            }
        }
    }

    @Test("a full frame's own hash is the key of its block, and a delta hides nothing")
    func contentKeys() {
        var samples = Samples(seed: 3)
        let full = samples.frame(grains: 32, full: true)
        var delta = samples.frame(grains: 32, full: false)
        delta.mask.remove(0)
        delta.mask.insert(1)
        let whole = BlockEntry(frames: [full])
        let stacked = BlockEntry(frames: [delta, full])
        #expect(whole.contentKey(blockBytes: 128 << 10) == full.hash)
        #expect(stacked.contentKey(blockBytes: 128 << 10) != full.hash)
        #expect(stacked.contentKey(blockBytes: 128 << 10) != delta.hash)
        let alone = BlockEntry(frames: [delta])
        #expect(
            alone.contentKey(blockBytes: 128 << 10) != alone.contentKey(blockBytes: 256 << 10))
    }

    @Test("a node or page of another place is refused as misdirected")
    func misdirected() {
        var samples = Samples(seed: 4)
        let node = samples.node(blockBytes: 128 << 10, blocks: 5)
        let bytes = node.encode()
        let elsewhere = ChunkIndex(node.chunk.rawValue ^ 1)
        #expect(
            refusal(of: bytes) { lent throws(FormatError) in
                try MapNodeView.validate(lent, chunk: elsewhere)
            }
                == .wrongIdentity(
                    .node, field: "chunk", found: node.chunk.rawValue,
                    expected: elsewhere.rawValue))
        let chunks = samples.chunkPage(index: 3, blockBytes: 128 << 10, entries: 4).encode()
        #expect(
            refusal(of: chunks) { lent throws(FormatError) in
                try ChunkTablePage(decoding: lent, index: 4)
            } == .wrongIdentity(.chunkPage, field: "page", found: 3, expected: 4))
        let packs = samples.packPage(index: 3, entries: 4).encode()
        #expect(
            refusal(of: packs) { lent throws(FormatError) in
                try PackTablePage(decoding: lent, index: 4)
            } == .wrongIdentity(.packPage, field: "page", found: 3, expected: 4))
    }

    @Test("pages round-trip, and their views agree", arguments: 0..<20 as Range<UInt64>)
    func pages(seed: UInt64) throws {
        var samples = Samples(seed: seed)
        let chunks = samples.chunkPage(
            index: UInt32(samples.number(0...127)), blockBytes: 1 << 20,
            entries: samples.number(1...1500))
        try lend(chunks.encode()) { lent throws(FormatError) in
            #expect(try ChunkTablePage(decoding: lent, index: chunks.index) == chunks)
            let view = ChunkTablePageView(validated: lent)
            #expect((0..<1024).allSatisfy { view.entry(at: $0) == chunks[$0] })
        }
        let packs = samples.packPage(
            index: UInt32(samples.number(0...4095)), entries: samples.number(1...1500))
        try lend(packs.encode()) { lent throws(FormatError) in
            #expect(try PackTablePage(decoding: lent, index: packs.index) == packs)
            let view = PackTablePageView(validated: lent)
            #expect((0..<1024).allSatisfy { view.entry(at: $0) == packs[$0] })
        }
    }

    @Test("a digest follows content and place, not where frames lie")
    func digests() {
        var samples = Samples(seed: 5)
        let node = samples.node(blockBytes: 128 << 10, blocks: 20)
        var moved = MapNode(chunk: node.chunk, blockBytes: node.blockBytes)
        for (index, entry) in node.entries {
            moved[index] = BlockEntry(
                frames: entry.frames.map { frame in
                    var frame = frame
                    frame.slot = PackSlot(9999)
                    frame.offset = 64
                    return frame
                })
        }
        #expect(moved.digest() == node.digest() && moved != node)
        var changed = node
        let first = node.entries.keys.min() ?? 0
        changed[first] = samples.stack(grains: 32)
        #expect(changed.digest() != node.digest())
        changed[first] = nil
        #expect(changed.digest() != node.digest())
    }
}
