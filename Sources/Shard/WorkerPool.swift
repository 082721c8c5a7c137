// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Threads for what blocks: syncs, object-store calls, cold reads. A shard hands an effect over with
// `trySubmit` and hears of its end through its mailbox.

import CLinux
public import Primitives

/// Work that comes in numbered pieces, shared by whoever has time. Any thread.
private final class Crew: @unchecked Sendable {
    // Confined: `next` and `ended` to whoever holds `monitor`.
    private let monitor = Monitor()
    private let count: Int
    private let body: @Sendable (Int) -> Void
    private var next = 0
    private var ended = 0

    init(count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        self.count = count
        self.body = body
    }

    /// Takes pieces until none is left.
    func work() {
        while let piece = take() {
            body(piece)
            monitor.lock()
            ended += 1
            if ended == count { monitor.wakeAll() }
            monitor.unlock()
        }
    }

    private func take() -> Int? {
        monitor.lock()
        defer { monitor.unlock() }
        guard next < count else { return nil }
        defer { next += 1 }
        return next
    }

    /// Waits for the pieces that others took.
    func wait() {
        monitor.lock()
        while ended < count { monitor.wait() }
        monitor.unlock()
    }
}

/// A fixed number of threads that run closures from one bounded queue, oldest first.
///
/// Shards call `trySubmit` and keep what is refused for their next turn: a shard that blocked here
/// while workers block on its full mailbox would be a deadlock.
public final class WorkerPool: @unchecked Sendable {
    // Confined: `queue`, `head`, `isStopping` and `threads` to whoever holds `monitor`.
    public typealias Work = @Sendable () -> Void

    private let monitor = Monitor()
    /// A ring of `capacity` places.
    private var queue: [Work?]
    private var head = 0
    private var count = 0
    private var isStopping = false
    private var threads: [Thread] = []
    public let threadCount: Int

    /// `niceness`, 0 to 19, is how far its threads stand behind those of the shards when there are
    /// more than the processors can run.
    public init(
        threads: Int, name: String, capacity: Int = Limits.workerQueueMax, niceness: Int32 = 0
    ) {
        threadCount = threads
        precondition(threads > 0 && capacity > 0 && (0...19).contains(niceness))
        queue = Array(repeating: nil, count: capacity)
        self.threads = (0..<threads).map { index in
            Thread(name: "\(name)-\(index)") { [self] in
                if niceness > 0 { clinux_nice_thread(niceness) }
                run()
            }
        }
    }

    /// Queues work, waiting while the queue is full. False once `stop` was called: it will not run.
    @discardableResult
    public func submit(_ work: @escaping Work) -> Bool {
        monitor.lock()
        defer { monitor.unlock() }
        while count == queue.count && !isStopping { monitor.wait() }
        return append(work)
    }

    /// Queues work unless the queue is full or the pool stops.
    public func trySubmit(_ work: @escaping Work) -> Bool {
        monitor.lock()
        defer { monitor.unlock() }
        return count < queue.count && append(work)
    }

    /// Calls `body` with 0..<count, on the calling thread and on threads of the pool that have
    /// nothing else to do, and returns when all calls have returned. Not more run at once than the
    /// pool has threads if the caller is one of them. Never waits for a thread to become free.
    public func spread(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
        guard count > 1 else { return (0..<count).forEach(body) }
        let crew = Crew(count: count, body)
        for _ in 0..<min(count - 1, threadCount - 1) where !trySubmit({ crew.work() }) { break }
        crew.work()
        crew.wait()
    }

    /// Refuses new work, runs all that is queued, and joins the threads. Called once.
    public func stop() {
        monitor.lock()
        isStopping = true
        let threads = self.threads
        self.threads = []
        monitor.wakeAll()
        monitor.unlock()
        for thread in threads { thread.join() }
    }

    /// With the lock held.
    private func append(_ work: @escaping Work) -> Bool {
        guard !isStopping else { return false }
        queue[(head + count) % queue.count] = work
        count += 1
        // One condition serves waiting workers and waiting submitters: all must look.
        monitor.wakeAll()
        return true
    }

    private func run() {
        while let work = next() { work() }
    }

    private func next() -> Work? {
        monitor.lock()
        defer { monitor.unlock() }
        while count == 0 {
            if isStopping { return nil }
            monitor.wait()
        }
        let work = queue[head]
        queue[head] = nil
        head = (head + 1) % queue.count
        count -= 1
        if count == queue.count - 1 { monitor.wakeAll() }
        return work
    }
}
