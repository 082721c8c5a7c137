// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Real threads for tests of blocking code: a task that blocks would hold a thread of the shared
// pool.

import Foundation
import Primitives
import Synchronization

/// Threads that run one body each and are joined once. The first error is thrown at the join.
public final class RacingThreads: Sendable {
    private let failure = Lock<(any Error)?>(nil)
    private let done = DispatchGroup()

    public init(count: Int, _ body: @escaping @Sendable (_ index: Int) throws -> Void) throws {
        for index in 0..<count {
            done.enter()
            Thread { [self] in
                defer { done.leave() }
                do { try body(index) } catch { failure.withLock { $0 = $0 ?? error } }
            }.start()
        }
    }

    public func join() throws {
        done.wait()
        if let error = failure.withLock({ $0 }) { throw error }
    }
}
