// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Injected faults, retries, counts, and the probe on stores that must not be written to.

import HostIO
import ObjectStore
import Primitives
import StoreConformance
import Synchronization
import Testing

@Suite("faults, retries and counts of stores")
struct WrapperTests {
    @Test("each fault does what its name says, as often as told")
    func faults() throws {
        let store = MemoryStore()
        store.inject(StoreFault(.away, operation: .put, keyPrefix: "p/", skipping: 1, times: 2))
        #expect(try store.putIfAbsent("p/1", [1]) == .created)
        #expect(failure { _ = try store.putIfAbsent("p/2", [1]) }?.isRetryable == true)
        #expect(try store.putIfAbsent("q", [1]) == .created)
        #expect(failure { _ = try store.putIfAbsent("p/2", [1]) } != nil)
        #expect(try store.head("p/2") == nil)
        #expect(try store.putIfAbsent("p/2", [1, 2, 3]) == .created)

        store.inject(StoreFault(.replyLost))
        #expect(failure { _ = try store.putIfAbsent("lost", [7]) }?.isRetryable == true)
        #expect(try store.putIfAbsent("lost", [8]) == .exists)
        store.inject(StoreFault(.late(afterRequests: 1), operation: .put))
        #expect(failure { try store.replace("lost", [9]) }?.isRetryable == true)
        #expect(try store.get("lost", limit: 1) == [9])
        store.inject(StoreFault(.replyLost, operation: .put))
        #expect(failure { try store.replace("lost", [10]) }?.isRetryable == true)
        #expect(try store.get("lost", limit: 1) == [10])

        store.inject(StoreFault(.flipped))
        #expect(try store.get("p/2", limit: 3) != [1, 2, 3])
        #expect(try store.get("p/2", limit: 3) == [1, 2, 3])

        store.inject(StoreFault(.short))
        guard case .damaged? = failure({ _ = try store.get("p/2", limit: 3) }) else {
            Issue.record("a short answer was taken")
            return
        }
        store.inject(StoreFault(.forbidden, operation: .list))
        #expect(failure { _ = try store.listAll(prefix: "") }?.isRetryable == false)
        store.setAway(true)
        #expect(failure { _ = try store.head("q") }?.isRetryable == true)
        store.heal()
        store.rot("q", at: 0)
        #expect(try store.get("q", limit: 1) == [0xFE])
    }

    @Test("a store that counts for itself counts every attempt, and its base counts them all")
    func countingRetries() throws {
        let memory = MemoryStore()
        let host = RetryingStore(
            CountingStore(memory), policy: RetryPolicy(attemptsMax: 4), clock: ManualClock(),
            random: SplitMix64(seed: 1), pause: { _ in true })
        let (one, other) = (host.counting(), host.counting())
        memory.inject(StoreFault(.away, operation: .put, times: 2))
        _ = try one.putIfAbsent("a", [1, 2, 3])
        _ = try other.get("a", limit: 9)
        _ = try host.list(prefix: "a", after: nil, limit: 9)
        try one.delete(["a", "b"])
        var expected = StoreCounts()
        expected.puts = 3
        expected.failures = 2
        expected.bytesSent = 9
        expected.deletes = 2
        #expect(one.base.counts == expected)
        #expect(other.base.counts.gets == 1 && other.base.counts.bytesReceived == 3)
        #expect(other.base.counts.puts == 0)
        let all = host.base.counts
        #expect(all.puts == 3 && all.gets == 1 && all.lists == 1 && all.deletes == 2)
        #expect(host.retries == 2 && one.retries == 2)
    }

    @Test("a counting store knows the last request's finding: there, or away and why")
    func absence() throws {
        let memory = MemoryStore()
        let store = CountingStore(memory)
        #expect(store.absence == nil)
        memory.setAway(true)
        #expect(failure { _ = try store.head("a") } != nil)
        #expect(store.absence == .away(key: "a", detail: "injected"))
        memory.setAway(false)
        #expect(failure { _ = try store.get("a", limit: 1) } != nil)
        #expect(store.absence == nil, "that it is not there is an answer")
    }

    @Test("a late PUT lands after other requests, and only on a free key")
    func late() throws {
        let store = MemoryStore()
        store.inject(StoreFault(.late(afterRequests: 2), times: 2))
        #expect(failure { _ = try store.putIfAbsent("a", [1]) } != nil)
        #expect(failure { _ = try store.putIfAbsent("b", [1]) } != nil)
        #expect(try store.head("a") == 1)
        #expect(try store.putIfAbsent("b", [2]) == .exists)
        #expect(try store.get("b", limit: 1) == [1])
        store.inject(StoreFault(.late(afterRequests: 100)))
        #expect(failure { _ = try store.putIfAbsent("c", [1]) } != nil)
        #expect(try store.putIfAbsent("c", [2]) == .created)
        store.landLate()
        #expect(try store.get("c", limit: 1) == [2])
    }

    @Test("what a client makes of 409, 412 and 429: nothing done, one's own bytes, nothing done")
    func statuses() throws {
        let store = MemoryStore()
        store.inject(StoreFault(.conflict))
        #expect(try store.head("a") == nil, "no PUT")
        #expect(failure { _ = try store.putIfAbsent("a", [1]) }?.isRetryable == true)
        #expect(try store.head("a") == nil)
        store.inject(StoreFault(.repeated))
        #expect(try store.putIfAbsent("a", [1]) == .exists)
        #expect(try store.get("a", limit: 1) == [1])
        store.inject(StoreFault(.throttled, times: 2))
        #expect(failure { _ = try store.putIfAbsent("b", [1]) }?.isRetryable == true)
        #expect(failure { _ = try store.list(prefix: "", after: nil, limit: 1) } != nil)
        #expect(try store.head("b") == nil)
    }

    @Test("an object that ends early or is hidden is whole again once all is healed")
    func harm() throws {
        let store = MemoryStore(objects: ["a": [1, 2, 3, 4], "b": [5]])
        store.truncate("a", to: 2)
        store.hide("b")
        #expect(try store.get("a", limit: 9) == [1, 2])
        #expect(try store.getSuffix("a", count: 1) == [2])
        #expect(try store.head("a") == 2)
        #expect(failure { _ = try store.get("b", limit: 9) } == .notFound(key: "b"))
        #expect(try store.putIfAbsent("b", [6]) == .exists)
        #expect(try store.list(prefix: "", after: nil, limit: 9).entries.count == 2)
        store.heal()
        #expect(try store.get("a", limit: 9) == [1, 2, 3, 4])
        #expect(try store.get("b", limit: 9) == [5])
    }

    @Test("random faults follow the seed")
    func randomFaults() throws {
        func run(_ seed: UInt64) -> [Bool] {
            let store = MemoryStore(seed: seed)
            store.injectAtRandom(StoreFault(.away), perMille: 300)
            return (0..<200).map { index in failure { _ = try store.head("k\(index)") } != nil }
        }
        #expect(run(1) == run(1))
        #expect(run(1) != run(2))
        #expect((20...100).contains(run(3).count { $0 }))
    }

    @Test("retries pause ever longer within bounds, and end")
    func retries() throws {
        let base = MemoryStore()
        let clock = ManualClock()
        let pauses = Lock<[UInt64]>([])
        let policy = RetryPolicy(
            attemptsMax: 5, firstPauseNanoseconds: 100, pauseNanosecondsMax: 300)
        let store = RetryingStore(
            base, policy: policy, clock: clock, random: SplitMix64(seed: 1)
        ) { nanoseconds in
            pauses.withLock { $0.append(nanoseconds) }
            clock.advance(nanoseconds: nanoseconds)
            return true
        }
        base.setAway(true)
        #expect(failure { _ = try store.head("k") }?.isRetryable == true)
        let bounds: [UInt64] = [100, 200, 300, 300]
        let taken = pauses.withLock { $0 }
        #expect(taken.count == 4 && zip(taken, bounds).allSatisfy { $0 <= $1 })
        #expect(base.counts.heads == 5 && store.retries == 4)
        base.heal()
        base.inject(StoreFault(.replyLost))
        #expect(try store.putIfAbsent("k", [1]) == .exists, "it met its own first attempt")
        base.inject(StoreFault(.forbidden))
        #expect(failure { _ = try store.get("k", limit: 1) } != nil)
        #expect(store.retries == 5, "what is forbidden is not retried")
    }

    @Test("retries stop at the deadline and when the pause is broken off")
    func retryEnds() throws {
        let base = MemoryStore()
        base.setAway(true)
        let clock = ManualClock()
        let policy = RetryPolicy(
            attemptsMax: 1000, firstPauseNanoseconds: 1000, pauseNanosecondsMax: 1000,
            totalNanosecondsMax: 10_000)
        let bounded = RetryingStore(base, policy: policy, clock: clock, random: SplitMix64(seed: 1))
        {
            clock.advance(nanoseconds: $0 + 1)
            return true
        }
        #expect(failure { _ = try bounded.head("k") } != nil)
        #expect((5...100).contains(base.counts.heads))
        let broken = RetryingStore(base, clock: clock, random: SplitMix64(seed: 1)) { _ in false }
        #expect(failure { _ = try broken.head("k") } != nil)
        #expect(broken.retries == 0)
    }

    @Test("requests and bytes are counted")
    func counting() throws {
        let store = CountingStore(MemoryStore())
        _ = try store.putIfAbsent("a", [1, 2, 3])
        _ = try store.get("a", limit: 3)
        _ = try store.getSuffix("a", count: 1)
        _ = try store.head("a")
        _ = try store.listAll(prefix: "")
        try store.delete(["a", "b"])
        _ = failure { _ = try store.get("a", limit: 3) }
        var expected = StoreCounts()
        expected.puts = 1
        expected.gets = 3
        expected.heads = 1
        expected.lists = 1
        expected.deletes = 2
        expected.failures = 1
        expected.bytesSent = 3
        expected.bytesReceived = 4
        #expect(store.counts == expected)
    }

    @Test("a batch of deletes costs what the store takes for it", arguments: [1, 3, 1000])
    func batches(keysMax: Int) throws {
        let store = CountingStore(CountingStore(MemoryStore(deleteBatchMax: keysMax)))
        try store.delete([])
        #expect(store.counts.deletes == 0)
        try store.delete((0..<1001).map { "k/\($0)" })
        let expected = UInt64((1001.0 / Double(keysMax)).rounded(.up))
        #expect(store.counts.deletes == expected && store.base.counts.deletes == expected)
    }

    @Test("a store that overwrites, hides or forbids is found out by the probe")
    func probe() throws {
        var random = SplitMix64(seed: 1)
        for trait in LyingStore.Trait.allCases {
            guard case .unfit = try StoreProbe.run(LyingStore(trait), random: &random) else {
                Issue.record("\(trait) was accepted")
                continue
            }
        }
        let forbidding = MemoryStore()
        forbidding.inject(StoreFault(.forbidden, operation: .put))
        guard case .readOnly = try StoreProbe.run(forbidding, random: &random) else {
            Issue.record("a forbidden write was not seen")
            return
        }
        forbidding.setAway(true)
        #expect(
            failure { _ = try StoreProbe.run(forbidding, random: &random) }?.isRetryable == true)
    }
}

/// A store that breaks one promise.
private struct LyingStore: ForwardingStore {
    enum Trait: CaseIterable {
        case overwrites, saysExistsButOverwrites, hidesFromLists, refusesPuts
    }
    let trait: Trait
    let base = MemoryStore()

    init(_ trait: Trait) { self.trait = trait }

    func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        switch trait {
        case .refusesPuts: throw .refused(key: key, detail: "501")
        case .overwrites, .saysExistsButOverwrites:
            let existed = try base.head(key) != nil
            try base.delete([key])
            _ = try base.putIfAbsent(key, body)
            return existed && trait == .saysExistsButOverwrites ? .exists : .created
        case .hidesFromLists: return try base.putIfAbsent(key, body)
        }
    }

    func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        if trait == .hidesFromLists { return ListPage(entries: [], isTruncated: false) }
        return try base.list(prefix: prefix, after: after, limit: limit)
    }
}
