// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a shard remembers of one connection between turns. Plain data in memory that does not move:
// `NBDSessions` owns it and is the only one to touch it. A connection that waits for nothing holds
// no buffer at all.
//
//   free ─(adopt)─▶ open ─(DISC, closeAll)─▶ draining ─(all answered and sent)─┐
//    ▲               └──(hang-up, garbage, no progress)──────────────────┐     │
//    │                                                                   ▼     ▼
//    └──────────────(the last staged request has completed)────────── settling

import BlockDevice
import NBDProtocol
import Primitives
import Shard

/// A request that the device has not answered yet.
struct Pending: BitwiseCopyable {
    enum State: UInt8 {
        case free
        /// The device has it: a completion comes.
        case staged
        /// The device says when to submit it again.
        case parked
        /// The device said so, but there was no room for the reply.
        case retry
    }

    var header: RequestHeader
    /// The payload of a parked write: where it is, and the buffer that holds it.
    var payload: UnsafeRawPointer?
    var buffer: PooledBuffer?
    var state: State
    /// The next free slot, while this one is free.
    var next: Int32
}

/// Bytes that wait to be parsed: a request that has not come whole, or requests that have to wait.
struct Stash: BitwiseCopyable {
    var buffer: PooledBuffer
    var start: Int
    var end: Int
    /// Bytes from `start` until the first request is whole; 0 if it is.
    var need: Int

    @inline(__always)
    var base: UnsafeMutableRawPointer { buffer.base + start }
    @inline(__always)
    var count: Int { end - start }
    /// Receives go behind what is here, as long as there is room.
    @inline(__always)
    var isRoomy: Bool { isCut && buffer.capacity >= SessionLimits.bulkBytes }
    /// The rest of the first request has to come from the socket.
    @inline(__always)
    var isCut: Bool { need > count }
}

/// Replies that are not sent yet.
struct Output: BitwiseCopyable {
    var buffer: PooledBuffer
    var start = 0
    var end = 0

    @inline(__always)
    var tail: UnsafeMutableRawPointer { buffer.base + end }
    @inline(__always)
    var count: Int { end - start }
}

/// The counters of one device's clients.
public struct SessionStatistics: Sendable, Equatable {
    public var reads: UInt64 = 0
    public var writes: UInt64 = 0
    public var flushes: UInt64 = 0
    public var trims: UInt64 = 0
    public var zeroes: UInt64 = 0
    public var others: UInt64 = 0
    public var errors: UInt64 = 0
    public var readBytes: UInt64 = 0
    public var writtenBytes: UInt64 = 0

    public init() {}
}

/// What the sessions keep per device slot.
struct DeviceClients {
    var statistics = SessionStatistics()
    /// Connections that are open or draining; those of them that may write.
    var connections = 0
    var writers = 0
    /// Connections whose slot is not free again: requests of theirs may still complete.
    var unsettled = 0
    /// The device was called in this turn, so its turn must be ended.
    var isTouched = false
}

struct Connection {
    enum State: UInt8 {
        case free
        case open
        case draining
        case settling
    }

    let pending: UnsafeMutablePointer<Pending>
    /// The session's number in request tags and poller tokens: slot and generation.
    var number: UInt32
    var state = State.free
    var fd: Int32 = -1
    var device = 0
    var clients: UnsafeMutablePointer<DeviceClients>
    var isStructured = false
    var hasAllocation = false
    /// Its bitmaps, in the order in which it chose them.
    var changes: [ChangeMap] = []
    var isReadOnly = false

    /// The first free place in `pending`, or -1.
    var freeSlot: Int32 = 0
    /// Places in use: requests that are staged, parked or to be retried.
    var inFlight = 0
    var retries = 0
    /// The turn in which something was staged last: its reply comes at the end of that turn.
    var stagedTurn: UInt64 = 0

    /// Up to 27 bytes of a header that has not come whole.
    var cut: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    var cutCount = 0
    var stash: Stash?
    /// The client writes large requests, so that nearly each comes cut.
    var isBulk = false
    /// Bytes of a refused payload that are still to come.
    var skip = 0
    /// Parsing had to stop: reading goes on when the stash is done.
    var isPaused = false

    var output: Output?
    /// The socket takes no more until the poller says so.
    var isBlocked = false

    var interest: Interest = []
    /// Listed in `attention`, respectively in `dirty`.
    var isListed = false
    var isDirty = false
    /// Since when the client owes us the rest of a request, or the reading of a reply.
    var stalledSince: Instant?

    init(
        number: UInt32, pending: UnsafeMutablePointer<Pending>,
        clients: UnsafeMutablePointer<DeviceClients>
    ) {
        self.number = number
        self.pending = pending
        self.clients = clients
    }

    /// All requests up to here are answered and sent.
    var isQuiet: Bool { inFlight == 0 && output == nil }

    /// Receiving may go on: what comes can be accepted, or kept as one cut request.
    @inline(__always)
    var mayRead: Bool { state == .open && !isPaused && !isBlocked && freeSlot >= 0 }

    /// BLOCK_STATUS is answered with a chunk for each.
    var contextCount: Int { (hasAllocation ? 1 : 0) + changes.count }

    /// The tag for a request that takes the next free place.
    @inline(__always)
    func tag(_ slot: Int32, _ cookie: UInt64) -> RequestTag {
        RequestTag(session: number, slot: UInt32(truncatingIfNeeded: slot), cookie: cookie)
    }

    /// Forgets every request: all places free, in order.
    mutating func resetSlots() {
        for slot in 0..<SessionLimits.requestsMax {
            let next = slot + 1 < SessionLimits.requestsMax ? Int32(slot + 1) : -1
            pending[slot] = Pending(
                header: RequestHeader(.read, cookie: 0), payload: nil, buffer: nil, state: .free,
                next: next)
        }
        freeSlot = 0
        inFlight = 0
        retries = 0
    }

    /// Takes the next free place for a request.
    @inline(__always)
    mutating func commit(_ header: RequestHeader, _ state: Pending.State) {
        let slot = Int(freeSlot)
        freeSlot = pending[slot].next
        pending[slot].header = header
        pending[slot].state = state
        inFlight &+= 1
    }

    /// Gives a place back. Its buffer was given back before.
    @inline(__always)
    mutating func release(_ slot: Int) {
        pending[slot].state = .free
        pending[slot].next = freeSlot
        freeSlot = Int32(truncatingIfNeeded: slot)
        inFlight &-= 1
    }
}
