// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A plain NBD client over a unix socket: one export, simple replies, one request at a time unless a
// test sends and receives by itself.

import CLinux
import Glibc

/// The server answered with an error of the protocol.
struct Refused: Error, Equatable {
    let code: UInt32
    /// What the server says of it: at negotiation only.
    var why = ""

    static let notPermitted = Refused(code: 1)
    static let failed = Refused(code: 5)
    static let noSpace = Refused(code: 28)
}

/// The connection ended, or nothing came in time.
struct Silence: Error, Equatable {
    let isClosed: Bool
}

/// Confined: to the test that made it, or to the one thread that the test hands it to.
final class DiskClient: @unchecked Sendable {
    let fd: Int32
    private(set) var size: UInt64 = 0
    private(set) var flags: UInt16 = 0
    private var cookie: UInt64 = 0

    var isReadOnly: Bool { flags & 2 != 0 }

    /// Attaches to an export, as `GO` does.
    init(_ path: String, _ name: String, seconds: Int = 20) throws {
        fd = clinux_connect_unix(path)
        guard fd >= 0 else { throw Silence(isClosed: true) }
        wait(seconds: seconds)
        _ = try receive(18)
        try send(big(UInt32(3)))
        let text = Array(name.utf8)
        let body = big(UInt32(text.count)) + text + big(UInt16(0))
        try send(big(UInt64(0x4948_4156_454F_5054)) + big(UInt32(7)) + big(UInt32(body.count)))
        try send(body)
        while true {
            let head = try receive(20)
            let kind: UInt32 = number(head, 12)
            let data = try receive(Int(number(head, 16) as UInt32))
            if kind == 1 { break }
            guard kind == 3 else {
                throw Refused(code: kind, why: String(decoding: data, as: UTF8.self))
            }
            if number(data, 0) as UInt16 == 0 {
                size = number(data, 2)
                flags = number(data, 10)
            }
        }
    }

    deinit { close(fd) }

    /// How long a reply may take from now on.
    func wait(seconds: Int, milliseconds: Int = 0) {
        var timeout = timeval(tv_sec: seconds, tv_usec: milliseconds * 1000)
        setsockopt(
            fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    }

    // MARK: Requests

    func write(_ offset: UInt64, _ bytes: [UInt8], fua: Bool = false) throws {
        try submit(1, fua ? 1 : 0, offset, UInt32(bytes.count), bytes)
        try reply()
    }

    func read(_ offset: UInt64, _ count: Int) throws -> [UInt8] {
        try submit(0, 0, offset, UInt32(count))
        try reply()
        return try receive(count)
    }

    func flush() throws {
        try submit(3, 0, 0, 0)
        try reply()
    }

    func trim(_ offset: UInt64, _ count: UInt32) throws {
        try submit(4, 0, offset, count)
        try reply()
    }

    /// Sends a request and leaves its reply to `reply`.
    func submit(
        _ command: UInt16, _ flags: UInt16, _ offset: UInt64, _ count: UInt32,
        _ payload: [UInt8] = []
    ) throws {
        cookie += 1
        try send(
            big(UInt32(0x2560_9513)) + big(flags) + big(command) + big(cookie) + big(offset)
                + big(count) + payload)
    }

    /// The reply to the oldest request that has none; throws its error.
    func reply() throws {
        let bytes = try receive(16)
        let code: UInt32 = number(bytes, 4)
        guard code == 0 else { throw Refused(code: code) }
    }

    /// True if no reply comes for a while.
    func isKeptWaiting(milliseconds: Int) -> Bool {
        wait(seconds: 0, milliseconds: milliseconds)
        defer { wait(seconds: 20) }
        do { try reply() } catch { return error as? Silence == Silence(isClosed: false) }
        return false
    }

    // MARK: Bytes

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(
                    fd, $0.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Silence(isClosed: true) }
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
            guard more > 0 else { throw Silence(isClosed: more == 0 || errno == ECONNRESET) }
            got += more
        }
        return bytes
    }
}

private func big(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

private func number<Value: FixedWidthInteger>(_ bytes: [UInt8], _ place: Int) -> Value {
    bytes[place..<place + MemoryLayout<Value>.size].reduce(0) { $0 << 8 | Value($1) }
}

/// Bytes that do not compress, and differ for every seed.
func noise(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    while bytes.count < count {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        withUnsafeBytes(of: state) { bytes.append(contentsOf: $0) }
    }
    bytes.removeLast(bytes.count - count)
    return bytes
}
