// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The transmission phase of all NBD connections of one shard. Confined to the shard's thread; the
// shard's handler forwards readiness, ticks and the ends of turns, and brings the devices with
// every call. Connections own nothing but what is left of unfinished requests: input goes through
// one arena.
//
//   arena:   recv ─▶ requests parsed in place ─▶ payload lent to the device until its turn ends
//   output:  the device reads straight into the reply buffer; one send per connection and turn;
//            a large read is sent at once from where its bytes lie, and only what the socket does
//            not take is copied
//   memory:  arena and output buffers are used again as soon as their turn is over
//
// Payload lent to a device lies in the arena, in a stash, or in the buffer of a parked request: the
// first is reused and the others given back (`lent`) only after `endTurn` of all devices.

public import BlockDevice
import CLinux
import Glibc
import NBDProtocol
public import Primitives
public import Shard

/// All transmission-phase connections of one shard.
public struct NBDSessions<Device: BlockDevice & ~Copyable>: ~Copyable {
    typealias Client = UnsafeMutablePointer<Connection>
    typealias Place = UnsafeMutablePointer<Device>

    let poller: Poller
    let options: SessionOptions
    var pool: BufferPool
    var now: Instant

    /// Slots of connections: the first `slotsUsed` are initialised.
    let slots: UnsafeMutablePointer<Connection>
    var slotsUsed = 0
    var freeSlots: [UInt32] = []
    var deviceClients: [UnsafeMutablePointer<DeviceClients>] = []

    let arena: UnsafeMutableRawPointer
    var arenaUsed = 0
    /// Counts device turns, from 1.
    var turn: UInt64 = 1
    /// Devices that were called in this turn.
    var touched: [Int] = []
    /// Buffers whose content is lent to a device until its turn ends.
    var lent: [PooledBuffer] = []
    /// Connections with replies to send.
    var dirty: [UInt32] = []
    /// Connections to look after at the end of the turn: paused, draining, or with retries to make.
    var attention: [UInt32] = []
    var attentionNext: [UInt32] = []
    /// Parked requests that the device wants again.
    var retries: [RequestTag] = []
    var retriesNext: [RequestTag] = []
    var extents: [Extent] = []
    /// Where the bytes of one read lie, while it is sent.
    var views = MemoryPieces(capacity: SessionLimits.viewPiecesMax)

    /// Tokens of the poller below 2^32 belong to the sessions; the handler uses others for itself.
    public init(poller: Poller, options: SessionOptions = SessionOptions(), now: Instant) {
        SessionLimits.check()
        precondition(options.connectionsMax > 0)
        precondition(options.connectionsMax <= 1 << SessionLimits.slotBits)
        self.poller = poller
        self.options = options
        self.now = now
        pool = BufferPool(bytesMax: options.poolBytesMax)
        slots = .allocate(capacity: options.connectionsMax)
        arena = .allocate(byteCount: SessionLimits.arenaBytes, alignment: 4096)
        extents.reserveCapacity(SessionLimits.extentsMax)
        touched.reserveCapacity(64)
        lent.reserveCapacity(64)
        retries.reserveCapacity(SessionLimits.requestsMax)
        retriesNext.reserveCapacity(SessionLimits.requestsMax)
    }

    deinit {
        for slot in 0..<slotsUsed {
            precondition(slots[slot].fd < 0, "stop() was not called")
            slots[slot].pending.deallocate()
        }
        slots.deallocate()
        arena.deallocate()
        for clients in deviceClients { clients.deallocate() }
    }

    // MARK: Connections of a device

    /// Open connections of a device.
    public func connections(ofDevice slot: Int) -> Int {
        slot < deviceClients.count ? deviceClients[slot].pointee.connections : 0
    }

    /// Open connections of a device that may write to it.
    public func writers(ofDevice slot: Int) -> Int {
        slot < deviceClients.count ? deviceClients[slot].pointee.writers : 0
    }

    /// No request of any connection is still in the device: its slot may be emptied.
    public func isSettled(device slot: Int) -> Bool {
        slot >= deviceClients.count || deviceClients[slot].pointee.unsettled == 0
    }

    public func statistics(ofDevice slot: Int) -> SessionStatistics {
        slot < deviceClients.count
            ? deviceClients[slot].pointee.statistics : SessionStatistics()
    }

    /// Sets the counters of a slot to zero: it has a new device.
    public mutating func resetStatistics(ofDevice slot: Int) {
        clients(of: slot).pointee.statistics = SessionStatistics()
    }

    mutating func clients(of device: Int) -> UnsafeMutablePointer<DeviceClients> {
        while deviceClients.count <= device {
            let clients = UnsafeMutablePointer<DeviceClients>.allocate(capacity: 1)
            clients.initialize(to: DeviceClients())
            deviceClients.append(clients)
        }
        return deviceClients[device]
    }

    // MARK: The handler's calls

    /// Says that a device was called outside the sessions, for example with a finished effect: its
    /// turn is ended and its completions are taken with those of the others.
    public mutating func touch(device slot: Int) {
        let clients = clients(of: slot)
        if clients.pointee.isTouched { return }
        clients.pointee.isTouched = true
        touched.append(slot)
    }

    /// A descriptor of ours is ready.
    public mutating func ready(
        _ token: UInt64, _ readiness: Readiness, devices: borrowing DeviceTable<Device>
    ) {
        guard token <= UInt64(UInt32.max), let client = client(UInt32(token)),
            client.pointee.fd >= 0
        else { return }
        if readiness.isWritable {
            client.pointee.isBlocked = false
            attend(client)
            guard flush(client, devices) else { return }
        }
        if readiness.isReadable && client.pointee.mayRead {
            receive(client, devices)
        } else if readiness.isHangup {
            hangUp(client, devices)
        } else {
            attend(client)
        }
    }

    /// Ends the shard's turn: the devices' turns, their completions, and the sending of replies.
    public mutating func endTurn(devices: borrowing DeviceTable<Device>) -> ShardWait {
        var rounds = 0
        repeat {
            settle(devices)
            if !retries.isEmpty { retryParked(devices) }
            if !attention.isEmpty { attendAll(devices) }
            flushDirty(devices)
            rounds += 1
        } while (!touched.isEmpty || !retries.isEmpty) && rounds < SessionLimits.roundsMax
        return touched.isEmpty && retries.isEmpty ? .idle : .again
    }

    /// Time has passed: closes connections that made no progress for too long.
    public mutating func tick(_ now: Instant, devices: borrowing DeviceTable<Device>) {
        self.now = now
        let limit = options.deadConnectionSeconds * 1_000_000_000
        for slot in 0..<slotsUsed {
            let client = slots + slot
            guard client.pointee.fd >= 0, let since = client.pointee.stalledSince else { continue }
            if now.nanoseconds(since: since) > limit { hangUp(client, devices) }
        }
        pool.trim(toBytes: SessionLimits.idlePoolBytes)
    }

    /// Closes every connection at once. Staged requests are left to the devices.
    public mutating func stop(devices: borrowing DeviceTable<Device>) {
        for slot in 0..<slotsUsed where slots[slot].fd >= 0 { hangUp(slots + slot, devices) }
        settle(devices)
        pool.trim(toBytes: 0)
    }

    /// The connection that has the number now.
    @inline(__always)
    func client(_ number: UInt32) -> Client? {
        let slot = Int(number & ((1 << SessionLimits.slotBits) - 1))
        guard slot < slotsUsed, slots[slot].number == number, slots[slot].state != .free else {
            return nil
        }
        return slots + slot
    }

    /// Lists a connection for the end of the turn.
    @inline(__always)
    mutating func attend(_ client: Client) {
        if client.pointee.isListed { return }
        client.pointee.isListed = true
        attention.append(client.pointee.number)
    }
}
