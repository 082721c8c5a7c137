// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How a connection comes, and the ways in which it goes. A slot is used again only after every
// request that the device had accepted from it is complete; then its generation is raised, so that
// a late completion or readiness never reaches the next user.

import BlockDevice
import CLinux
import Glibc
import NBDProtocol
import Primitives
public import Shard

extension NBDSessions where Device: ~Copyable {
    /// Takes a connection over. False if the shard has no room for it: it is closed.
    @discardableResult
    public mutating func adopt(
        _ negotiated: NegotiatedConnection, devices: borrowing DeviceTable<Device>
    ) -> Bool {
        let device = negotiated.placement.device
        let fd = negotiated.takeDescriptor()
        guard fd >= 0 else { return false }
        guard devices.pointer(device) != nil, let client = takeSlot(clients(of: device)) else {
            close(fd)
            return false
        }
        guard poller.add(fd, token: UInt64(client.pointee.number), .readable) else {
            close(fd)
            freeSlots.append(client.pointee.number)
            return false
        }
        client.pointee.resetSlots()
        client.pointee.state = .open
        client.pointee.fd = fd
        client.pointee.device = device
        client.pointee.isStructured = negotiated.agreement.structured
        client.pointee.hasAllocation = negotiated.agreement.allocationContext
        client.pointee.changes = negotiated.offer.changes
        client.pointee.isReadOnly = negotiated.offer.geometry.isReadOnly
        client.pointee.interest = .readable
        let clients = client.pointee.clients
        clients.pointee.connections += 1
        if !client.pointee.isReadOnly { clients.pointee.writers += 1 }
        clients.pointee.unsettled += 1
        let leftover = negotiated.leftover
        if leftover.isEmpty { return true }
        let kept = leftover.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return false }
            return keep(client, base, bytes.count, need: 0)
        }
        if !kept { hangUp(client, devices) }
        return kept
    }

    private mutating func takeSlot(_ clients: UnsafeMutablePointer<DeviceClients>) -> Client? {
        if let number = freeSlots.popLast() {
            let client = slots + Int(number & ((1 << SessionLimits.slotBits) - 1))
            let pending = client.pointee.pending
            client.pointee = Connection(number: number, pending: pending, clients: clients)
            return client
        }
        guard slotsUsed < options.connectionsMax else { return nil }
        let client = slots + slotsUsed
        client.initialize(
            to: Connection(
                number: UInt32(slotsUsed),
                pending: .allocate(capacity: SessionLimits.requestsMax), clients: clients))
        slotsUsed += 1
        return client
    }

    /// Closes every connection of a device: what was staged completes and is answered, what is
    /// parked is answered with ESHUTDOWN, nothing more is read. `connections(ofDevice:)` tells when
    /// they are gone, `isSettled(device:)` when the device may go too.
    public mutating func closeAll(device: Int, devices: borrowing DeviceTable<Device>) {
        guard let place = devices.pointer(device) else { return }
        for slot in 0..<slotsUsed {
            let client = slots + slot
            guard client.pointee.fd >= 0, client.pointee.device == device else { continue }
            for index in 0..<SessionLimits.requestsMax {
                let request = client.pointee.pending[index]
                guard request.state == .parked || request.state == .retry else { continue }
                cancel(client, place, index)
                guard replyError(client, request.header, .shuttingDown) else { break }
            }
            client.pointee.state = .draining
            dropInput(client)
            attend(client)
        }
    }

    /// The client said goodbye: answer what is in flight, then close.
    mutating func beginDraining(_ client: Client) {
        client.pointee.state = .draining
        dropInput(client)
        attend(client)
    }

    /// Closes a connection at once. Parked requests are cancelled, staged ones complete unanswered.
    mutating func hangUp(_ client: Client, _ devices: borrowing DeviceTable<Device>) {
        guard client.pointee.fd >= 0 else { return }
        poller.remove(client.pointee.fd)
        close(client.pointee.fd)
        client.pointee.fd = -1
        client.pointee.changes = []
        dropInput(client)
        if let output = client.pointee.output {
            pool.give(output.buffer)
            client.pointee.output = nil
        }
        if let place = devices.pointer(client.pointee.device) {
            for index in 0..<SessionLimits.requestsMax {
                switch client.pointee.pending[index].state {
                case .parked, .retry: cancel(client, place, index)
                case .free, .staged: break
                }
            }
        }
        let clients = client.pointee.clients
        clients.pointee.connections -= 1
        if !client.pointee.isReadOnly { clients.pointee.writers -= 1 }
        client.pointee.state = .settling
        if client.pointee.inFlight == 0 { freeSlot(client) }
    }

    /// The last request of a closed connection is complete.
    mutating func freeSlot(_ client: Client) {
        precondition(client.pointee.fd < 0 && client.pointee.inFlight == 0)
        client.pointee.clients.pointee.unsettled -= 1
        client.pointee.state = .free
        client.pointee.number &+= 1 << SessionLimits.slotBits
        freeSlots.append(client.pointee.number)
    }

    private mutating func cancel(_ client: Client, _ place: Place, _ index: Int) {
        let request = client.pointee.pending[index]
        place.pointee.cancel(tag: client.pointee.tag(Int32(index), request.header.cookie))
        if request.state == .retry { client.pointee.retries -= 1 }
        if let buffer = request.buffer { pool.give(buffer) }
        client.pointee.pending[index].buffer = nil
        client.pointee.release(index)
    }

    /// Forgets what was received and not parsed. Its bytes may be lent, so they stay until the turn
    /// ends.
    private mutating func dropInput(_ client: Client) {
        if let stash = client.pointee.stash { lent.append(stash.buffer) }
        client.pointee.stash = nil
        client.pointee.cutCount = 0
        client.pointee.skip = 0
        client.pointee.isPaused = false
    }
}
