// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A store that asks again when the one below is away: pauses drawn at random between zero and a
// bound that doubles ("full jitter"), a bounded number of times.
//
// A retried `putIfAbsent` that ends in `exists` may have met its own first attempt, whose answer
// was lost. The caller tells by reading the key: everything we publish carries a token.

public import Primitives
import Synchronization

/// How often and how long to wait.
public struct RetryPolicy: Equatable, Sendable {
    /// Calls in all, the first one included.
    public var attemptsMax: Int
    /// Bound of the first pause; doubles each time.
    public var firstPauseNanoseconds: UInt64
    public var pauseNanosecondsMax: UInt64
    /// No pause begins after this long; nil for no such bound.
    public var totalNanosecondsMax: UInt64?

    public init(
        attemptsMax: Int = 6, firstPauseNanoseconds: UInt64 = 50_000_000,
        pauseNanosecondsMax: UInt64 = 5_000_000_000, totalNanosecondsMax: UInt64? = nil
    ) {
        precondition(attemptsMax >= 1 && firstPauseNanoseconds > 0)
        precondition(pauseNanosecondsMax >= firstPauseNanoseconds)
        self.attemptsMax = attemptsMax
        self.firstPauseNanoseconds = firstPauseNanoseconds
        self.pauseNanosecondsMax = pauseNanosecondsMax
        self.totalNanosecondsMax = totalNanosecondsMax
    }
}

/// Repeated calls of stores that share it. Relaxed: a statistic.
private final class RetryMeter: Sendable {
    let count = Atomic<UInt64>(0)
}

/// Retries around another store. Only `away` is retried.
public final class RetryingStore<Base: ObjectStore, Time: Clock, Random: RandomSource>: ObjectStore
{
    /// Waits; returns false if the wait was broken off and no further attempt is wanted.
    public typealias Pause = @Sendable (_ nanoseconds: UInt64) -> Bool

    public let base: Base
    public var url: String { base.url }
    public var deleteBatchMax: Int { base.deleteBatchMax }
    private let policy: RetryPolicy
    private let clock: Time
    private let random: Lock<Random>
    private let pause: Pause
    private let meter: RetryMeter

    public convenience init(
        _ base: Base, policy: RetryPolicy = RetryPolicy(), clock: Time, random: Random,
        pause: @escaping Pause
    ) {
        self.init(
            base, policy: policy, clock: clock, random: random, pause: pause, meter: RetryMeter())
    }

    private init(
        _ base: Base, policy: RetryPolicy, clock: Time, random: Random,
        pause: @escaping Pause, meter: RetryMeter
    ) {
        self.base = base
        self.policy = policy
        self.clock = clock
        self.random = Lock(random)
        self.pause = pause
        self.meter = meter
    }

    /// Calls repeated so far, by this store and those made of it.
    public var retries: UInt64 { meter.count.load(ordering: .relaxed) }

    /// A store over the same base that behaves as this one and counts by itself: each attempt, a
    /// repeated one too, is a request.
    public func counting() -> RetryingStore<CountingStore<Base>, Time, Random> {
        RetryingStore<CountingStore<Base>, Time, Random>(
            CountingStore(base), policy: policy, clock: clock, random: random.withLock { $0 },
            pause: pause, meter: meter)
    }

    private func retrying<Result>(
        _ body: () throws(ObjectStoreError) -> Result
    ) throws(ObjectStoreError) -> Result {
        let start = clock.now
        var bound = policy.firstPauseNanoseconds
        var attempt = 1
        while true {
            do throws(ObjectStoreError) {
                return try body()
            } catch {
                let spent = clock.now.nanoseconds(since: start)
                let isOver = policy.totalNanosecondsMax.map { spent >= $0 } ?? false
                guard error.isRetryable && attempt < policy.attemptsMax && !isOver else {
                    throw error
                }
                let nanoseconds = random.withLock { $0.next(below: bound + 1) }
                guard pause(nanoseconds) else { throw error }
            }
            attempt += 1
            bound = min(bound * 2, policy.pauseNanosecondsMax)
            meter.count.wrappingAdd(1, ordering: .relaxed)
        }
    }

    public func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        try retrying { () throws(ObjectStoreError) in try base.putIfAbsent(key, body) }
    }

    public func replace(_ key: String, _ body: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        try retrying { () throws(ObjectStoreError) in try base.replace(key, body) }
    }

    public func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        try retrying { () throws(ObjectStoreError) in try base.get(key, limit: limit) }
    }

    public func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        try retrying { () throws(ObjectStoreError) in
            try base.get(key, at: offset, into: buffer)
        }
    }

    public func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8] {
        try retrying { () throws(ObjectStoreError) in try base.getSuffix(key, count: count) }
    }

    public func head(_ key: String) throws(ObjectStoreError) -> UInt64? {
        try retrying { () throws(ObjectStoreError) in try base.head(key) }
    }

    public func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        try retrying { () throws(ObjectStoreError) in
            try base.list(prefix: prefix, after: after, limit: limit)
        }
    }

    public func delete(_ keys: [String]) throws(ObjectStoreError) {
        try retrying { () throws(ObjectStoreError) in try base.delete(keys) }
    }

    public func dateSeconds() throws(ObjectStoreError) -> UInt64? {
        try retrying { () throws(ObjectStoreError) in try base.dateSeconds() }
    }
}
