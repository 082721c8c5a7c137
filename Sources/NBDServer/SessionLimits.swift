// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What one client, and all clients of a shard together, can make the server hold.

import NBDProtocol
import Primitives
import Shard

/// Bounds of the NBD server: unit, value, reason.
enum SessionLimits {
    /// Bytes of one receive: what a client with 32 writes of 4 KiB has in flight, twice.
    static let receiveBytes = 256 << 10
    /// Bytes of a cut request from which on its connection is bulk, and of the buffer it gets then:
    /// several requests, so that few are moved, and no more than the second-level cache holds, so
    /// that what was received is still there when it is hashed and appended.
    static let bulkBytesMin = 32 << 10
    static let bulkBytes = 512 << 10
    /// Bytes that all connections of one turn share: stays in the second-level cache.
    static let arenaBytes = 1 << 20
    /// Bytes of replies at which they are sent in the middle of a turn.
    static let sendBytes = 64 << 10
    /// Bytes of a read from which on it is sent from where it lies: below, a copy costs less than
    /// the call of its own.
    static let viewBytesMin = 32 << 10
    /// Pieces of one such reply, with the one of what is sent before it; the kernel takes 1,024.
    static let viewPiecesMax = 512
    /// Requests of one connection that the device has not answered; then reading stops.
    static let requestsMax = 128
    /// Bytes of a reply buffer as usually taken: one reply of 128 KiB, and the reserve.
    static let replyBytes = 128 << 10
    /// Bytes of a reply buffer kept free for the short replies of all requests in flight.
    static let replyReserve = requestsMax * Reply.shortBytesMax
    /// Extents of each context in a block-status reply: 8 KiB.
    static let extentsMax = 1024
    /// Bytes of such a chunk.
    static let statusBytesMax = Reply.statusBytes + extentsMax * Reply.descriptorBytes
    /// Bytes of a WRITE that is too long and still read to its end, so that the client learns why.
    static let drainedBytesMax = 64 << 20
    /// Rounds of completions and retries in one turn before other connections get their chance.
    static let roundsMax = 4
    /// Bytes of free buffers that a shard keeps when nothing happens.
    static let idlePoolBytes = 8 << 20
    /// Bits of a session number that are its slot; the rest tell one user of the slot from the
    /// next.
    static let slotBits: UInt32 = 12

    static func check() {
        precondition(2 * receiveBytes <= arenaBytes)
        precondition(replyReserve + Reply.dataBytes <= BufferPool.slack)
        precondition((1 + MetaContext.bitmapsMax) * statusBytesMax <= replyBytes)
        precondition(
            Limits.requestBytesMax + RequestHeader.byteCount <= BufferPool.bufferBytesMax)
    }
}

/// What an operator can choose.
public struct SessionOptions: Sendable {
    /// Connections of one shard in the transmission phase.
    public var connectionsMax = 1024
    /// Bytes of all buffers of one shard.
    public var poolBytesMax = 512 << 20
    /// How long a connection may stay without progress in the middle of a request or a reply.
    public var deadConnectionSeconds: UInt64 = 60

    public init() {}
}
