// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How other threads speak to a shard: a bounded queue that the shard empties with one swap per
// turn. While the shard is awake a send costs a lock and an append; only a sleeping shard is woken
// through its eventfd. The order of one sender's events is kept.

import CLinux
import Glibc
public import Primitives
import Synchronization

/// A bounded queue of events with one receiver.
///
/// A shard must not `send` to a mailbox whose receiver could be waiting for it, its own included: a
/// full mailbox blocks. Workers and control threads may.
public final class Mailbox<Event: Sendable>: @unchecked Sendable {
    // Confined: `queue` and `isClosed` to whoever holds `monitor`.
    private let monitor = Monitor()
    private var queue: [Event] = []
    private var isClosed = false
    private let capacity: Int

    /// Events in `queue`. Written under the lock; read by the receiver without it, as a hint in the
    /// middle of a turn and (sequentially consistent, against `isAsleep`) before it sleeps.
    private let waiting = Atomic<Int>(0)
    /// The receiver is about to block: the sender that clears it signals the descriptor.
    private let isAsleep = Atomic<Bool>(false)

    /// Readable when a sleeping receiver has been sent something.
    let descriptor: Int32

    public init(capacity: Int = Limits.mailboxEventsMax) {
        precondition(capacity > 0)
        self.capacity = capacity
        descriptor = clinux_eventfd()
        precondition(descriptor >= 0, "no descriptor left for a mailbox")
        queue.reserveCapacity(min(capacity, 256))
    }

    deinit { Glibc.close(descriptor) }

    /// Appends an event, waiting while the mailbox is full. False if it is closed: the event is
    /// lost.
    @discardableResult
    public func send(_ event: sending Event) -> Bool {
        monitor.lock()
        while queue.count >= capacity && !isClosed { monitor.wait() }
        return append(event)
    }

    /// Appends an event unless the mailbox is full or closed.
    public func trySend(_ event: sending Event) -> Bool {
        monitor.lock()
        if queue.count >= capacity {
            monitor.unlock()
            return false
        }
        return append(event)
    }

    /// Refuses every later event and releases blocked senders. What waits is still delivered.
    public func close() {
        monitor.lock()
        isClosed = true
        monitor.wakeAll()
        monitor.unlock()
        wake()
    }

    /// Called with the lock held; releases it.
    private func append(_ event: sending Event) -> Bool {
        if isClosed {
            monitor.unlock()
            return false
        }
        queue.append(event)
        waiting.store(queue.count, ordering: .sequentiallyConsistent)
        monitor.unlock()
        wake()
        return true
    }

    /// Makes a sleeping receiver look.
    func wake() {
        if isAsleep.exchange(false, ordering: .sequentiallyConsistent) {
            clinux_eventfd_signal(descriptor)
        }
    }

    // MARK: The receiver's side

    /// Something waits. May lag behind a send by a moment.
    @inline(__always)
    var hasEvents: Bool { waiting.load(ordering: .acquiring) > 0 }

    /// Exchanges the queue for `events`, which must be empty and lends its storage.
    func drain(into events: inout [Event]) {
        precondition(events.isEmpty)
        monitor.lock()
        let wasFull = queue.count >= capacity
        swap(&queue, &events)
        waiting.store(0, ordering: .sequentiallyConsistent)
        if wasFull { monitor.wakeAll() }
        monitor.unlock()
    }

    /// Announces that the receiver is going to block on the descriptor. False if it must not, since
    /// something arrived. Either this sees the event or the sender sees `isAsleep`: both are
    /// sequentially consistent and each side writes before it reads.
    func prepareToSleep() -> Bool {
        isAsleep.store(true, ordering: .sequentiallyConsistent)
        if waiting.load(ordering: .sequentiallyConsistent) == 0 { return true }
        isAsleep.store(false, ordering: .sequentiallyConsistent)
        return false
    }

    func awake() { isAsleep.store(false, ordering: .relaxed) }

    /// Takes everything that waits, blocking until something does or the mailbox is closed and
    /// empty. For receivers that are no shard: tests and tools.
    public func receive() -> [Event] {
        var events: [Event] = []
        while true {
            drain(into: &events)
            if !events.isEmpty { return events }
            monitor.lock()
            let ended = isClosed && queue.isEmpty
            monitor.unlock()
            if ended { return [] }
            guard prepareToSleep() else { continue }
            var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            _ = Glibc.poll(&poll, 1, 100)
            awake()
            clinux_eventfd_clear(descriptor)
        }
    }
}
