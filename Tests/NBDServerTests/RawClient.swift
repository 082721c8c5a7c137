// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A client that can misbehave: it sends what it is told and reads what it is asked to.

import CLinux
import Glibc
import NBDProtocol
import Testing

struct ClientGone: Error {}

/// A blocking connection. Closes with the last reference.
final class RawClient {
    private(set) var fd: Int32
    private(set) var structured = false
    private var cookie: UInt64 = 0

    init(_ server: TestServer, tcp: Bool = false) throws {
        fd =
            tcp
            ? clinux_connect_tcp("127.0.0.1", server.tcpPort)
            : clinux_connect_unix(server.socketPath)
        guard fd >= 0 else { throw ClientGone() }
        var timeout = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(
            fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { hangUp() }

    func hangUp() {
        if fd >= 0 { close(fd) }
        fd = -1
    }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(
                    fd, $0.baseAddress.map { $0 + sent }, bytes.count - sent,
                    Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw ClientGone() }
            sent += count
        }
    }

    func receive(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var got = 0
        while got < count {
            let more = bytes.withUnsafeMutableBytes {
                recv(fd, $0.baseAddress.map { $0 + got }, count - got, 0)
            }
            guard more > 0 else { throw ClientGone() }
            got += more
        }
        return bytes
    }

    /// The server has closed the connection: nothing but its end comes.
    func isClosed() -> Bool {
        var byte: UInt8 = 0
        let got = recv(fd, &byte, 1, 0)
        return got == 0 || got < 0 && errno == ECONNRESET
    }

    /// Nothing comes from the server in that time, not even the end.
    func isQuiet(milliseconds: Int32) -> Bool {
        var waiting = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        return poll(&waiting, 1, milliseconds) == 0
    }

    // MARK: Handshake

    /// Chooses an export by GO.
    func open(_ name: String, structured: Bool = false, context: Bool = false) throws {
        _ = try receive(18)
        try send(big(UInt32(3)))
        if structured || context {
            #expect(try option(8, []).last?.kind == 1)
            self.structured = true
        }
        if context {
            let query = string("base:allocation")
            #expect(try option(10, string(name) + big(UInt32(1)) + query).last?.kind == 1)
        }
        guard try option(7, string(name) + big(UInt16(0))).last?.kind == 1 else {
            throw ClientGone()
        }
    }

    /// Sends an option and reads its replies up to the last.
    func option(_ number: UInt32, _ data: [UInt8]) throws -> [(kind: UInt32, data: [UInt8])] {
        try send(big(NBDMagic.option) + big(number) + big(UInt32(data.count)) + data)
        var replies: [(kind: UInt32, data: [UInt8])] = []
        while true {
            let head = try receive(20)
            let kind = number32(head, 12)
            replies.append((kind, try receive(Int(number32(head, 16)))))
            if kind == 1 || kind >> 31 == 1 { return replies }
        }
    }

    // MARK: Transmission

    /// The bytes of a request; the cookie is the number of the request, from 1.
    func request(
        _ command: UInt16, flags: UInt16 = 0, offset: UInt64 = 0, length: UInt32 = 0,
        payload: [UInt8] = []
    ) -> [UInt8] {
        cookie += 1
        return big(NBDMagic.request) + big(flags) + big(command) + big(cookie) + big(offset)
            + big(length) + payload
    }

    func write(_ offset: Int, _ payload: [UInt8], flags: UInt16 = 0) -> [UInt8] {
        request(
            1, flags: flags, offset: UInt64(offset), length: UInt32(payload.count),
            payload: payload)
    }

    func read(_ offset: Int, _ count: Int, flags: UInt16 = 0) -> [UInt8] {
        request(0, flags: flags, offset: UInt64(offset), length: UInt32(count))
    }

    /// Reads one simple reply: error and cookie.
    func simple() throws -> (error: UInt32, cookie: UInt64) {
        let bytes = try receive(16)
        guard number32(bytes, 0) == NBDMagic.simpleReply else { throw ClientGone() }
        return (number32(bytes, 4), number64(bytes, 8))
    }

    /// Reads one chunk.
    func chunk() throws -> (flags: UInt16, kind: UInt16, cookie: UInt64, data: [UInt8]) {
        let bytes = try receive(20)
        guard number32(bytes, 0) == NBDMagic.structuredReply else { throw ClientGone() }
        let kind = number32(bytes, 4)
        return (
            UInt16(kind >> 16), UInt16(truncatingIfNeeded: kind), number64(bytes, 8),
            try receive(Int(number32(bytes, 16)))
        )
    }

    /// Sends one request without data in its reply and answers its error.
    func ask(_ bytes: [UInt8]) throws -> UInt32 {
        try send(bytes)
        return try simple().error
    }

    /// Reads a range through simple replies.
    func contents(_ offset: Int, _ count: Int) throws -> [UInt8] {
        try send(read(offset, count))
        guard try simple().error == 0 else { throw ClientGone() }
        return try receive(count)
    }
}

func big(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

func string(_ text: String) -> [UInt8] { big(UInt32(text.utf8.count)) + Array(text.utf8) }

func number32(_ bytes: [UInt8], _ place: Int) -> UInt32 {
    bytes[place..<place + 4].reduce(0) { $0 << 8 | UInt32($1) }
}

func number64(_ bytes: [UInt8], _ place: Int) -> UInt64 {
    bytes[place..<place + 8].reduce(0) { $0 << 8 | UInt64($1) }
}

/// Bytes that differ from those of every other seed, and from their neighbours: a page of noise in
/// which every copy starts with its own number.
func pattern(_ count: Int, seed: Int) -> [UInt8] {
    var state = UInt64(truncatingIfNeeded: seed &* 0x9E37_79B9 &+ 12345)
    let page = (0..<1021).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 56)
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 1024)
    var number: UInt16 = 0
    while bytes.count < count {
        bytes.append(UInt8(truncatingIfNeeded: number))
        bytes.append(UInt8(truncatingIfNeeded: number >> 8))
        bytes.append(contentsOf: page)
        number &+= 1
    }
    bytes.removeLast(bytes.count - count)
    return bytes
}
