// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// There and back, over files with every mixture of shared, written, punched and short parts; and
// what is found equals what a look at all bytes finds.

import Formats
import HostIO
import ImageTools
import Primitives
import TestSupport
import Testing

/// Where images lie in a test.
enum Ground: String, CaseIterable, CustomTestStringConvertible {
    case host
    case twin
    case twinWithExtents

    var testDescription: String { rawValue }

    func run(seed: UInt64, _ behaviour: some DiffBehaviour) throws {
        switch self {
        case .host:
            let scratch = try ScratchDirectory()
            try behaviour.check(
                DiffRig(directory: HostDirectory.open(path: scratch.path, create: false)), seed)
            withExtendedLifetime(scratch) {}
        case .twin: try behaviour.check(DiffRig(directory: VolatileDisk(seed: seed).root), seed)
        case .twinWithExtents:
            try behaviour.check(
                DiffRig(directory: VolatileDisk(seed: seed, hasExtents: true).root), seed)
        }
    }
}

protocol DiffBehaviour {
    func check<Storage: ExtentDirectory>(_ rig: DiffRig<Storage>, _ seed: UInt64) throws
}

/// A base and a target that came from it, or did not, by chance.
private func makePair<Storage: ExtentDirectory>(
    _ rig: DiffRig<Storage>, _ random: inout SplitMix64
) throws {
    let size = Int(random.next(below: 40)) * 4096 + Int(random.next(below: 3)) * 700
    let base = try rig.make("base", size: size)
    func scribble(_ file: Storage.File, _ times: UInt64, upTo end: Int) throws {
        guard end > 0 else { return }
        for _ in 0..<random.next(below: times) {
            let unit = random.next(below: 3) == 0 ? 1 : 4096
            let offset = Int(random.next(below: UInt64(end / unit + 1))) * unit
            let count = (1 + Int(random.next(below: 4))) * (unit == 1 ? 300 : unit)
            switch random.next(below: 4) {
            case 0: _ = try file.punch(at: UInt64(offset), count: UInt64(count))
            case 1: try file.write(at: UInt64(offset), [UInt8](repeating: 0, count: count))
            default: try file.write(at: UInt64(offset), random.bytes(count))
            }
        }
    }
    try scribble(base, 12, upTo: size)
    let target =
        try random.next(below: 4) > 0
        ? rig.clone("base", as: "target") : rig.make("target", size: size / 2)
    try scribble(target, 8, upTo: size)
    switch random.next(below: 4) {
    case 0: try target.resize(UInt64(random.next(below: UInt64(size + 1))))
    case 1: try target.resize(UInt64(size) + random.next(below: 30_000))
    default: break
    }
}

/// The blocks that differ, by a look at everything.
private func changedBlocks(_ target: [UInt8], _ base: [UInt8]) -> [BlockDiffRange] {
    var found: [BlockDiffRange] = []
    for start in stride(from: 0, to: target.count, by: 4096) {
        let end = min(start + 4096, target.count)
        let isSame = (start..<end).allSatisfy {
            target[$0] == ($0 < base.count ? base[$0] : 0)
        }
        if isSame { continue }
        if let last = found.last, last.end == UInt64(start) {
            found[found.count - 1].length += UInt64(end - start)
        } else {
            found.append(BlockDiffRange(offset: UInt64(start), length: UInt64(end - start)))
        }
    }
    return found
}

@Suite("block diffs there and back")
struct RoundTripTests {
    @Test(
        "a diff makes its target again, and names exactly what differs", arguments: Ground.allCases)
    func roundTrip(on ground: Ground) throws {
        struct Check: DiffBehaviour {
            func check<Storage: ExtentDirectory>(_ rig: DiffRig<Storage>, _ seed: UInt64) throws {
                var random = SplitMix64(seed: seed)
                try makePair(rig, &random)
                let target = try rig.bytes("target")
                let base = try rig.bytes("base")
                try rig.create("one", "target", base: "base")
                let expected = changedBlocks(target, base)
                let found = try rig.ranges("one").map {
                    BlockDiffRange(offset: $0.offset, length: $0.length)
                }
                #expect(found == expected, "seed \(seed)")
                try rig.apply("one", "from one", base: "base")
                expectEqualBytes(try rig.bytes("from one"), target, "version 1, seed \(seed)")
                let codec = [Codec.raw, .lz4, .zstd][Int(random.next(below: 3))]
                try rig.create("two", "target", base: "base", version: 2, codec: codec)
                try rig.apply("two", "from two", base: "base")
                expectEqualBytes(try rig.bytes("from two"), target, "version 2, seed \(seed)")
                try rig.create("alone", "target", base: nil)
                try rig.apply("alone", "from alone", base: nil)
                expectEqualBytes(try rig.bytes("from alone"), target, "alone, seed \(seed)")
                // In place of the base itself.
                try rig.apply("two", "base", base: "base", replaces: true)
                expectEqualBytes(try rig.bytes("base"), target, "in place, seed \(seed)")
            }
        }
        for seed in 1...60 as ClosedRange<UInt64> { try ground.run(seed: seed, Check()) }
    }

    @Test("what extents prove to be shared is not read")
    func unread() throws {
        let disk = VolatileDisk(hasExtents: true)
        let rig = DiffRig(directory: disk.root)
        var random = SplitMix64(seed: 5)
        try rig.make("base", random.bytes(400 * 4096))
        let target = try rig.clone("base", as: "target")
        try target.write(at: 100 * 4096, random.bytes(3 * 4096))
        try target.write(at: 300 * 4096 + 7, random.bytes(10))
        disk.record(true)
        let made = try rig.create("diff", "target", base: "base")
        let read = disk.trace.filter { $0.kind == .read }.reduce(0) { $0 + $1.count }
        #expect(made.changedBytes == 4 * 4096)
        // Target and base to compare, the target again to copy.
        #expect(read == 3 * 4 * 4096)
        try rig.apply("diff", "again", base: "base")
        expectEqualBytes(try rig.bytes("again"), try rig.bytes("target"))
    }

    @Test("one address of extents that are compressed proves nothing")
    func blurred() throws {
        let disk = VolatileDisk(hasExtents: true)
        let rig = DiffRig(directory: disk.root)
        var random = SplitMix64(seed: 6)
        try rig.make("base", random.bytes(40 * 4096))
        let target = try rig.clone("base", as: "target")
        try target.write(at: 10 * 4096, random.bytes(4096))
        for name in ["base", "target"] {
            disk.blurExtents("/" + name, 8 * 4096..<16 * 4096, address: 77 << 20)
        }
        try rig.create("diff", "target", base: "base")
        #expect(try rig.ranges("diff") == [ChangedRange(.data, offset: 40960, length: 4096)])
    }

    @Test("version 2 keeps holes, written zeros and data apart")
    func kinds() throws {
        let rig = DiffRig(directory: VolatileDisk(hasExtents: true).root)
        var random = SplitMix64(seed: 7)
        try rig.make("base", random.bytes(12 * 4096))
        let target = try rig.clone("base", as: "target")
        #expect(try target.punch(at: 4096, count: 8192))
        try target.write(at: 3 * 4096, [UInt8](repeating: 0, count: 4096))
        try target.write(at: 4 * 4096, [UInt8](repeating: 9, count: 8192))
        try rig.create("diff", "target", base: "base", version: 2)
        #expect(
            try rig.ranges("diff") == [
                ChangedRange(.hole, offset: 4096, length: 8192),
                ChangedRange(.zeros, offset: 12288, length: 4096),
                ChangedRange(.data, offset: 16384, length: 8192),
            ])
        // 8 KiB of one byte are compressed to nearly nothing.
        #expect(try rig.bytes("diff").count < 300)
        try rig.apply("diff", "again", base: "base")
        let again = try rig.directory.open("again", writable: false)
        #expect(try again.nextData(from: 4096) == 3 * 4096..<12 * 4096)
    }

    @Test("too many ranges become fewer and larger ones")
    func coarse() {
        var changed = ChangedRanges(countMax: 8)
        for index in 0..<1000 as Range<UInt64> {
            changed.append(ChangedRange(.data, offset: index * 8192, length: 4096))
        }
        #expect(changed.ranges.count <= 8)
        for index in 0..<1000 as Range<UInt64> {
            let isIn = changed.ranges.contains {
                $0.offset <= index * 8192 && index * 8192 + 4096 <= $0.end
            }
            #expect(isIn)
        }
        var apart = ChangedRanges(countMax: 8)
        apart.append(ChangedRange(.data, offset: 0, length: 4096))
        apart.append(ChangedRange(.hole, offset: 4096, length: 4096))
        apart.append(ChangedRange(.hole, offset: 8192, length: 4096))
        #expect(apart.ranges.count == 2)
        #expect(apart.plain == [BlockDiffRange(offset: 0, length: 12288)])
    }
}
