// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One operation at a time for each name. Operations on several names take their locks in order of
// the names, so that two of them never wait for one another.

import Primitives
import Synchronization

final class NameLocks<Name: Hashable & Comparable & Sendable>: Sendable {
    private final class Gate: Sendable {
        let lock = Lock(())
    }

    private struct Entry {
        let gate: Gate
        /// Those who hold it or wait for it: the entry goes with the last.
        var users: Int
    }

    private let gates = Lock<[Name: Entry]>([:])

    /// Runs `body` while no other operation on any of `names` runs. Not to be nested.
    func withLock<Value: Sendable>(
        _ names: Set<Name>, _ body: () throws(UserError) -> Value
    ) throws(UserError) -> Value {
        try withLock(names.sorted()[...], body)
    }

    private func withLock<Value: Sendable>(
        _ names: ArraySlice<Name>, _ body: () throws(UserError) -> Value
    ) throws(UserError) -> Value {
        guard let name = names.first else { return try body() }
        let gate = enter(name)
        defer { leave(name) }
        return try gate.lock.withLock { _ throws(UserError) -> Value in
            try withLock(names.dropFirst(), body)
        }
    }

    private func enter(_ name: Name) -> Gate {
        gates.withLock { gates in
            var entry = gates[name] ?? Entry(gate: Gate(), users: 0)
            entry.users += 1
            gates[name] = entry
            return entry.gate
        }
    }

    private func leave(_ name: Name) {
        gates.withLock { gates in
            guard var entry = gates[name] else { return }
            entry.users -= 1
            gates[name] = entry.users > 0 ? entry : nil
        }
    }
}
