// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The event loop of one core: an epoll set, a mailbox, and a handler that owns everything else. One
// thread runs it from birth to `stop`; all state of the handler is confined to that thread.
//
//   turn:  wait (poll 50 us, then block) ─▶ ready descriptors ─▶ mail ─▶ tick if due ─▶ endTurn
//
// Nothing in a turn may block. What does goes to a `WorkerPool` and comes back as mail.

import CLinux
import Glibc
public import Primitives
import Synchronization

/// When the handler wants its next turn if nothing happens.
public enum ShardWait: Sendable {
    /// Nothing depends on time: a tick a second is enough.
    case idle
    /// Something runs against time: tick at least every 100 ms.
    case timed
    /// Answers are held back for a while: tick at least every 10 ms.
    case paced
    /// There is work left: do not wait at all.
    case again
}

/// What a shard runs. A value made on the shard's thread and dropped there.
public protocol ShardHandler: ~Copyable, SendableMetatype {
    associatedtype Event: Sendable

    mutating func handle(_ event: consuming Event)
    mutating func handle(ready token: UInt64, _ readiness: Readiness)
    /// Called when time may have passed: every 100 ms while `endTurn` says `timed`, every 10 ms
    /// while it says `paced`, else every second.
    mutating func tick(_ now: Instant)
    /// Ends each turn: write what was gathered, send what can go.
    mutating func endTurn() -> ShardWait
    /// The last call. Descriptors that it added to the poller are its to close.
    mutating func stop()
}

/// What a handler is built from.
public struct ShardContext<Event: Sendable>: Sendable {
    public let poller: Poller
    /// The shard's own mailbox, to give to workers; the shard itself must not `send` to it.
    public let mailbox: Mailbox<Event>
    public let now: Instant
}

/// One event-loop thread.
public final class Shard<Handler: ShardHandler & ~Copyable>: Sendable {
    public let mailbox: Mailbox<Handler.Event>
    private let core: ShardCore
    private let thread: Thread

    /// Starts the thread. `make` runs on it first and builds the handler.
    public init(
        name: String, clock: any Clock,
        mailboxCapacity: Int = Limits.mailboxEventsMax,
        make: @escaping @Sendable (ShardContext<Handler.Event>) -> Handler
    ) {
        let mailbox = Mailbox<Handler.Event>(capacity: mailboxCapacity)
        let core = ShardCore(clock: clock, mailboxDescriptor: mailbox.descriptor)
        self.mailbox = mailbox
        self.core = core
        thread = Thread(name: name) {
            var handler = make(
                ShardContext(
                    poller: Poller(descriptor: core.poller), mailbox: mailbox, now: clock.now))
            run(&handler, core, mailbox)
        }
    }

    /// Asks the loop to end after what is in the mailbox now. Returns at once; any thread.
    public func stop() {
        core.isStopping.store(true, ordering: .sequentiallyConsistent)
        mailbox.close()
    }

    /// Waits for the thread to end. Called once, after `stop`, by another thread.
    public func join() { thread.join() }
}

/// What the loop needs that does not depend on the handler.
private final class ShardCore: Sendable {
    let clock: any Clock
    let poller: Int32
    let isStopping = Atomic<Bool>(false)

    init(clock: any Clock, mailboxDescriptor: Int32) {
        self.clock = clock
        poller = clinux_epoll_create()
        precondition(poller >= 0, "no descriptor left for a shard")
        let code = clinux_epoll_add(
            poller, mailboxDescriptor, Interest.readable.rawValue, Poller.mailboxToken)
        precondition(code == 0)
    }

    deinit { close(poller) }
}

/// Descriptors told per turn: more wait in the kernel for the next.
private let readyMax = 64

extension ShardWait {
    /// Milliseconds between ticks.
    fileprivate var tickMilliseconds: Int32 {
        switch self {
        case .idle, .again: 1000
        case .timed: 100
        case .paced: 10
        }
    }
}

private func run<Handler: ShardHandler & ~Copyable>(
    _ handler: inout Handler, _ core: ShardCore, _ mailbox: Mailbox<Handler.Event>
) {
    let ready = UnsafeMutablePointer<clinux_ready>.allocate(capacity: readyMax)
    defer { ready.deallocate() }
    var events: [Handler.Event] = []
    var pacing = Pacing()
    var wait = ShardWait.again
    var ticked = core.clock.now
    while true {
        let count = waitForWork(core, mailbox, wait, &pacing, ready)
        for index in 0..<count {
            if ready[index].token == Poller.mailboxToken {
                clinux_eventfd_clear(mailbox.descriptor)
            } else {
                handler.handle(
                    ready: ready[index].token, Readiness(rawValue: ready[index].events))
            }
        }
        let isStopping = core.isStopping.load(ordering: .acquiring)
        if mailbox.hasEvents {
            mailbox.drain(into: &events)
            for event in events { handler.handle(event) }
            events.removeAll(keepingCapacity: true)
        }
        let now = core.clock.now
        let due = UInt64(wait.tickMilliseconds) * 1_000_000
        if now.nanoseconds(since: ticked) >= due {
            ticked = now
            handler.tick(now)
        }
        wait = handler.endTurn()
        if isStopping && !mailbox.hasEvents { break }
    }
    handler.stop()
}

/// Waits for descriptors or mail, as long as the handler allows. Answers the number of ready ones.
private func waitForWork<Event: Sendable>(
    _ core: ShardCore, _ mailbox: Mailbox<Event>, _ wait: ShardWait, _ pacing: inout Pacing,
    _ ready: UnsafeMutablePointer<clinux_ready>
) -> Int {
    func look(_ milliseconds: Int32) -> Int {
        let count = clinux_epoll_wait(core.poller, ready, Int32(readyMax), milliseconds)
        precondition(count >= 0, "waiting on our own epoll set cannot fail")
        return Int(count)
    }
    if wait == .again || mailbox.hasEvents { return look(0) }
    if pacing.shouldPoll() {
        let start = core.clock.now
        repeat {
            let count = look(0)
            if count > 0 || mailbox.hasEvents {
                pacing.found()
                return count
            }
        } while core.clock.now.nanoseconds(since: start) < Pacing.budgetNanoseconds
        pacing.missed()
    }
    guard mailbox.prepareToSleep() else { return look(0) }
    let count = look(wait.tickMilliseconds)
    mailbox.awake()
    return count
}
