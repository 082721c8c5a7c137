// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// From the socket to requests. One receive per ready connection and turn; requests are parsed where
// they landed. What remains of a request that has not come whole is copied once: up to 27 bytes of
// a header into the connection, more into a buffer of the request's size, which the next receive
// fills directly while what follows goes to the arena.
//
// A connection that writes large requests (*bulk*) has nearly every request cut. It receives into a
// roomy buffer of its own, where a cut request stays where it is until the buffer is full.

import BlockDevice
import CLinux
import Glibc
import NBDProtocol
import Primitives
import Shard

/// Why parsing stopped.
enum ParseEnd {
    /// Everything was taken.
    case all
    /// Less than a header is left.
    case cutHeader
    /// A WRITE is left whose payload has not come whole: bytes until it has.
    case cut(need: Int)
    /// The next request has to wait: no place, no buffer, or a socket that takes no replies.
    case blocked
    /// No more is read from this connection.
    case closed
}

/// What became of one request.
enum Step {
    case next
    case blocked
    case closed
}

extension NBDSessions where Device: ~Copyable {
    /// Takes one bite of a readable connection.
    mutating func receive(_ client: Client, _ devices: borrowing DeviceTable<Device>) {
        if client.pointee.isBulk && client.pointee.stash == nil { beginBulk(client) }
        if client.pointee.stash?.isRoomy ?? false { return receiveBulk(client, devices) }
        let most = SessionLimits.receiveBytes + RequestHeader.byteCount
        if arenaUsed + most > SessionLimits.arenaBytes {
            settle(devices)
            guard client.pointee.mayRead else { return }
        }
        guard let place = devices.pointer(client.pointee.device) else {
            return hangUp(client, devices)
        }
        let base = arena + arenaUsed
        var count: Int
        if let stash = client.pointee.stash {
            guard let beyond = fill(client, stash, base, devices) else { return }
            arenaUsed += (beyond + 63) & ~63
            touch(device: client.pointee.device)
            parseStash(client, place, devices)
            guard client.pointee.state == .open else { return flushUnlessStaged(client, devices) }
            if client.pointee.isPaused {
                if beyond > 0 && !lengthenStash(client, base, beyond) { hangUp(client, devices) }
                return
            }
            count = beyond
        } else {
            let old = client.pointee.cutCount
            if old > 0 { withUnsafeBytes(of: client.pointee.cut) { copy(base, $0, old) } }
            let got = clinux_receive(client.pointee.fd, base + old, SessionLimits.receiveBytes)
            guard got > 0 else { return receiveFailed(client, got, devices) }
            client.pointee.cutCount = 0
            client.pointee.stalledSince = nil
            count = old + got
            arenaUsed += (count + 63) & ~63
            touch(device: client.pointee.device)
        }
        if count > 0 { parseArena(client, place, base, count, devices) }
        flushUnlessStaged(client, devices)
    }

    /// Gives a bulk connection a roomy stash, with what is left of a header. If there is no memory
    /// for it, the connection goes on as others do.
    private mutating func beginBulk(_ client: Client) {
        guard let buffer = pool.take(SessionLimits.bulkBytes) else { return }
        let old = client.pointee.cutCount
        if old > 0 { withUnsafeBytes(of: client.pointee.cut) { copy(buffer.base, $0, old) } }
        client.pointee.cutCount = 0
        client.pointee.stash = Stash(
            buffer: buffer, start: 0, end: old, need: RequestHeader.byteCount)
    }

    /// Receives behind what is in a roomy stash, and parses what came whole.
    private mutating func receiveBulk(
        _ client: Client, _ devices: borrowing DeviceTable<Device>
    ) {
        guard let stash = client.pointee.stash, let place = devices.pointer(client.pointee.device)
        else { return hangUp(client, devices) }
        precondition(stash.isCut && stash.end < stash.buffer.capacity)
        let isFirst = stash.end < RequestHeader.byteCount
        let got = clinux_receive(
            client.pointee.fd, stash.buffer.base + stash.end, stash.buffer.capacity - stash.end)
        guard got > 0 else {
            receiveFailed(client, got, devices)
            if client.pointee.stash?.count == 0 { dropStash(client, stash) }
            return
        }
        client.pointee.stash?.end += got
        if isFirst && got < SessionLimits.bulkBytesMin { client.pointee.isBulk = false }
        client.pointee.stalledSince = got + stash.count < stash.need ? now : nil
        if client.pointee.stalledSince != nil { return }
        parseStash(client, place, devices)
        flushUnlessStaged(client, devices)
    }

    private func copy(
        _ target: UnsafeMutableRawPointer, _ source: UnsafeRawBufferPointer, _ count: Int
    ) {
        guard let base = source.baseAddress else { return }
        memcpy(target, base, count)
    }

    /// Receives the rest of a cut request into its stash, and what follows into the arena. Answers
    /// the bytes in the arena once the request is whole.
    private mutating func fill(
        _ client: Client, _ stash: Stash, _ base: UnsafeMutableRawPointer,
        _ devices: borrowing DeviceTable<Device>
    ) -> Int? {
        precondition(stash.isCut && stash.start + stash.need <= stash.buffer.capacity)
        let missing = stash.need - stash.count
        let got = clinux_receive_two(
            client.pointee.fd, stash.buffer.base + stash.end, missing, base,
            SessionLimits.receiveBytes)
        guard got > 0 else {
            receiveFailed(client, got, devices)
            return nil
        }
        client.pointee.stash?.end += min(got, missing)
        client.pointee.stalledSince = got < missing ? now : nil
        return got < missing ? nil : got - missing
    }

    private mutating func receiveFailed(
        _ client: Client, _ got: Int, _ devices: borrowing DeviceTable<Device>
    ) {
        if got != -Int(EAGAIN) { hangUp(client, devices) }
    }

    // MARK: Parsing

    private mutating func parseArena(
        _ client: Client, _ place: Place, _ base: UnsafeMutableRawPointer, _ count: Int,
        _ devices: borrowing DeviceTable<Device>
    ) {
        var taken = 0
        let end = parse(client, place, base, count, &taken, devices)
        let rest = base + taken
        let left = count - taken
        switch end {
        case .all, .closed: break
        case .cutHeader: keepHeader(client, rest, left)
        case .cut(let need):
            if !keep(client, rest, left, need: need) { hangUp(client, devices) }
        case .blocked:
            if !keep(client, rest, left, need: 0) { hangUp(client, devices) }
        }
    }

    /// Parses what is in the stash, as far as it goes.
    mutating func parseStash(
        _ client: Client, _ place: Place, _ devices: borrowing DeviceTable<Device>
    ) {
        guard let stash = client.pointee.stash else { return }
        touch(device: client.pointee.device)
        var taken = 0
        let end = parse(client, place, stash.base, stash.count, &taken, devices)
        // A parked write may have taken the buffer; a closed connection has given it back.
        guard client.pointee.stash != nil else {
            client.pointee.isPaused = false
            return
        }
        let rest = stash.base + taken
        let left = stash.count - taken
        switch end {
        case .all: dropStash(client, stash)
        case .closed: break
        case .cutHeader:
            keepHeader(client, rest, left)
            dropStash(client, stash)
        case .cut(let need):
            if stash.start + taken + need <= stash.buffer.capacity {
                client.pointee.stash?.start += taken
                client.pointee.stash?.need = need
                client.pointee.isPaused = false
                client.pointee.stalledSince = now
            } else if let larger = takeStash(client, need) {
                memcpy(larger.base, rest, left)
                dropStash(client, stash)
                client.pointee.stash = Stash(buffer: larger, start: 0, end: left, need: need)
                client.pointee.stalledSince = now
            } else {
                pause(client, taken)
            }
        case .blocked: pause(client, taken)
        }
    }

    private mutating func pause(_ client: Client, _ taken: Int) {
        client.pointee.stash?.start += taken
        client.pointee.stash?.need = 0
        client.pointee.isPaused = true
        attend(client)
    }

    private mutating func dropStash(_ client: Client, _ stash: Stash) {
        lent.append(stash.buffer)
        client.pointee.stash = nil
        client.pointee.isPaused = false
    }

    private mutating func keepHeader(
        _ client: Client, _ rest: UnsafeMutableRawPointer, _ left: Int
    ) {
        precondition(left > 0 && left < RequestHeader.byteCount)
        withUnsafeMutableBytes(of: &client.pointee.cut) { bytes in
            bytes.copyMemory(from: UnsafeRawBufferPointer(start: rest, count: left))
        }
        client.pointee.cutCount = left
        client.pointee.stalledSince = now
    }

    /// A buffer for a cut request of `need` bytes: a roomy one if it is large and memory allows it.
    private mutating func takeStash(_ client: Client, _ need: Int) -> PooledBuffer? {
        if need >= SessionLimits.bulkBytesMin && need <= SessionLimits.bulkBytes {
            client.pointee.isBulk = true
            if let roomy = pool.take(SessionLimits.bulkBytes) { return roomy }
        }
        return pool.take(need)
    }

    /// Keeps bytes that cannot be parsed now. Without a buffer for the whole request the connection
    /// is paused until there is one; false if there is none for the bytes themselves.
    mutating func keep(
        _ client: Client, _ rest: UnsafeRawPointer, _ left: Int, need: Int
    ) -> Bool {
        precondition(client.pointee.stash == nil && left > 0)
        var need = need
        var buffer = takeStash(client, max(left, need))
        if buffer == nil && need > left {
            need = 0
            buffer = pool.take(left)
        }
        guard let buffer else { return false }
        memcpy(buffer.base, rest, left)
        client.pointee.stash = Stash(buffer: buffer, start: 0, end: left, need: need)
        if need > left {
            client.pointee.stalledSince = now
        } else {
            client.pointee.isPaused = true
            attend(client)
        }
        return true
    }

    /// Adds bytes of the arena to a stash whose requests have to wait.
    private mutating func lengthenStash(
        _ client: Client, _ more: UnsafeMutableRawPointer, _ count: Int
    ) -> Bool {
        guard let stash = client.pointee.stash,
            let larger = pool.take(stash.count + count)
        else { return false }
        memcpy(larger.base, stash.base, stash.count)
        memcpy(larger.base + stash.count, more, count)
        lent.append(stash.buffer)
        client.pointee.stash = Stash(
            buffer: larger, start: 0, end: stash.count + count, need: 0)
        return true
    }

    private mutating func parse(
        _ client: Client, _ place: Place, _ base: UnsafeMutableRawPointer, _ count: Int,
        _ taken: inout Int, _ devices: borrowing DeviceTable<Device>
    ) -> ParseEnd {
        var at = skipRefused(client, count)
        while true {
            taken = at
            let left = count &- at
            guard left >= RequestHeader.byteCount else { return left == 0 ? .all : .cutHeader }
            guard let header = RequestHeader(base + at) else {
                hangUp(client, devices)
                return .closed
            }
            let payload = header.payloadBytes
            if payload > Limits.requestBytesMax {
                switch refuseLong(client, header, devices) {
                case .next: at += RequestHeader.byteCount
                case .blocked: return .blocked
                case .closed: return .closed
                }
                at += skipRefused(client, count - at)
                continue
            }
            if left &- RequestHeader.byteCount < payload {
                return .cut(need: RequestHeader.byteCount + payload)
            }
            let body = base + (at &+ RequestHeader.byteCount)
            switch perform(client, place, header, body, devices) {
            case .next: at &+= RequestHeader.byteCount &+ payload
            case .blocked: return .blocked
            case .closed: return .closed
            }
        }
    }

    /// Passes over the payload of a refused write. Answers the bytes passed over.
    private func skipRefused(_ client: Client, _ count: Int) -> Int {
        let skipped = min(client.pointee.skip, count)
        client.pointee.skip -= skipped
        return skipped
    }

    /// A WRITE over the limit: refused, and its payload passed over if that is bearable.
    private mutating func refuseLong(
        _ client: Client, _ header: RequestHeader, _ devices: borrowing DeviceTable<Device>
    ) -> Step {
        guard header.payloadBytes <= SessionLimits.drainedBytesMax else {
            hangUp(client, devices)
            return .closed
        }
        let step = refuse(client, header, .invalid, devices)
        if case .next = step { client.pointee.skip = header.payloadBytes }
        return step
    }
}
