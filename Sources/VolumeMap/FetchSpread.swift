// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Several GETs of one fetch at once: a stack's frames lie in several packs, and a cold read should
// cost one round trip, not one for each. Whoever composes the fetcher says how the calls are spread
// over threads, and so keeps the bound on how many requests the host has under way.

internal import Formats
internal import ObjectStore
internal import Primitives
internal import Synchronization

/// Calls `body` with 0..<count, perhaps several at a time and on other threads, and returns when
/// all calls have returned.
public typealias FetchSpread =
    @Sendable (_ count: Int, _ body: @escaping @Sendable (Int) -> Void) -> Void

/// One after another, on the thread that asks.
public let oneByOne: FetchSpread = { count, body in
    for index in 0..<count { body(index) }
}

/// The ranges of one fetch, GET side by side.
final class RangeReads<Store: ObjectStore>: Sendable {
    /// What became of a range.
    enum Outcome {
        case bytes(FetchBuffer)
        case failed(ObjectStoreError)
        /// Another found the store away first.
        case skipped
    }

    private let store: Store
    private let ranges: [FetchRange]
    /// By range; and whether the store was found away.
    private let state: Lock<(outcomes: [Outcome], isAway: Bool)>

    init(store: Store, ranges: [FetchRange]) {
        self.store = store
        self.ranges = ranges
        state = Lock(
            (outcomes: [Outcome](repeating: .skipped, count: ranges.count), isAway: false))
    }

    /// Any thread, once for each range.
    func read(_ index: Int) {
        if state.withLock({ $0.isAway }) { return }
        let range = ranges[index]
        let buffer = FetchBuffer(byteCount: Int(range.length))
        let outcome: Outcome
        do throws(ObjectStoreError) {
            try store.get(range.pack.key, at: range.offset, into: buffer.bytes)
            outcome = .bytes(buffer)
        } catch { outcome = .failed(error) }
        state.withLock { state in
            if case .failed(let error) = outcome, error.isRetryable { state.isAway = true }
            state.outcomes[index] = outcome
        }
    }

    /// What became of a range; its bytes are the caller's then.
    func take(_ index: Int) -> Outcome {
        state.withLock { state in
            defer { state.outcomes[index] = .skipped }
            return state.outcomes[index]
        }
    }
}
