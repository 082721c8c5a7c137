// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The end of a turn: devices append what was staged, completions become replies, and replies are
// sent.

import BlockDevice
import CLinux
import Glibc
import NBDProtocol
import Primitives
import Shard

extension NBDSessions where Device: ~Copyable {
    /// Ends the turns of the devices that were called, and takes their completions. After it no
    /// payload is lent: the arena is empty.
    mutating func settle(_ devices: borrowing DeviceTable<Device>) {
        var index = 0
        while index < touched.count {
            if let place = devices.pointer(touched[index]) { place.pointee.endTurn() }
            index += 1
        }
        arenaUsed = 0
        turn &+= 1
        while let buffer = lent.popLast() { pool.give(buffer) }
        while let slot = touched.popLast() {
            deviceClients[slot].pointee.isTouched = false
            guard let place = devices.pointer(slot) else { continue }
            while let completion = place.pointee.nextCompletion() {
                complete(completion, devices)
            }
        }
    }

    @inline(__always)
    private mutating func complete(
        _ completion: Completion, _ devices: borrowing DeviceTable<Device>
    ) {
        let tag = completion.tag
        // The number of a connection that is gone, or the place of a request that was cancelled.
        guard let client = client(tag.session), tag.slot < UInt32(SessionLimits.requestsMax) else {
            return
        }
        let index = Int(tag.slot)
        let request = client.pointee.pending[index]
        guard request.state == .staged || request.state == .parked,
            request.header.cookie == tag.cookie
        else { return }
        if completion.outcome == .retry {
            precondition(request.state == .parked, "only what is parked is tried again")
            retries.append(tag)
            return
        }
        if let buffer = request.buffer {
            pool.give(buffer)
            client.pointee.pending[index].buffer = nil
        }
        client.pointee.release(index)
        if client.pointee.fd < 0 {
            if client.pointee.inFlight == 0 { freeSlot(client) }
            return
        }
        if client.pointee.interest != .readable { attend(client) }
        let isSent: Bool
        switch completion.outcome {
        case .done: isSent = replySimple(client, request.header.cookie)
        case .failed(let error):
            guard let command = request.header.command else { return }
            isSent = replyError(client, request.header, NBDError(error, command: command))
        case .retry: isSent = true
        }
        if !isSent { hangUp(client, devices) }
    }

    /// Submits again what the device asked for.
    mutating func retryParked(_ devices: borrowing DeviceTable<Device>) {
        swap(&retries, &retriesNext)
        var index = 0
        while index < retriesNext.count {
            let tag = retriesNext[index]
            index += 1
            guard let client = client(tag.session), client.pointee.fd >= 0,
                let place = devices.pointer(client.pointee.device)
            else { continue }
            let request = client.pointee.pending[Int(tag.slot)]
            guard request.state == .parked, request.header.cookie == tag.cookie else { continue }
            resubmit(client, place, Int(tag.slot), devices)
        }
        retriesNext.removeAll(keepingCapacity: true)
    }

    /// Looks after the connections that wait for something of ours.
    mutating func attendAll(_ devices: borrowing DeviceTable<Device>) {
        swap(&attention, &attentionNext)
        var index = 0
        while index < attentionNext.count {
            let number = attentionNext[index]
            index += 1
            guard let client = client(number), client.pointee.fd >= 0 else { continue }
            client.pointee.isListed = false
            service(client, devices)
        }
        attentionNext.removeAll(keepingCapacity: true)
    }

    private mutating func service(_ client: Client, _ devices: borrowing DeviceTable<Device>) {
        guard let place = devices.pointer(client.pointee.device) else {
            return hangUp(client, devices)
        }
        if client.pointee.retries > 0 && !client.pointee.isBlocked {
            for index in 0..<SessionLimits.requestsMax
            where client.pointee.fd >= 0 && client.pointee.pending[index].state == .retry {
                resubmit(client, place, index, devices)
            }
        }
        if client.pointee.isPaused && !client.pointee.isBlocked && client.pointee.freeSlot >= 0 {
            parseStash(client, place, devices)
        }
        if client.pointee.state == .draining && client.pointee.isQuiet { hangUp(client, devices) }
        guard client.pointee.fd >= 0 else { return }
        updateInterest(client)
        if client.pointee.isPaused || client.pointee.retries > 0 { attend(client) }
    }

    /// Tells the poller what matters now, if that has changed.
    mutating func updateInterest(_ client: Client) {
        var interest: Interest = client.pointee.mayRead ? .readable : []
        if client.pointee.isBlocked { interest.insert(.writable) }
        guard interest != client.pointee.interest else { return }
        client.pointee.interest = interest
        poller.modify(client.pointee.fd, token: UInt64(client.pointee.number), interest)
    }

    // MARK: Output

    /// The place for a reply of `count` bytes, with the reserve behind it. Nil if the socket takes
    /// no more, or there is no buffer; or the connection was closed.
    @inline(__always)
    mutating func reserve(
        _ client: Client, _ count: Int, _ devices: borrowing DeviceTable<Device>
    ) -> UnsafeMutableRawPointer? {
        if let output = client.pointee.output,
            output.end &+ count &+ SessionLimits.replyReserve <= output.buffer.capacity
        {
            return output.tail
        }
        return makeRoom(client, count, devices)
    }

    private mutating func makeRoom(
        _ client: Client, _ count: Int, _ devices: borrowing DeviceTable<Device>
    ) -> UnsafeMutableRawPointer? {
        if client.pointee.output != nil {
            guard flush(client, devices), client.pointee.output == nil else { return nil }
        }
        let usual = SessionLimits.replyBytes + Reply.dataBytes
        guard let buffer = pool.take(max(count, usual) + SessionLimits.replyReserve) else {
            return nil
        }
        client.pointee.output = Output(buffer: buffer)
        return buffer.base
    }

    /// Counts bytes that were written behind the replies.
    @inline(__always)
    mutating func advance(_ client: Client, _ bytes: Int) {
        client.pointee.output?.end &+= bytes
        if client.pointee.isDirty { return }
        client.pointee.isDirty = true
        dirty.append(client.pointee.number)
    }

    /// The place for a short reply, out of the reserve. Nil if there is no memory at all.
    @inline(__always)
    private mutating func shortReply(_ client: Client) -> UnsafeMutableRawPointer? {
        if let output = client.pointee.output {
            precondition(
                output.end &+ Reply.shortBytesMax <= output.buffer.capacity,
                "every request in flight has its reserve")
            return output.tail
        }
        let usual = SessionLimits.replyBytes + Reply.dataBytes
        guard let buffer = pool.take(usual + SessionLimits.replyReserve) else { return nil }
        client.pointee.output = Output(buffer: buffer)
        return buffer.base
    }

    /// Answers success without data. False if there is no memory for it: the connection must close.
    @inline(__always)
    private mutating func replySimple(_ client: Client, _ cookie: UInt64) -> Bool {
        guard let reply = shortReply(client) else { return false }
        advance(client, Reply.simple(into: reply, cookie: cookie))
        return true
    }

    /// Answers an error. False if there is no memory for it: the connection must close.
    mutating func replyError(
        _ client: Client, _ header: RequestHeader, _ error: NBDError
    ) -> Bool {
        guard let reply = shortReply(client) else { return false }
        client.pointee.clients.pointee.statistics.errors &+= 1
        let inChunks = header.command == .read || header.command == .blockStatus
        let bytes =
            client.pointee.isStructured && inChunks
            ? Reply.error(into: reply, cookie: header.cookie, error)
            : Reply.simple(into: reply, cookie: header.cookie, error: error.rawValue)
        advance(client, bytes)
        return true
    }

    /// Sends what there is, as far as the socket takes it. False if the connection was closed.
    @discardableResult
    mutating func flush(_ client: Client, _ devices: borrowing DeviceTable<Device>) -> Bool {
        while let output = client.pointee.output, !client.pointee.isBlocked {
            if output.count == 0 {
                pool.give(output.buffer)
                client.pointee.output = nil
                if client.pointee.cutCount == 0 && client.pointee.stash?.isCut != true {
                    client.pointee.stalledSince = nil
                }
                break
            }
            let sent = clinux_send(
                client.pointee.fd, output.buffer.base + output.start, output.count)
            if sent > 0 {
                client.pointee.output?.start += sent
                client.pointee.stalledSince = nil
            } else if sent == -Int(EAGAIN) {
                client.pointee.isBlocked = true
                if client.pointee.stalledSince == nil { client.pointee.stalledSince = now }
                updateInterest(client)
            } else {
                hangUp(client, devices)
                return false
            }
        }
        if client.pointee.state == .draining && client.pointee.isQuiet {
            hangUp(client, devices)
            return false
        }
        return true
    }

    /// Sends the output and then the bytes that `views` names from its second piece on. What the
    /// socket does not take becomes output, in `spare` if the present buffer is too small. False if
    /// the connection is broken.
    mutating func sendWithViews(_ client: Client, keeping spare: PooledBuffer) -> Bool {
        guard let output = client.pointee.output else { preconditionFailure("no reply to send") }
        views[0] = MemoryPiece(base: output.buffer.base + output.start, count: output.count)
        let sent = clinux_send_pieces(client.pointee.fd, views.base, views.count)
        guard sent >= 0 || sent == -Int(EAGAIN) else {
            pool.give(spare)
            return false
        }
        if sent > 0 { client.pointee.stalledSince = nil }
        let ofOutput = min(max(sent, 0), output.count)
        client.pointee.output?.start += ofOutput
        keepViews(client, from: max(sent, 0) - ofOutput, spare)
        return true
    }

    /// Copies what the views hold from byte `taken` on behind the output.
    private mutating func keepViews(_ client: Client, from taken: Int, _ spare: PooledBuffer) {
        var left = -taken
        for index in 1..<views.count { left += views[index].count }
        guard let output = client.pointee.output, left > 0,
            output.end + left + SessionLimits.replyReserve > output.buffer.capacity
        else {
            pool.give(spare)
            return left > 0 ? appendViews(client, from: taken) : ()
        }
        memcpy(spare.base, output.buffer.base + output.start, output.count)
        pool.give(output.buffer)
        client.pointee.output = Output(buffer: spare, start: 0, end: output.count)
        appendViews(client, from: taken)
    }

    private mutating func appendViews(_ client: Client, from taken: Int) {
        var skip = taken
        for index in 1..<views.count {
            let piece = views[index]
            let skipped = min(skip, piece.count)
            skip -= skipped
            guard let output = client.pointee.output, skipped < piece.count else { continue }
            memcpy(output.tail, piece.base + skipped, piece.count - skipped)
            client.pointee.output?.end += piece.count - skipped
        }
    }

    /// Sends at once what a connection was answered, unless more follows when the turn ends.
    @inline(__always)
    mutating func flushUnlessStaged(
        _ client: Client, _ devices: borrowing DeviceTable<Device>
    ) {
        guard client.pointee.fd >= 0, client.pointee.stagedTurn != turn else { return }
        flush(client, devices)
    }

    mutating func flushDirty(_ devices: borrowing DeviceTable<Device>) {
        while let number = dirty.popLast() {
            guard let client = client(number) else { continue }
            client.pointee.isDirty = false
            guard client.pointee.fd >= 0 else { continue }
            flush(client, devices)
        }
    }
}
