// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One source of chance for many workers: a seeded stream behind a lock, so that copies never draw
// the same word twice. Simulations and tests take it where a daemon takes the system's.

internal import Synchronization

/// Thread-safe; copies share the stream.
public struct SharedRandom: RandomSource {
    private final class Stream: Sendable {
        let source: Lock<SplitMix64>
        init(seed: UInt64) { source = Lock(SplitMix64(seed: seed)) }
    }

    private let stream: Stream

    public init(seed: UInt64) { stream = Stream(seed: seed) }

    public mutating func next() -> UInt64 { stream.source.withLock { $0.next() } }
}
