// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Writes and zeros of any size and alignment: merged with what is newest, one unit each.

import BlockDevice
import CleanCache
import Committer
import Formats
import Glibc
import HostIO
import Journal
import ObjectStore
import Primitives
import Testing
import VolumeEngine
import VolumeMap

@Suite("Writing")
struct WriteTests {
    @Test("a sub-grain write over a cold block is merged with its content")
    func mergesWithMap() throws {
        let rig = try EngineRig()
        let old = noise(8192, 1)
        rig.write(0, old)
        try rig.commit()
        try rig.restart()
        let ticket = rig.submit(.write(1000, noise(3000, 2)))
        #expect(ticket.state == .parked)
        rig.run()
        #expect(ticket.state == .done)
        rig.expect(0, laid(noise(3000, 2), at: 1000, over: old))
    }

    @Test("a sub-grain write that was overtaken by a wide one is merged with the wide one")
    func overtaken() throws {
        let rig = try EngineRig()
        rig.write(0, noise(8192, 1))
        try rig.commit()
        try rig.restart()
        let small = rig.submit(.write(1024, noise(512, 2)))
        #expect(small.state == .parked)
        let wide = rig.submit(.write(0, noise(8192, 3)))
        rig.run(holding: [.fetch])
        #expect(wide.state == .done)
        #expect(small.state == .parked)
        rig.run()
        #expect(small.state == .done)
        rig.expect(0, laid(noise(512, 2), at: 1024, over: noise(8192, 3)))
    }

    @Test("a sub-grain write that was overtaken by a zero is merged with zeros")
    func overtakenByZero() throws {
        let rig = try EngineRig()
        rig.write(0, noise(8192, 1))
        try rig.commit()
        try rig.restart()
        let small = rig.submit(.write(1024, noise(512, 2)))
        rig.submit(.zero(0, 1 << 20))
        rig.run()
        #expect(small.state == .done)
        rig.expect(0, laid(noise(512, 2), at: 1024, over: zeros(8192)))
    }

    @Test("sub-grain writes of one grain in one turn all count")
    func oneTurn() throws {
        let rig = try EngineRig()
        var model = zeros(16384)
        for index in 0..<100 {
            let piece = noise(512, UInt64(index + 1))
            let offset = (index * 1536) % 15_872
            rig.submit(.write(UInt64(offset), piece))
            model = laid(piece, at: offset, over: model)
        }
        rig.run()
        rig.expect(0, model)
    }

    @Test("a request larger than a batch and a segment is one unit, whatever was written of it")
    func oneUnit() throws {
        for skipped in 0..<5 {
            let rig = try EngineRig()
            let old = noise(400 << 10, 1)
            rig.write(512, old)
            rig.run()
            rig.submit(.flush)
            rig.run()
            // Segments for the second are made ready before the cut is armed.
            let other = rig.submit(.write(2 << 20, noise(400 << 10, 3)))
            rig.run()
            #expect(other.state == .done)
            rig.disk.cutNext(.write, skipping: skipped)
            let ticket = rig.submit(.write(512, noise(400 << 10, 2)))
            rig.run()
            let isWhole = ticket.state == .done
            try rig.restart()
            let found = rig.read(512, 400 << 10)
            let isNew = found == noise(400 << 10, 2)
            // All of it, or nothing; the last write may have gone through without an answer.
            let isKept = isNew || (!isWhole && found == old)
            #expect(isKept, "cut in write \(skipped)")
            rig.expect(2 << 20, noise(400 << 10, 3))
        }
    }

    @Test(
        "zeroing 16 TB is a few records, whatever its edges", arguments: [0, 512, 5000] as [UInt64])
    func hugeZero(edge: UInt64) throws {
        var shape = EngineShape()
        shape.size = Limits.volumeBytesMax
        let rig = try EngineRig(shape)
        rig.write(3 << 40, noise(8192, 1))
        let before = rig.report
        let ticket = rig.submit(.zero(edge, shape.size - 2 * edge, .trim))
        rig.run()
        #expect(ticket.state == .done)
        let after = rig.report
        #expect(after.lastRecord.rawValue - before.lastRecord.rawValue <= 3)
        #expect(after.dirtyEntries <= 3)
        rig.expect(3 << 40, zeros(8192))
        rig.expect(edge, zeros(4096))
        try rig.commit()
        #expect(rig.report.dirtyEntries == 0)
        rig.expect(3 << 40, zeros(8192))
    }

    @Test("a request of any length gets the room that it asks for", arguments: 1...40)
    func anyLength(pages: Int) throws {
        let rig = try EngineRig()
        rig.write(512, noise(pages * 4 * 4096, 1))
        rig.expect(512, noise(pages * 4 * 4096, 1))
    }

    @Test("a fast zero that needs a backfill is refused and leaves nothing parked")
    func fastZero() throws {
        let rig = try EngineRig()
        rig.write(0, noise(16384, 1))
        try rig.commit()
        try rig.restart()
        // So that it is not room that is missing.
        rig.write(1 << 20, noise(4096, 2))
        let cold = rig.submit(.zero(1024, 6000, .fastOnly))
        #expect(cold.state == .failed(.notSupported))
        #expect(rig.report.parkedRequests == 0)
        rig.run()
        #expect(rig.strays.isEmpty)
        #expect(cold.tries == 1 && cold.state == .failed(.notSupported))
        rig.expect(0, noise(16384, 1))
        // Now the block is at hand; whole grains never need it.
        let warm = rig.submit(.zero(1024, 6000, .fastOnly))
        let whole = rig.submit(.zero(8192, 4096, .fastOnly))
        rig.run()
        #expect(warm.state == .done && whole.state == .done)
        let model = laid(zeros(6000), at: 1024, over: noise(16384, 1))
        rig.expect(0, laid(zeros(4096), at: 8192, over: model))
    }

    @Test("a device may end in a short grain, which grows with it")
    func shortGrain() throws {
        var shape = EngineShape()
        shape.size = 1 << 20 | 1536
        let rig = try EngineRig(shape)
        let end = shape.size
        rig.write(end - 512, noise(512, 1))
        rig.expect(end - 1536, zeros(1024) + noise(512, 1))
        rig.write(end - 1536, noise(1536, 2))
        #expect(rig.submit(.write(end - 512, noise(1024, 3))).state == .failed(.outOfRange))
        #expect(rig.submit(.read(end, 512)).state == .failed(.outOfRange))
        try rig.commit()
        try rig.restart()
        rig.expect(end - 1536, noise(1536, 2))
        let grown = rig.control { $0.requestResize($1, to: ByteCount(end + 8192)) }
        rig.run()
        guard case .resized = rig.answers[grown] else {
            Issue.record("not grown")
            return
        }
        rig.expect(end - 1536, noise(1536, 2) + zeros(8192))
        rig.submit(.zero(end - 1024, 2048))
        rig.run()
        try rig.commit()
        try rig.restart()
        rig.expect(end - 1536, Array(noise(1536, 2).prefix(512)) + zeros(9216))
    }

    @Test("a zero to the very end of a short device needs no backfill")
    func zeroToTheEnd() throws {
        var shape = EngineShape()
        shape.size = 1 << 20 | 1536
        let rig = try EngineRig(shape)
        rig.write(0, noise(Int(shape.size), 1))
        try rig.commit()
        try rig.restart()
        rig.write(0, noise(4096, 1))
        let ticket = rig.submit(.zero(1 << 20, 1536, .fastOnly))
        #expect(ticket.state == .staged)
        rig.expect(
            (1 << 20) - 512,
            Array(noise(Int(shape.size), 1)[((1 << 20) - 512)..<(1 << 20)]) + zeros(1536))
    }

    @Test("requests of any alignment leave what an array of bytes would hold", arguments: 1...4)
    func anyAlignment(seed: UInt64) throws {
        var shape = EngineShape()
        shape.size = 700 * 512 + (1 << 20)
        shape.blockBytes = 16 << 10
        let rig = try EngineRig(shape, seed: seed)
        var random = SplitMix64(seed: seed)
        var model = zeros(Int(shape.size))
        for step in 0..<250 {
            let most: UInt64 = random.next(below: 8) == 0 ? 300_000 : 9000
            let count = 1 + Int(random.next(below: most))
            let offset = Int(random.next(below: UInt64(model.count - count)))
            switch random.next(below: 8) {
            case 0, 1:
                rig.submit(.zero(UInt64(offset), UInt64(count)))
                model = laid(zeros(count), at: offset, over: model)
            case 2: _ = rig.askCommit()
            case 3: rig.run(holding: random.next(below: 2) == 0 ? [.commit] : [])
            case 4: rig.expect(UInt64(offset), Array(model[offset..<(offset + count)]), "\(step)")
            default:
                rig.submit(.write(UInt64(offset), noise(count, UInt64(step))))
                model = laid(noise(count, UInt64(step)), at: offset, over: model)
            }
            // Requests that wait may overtake one another: here each ends before the next.
            rig.run(holding: [.commit])
            if step % 60 == 59 { try rig.restart() }
        }
        try rig.commit()
        try rig.restart()
        rig.expect(0, model)
    }
}
