// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Listening, and the handshake over real sockets.

import CLinux
import Glibc
import HostIO
import NBDProtocol
import NBDServer
import TestSupport
import Testing

@Suite("Negotiation") struct NegotiationTests {
    @Test("requests sent together with GO are served")
    func pipelined() throws {
        try withServer { server in
            let client = try RawClient(server)
            _ = try client.receive(18)
            let go =
                big(UInt32(3)) + big(NBDMagic.option) + big(UInt32(7)) + big(UInt32(10))
                + string("disk") + big(UInt16(0))
            try client.send(
                go + client.write(0, [1, 2, 3]) + Array(client.request(3)[..<20]))
            _ = try client.receive(20 + 12 + 20)
            #expect(try client.simple().error == 0)
        }
    }

    @Test("refusals are told and the client may ask again")
    func refusals() throws {
        try withServer { server in
            let client = try RawClient(server)
            _ = try client.receive(18)
            try client.send(big(UInt32(3)))
            for (name, code) in [("nope", 6), ("away", 7), ("fenced", 2)] as [(String, UInt32)] {
                let replies = try client.option(7, string(name) + big(UInt16(0)))
                #expect(replies.map(\.kind) == [0x8000_0000 + code])
            }
            #expect(try client.option(3, []).count == 2)
            #expect(try client.option(6, string("disk") + big(UInt16(0))).last?.kind == 1)
            #expect(try client.option(7, string("disk") + big(UInt16(0))).last?.kind == 1)
            #expect(try client.ask(client.request(3)) == 0)
        }
    }

    @Test("a client that says nothing is turned away, one that waits for the registry is not")
    func timeout() throws {
        var options = NegotiationOptions()
        options.handshakeSeconds = 1
        try withServer(negotiation: options) { server in
            let silent = try RawClient(server)
            let patient = try RawClient(server)
            _ = try patient.receive(18)
            try patient.send(
                big(UInt32(3)) + big(NBDMagic.option) + big(UInt32(7)) + big(UInt32(11))
                    + string("never") + big(UInt16(0)))
            _ = try silent.receive(18)
            #expect(silent.isClosed())
            var waiting = pollfd(fd: patient.fd, events: Int16(POLLIN), revents: 0)
            #expect(poll(&waiting, 1, 1500) == 0)
        }
    }

    @Test("beyond the bound of handshakes the one that dawdles longest gives way")
    func bound() throws {
        var options = NegotiationOptions()
        options.clientsMax = 3
        try withServer(negotiation: options) { server in
            let clients = try (0..<3).map { _ in try RawClient(server) }
            for client in clients { _ = try client.receive(18) }
            // Talking now and then does not help.
            try clients[0].send(big(UInt32(3)))
            usleep(50_000)
            let next = try RawClient(server)
            try next.open("disk")
            #expect(clients[0].isClosed())
            try clients[1].send(big(UInt32(3)))
            #expect(clients[1].isQuiet(milliseconds: 200))
        }
    }

    @Test("a client that waits for an export's claim never gives way")
    func claimsStay() throws {
        var options = NegotiationOptions()
        options.clientsMax = 1
        try withServer(negotiation: options) { server in
            let patient = try RawClient(server)
            _ = try patient.receive(18)
            try patient.send(
                big(UInt32(3)) + big(NBDMagic.option) + big(UInt32(7)) + big(UInt32(11))
                    + string("never") + big(UInt16(0)))
            usleep(50_000)
            #expect(try RawClient(server).isClosed())
            #expect(patient.isQuiet(milliseconds: 200))
        }
    }

    @Test("a socket left by a dead server is replaced, and removed at the end")
    func stale() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/nbd.sock"
        let dead = clinux_listen_unix(path, 0o600)
        #expect(dead >= 0)
        close(dead)
        #expect(access(path, F_OK) == 0)
        let loop = try listen(path)
        var status = stat()
        #expect(lstat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o660)
        loop.stop()
        #expect(access(path, F_OK) != 0)
    }

    @Test("a served socket and a file are never replaced")
    func careful() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/nbd.sock"
        let loop = try listen(path)
        #expect(throws: NBDServerError.inUse(.unix(path: path))) { try listen(path) }
        loop.stop()
        let file = scratch.path + "/file"
        close(creat(file, 0o600))
        #expect(throws: NBDServerError.notASocket(path: file)) { try listen(file) }
        #expect(access(file, F_OK) == 0)
        let missing = scratch.path + "/missing/nbd.sock"
        #expect(throws: NBDServerError.cannotListen(.unix(path: missing), code: ENOENT)) {
            try listen(missing)
        }
    }

    private func listen(_ path: String) throws -> NegotiationLoop {
        try NegotiationLoop(
            addresses: [.unix(path: path)], resolver: DiskResolver(disks: [], placements: []),
            clock: SystemClock()
        ) { _ in }
    }
}
