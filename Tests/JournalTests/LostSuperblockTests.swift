// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A segment whose superblock cannot be read: rotted if a batch in it was flushed, else torn.

import Formats
import HostIO
import Primitives
import Testing

@testable import Journal

@Suite struct LostSuperblockTests {
    /// In the reserve, in the nonce, in the checksum.
    static let places: [UInt64] = [300, 50, 3]

    private func path(_ number: Int) -> String {
        "journal/" + SegmentName.text(of: UInt64(number))
    }

    /// Three batches of the rig fill a segment.
    private func fillSegment(_ rig: JournalRig) throws {
        for step in 0..<3 { try rig.write([.write(UInt64(step) * 8, 8, 1)]) }
    }

    private func expectRot(
        in rig: JournalRig, segment: Int, batch: UInt64, claimed: UInt64,
        keeping: VolatileDisk.Keeping?
    ) throws {
        let before = try rig.directory.list()
        rig.powerDown(keeping: keeping)
        rig.reboot()
        #expect(
            throws: JournalError.rotted(
                segment: SegmentName.text(of: UInt64(segment)), batch: BatchNumber(batch),
                claimed: BatchNumber(claimed))
        ) { try rig.recover() }
        #expect(try rig.directory.list() == before)
    }

    @Test("rot in the newest segment's superblock quarantines if it was flushed", arguments: places)
    func newest(place: UInt64) throws {
        for keeping in [nil, VolatileDisk.Keeping.all] {
            let rig = try JournalRig()
            try fillSegment(rig)
            try rig.write([.write(30, 8, 2)])
            try rig.flush()
            try rig.write([.write(40, 1, 3)])
            rig.disk.rot(path(2), at: place)
            try expectRot(in: rig, segment: 2, batch: 4, claimed: 4, keeping: keeping)
        }
    }

    @Test("and so it does in the only segment", arguments: places)
    func only(place: UInt64) throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 2, 1)])
        try rig.write([.write(2, 2, 1)])
        try rig.flush()
        try rig.write([.write(4, 1, 3)])
        rig.disk.rot(path(1), at: place)
        try expectRot(in: rig, segment: 1, batch: 1, claimed: 2, keeping: nil)
    }

    @Test("and in the segment that sealed an earlier recovery", arguments: [false, true])
    func sealing(hasDroppedTail: Bool) throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 2, 1)])
        if hasDroppedTail {
            try rig.write([.write(2, 2, 2)])
            try rig.write([.write(4, 2, 3)])
            rig.disk.rot(path(1), at: 5 * UInt64(Limits.grainBytes))
        }
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 1)
        try rig.write([.write(6, 2, 4)])
        try rig.flush()
        try rig.write([.write(8, 2, 5)])
        rig.disk.rot(path(2), at: 300)
        try expectRot(in: rig, segment: 2, batch: 2, claimed: 2, keeping: nil)
    }

    @Test(
        "a superblock that was torn before any flush costs what was not flushed", arguments: places)
    func torn(place: UInt64) throws {
        let rig = try JournalRig()
        try fillSegment(rig)
        try rig.flush()
        try rig.write([.write(30, 8, 2)])
        try rig.write([.write(40, 1, 3)])
        rig.disk.rot(path(2), at: place)
        try rig.crash(keeping: .all)
        #expect(rig.units.count == 3)
    }

    @Test("a published segment may rot")
    func published() throws {
        let rig = try JournalRig()
        try rig.write([.write(0, 2, 1)])
        try rig.flush()
        try rig.write([.write(2, 2, 1)])
        try rig.flush()
        try rig.write([.write(4, 2, 1)])
        rig.base = rig.content(upTo: 3)
        rig.units.removeAll()
        rig.cut = RecordSequence(3)
        rig.disk.rot(path(1), at: 300)
        try rig.crash(keeping: nil)
        let last = rig.journal.lastAppended
        #expect(last == RecordSequence(3))
    }

    @Test("another journal's batches behind a lost superblock are no promise of this one")
    func foreign() throws {
        let other = try JournalRig(seed: 2)
        for step in 0..<40 { try other.write([.write(UInt64(step), 1, 9)]) }
        try other.flush()
        try other.write([.write(0, 1, 9)])
        // The other journal's youngest segment: its batches were flushed there.
        let names = try other.directory.list().sorted()
        let bytes = try #require(other.disk.bytes("journal/" + names[names.count - 1]))
        let rig = try JournalRig()
        try rig.write([.write(0, 1, 1)])
        let spare = try rig.pool.take(into: rig.directory, number: 2)
        try bytes.withUnsafeBytes { try spare.file.write(at: 0, $0) }
        rig.disk.rot(path(2), at: 300)
        try rig.crash(keeping: nil)
        #expect(rig.units.count == 1)
    }
}
