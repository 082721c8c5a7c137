// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The sockets that clients come to. A unix socket left behind by a dead server is replaced; one
// that somebody serves, or a file that is no socket, is never touched.

import CLinux
import Glibc

/// A place to listen at.
public enum ListenAddress: Sendable, Equatable, CustomStringConvertible {
    case unix(path: String)
    /// Port 0 takes a free one.
    case tcp(host: String, port: UInt16)

    public var description: String {
        switch self {
        case .unix(let path): "unix:\(path)"
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
    }
}

/// Why the server cannot listen.
public enum NBDServerError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Another process serves the socket.
    case inUse(ListenAddress)
    /// The path names something that is no socket.
    case notASocket(path: String)
    /// The kernel said no, with its errno.
    case cannotListen(ListenAddress, code: Int32)

    public var description: String {
        switch self {
        case .inUse(let address): "\(address) is served by another process"
        case .notASocket(let path): "\(path) exists and is not a socket"
        case .cannotListen(let address, let code):
            "cannot listen on \(address): \(String(cString: strerror(code)))"
        }
    }
}

/// One listening socket.
struct Listener: Sendable {
    /// Owner and group may connect.
    static let socketMode: UInt32 = 0o660

    let descriptor: Int32
    let address: ListenAddress

    init(_ address: ListenAddress) throws(NBDServerError) {
        switch address {
        case .unix(let path):
            try Listener.removeStale(path)
            descriptor = clinux_listen_unix(path, Listener.socketMode)
            self.address = address
        case .tcp(let host, let port):
            var bound: UInt16 = 0
            descriptor = clinux_listen_tcp(host, port, &bound)
            self.address = .tcp(host: host, port: bound)
        }
        guard descriptor >= 0 else {
            if descriptor == -EADDRINUSE { throw .inUse(address) }
            throw .cannotListen(address, code: -descriptor)
        }
    }

    private static func removeStale(_ path: String) throws(NBDServerError) {
        let kind = clinux_is_socket(path)
        if kind < 0 { return }
        if kind == 0 { throw .notASocket(path: path) }
        let served = clinux_unix_is_served(path)
        if served == 1 { throw .inUse(.unix(path: path)) }
        if served < 0 { throw .cannotListen(.unix(path: path), code: -served) }
        unlink(path)
    }

    /// Closes the socket and removes its name.
    func close() {
        Glibc.close(descriptor)
        if case .unix(let path) = address { unlink(path) }
    }
}
