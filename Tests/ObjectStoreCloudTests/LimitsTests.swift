// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How many requests pass at one time: the cap, its narrowing and widening, and the pause that a
// store asks for.

import HostIO
import Primitives
import Synchronization
import TestSupport
import Testing

@testable import ObjectStoreCloud

@Suite("requests are limited over the host, and fewer when the store says so")
struct LimitsTests {
    @Test("a limit halves once for all requests of one burst, and grows by one a round")
    func congestion() {
        var congestion = Congestion(ceiling: 16)
        func at(_ nanoseconds: UInt64) -> Instant { Instant(nanoseconds: nanoseconds) }
        congestion.throttled(began: at(10), now: at(20))
        #expect(congestion.allowed == 8)
        for _ in 0..<7 { congestion.throttled(began: at(15), now: at(21)) }
        #expect(congestion.allowed == 8)
        congestion.throttled(began: at(22), now: at(30))
        #expect(congestion.allowed == 4)
        // A round of 4 requests that went well makes it 5, nearly: 1/limit each.
        for _ in 0..<5 { congestion.succeeded() }
        #expect(congestion.allowed == 5)
        for time in 4..<20 {
            congestion.throttled(began: at(UInt64(time) * 10), now: at(UInt64(time) * 10))
        }
        #expect(congestion.allowed == 1)
        for _ in 0..<1000 { congestion.succeeded() }
        #expect(congestion.allowed == 16)
    }

    @Test("never more than the cap are inside, and all get through")
    func cap() throws {
        let limits = HostLimits(uploads: 3, downloads: 1, clock: SystemClock()) { _ in true }
        let inside = Atomic<Int>(0)
        let most = Atomic<Int>(0)
        let passed = Atomic<Int>(0)
        let threads = try RacingThreads(count: 12) { _ in
            for _ in 0..<50 {
                guard let began = limits.uploads.enter() else { return }
                let now = inside.wrappingAdd(1, ordering: .relaxed).newValue
                most.max(now, ordering: .relaxed)
                SystemClock().sleep(nanoseconds: 50_000)
                inside.wrappingSubtract(1, ordering: .relaxed)
                passed.wrappingAdd(1, ordering: .relaxed)
                limits.uploads.leave(.other, began: began)
            }
        }
        try threads.join()
        #expect(most.load(ordering: .relaxed) == 3)
        #expect(passed.load(ordering: .relaxed) == 600)
    }

    @Test("a throttled gate lets fewer in, and more again when it goes well")
    func narrowing() throws {
        let clock = ManualClock()
        let limits = HostLimits(uploads: 8, downloads: 2, clock: clock) { _ in true }
        let began = try #require(limits.uploads.enter())
        clock.advance(seconds: 1)
        limits.uploads.leave(.throttled, began: began)
        #expect(limits.allowed.uploads == 4 && limits.allowed.downloads == 2)
        for _ in 0..<40 {
            let began = try #require(limits.uploads.enter())
            limits.uploads.leave(.success, began: began)
        }
        #expect(limits.allowed.uploads == 8 && limits.allowed.downloads == 2)
    }

    @Test("a held gate waits for the time that the store named, and an ending program does not")
    func holding() throws {
        let clock = ManualClock()
        let waited = Lock<[UInt64]>([])
        let isEnding = Atomic<Bool>(false)
        let limits = HostLimits(uploads: 1, downloads: 1, clock: clock) { nanoseconds in
            waited.withLock { $0.append(nanoseconds) }
            clock.advance(nanoseconds: nanoseconds)
            return !isEnding.load(ordering: .relaxed)
        }
        limits.hold(seconds: 7)
        limits.hold(seconds: 3)
        let began = try #require(limits.downloads.enter())
        #expect(waited.withLock { $0 } == [7_000_000_000])
        limits.downloads.leave(.success, began: began)
        #expect(limits.downloads.enter() != nil)
        isEnding.store(true, ordering: .relaxed)
        limits.hold(seconds: 1)
        #expect(limits.uploads.enter() == nil)
        // The place was given back.
        isEnding.store(false, ordering: .relaxed)
        #expect(limits.uploads.enter() != nil)
    }
}
