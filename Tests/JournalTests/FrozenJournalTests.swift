// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the committer reads of a journal.

import Formats
import HostIO
import Journal
import Primitives
import Testing

@Suite struct FrozenJournalTests {
    private func makeRig() throws -> JournalRig {
        let rig = try JournalRig()
        for step in 0..<8 {
            try rig.write([.write(UInt64(step) * 8, 8, UInt64(step)), .zero(100, 2)])
        }
        return rig
    }

    @Test("a frozen range verifies while the journal goes on")
    func verifies() throws {
        let rig = try makeRig()
        let frozen = rig.journal.frozen()
        let cut = rig.journal.lastAppended
        try rig.write([.write(0, 8, 50)])
        try frozen.verify(from: RecordSequence(0), to: cut)
        try frozen.verify(from: RecordSequence(6), to: RecordSequence(10))
        #expect(throws: JournalError.self) {
            try frozen.verify(from: RecordSequence(0), to: cut.advanced(by: 100))
        }
    }

    @Test("a payload that rotted before it was packed is found")
    func findsRot() throws {
        let rig = try makeRig()
        let frozen = rig.journal.frozen()
        let cut = rig.journal.lastAppended
        rig.disk.rot("journal/00000002.seg", at: 3 * 4096 + 17)
        #expect(throws: JournalError.self) { try frozen.verify(from: RecordSequence(0), to: cut) }
    }

    @Test("a header that rotted ends the range")
    func findsRottenHeader() throws {
        let rig = try makeRig()
        let frozen = rig.journal.frozen()
        let cut = rig.journal.lastAppended
        rig.disk.rot("journal/00000002.seg", at: 4096 + 17)
        #expect(throws: JournalError.self) { try frozen.verify(from: RecordSequence(0), to: cut) }
    }

    @Test("a range verifies across a recovery that dropped an unfinished unit")
    func acrossGenerations() throws {
        let rig = try makeRig()
        try rig.stage([.write(3, 2, 70)])
        let begun = rig.journal.stageMark(
            kind: .zero, offset: 0, length: 4096, epoch: Epoch(1), continues: true)
        #expect(begun != .batchFull)
        try rig.append()
        try rig.crash(keeping: nil)
        try rig.write([.write(9, 2, 71)])
        let frozen = rig.journal.frozen()
        let cut = rig.journal.lastAppended
        try frozen.verify(from: RecordSequence(0), to: cut)
        try frozen.verify(from: RecordSequence(cut.rawValue - 2), to: cut)
    }

    @Test("pages are read whole, several at once")
    func reads() throws {
        let rig = try makeRig()
        let frozen = rig.journal.frozen()
        guard case .page(let page) = rig.memtable.state(of: GrainIndex(16)) else {
            Issue.record("grain 16 has no page")
            return
        }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * 4096, alignment: 4096)
        let wanted = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 4096)
        defer {
            buffer.deallocate()
            wanted.deallocate()
        }
        try frozen.read(page, into: buffer)
        JournalRig.fill(wanted, grain: 17, stamp: 2)
        #expect(buffer[4096...].elementsEqual(wanted))
    }
}
