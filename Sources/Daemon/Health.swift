// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Why the daemon is not ready, as a set of reasons that come and go.

import Primitives
import Synchronization

/// The reasons, by what they are about. Any thread.
final class Health: Sendable {
    enum Subject: Int, Comparable {
        case starting
        case exports
        case store
        case disk
        case stopping
        static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    }

    private let table = Lock<[Subject: String]>([.starting: "the daemon is starting"])

    /// Sets or, with nil, removes the reason.
    func set(_ subject: Subject, _ reason: String?) {
        table.withLock { $0[subject] = reason }
    }

    var reasons: [String] {
        table.withLock { table in table.sorted { $0.key < $1.key }.map(\.value) }
    }
}
