// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The handshake as clients see it, byte by byte.

import BlockDevice
import Primitives
import Testing

@testable import NBDProtocol

/// Builds what a client sends and splits what it gets.
struct Client {
    var haggling = Haggling()
    var greeting: [UInt8] = []

    init(flags: UInt32 = 3) {
        greeting = haggling.takeOutput()
        send(big(flags))
    }

    mutating func send(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { haggling.receive($0) }
    }

    mutating func option(_ number: UInt32, _ data: [UInt8] = []) -> HaggleAction {
        send(big(NBDMagic.option) + big(number) + big(UInt32(data.count)) + data)
        return haggling.next()
    }

    /// The replies written since the last call: kind and data.
    mutating func replies() -> [(kind: UInt32, data: [UInt8])] {
        var bytes = haggling.takeOutput()
        var found: [(kind: UInt32, data: [UInt8])] = []
        while bytes.count >= 20 {
            #expect(UInt64(big: bytes, at: 0) == NBDMagic.optionReply)
            let count = Int(UInt32(big: bytes, at: 16))
            found.append((UInt32(big: bytes, at: 12), Array(bytes[20..<20 + count])))
            bytes.removeFirst(20 + count)
        }
        #expect(bytes.isEmpty)
        return found
    }

    mutating func kinds() -> [UInt32] { replies().map(\.kind) }
}

func big(_ value: some FixedWidthInteger) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(big: value)
    return bytes
}

func string(_ text: String) -> [UInt8] { big(UInt32(text.utf8.count)) + Array(text.utf8) }

let offer = ExportOffer(
    name: "disk", description: "a disk",
    geometry: DeviceGeometry(size: ByteCount(1 << 30), blockBytes: 131_072, isReadOnly: false))

let ack: UInt32 = 1
let unsupported: UInt32 = 0x8000_0001
let policy: UInt32 = 0x8000_0002
let invalid: UInt32 = 0x8000_0003
let unknown: UInt32 = 0x8000_0006
let shutdown: UInt32 = 0x8000_0007
let tooBig: UInt32 = 0x8000_0009

@Suite("The handshake") struct HaggleTests {
    @Test("the greeting is fixed newstyle with NO_ZEROES")
    func greeting() {
        let client = Client()
        #expect(client.greeting == big(NBDMagic.hello) + big(NBDMagic.option) + big(UInt16(3)))
    }

    @Test("unknown client flags cost the connection")
    func flags() {
        var client = Client(flags: 7)
        #expect(client.haggling.next() == .drop)
    }

    @Test("GO tells the export, the informations asked for, and begins")
    func go() {
        var client = Client()
        let wanted: [UInt16] = [1, 2, 3, 99, 3]
        let data = string("disk") + big(UInt16(wanted.count)) + wanted.flatMap { big($0) }
        #expect(client.option(7, data) == .resolve(name: "disk", for: .attach(bitmaps: [])))
        #expect(!client.haggling.wantsInput)
        client.haggling.answer(.found(offer))
        #expect(
            client.haggling.next()
                == .begin(Agreement(name: "disk", structured: false, allocationContext: false)))
        let replies = client.replies()
        #expect(replies.map(\.kind) == [3, 3, 3, 3, ack])
        #expect(
            replies[0].data == big(UInt16(0)) + big(UInt64(1 << 30)) + big(UInt16(0x0D6D)))
        #expect(replies[1].data == big(UInt16(1)) + Array("disk".utf8))
        #expect(replies[2].data == big(UInt16(2)) + Array("a disk".utf8))
        #expect(
            replies[3].data
                == big(UInt16(3)) + big(UInt32(1)) + big(UInt32(4096)) + big(UInt32(32 << 20)))
    }

    @Test("what follows GO at once belongs to the transmission phase")
    func leftover() {
        var client = Client()
        client.send(
            big(NBDMagic.option) + big(UInt32(7)) + big(UInt32(10)) + string("disk")
                + big(UInt16(0)) + [9, 9, 9])
        _ = client.haggling.next()
        client.haggling.answer(.found(offer))
        _ = client.haggling.next()
        #expect(client.haggling.takeLeftover() == [9, 9, 9])
    }

    @Test("INFO answers as GO and the client may go on")
    func info() {
        var client = Client()
        #expect(
            client.option(6, string("disk") + big(UInt16(0)))
                == .resolve(name: "disk", for: .describe))
        client.haggling.answer(.found(offer))
        #expect(client.haggling.next() == .wait)
        #expect(client.kinds() == [3, ack])
        #expect(client.option(2) == .close)
        #expect(client.kinds() == [ack])
    }

    @Test("each refusal of the registry has its own code and keeps the connection")
    func refusals() {
        let cases: [(ExportVerdict, UInt32)] = [
            (.notFound, unknown), (.refused("fenced"), policy), (.notNow("away"), shutdown),
        ]
        for (verdict, code) in cases {
            var client = Client()
            _ = client.option(7, string("disk") + big(UInt16(0)))
            client.haggling.answer(verdict)
            #expect(client.haggling.next() == .wait)
            #expect(client.kinds() == [code])
        }
    }

    @Test("EXPORT_NAME begins at once, with or without the 124 zeros")
    func exportName() {
        for (flags, count) in [(UInt32(3), 10), (1, 134)] {
            var client = Client(flags: flags)
            #expect(
                client.option(1, Array("disk".utf8))
                    == .resolve(name: "disk", for: .attach(bitmaps: [])))
            client.haggling.answer(.found(offer))
            #expect(
                client.haggling.next()
                    == .begin(
                        Agreement(name: "disk", structured: false, allocationContext: false)))
            #expect(client.haggling.takeOutput().count == count)
        }
    }

    @Test("EXPORT_NAME of an unknown export hangs up")
    func exportNameUnknown() {
        var client = Client()
        _ = client.option(1, Array("disk".utf8))
        client.haggling.answer(.notFound)
        #expect(client.haggling.next() == .drop)
    }

    @Test("LIST names every export and refuses data")
    func list() {
        var client = Client()
        #expect(client.option(3, [1]) == .wait)
        #expect(client.kinds() == [invalid])
        #expect(client.option(3) == .list)
        client.haggling.answer(list: [("a", "x"), ("b", "")])
        #expect(client.haggling.next() == .wait)
        let replies = client.replies()
        #expect(replies.map(\.kind) == [2, 2, ack])
        #expect(replies[0].data == string("a") + Array("x".utf8))
    }

    @Test("options that Martlet does not speak are refused as unsupported")
    func refusedOptions() {
        var client = Client()
        for number: UInt32 in [4, 5, 11, 12, 4711] {
            #expect(client.option(number, [1, 2, 3]) == .wait)
            #expect(client.kinds() == [unsupported])
        }
    }

    @Test("DF is announced once structured replies were negotiated")
    func structured() {
        var client = Client()
        #expect(client.option(8) == .wait)
        #expect(client.kinds() == [ack])
        _ = client.option(7, string("disk") + big(UInt16(0)))
        client.haggling.answer(.found(offer))
        #expect(
            client.haggling.next()
                == .begin(Agreement(name: "disk", structured: true, allocationContext: false)))
        #expect(client.replies()[0].data.suffix(2) == [0x0D, 0xED])
    }

    @Test("a read-only export offers nothing that writes")
    func readOnly() {
        let geometry = DeviceGeometry(
            size: ByteCount(512), blockBytes: 4096, isReadOnly: true)
        let flags = TransmissionFlags(geometry: geometry, structured: false)
        #expect(flags == [.hasFlags, .readOnly, .flush, .multiConn, .cache])
    }
}

@Suite("Metadata contexts") struct MetaContextTests {
    func client() -> Client {
        var client = Client()
        _ = client.option(8)
        _ = client.replies()
        return client
    }

    func queries(_ name: String, _ queries: [String]) -> [UInt8] {
        string(name) + big(UInt32(queries.count)) + queries.flatMap { string($0) }
    }

    @Test(
        "LIST answers the wildcard and the empty query, SET only the full name",
        arguments: [
            (UInt32(9), [], true), (9, ["base:"], true), (9, ["base:allocation"], true),
            (9, ["qemu:"], false), (10, [], false), (10, ["base:"], false),
            (10, ["qemu:x", "base:allocation"], true), (10, ["base:allocation2"], false),
        ] as [(UInt32, [String], Bool)])
    func query(option: UInt32, names: [String], found: Bool) {
        var client = client()
        #expect(
            client.option(option, queries("disk", names))
                == .resolve(name: "disk", for: .contexts))
        client.haggling.answer(.found(offer))
        _ = client.haggling.next()
        #expect(client.kinds() == (found ? [4, ack] : [ack]))
    }

    @Test("bitmaps are those that the registry has: all for a wildcard of LIST, named ones for SET")
    func bitmaps() {
        var offer = offer
        offer.bitmaps = ["5", "41"]
        let cases: [(UInt32, [String], [String])] = [
            (9, [], ["base:allocation", "qemu:dirty-bitmap:5", "qemu:dirty-bitmap:41"]),
            (9, ["qemu:"], ["qemu:dirty-bitmap:5", "qemu:dirty-bitmap:41"]),
            (9, ["qemu:dirty-bitmap:"], ["qemu:dirty-bitmap:5", "qemu:dirty-bitmap:41"]),
            (10, ["qemu:"], []), (10, ["qemu:dirty-bitmap:"], []),
            (10, ["qemu:dirty-bitmap:7"], []),
            (10, ["qemu:dirty-bitmap:41", "qemu:dirty-bitmap:41"], ["qemu:dirty-bitmap:41"]),
        ]
        for (option, names, expected) in cases {
            var client = client()
            _ = client.option(option, queries("disk", names))
            client.haggling.answer(.found(offer))
            _ = client.haggling.next()
            let output = String(decoding: client.haggling.takeOutput(), as: UTF8.self)
            for name in ["base:allocation", "qemu:dirty-bitmap:5", "qemu:dirty-bitmap:41"] {
                #expect(output.contains(name) == expected.contains(name), "\(option) \(names)")
            }
        }
    }

    @Test("chosen bitmaps are asked for with the export, and it is refused without their changes")
    func bitmapsAttach() {
        for hasChanges in [true, false] {
            var client = client()
            var offer = offer
            offer.bitmaps = ["5", "41"]
            _ = client.option(
                10, queries("disk", ["qemu:dirty-bitmap:41", "qemu:dirty-bitmap:5"]))
            client.haggling.answer(.found(offer))
            _ = client.haggling.next()
            #expect(
                client.option(7, string("disk") + big(UInt16(0)))
                    == .resolve(name: "disk", for: .attach(bitmaps: ["41", "5"])))
            let map = ChangeMap(size: offer.geometry.size, ranges: [0..<4096])
            if hasChanges { offer.changes = [map, map] }
            client.haggling.answer(.found(offer))
            let begun = HaggleAction.begin(
                Agreement(
                    name: "disk", structured: true, allocationContext: false,
                    bitmaps: ["41", "5"]))
            #expect((client.haggling.next() == begun) == hasChanges)
        }
    }

    @Test("a context counts for the export it was chosen for, until the next SET")
    func bound() {
        let cases: [([(String, [String])], Bool)] = [
            ([("disk", ["base:allocation"])], true), ([("other", ["base:allocation"])], false),
            ([("disk", ["base:allocation"]), ("disk", [])], false), ([], false),
        ]
        for (choices, expected) in cases {
            var client = client()
            for (name, names) in choices {
                _ = client.option(10, queries(name, names))
                client.haggling.answer(.found(offer))
                _ = client.haggling.next()
            }
            _ = client.option(7, string("disk") + big(UInt16(0)))
            client.haggling.answer(.found(offer))
            #expect(
                client.haggling.next()
                    == .begin(
                        Agreement(
                            name: "disk", structured: true, allocationContext: expected)))
        }
    }

    @Test("contexts need structured replies first")
    func order() {
        var client = Client()
        #expect(client.option(10, queries("disk", ["base:allocation"])) == .wait)
        #expect(client.kinds() == [invalid])
    }

    @Test("an unknown export has no contexts")
    func unknownExport() {
        var client = client()
        _ = client.option(9, queries("nope", []))
        client.haggling.answer(.notFound)
        _ = client.haggling.next()
        #expect(client.kinds() == [unknown])
    }
}

@Suite("A hostile client") struct HostileHandshakeTests {
    @Test("a wrong option magic costs the connection")
    func magic() {
        var client = Client()
        client.send(Array(repeating: 0x41, count: 16))
        #expect(client.haggling.next() == .drop)
    }

    @Test("a flood of options costs the connection")
    func flood() {
        var client = Client()
        for _ in 0..<Haggling.optionsMax { #expect(client.option(5) == .wait) }
        #expect(client.option(5) == .drop)
    }

    @Test("an option that is too long is skipped and refused, a huge one costs the connection")
    func tooLong() {
        var client = Client()
        let data = [UInt8](repeating: 1, count: Haggling.optionBytesMax + 1)
        #expect(client.option(6, data) == .wait)
        #expect(client.kinds() == [tooBig])
        #expect(client.option(8) == .wait)
        #expect(client.kinds() == [ack])
        client.send(big(NBDMagic.option) + big(UInt32(6)) + big(UInt32(1 << 30)))
        #expect(client.haggling.next() == .drop)
    }

    @Test("lengths inside an option that do not fit it are refused")
    func innerLengths() {
        let bad: [(UInt32, [UInt8])] = [
            (7, []), (7, big(UInt32(5)) + [1]), (7, string("disk")),
            (7, string("disk") + big(UInt16(2)) + big(UInt16(1))),
            (7, string("disk") + big(UInt16(0)) + [1]),
            (7, big(UInt32(4)) + [0xFF, 0xFE, 0, 1] + big(UInt16(0))),
            (7, string(String(repeating: "x", count: 4097)) + big(UInt16(0))),
            (10, string("disk") + big(UInt32.max)), (10, string("disk") + big(UInt32(0)) + [1]),
            (10, string("disk") + big(UInt32(1)) + big(UInt32(9)) + [1]),
        ]
        for (option, data) in bad {
            var client = Client()
            _ = client.option(8)
            _ = client.replies()
            #expect(client.option(option, data) == .wait)
            #expect(client.kinds() == [invalid])
        }
    }

    @Test("a client without fixed newstyle may only name an export")
    func oldClient() {
        var client = Client(flags: 0)
        #expect(client.option(3) == .drop)
    }

    @Test("any cut of the stream gives the same replies")
    func cuts() {
        let stream =
            big(UInt32(3)) + big(NBDMagic.option) + big(UInt32(8)) + big(UInt32(0))
            + big(NBDMagic.option) + big(UInt32(5)) + big(UInt32(3)) + [1, 2, 3]
            + big(NBDMagic.option) + big(UInt32(2)) + big(UInt32(0))
        var outputs: Set<[UInt8]> = []
        for size in 1...stream.count {
            var haggling = Haggling()
            var action = HaggleAction.wait
            for start in stride(from: 0, to: stream.count, by: size) {
                let piece = Array(stream[start..<min(start + size, stream.count)])
                piece.withUnsafeBytes { haggling.receive($0) }
                action = haggling.next()
            }
            #expect(action == .close)
            outputs.insert(haggling.takeOutput())
        }
        #expect(outputs.count == 1)
    }
}
