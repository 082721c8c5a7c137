// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One request: checked by the protocol's rules, handed to the device, answered or remembered. The
// room for the reply is reserved before the device is called, so that whatever it says can be
// answered.

import BlockDevice
import Glibc
import NBDProtocol
import Primitives
import Shard

/// What the protocol says of a request before the device is asked.
private enum Check {
    case submit
    /// Nothing to do: it succeeds.
    case succeed
    case refuse(NBDError)
}

extension NBDSessions where Device: ~Copyable {
    /// Handles one whole request. `blocked` leaves no trace of it.
    @inline(__always)
    mutating func perform(
        _ client: Client, _ place: Place, _ header: RequestHeader,
        _ payload: UnsafeMutableRawPointer, _ devices: borrowing DeviceTable<Device>
    ) -> Step {
        let slot = client.pointee.freeSlot
        guard slot >= 0, !client.pointee.isBlocked else { return .blocked }
        guard let command = header.command else {
            return refuse(client, header, .invalid, devices)
        }
        if command == .disconnect {
            beginDraining(client)
            return .closed
        }
        switch check(client, command, header) {
        case .submit: break
        case .succeed: return succeed(client, command, header, devices)
        case .refuse(let error): return refuse(client, header, error, devices)
        }
        if command == .read, header.length >= UInt32(SessionLimits.viewBytesMin),
            let step = sendView(client, place, header, devices)
        {
            return step
        }
        guard let reply = reserve(client, replyRoom(client, command, header), devices) else {
            return client.pointee.fd < 0 ? .closed : .blocked
        }
        let tag = client.pointee.tag(slot, header.cookie)
        switch submit(client, place, command, header, payload, reply, tag) {
        case .done: answer(client, command, header, reply)
        case .staged:
            client.pointee.commit(header, .staged)
            client.pointee.stagedTurn = turn
            count(client, command, header)
        case .parked:
            guard park(client, header, payload, slot) else {
                place.pointee.cancel(tag: tag)
                return .blocked
            }
        case .failed(let error):
            if !replyError(client, header, NBDError(error, command: command)) {
                hangUp(client, devices)
                return .closed
            }
        }
        guard let output = client.pointee.output, output.count >= SessionLimits.sendBytes else {
            return .next
        }
        return flush(client, devices) ? .next : .closed
    }

    @inline(__always)
    private func check(
        _ client: Client, _ command: NBDCommand, _ header: RequestHeader
    ) -> Check {
        let structured = client.pointee.isStructured
        guard header.flags.isSubset(of: .allowed(on: command, structured: structured)) else {
            return .refuse(.invalid)
        }
        switch command {
        case .read:
            if header.length > UInt32(Limits.requestBytesMax) { return .refuse(.invalid) }
        case .write, .trim, .writeZeroes:
            if client.pointee.isReadOnly { return .refuse(.notPermitted) }
        case .flush:
            return header.offset == 0 && header.length == 0 ? .submit : .refuse(.invalid)
        case .blockStatus:
            let hasContext = client.pointee.contextCount > 0
            return hasContext && header.length > 0 ? .submit : .refuse(.invalid)
        case .cache, .disconnect: break
        }
        return header.length == 0 ? .succeed : .submit
    }

    /// Bytes that the reply of a request may take.
    @inline(__always)
    private func replyRoom(
        _ client: Client, _ command: NBDCommand, _ header: RequestHeader
    ) -> Int {
        switch command {
        case .read: Reply.dataBytes &+ Int(header.length)
        case .blockStatus: client.pointee.contextCount * SessionLimits.statusBytesMax
        default: Reply.shortBytesMax
        }
    }

    /// Calls the device. A read fills the reply's place behind the room for its header.
    @inline(__always)
    private mutating func submit(
        _ client: Client, _ place: Place, _ command: NBDCommand, _ header: RequestHeader,
        _ payload: UnsafeRawPointer, _ reply: UnsafeMutableRawPointer, _ tag: RequestTag
    ) -> Submission {
        let offset = ByteOffset(header.offset)
        let length = ByteCount(UInt64(header.length))
        let fua = header.flags.contains(.fua)
        switch command {
        case .read:
            let prefix = client.pointee.isStructured ? Reply.dataBytes : Reply.simpleBytes
            let data = UnsafeMutableRawBufferPointer(
                start: reply + prefix, count: Int(header.length))
            return place.pointee.read(at: offset, into: data, tag: tag)
        case .write:
            let data = UnsafeRawBufferPointer(start: payload, count: Int(header.length))
            return place.pointee.write(at: offset, payload: data, fua: fua, tag: tag)
        case .flush: return place.pointee.flush(tag: tag)
        case .trim:
            return place.pointee.zero(
                at: offset, count: length, options: .trim, fua: fua, tag: tag)
        case .writeZeroes:
            var options: ZeroOptions = []
            if header.flags.contains(.noHole) { options.insert(.noHole) }
            if header.flags.contains(.fastZero) { options.insert(.fastOnly) }
            return place.pointee.zero(
                at: offset, count: length, options: options, fua: fua, tag: tag)
        case .cache: return place.pointee.prefetch(at: offset, count: length, tag: tag)
        case .blockStatus:
            extents.removeAll(keepingCapacity: true)
            guard client.pointee.hasAllocation else {
                // The bitmaps are at hand: the device need not be asked.
                let size = place.pointee.geometry.size.rawValue
                let isInside = header.offset < size && size - header.offset >= length.rawValue
                return isInside ? .done : .failed(.outOfRange)
            }
            return place.pointee.extents(
                at: offset, count: length, limit: runsMax(header), into: &extents, tag: tag)
        case .disconnect: preconditionFailure("a disconnect is no request for a device")
        }
    }

    /// Writes the success of a request that is complete. `reply` was reserved for it.
    @inline(__always)
    private mutating func answer(
        _ client: Client, _ command: NBDCommand, _ header: RequestHeader,
        _ reply: UnsafeMutableRawPointer
    ) {
        var bytes: Int
        switch command {
        case .read:
            let count = Int(header.length)
            if client.pointee.isStructured {
                bytes = Reply.data(
                    into: reply, cookie: header.cookie, offset: header.offset, count: count)
            } else {
                bytes = Reply.simple(into: reply, cookie: header.cookie)
            }
            bytes &+= count
        case .blockStatus: bytes = answerStatus(client, header, reply)
        default: bytes = Reply.simple(into: reply, cookie: header.cookie)
        }
        advance(client, bytes)
        count(client, command, header)
    }

    /// Runs that each context may tell of one request.
    private func runsMax(_ header: RequestHeader) -> Int {
        header.flags.contains(.requestOne) ? 1 : SessionLimits.extentsMax
    }

    /// A chunk for each context, `base:allocation` first.
    private func answerStatus(
        _ client: Client, _ header: RequestHeader, _ reply: UnsafeMutableRawPointer
    ) -> Int {
        precondition(extents.count <= SessionLimits.extentsMax)
        let changes = client.pointee.changes
        var bytes = 0
        if client.pointee.hasAllocation {
            bytes = Reply.blockStatus(
                into: reply, cookie: header.cookie, extents: extents, isLast: changes.isEmpty)
        }
        for (index, map) in changes.enumerated() {
            bytes += Reply.changes(
                into: reply + bytes, cookie: header.cookie, map, index: index,
                offset: header.offset, count: header.length, limit: runsMax(header),
                isLast: index == changes.count - 1)
        }
        return bytes
    }

    /// Answers a read from where its bytes lie. nil if they cannot be read as they are: nothing was
    /// done.
    private mutating func sendView(
        _ client: Client, _ place: Place, _ header: RequestHeader,
        _ devices: borrowing DeviceTable<Device>
    ) -> Step? {
        let count = Int(header.length)
        guard let reply = reserve(client, Reply.dataBytes, devices) else {
            return client.pointee.fd < 0 ? .closed : .blocked
        }
        // What the socket does not take has to be kept, whatever else takes memory meanwhile.
        let before = client.pointee.output?.count ?? 0
        let most = before + Reply.dataBytes + count + SessionLimits.replyReserve
        guard most <= BufferPool.bufferBytesMax, let spare = pool.take(most) else { return nil }
        views.removeAll()
        // A place for what is sent before.
        _ = views.append(reply, count: 1)
        guard
            place.pointee.view(at: ByteOffset(header.offset), count: count, into: &views)
        else {
            pool.give(spare)
            return nil
        }
        let bytes =
            client.pointee.isStructured
            ? Reply.data(into: reply, cookie: header.cookie, offset: header.offset, count: count)
            : Reply.simple(into: reply, cookie: header.cookie)
        advance(client, bytes)
        self.count(client, .read, header)
        let isSent = sendWithViews(client, keeping: spare)
        place.pointee.endView()
        guard isSent else {
            hangUp(client, devices)
            return .closed
        }
        return flush(client, devices) ? .next : .closed
    }

    /// A request of no length.
    private mutating func succeed(
        _ client: Client, _ command: NBDCommand, _ header: RequestHeader,
        _ devices: borrowing DeviceTable<Device>
    ) -> Step {
        guard let reply = reserve(client, Reply.shortBytesMax, devices) else {
            return client.pointee.fd < 0 ? .closed : .blocked
        }
        let bytes =
            command == .read && client.pointee.isStructured
            ? Reply.none(into: reply, cookie: header.cookie)
            : Reply.simple(into: reply, cookie: header.cookie)
        advance(client, bytes)
        count(client, command, header)
        return .next
    }

    /// Answers a request that does not reach the device.
    mutating func refuse(
        _ client: Client, _ header: RequestHeader, _ error: NBDError,
        _ devices: borrowing DeviceTable<Device>
    ) -> Step {
        guard reserve(client, Reply.shortBytesMax, devices) != nil else {
            return client.pointee.fd < 0 ? .closed : .blocked
        }
        _ = replyError(client, header, error)
        return .next
    }

    /// Remembers a request until the device wants it again. False if there is no memory for its
    /// payload: nothing was remembered.
    private mutating func park(
        _ client: Client, _ header: RequestHeader, _ payload: UnsafeMutableRawPointer,
        _ slot: Int32
    ) -> Bool {
        let count = header.payloadBytes
        var kept: PooledBuffer?
        var bytes: UnsafeRawPointer?
        if count > 0 {
            if let stash = client.pointee.stash,
                payload == stash.base + RequestHeader.byteCount,
                stash.count == RequestHeader.byteCount + count
            {
                // The stash holds this request and nothing else: it becomes the request's own.
                client.pointee.stash = nil
                kept = stash.buffer
                bytes = UnsafeRawPointer(payload)
            } else {
                guard let buffer = pool.take(count) else { return false }
                memcpy(buffer.base, payload, count)
                kept = buffer
                bytes = UnsafeRawPointer(buffer.base)
            }
        }
        client.pointee.commit(header, .parked)
        client.pointee.pending[Int(slot)].buffer = kept
        client.pointee.pending[Int(slot)].payload = bytes
        return true
    }

    /// Submits a parked request again.
    mutating func resubmit(
        _ client: Client, _ place: Place, _ index: Int, _ devices: borrowing DeviceTable<Device>
    ) {
        let request = client.pointee.pending[index]
        let header = request.header
        guard let command = header.command else { preconditionFailure("it was submitted before") }
        guard !client.pointee.isBlocked,
            let reply = reserve(client, replyRoom(client, command, header), devices)
        else { return postpone(client, index) }
        if request.state == .retry { client.pointee.retries -= 1 }
        client.pointee.pending[index].state = .parked
        touch(device: client.pointee.device)
        let tag = client.pointee.tag(Int32(index), header.cookie)
        let payload = request.payload ?? UnsafeRawPointer(arena)
        let submission = submit(client, place, command, header, payload, reply, tag)
        if submission == .parked { return }
        if let buffer = request.buffer {
            lent.append(buffer)
            client.pointee.pending[index].buffer = nil
        }
        switch submission {
        case .done:
            answer(client, command, header, reply)
            client.pointee.release(index)
        case .staged:
            client.pointee.pending[index].state = .staged
            client.pointee.stagedTurn = turn
            count(client, command, header)
        case .failed(let error):
            client.pointee.release(index)
            if !replyError(client, header, NBDError(error, command: command)) {
                hangUp(client, devices)
            }
        case .parked: break
        }
    }

    /// There is no room for the reply now: tried again at the end of each turn.
    private mutating func postpone(_ client: Client, _ index: Int) {
        guard client.pointee.fd >= 0 else { return }
        if client.pointee.pending[index].state != .retry { client.pointee.retries += 1 }
        client.pointee.pending[index].state = .retry
        attend(client)
    }

    @inline(__always)
    private func count(_ client: Client, _ command: NBDCommand, _ header: RequestHeader) {
        let clients = client.pointee.clients
        switch command {
        case .read:
            clients.pointee.statistics.reads &+= 1
            clients.pointee.statistics.readBytes &+= UInt64(header.length)
        case .write:
            clients.pointee.statistics.writes &+= 1
            clients.pointee.statistics.writtenBytes &+= UInt64(header.length)
        case .flush: clients.pointee.statistics.flushes &+= 1
        case .trim: clients.pointee.statistics.trims &+= 1
        case .writeZeroes: clients.pointee.statistics.zeroes &+= 1
        case .cache, .blockStatus, .disconnect: clients.pointee.statistics.others &+= 1
        }
    }
}
