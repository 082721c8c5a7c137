// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How much all volumes of a host ask of a store at one time: one gate for what is sent up and one
// for what comes down, so that packing never holds up a read. A store that says "slow down" narrows
// them; one that says when to come back closes them until then.

import Dispatch
public import Primitives
import Synchronization

/// The gates, shared by everything that talks to one store.
public final class HostLimits: Sendable {
    let uploads: Gate
    let downloads: Gate

    /// `pause` waits; it returns false if the wait was broken off because the program ends.
    public init(
        uploads: Int, downloads: Int, clock: any Clock,
        pause: @escaping @Sendable (_ nanoseconds: UInt64) -> Bool
    ) {
        self.uploads = Gate(ceiling: uploads, clock: clock, pause: pause)
        self.downloads = Gate(ceiling: downloads, clock: clock, pause: pause)
    }

    /// Requests that the gates let through at one time now.
    public var allowed: (uploads: Int, downloads: Int) {
        (
            uploads.state.withLock { $0.congestion.allowed },
            downloads.state.withLock { $0.congestion.allowed }
        )
    }

    var ceiling: Int { uploads.ceiling + downloads.ceiling }

    /// Nothing is asked for so long.
    func hold(seconds: UInt64) {
        uploads.hold(seconds: seconds)
        downloads.hold(seconds: seconds)
    }
}

/// A thread that waits for its turn.
private final class Ticket: @unchecked Sendable {
    // Confined: the one property is set once, and synchronises itself.
    private let semaphore = DispatchSemaphore(value: 0)

    func wait() { semaphore.wait() }
    func call() { semaphore.signal() }
}

/// Lets a bounded number of threads through, in the order of their coming.
final class Gate: Sendable {
    fileprivate struct State {
        var congestion: Congestion
        var inside = 0
        /// Each is called when it has been counted in.
        var waiting: [Ticket] = []
        /// Nobody enters before.
        var closedUntil: Instant?
    }

    enum Outcome {
        case success
        case throttled
        /// Says nothing of how much the store can bear.
        case other
    }

    fileprivate let state: Lock<State>
    let ceiling: Int
    private let clock: any Clock
    private let pause: @Sendable (UInt64) -> Bool

    init(
        ceiling: Int, clock: any Clock, pause: @escaping @Sendable (_ nanoseconds: UInt64) -> Bool
    ) {
        state = Lock(State(congestion: Congestion(ceiling: ceiling)))
        self.ceiling = ceiling
        self.clock = clock
        self.pause = pause
    }

    /// Waits for a place. When it began, for `leave`; nil if the program ends.
    func enter() -> Instant? {
        let ticket = state.withLock { state -> Ticket? in
            if state.inside < state.congestion.allowed, state.waiting.isEmpty {
                state.inside += 1
                return nil
            }
            let ticket = Ticket()
            state.waiting.append(ticket)
            return ticket
        }
        ticket?.wait()
        while let until = state.withLock({ $0.closedUntil }) {
            let left = until.nanoseconds(since: clock.now)
            if left == 0 { break }
            if !pause(left) {
                leave(.other, began: clock.now)
                return nil
            }
        }
        return clock.now
    }

    func leave(_ outcome: Outcome, began: Instant) {
        let now = clock.now
        let woken = state.withLock { state -> [Ticket] in
            switch outcome {
            case .success: state.congestion.succeeded()
            case .throttled: state.congestion.throttled(began: began, now: now)
            case .other: break
            }
            state.inside -= 1
            var woken: [Ticket] = []
            while !state.waiting.isEmpty, state.inside < state.congestion.allowed {
                woken.append(state.waiting.removeFirst())
                state.inside += 1
            }
            return woken
        }
        for ticket in woken { ticket.call() }
    }

    func hold(seconds: UInt64) {
        let until = clock.now.advanced(bySeconds: seconds)
        state.withLock { $0.closedUntil = max($0.closedUntil ?? until, until) }
    }
}
