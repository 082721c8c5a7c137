// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a journal that nobody will replay is told to hold.

import Formats
import Glibc
import HostIO
import Primitives
import Testing

@testable import Journal

@Suite("Salvage of a journal")
struct SalvageTests {
    private static let size = ByteCount(
        JournalRig.grainCount * UInt64(Limits.grainBytes) - 512)

    private func salvage(_ rig: JournalRig) throws -> SalvagedJournal<Volatile> {
        try SalvagedJournal(
            rig.directory, volume: rig.volume, cut: rig.cut, size: Self.size,
            blockBytes: JournalRig.blockBytes)
    }

    /// Every grain over the rig's base, as the salvaged journal tells it.
    private func expectContent(_ rig: JournalRig) throws {
        let kept = try salvage(rig)
        let wanted = rig.content(upTo: rig.units.count)
        let room = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Limits.grainBytes, alignment: 16)
        let expected = UnsafeMutableRawBufferPointer.allocate(
            byteCount: Limits.grainBytes, alignment: 16)
        defer {
            room.deallocate()
            expected.deallocate()
        }
        var content = rig.base.enumerated().map { Said.stamp($0.element, UInt64($0.offset)) }
        var last: UInt64?
        try kept.forEachBlock { block in
            #expect(last.map { $0 < block.rawValue } ?? true, "blocks ascend")
            last = block.rawValue
            let first = block.rawValue * UInt64(JournalRig.blockBytes / Limits.grainBytes)
            for (index, state) in kept.grains(of: block).enumerated() {
                let grain = first + UInt64(index)
                switch state {
                case .absent: continue
                case .zero: content[Int(grain)] = .stamp(nil, grain)
                case .page(let page):
                    try kept.read(page, into: room)
                    content[Int(grain)] = .bytes(Array(room))
                }
            }
        }
        for grain in 0..<JournalRig.grainCount {
            JournalRig.fill(expected, grain: grain, stamp: wanted[Int(grain)])
            let bytes: [UInt8]
            switch content[Int(grain)] {
            case .bytes(let found): bytes = found
            case .stamp(let stamp, let grain):
                JournalRig.fill(room, grain: grain, stamp: stamp)
                bytes = Array(room)
            }
            #expect(bytes == Array(expected), "grain \(grain)")
        }
    }

    private enum Said {
        case stamp(UInt64?, UInt64)
        case bytes([UInt8])
    }

    @Test("over the last commit it gives every acknowledged write", arguments: 0..<20)
    func everything(seed: UInt64) throws {
        var chance = SplitMix64(seed: seed)
        let rig = try JournalRig(seed: seed)
        for step in 0..<60 {
            let first = chance.next() % (JournalRig.grainCount - 1)
            let count = 1 + chance.next() % min(24, JournalRig.grainCount - first)
            let change: Change =
                chance.next() % 3 == 0
                ? .zero(first, count) : .write(first, min(count, 6), UInt64(step + 1))
            try rig.write([change])
            switch chance.next() % 20 {
            case 0: try rig.publish(idle: false)
            case 1: try rig.crash(keeping: nil)
            default: break
            }
        }
        try expectContent(rig)
    }

    @Test("it changes nothing: the journal recovers as if nobody had looked")
    func changesNothing() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 3, 1), .zero(8, 8)])
        let before = rig.disk.trace.filter { $0.kind != .read }.count
        try expectContent(rig)
        #expect(rig.disk.trace.filter { $0.kind != .read }.count == before)
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 1)
    }

    @Test("a torn tail is left out; flushed data that rotted is told with what stands before it")
    func damaged() throws {
        let torn = try JournalRig()
        try torn.write([.write(0, 2, 1)])
        try torn.write([.write(4, 2, 2)])
        torn.disk.rot("journal/00000001.seg", at: 5 * UInt64(Limits.grainBytes) + 9)
        torn.units.removeLast()
        #expect(try salvage(torn).verdict.rotted == nil)
        try expectContent(torn)

        let rotted = try JournalRig()
        try rotted.write([.write(0, 2, 1)])
        try rotted.write([.write(4, 2, 2)])
        try rotted.flush()
        try rotted.write([.write(8, 2, 3)])
        rotted.disk.rot("journal/00000001.seg", at: 5 * UInt64(Limits.grainBytes) + 9)
        let kept = try salvage(rotted)
        #expect(kept.verdict.rotted != nil && kept.verdict.units == 1)
        rotted.units.removeLast(2)
        try expectContent(rotted)
    }
}
