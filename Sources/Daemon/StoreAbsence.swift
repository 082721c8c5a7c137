// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Since when the store is away, as the requests of all found it. Any thread may ask; the
// maintenance thread looks.

import Primitives
import Synchronization

final class StoreAbsence: Sendable {
    enum Finding: Equatable {
        case present
        /// It answers again.
        case returned(seconds: UInt64)
        /// Seen for the first time.
        case left(String)
        case away(seconds: UInt64, String)
    }

    private let since = Lock<Instant?>(nil)

    /// `why`: what the last request found, nil for an answer.
    func look(_ why: String?, now: Instant) -> Finding {
        since.withLock { since in
            switch (since, why) {
            case (nil, nil): return .present
            case (let start?, nil):
                since = nil
                return .returned(seconds: now.nanoseconds(since: start) / 1_000_000_000)
            case (nil, let why?):
                since = now
                return .left(why)
            case (let start?, let why?):
                return .away(seconds: now.nanoseconds(since: start) / 1_000_000_000, why)
            }
        }
    }

    /// Seconds that the store has been away; nil if it is there.
    func seconds(now: Instant) -> UInt64? {
        since.withLock { $0.map { now.nanoseconds(since: $0) / 1_000_000_000 } }
    }
}
