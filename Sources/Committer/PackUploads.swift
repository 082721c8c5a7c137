// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Sending a pack while the next one is filled. A commit has one pack on its way at most: a store
// that is slower than the packing holds it up, and memory stays bounded.

internal import Dispatch
internal import Primitives
internal import Synchronization

/// Threads that send packs. Without any, who builds a commit sends its packs too.
public struct PackUploads: Sendable {
    let start: @Sendable (_ job: @escaping @Sendable () -> Void) -> Bool

    /// `start` runs a job on another thread and returns at once; false if it cannot take it now.
    public init(_ start: @escaping @Sendable (_ job: @escaping @Sendable () -> Void) -> Bool) {
        self.start = start
    }

    /// Everything on the thread that builds: tests and the simulator, whose runs repeat exactly.
    public static let none = PackUploads { _ in false }
}

/// One pack on its way, between the thread that sends it and the one that waits.
final class PackSending: Sendable {
    private let result = Lock<Result<Void, CommitError>?>(nil)
    private let ended = DispatchSemaphore(value: 0)

    /// Runs the PUT. Called once.
    func end(_ put: () throws(CommitError) -> Void) {
        let result: Result<Void, CommitError>
        do throws(CommitError) {
            result = .success(try put())
        } catch { result = .failure(error) }
        self.result.withLock { $0 = result }
        ended.signal()
    }

    /// Blocks until the PUT has ended. Called once.
    func wait() throws(CommitError) {
        ended.wait()
        guard let result = result.withLock({ $0 }) else {
            preconditionFailure("a signal follows a result")
        }
        try result.get()
    }
}
