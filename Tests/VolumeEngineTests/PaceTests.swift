// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Writers slowed ahead of a full disk budget: what is held back, for how long, and that it ends.

import BlockDevice
import Committer
import Formats
import Glibc
import HostIO
import Primitives
import Testing
import VolumeMap

@testable import Journal
@testable import VolumeEngine

@Suite("Pace")
struct PaceTests {
    /// So many that what a test writes hardly changes how full the budget is.
    private static let segments: UInt64 = 400_000

    /// A rig whose budget is used up to `permille`, most of it by others.
    private func makeRig(used permille: UInt64) throws -> EngineRig {
        var shape = EngineShape()
        shape.size = 64 << 20
        shape.segmentsMax = Self.segments
        let rig = try EngineRig(shape)
        rig.write(0, noise(4096, 1))
        rig.host.pool.adopt(Int(Self.segments * permille / 1000))
        return rig
    }

    /// Lets `milliseconds` pass as a paced shard does, in steps of 10.
    private func pass(_ milliseconds: Int, _ rig: EngineRig) {
        for _ in 0..<(milliseconds / 10) {
            rig.clock.advance(nanoseconds: 10_000_000)
            rig.host.volume.releaseAnswers(rig.clock.now)
            rig.run()
        }
    }

    /// MiB a second that one writer with `depth` requests in flight gets through in two seconds.
    private func rate(_ rig: EngineRig, depth: Int, bytes: Int = 32 << 10) -> Double {
        var flights = (0..<depth).map { rig.submit(.write(UInt64($0) * 65_536, noise(bytes, 1))) }
        rig.run()
        // What goes out at once is no rate.
        pass(100, rig)
        var done = 0
        for _ in 0..<200 {
            pass(10, rig)
            for index in flights.indices where flights[index].state == .done {
                done += 1
                flights[index] = rig.submit(.write(UInt64(index) * 65_536, noise(bytes, 2)))
            }
            rig.run()
        }
        #expect(
            flights.allSatisfy { $0.state == .staged || $0.state == .done },
            "nobody is refused or parked")
        return Double(done * bytes) / 2 / 1_048_576
    }

    @Test("below 95 % of the budget nobody is slowed")
    func below() throws {
        let rig = try makeRig(used: 940)
        for index in 0..<50 as Range<UInt64> {
            let write = rig.submit(.write(index << 17, noise(128 << 10, index)))
            rig.run()
            #expect(write.state == .done)
        }
        #expect(rig.report.slowdown == 0 && rig.report.counters.writesHeld == 0)
    }

    @Test("a budget of few segments has no slope: writers run into its end")
    func fewSegments() throws {
        let gauge = SpaceGauge(budgetBytes: 79 << 20, segmentBytes: 1 << 20)
        gauge.set(usedBytes: 79 << 20)
        #expect(gauge.slowdown == 0)
        let larger = SpaceGauge(budgetBytes: 80 << 20, segmentBytes: 1 << 20)
        larger.set(usedBytes: 78 << 20)
        #expect(larger.slowdown > 0.4 && larger.slowdown < 0.6)
    }

    @Test("the answer is held back, not the write; reads and flushes go on")
    func held() throws {
        let rig = try makeRig(used: 990)
        let write = rig.submit(.write(8192, noise(128 << 10, 7)))
        rig.run()
        #expect(write.state == .staged)
        #expect(rig.report.heldAnswers == 1 && rig.report.slowdown > 0.7)
        rig.expect(8192, noise(128 << 10, 7))
        let flush = rig.submit(.flush)
        rig.run()
        #expect(flush.state == .done)
        pass(5_000, rig)
        #expect(write.state == .done && rig.report.heldAnswers == 0)
        #expect(rig.report.counters.heldNanoseconds > 0)
        // Killed while an answer is held: the write is there, as after any kill.
        rig.submit(.write(0, noise(128 << 10, 8)))
        rig.run()
        try rig.restart()
        rig.expect(0, noise(128 << 10, 8))
    }

    @Test("the rate falls smoothly as the budget is used up, and is the same at any depth")
    func smooth() throws {
        var rates: [Double] = []
        for permille in stride(from: 970, through: 990, by: 5) as StrideThrough<UInt64> {
            let rig = try makeRig(used: permille)
            rates.append(rate(rig, depth: 32))
        }
        for (before, after) in zip(rates, rates.dropFirst()) {
            #expect(after < before, "\(rates)")
            #expect(after > before / 6, "a step and not a slope: \(rates)")
        }
        let deep = try makeRig(used: 985)
        let shallow = try makeRig(used: 985)
        let (at64, at8) = (rate(deep, depth: 64), rate(shallow, depth: 8))
        #expect(at64 < at8 * 1.5 && at8 < at64 * 1.5, "\(at64) and \(at8) MiB/s")
    }

    @Test("answers come in the order of their writes, with FUA too, none later than its bound")
    func order() throws {
        let rig = try makeRig(used: 997)
        let tickets = (0..<100).map { index in
            let write = rig.submit(
                .write(UInt64(index) * 65_536, noise(65_536, 3), fua: index.isMultiple(of: 10)))
            rig.turn()
            return write
        }
        rig.run()
        #expect(tickets.contains { $0.state == .staged })
        var waited = 0
        while tickets.contains(where: { $0.state == .staged }) && waited < 7_000 {
            pass(10, rig)
            waited += 10
            let plain = tickets.enumerated().filter { !$0.offset.isMultiple(of: 10) }
            let states = plain.map { $0.element.state == .done }
            let firstHeld = states.firstIndex(of: false) ?? states.count
            #expect(!states[firstHeld...].contains(true), "one overtook another")
        }
        #expect(tickets.allSatisfy { $0.state == .done })
        #expect(waited <= 5_010)
    }

    @Test("when there is room again, everyone is answered at once")
    func room() throws {
        let rig = try makeRig(used: 997)
        let tickets = (0..<40).map { rig.submit(.write(UInt64($0) << 17, noise(131_072, 4))) }
        rig.run()
        pass(50, rig)
        #expect(tickets.contains { $0.state == .staged })
        rig.host.pool.disown(Int(Self.segments / 2))
        pass(10, rig)
        #expect(tickets.allSatisfy { $0.state == .done })
        let next = rig.submit(.write(0, noise(4096, 5)))
        rig.run()
        #expect(next.state == .done && rig.report.slowdown == 0)
    }

    @Test("a volume that closes or fails holds nobody's answer")
    func closing() throws {
        let rig = try makeRig(used: 997)
        let tickets = (0..<20).map { rig.submit(.write(UInt64($0) << 17, noise(131_072, 6))) }
        rig.run()
        #expect(rig.report.heldAnswers > 0)
        rig.host.volume.releaseAllAnswers()
        rig.run()
        #expect(tickets.allSatisfy { $0.state == .done })
        let more = rig.submit(.write(0, noise(131_072, 7)))
        rig.run()
        #expect(more.state == .staged)
        rig.disk.failNext(.sync, code: EIO)
        rig.submit(.flush)
        rig.run()
        #expect(rig.report.operationState == "failed" && more.state == .done)
    }

    @Test("a thousand held answers come out of the ring as they went in, and it does not grow on")
    func ring() {
        var ring = HeldAnswers()
        var put: UInt64 = 0
        var got: UInt64 = 0
        var random = SplitMix64(seed: 9)
        while got < 5_000 {
            for _ in 0..<random.next(below: 300) where ring.count < 1_000 {
                let tag = RequestTag(session: 0, slot: 0, cookie: put)
                ring.append(HeldAnswer(tag: tag, due: Instant(nanoseconds: put)))
                put += 1
            }
            for _ in 0..<random.next(below: 300) where ring.count > 0 {
                #expect(ring.first?.tag.cookie == got)
                ring.removeFirst()
                got += 1
            }
        }
        #expect(put - got == UInt64(ring.count))
    }
}
