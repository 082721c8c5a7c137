// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Requests and replies of the transmission phase, against bytes written by hand.

import BlockDevice
import Primitives
import Testing

@testable import NBDProtocol

/// What a writer puts down; also that it writes no more than it says.
func written(_ body: (UnsafeMutableRawPointer) -> Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: 256)
    let count = bytes.withUnsafeMutableBytes { buffer -> Int in
        guard let base = buffer.baseAddress else { return 0 }
        return body(base)
    }
    #expect(bytes[count...].allSatisfy { $0 == 0xEE })
    return Array(bytes[..<count])
}

@Suite("Requests") struct RequestTests {
    @Test("a header survives encoding and parsing at any alignment")
    func roundTrip() throws {
        let header = RequestHeader(
            .writeZeroes, flags: [.fua, .noHole], cookie: 0x0102_0304_0506_0708,
            offset: 0x1122_3344_5566_7788, length: 0xDEAD_BEEF)
        var bytes = [UInt8](repeating: 0, count: 40)
        for shift in 0..<8 {
            try bytes.withUnsafeMutableBytes { buffer in
                let base = try #require(buffer.baseAddress) + shift
                header.encode(into: base)
                let parsed = try #require(RequestHeader(base))
                #expect(parsed.command == .writeZeroes)
                #expect(parsed.flags == [.fua, .noHole])
                #expect(parsed.cookie == header.cookie)
                #expect(parsed.offset == header.offset)
                #expect(parsed.length == header.length)
                #expect(parsed.payloadBytes == 0)
            }
        }
    }

    @Test("a wrong magic is no request")
    func magic() {
        let bytes = [UInt8](repeating: 0, count: 28)
        let parsed = bytes.withUnsafeBytes { $0.baseAddress.flatMap { RequestHeader($0) } }
        #expect(parsed == nil)
    }

    @Test("only a WRITE is followed by data, whatever its flags")
    func payload() {
        for raw: UInt16 in 0...20 {
            var header = RequestHeader(.read, cookie: 0, length: 7)
            header.rawCommand = raw
            #expect(header.payloadBytes == (raw == 1 ? 7 : 0))
            #expect((header.command == nil) == (raw > 7))
        }
    }

    @Test("flags are legal where the protocol says so")
    func flags() {
        #expect(CommandFlags.allowed(on: .read, structured: false) == .fua)
        #expect(CommandFlags.allowed(on: .read, structured: true) == [.fua, .dontFragment])
        #expect(CommandFlags.allowed(on: .write, structured: true) == .fua)
        #expect(
            CommandFlags.allowed(on: .writeZeroes, structured: true)
                == [.fua, .noHole, .fastZero])
        #expect(CommandFlags.allowed(on: .blockStatus, structured: true) == [.fua, .requestOne])
    }
}

@Suite("Replies") struct ReplyTests {
    let cookie: UInt64 = 0x0102_0304_0506_0708
    let cookieBytes: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
    let magic: [UInt8] = [0x66, 0x8E, 0x33, 0xEF]

    @Test("the simple reply carries the error and the cookie")
    func simple() {
        #expect(
            written { Reply.simple(into: $0, cookie: cookie, error: 28) }
                == [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 28] + cookieBytes)
    }

    @Test("chunks are last ones, with their content's length")
    func chunks() {
        #expect(
            written { Reply.none(into: $0, cookie: cookie) }
                == magic + [0, 1, 0, 0] + cookieBytes + [0, 0, 0, 0])
        #expect(
            written { Reply.data(into: $0, cookie: cookie, offset: 0x1000, count: 4096) }
                == magic + [0, 1, 0, 1] + cookieBytes + [0, 0, 0x10, 8]
                + [0, 0, 0, 0, 0, 0, 0x10, 0])
        #expect(
            written { Reply.hole(into: $0, cookie: cookie, offset: 1, count: 512) }
                == magic + [0, 1, 0, 2] + cookieBytes + [0, 0, 0, 12]
                + [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 0])
        #expect(
            written { Reply.error(into: $0, cookie: cookie, .io) }
                == magic + [0, 1, 0x80, 1] + cookieBytes + [0, 0, 0, 6, 0, 0, 0, 5, 0, 0])
        let offset: UInt64 = 9
        #expect(
            written { Reply.error(into: $0, cookie: cookie, .invalid, at: offset) }
                == magic + [0, 1, 0x80, 2] + cookieBytes
                + [0, 0, 0, 14, 0, 0, 0, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9])
    }

    @Test("block status tells holes as holes that read as zeros")
    func status() {
        let extents = [
            Extent(length: ByteCount(4096), kind: .data),
            Extent(length: ByteCount(8192), kind: .hole),
        ]
        #expect(
            written { Reply.blockStatus(into: $0, cookie: cookie, extents: extents) }
                == magic + [0, 1, 0, 5] + cookieBytes + [0, 0, 0, 20, 0, 0, 0, 1]
                + [0, 0, 0x10, 0, 0, 0, 0, 0] + [0, 0, 0x20, 0, 0, 0, 0, 3])
    }

    @Test("a bitmap tells runs of what changed and what did not, a chunk for each context")
    func changes() {
        let map = ChangeMap(size: ByteCount(32_768), ranges: [4096..<8192, 16_384..<20_480])
        #expect(
            written {
                Reply.changes(
                    into: $0, cookie: cookie, map, index: 1, offset: 6144, count: 12_288,
                    limit: 10, isLast: false)
            } == magic + [0, 0, 0, 5] + cookieBytes + [0, 0, 0, 28, 0, 0, 0, 3]
                + [0, 0, 0x08, 0, 0, 0, 0, 1] + [0, 0, 0x20, 0, 0, 0, 0, 0]
                + [0, 0, 0x08, 0, 0, 0, 0, 1])
    }

    @Test("runs of a change map cover what was asked, or its beginning", arguments: 0..<200)
    func runs(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let size = 1 + random.next(below: 200)
        var changed = (0..<size).map { _ in random.next(below: 3) == 0 }
        if seed % 5 == 0 { changed = changed.map { _ in seed % 2 == 0 } }
        var ranges: [Range<UInt64>] = []
        for (place, isChanged) in changed.enumerated() where isChanged {
            let place = UInt64(place)
            if let last = ranges.last, last.upperBound == place {
                ranges[ranges.count - 1] = last.lowerBound..<(place + 1)
            } else {
                ranges.append(place..<(place + 1))
            }
        }
        let map = ChangeMap(size: ByteCount(size), ranges: ranges)
        for _ in 0..<20 {
            let offset = random.next(below: size)
            let count = 1 + random.next(below: size - offset)
            let limit = 1 + Int(random.next(below: 6))
            var told: [Bool] = []
            var runs = 0
            map.forEachRun(at: offset, count: count, limit: limit) { length, isChanged in
                #expect(length > 0 && told.last != isChanged)
                told += [Bool](repeating: isChanged, count: Int(length))
                runs += 1
            }
            #expect(runs <= limit && (runs == limit || told.count == Int(count)))
            #expect(told == Array(changed[Int(offset)...].prefix(told.count)))
        }
    }

    @Test("a range beyond the end is no space for what stores there, else an invalid argument")
    func errors() {
        #expect(NBDError(.outOfRange, command: .write) == .noSpace)
        #expect(NBDError(.outOfRange, command: .writeZeroes) == .noSpace)
        for command: NBDCommand in [.read, .trim, .cache, .blockStatus, .flush] {
            #expect(NBDError(.outOfRange, command: command) == .invalid)
        }
        #expect(NBDError(.readOnly, command: .write) == .notPermitted)
        #expect(NBDError(.shuttingDown, command: .read) == .shuttingDown)
    }
}
