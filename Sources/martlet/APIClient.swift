// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Calls the daemon's API over TCP or its unix socket. Replies are small: they are read whole, up to
// a bound. Every failure comes back as what, why and what to do.

import AdminAPI
import AsyncHTTPClient
import Daemon
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Primitives

enum Verb: String {
    case get = "GET"
    case put = "PUT"
    case post = "POST"
    case delete = "DELETE"
}

struct APIClient {
    /// Bytes of a reply: a long list of exports.
    private static let replyBytesMax = 64 << 20
    /// A drain or a fork of an export under load may take this long.
    private static let timeout = TimeAmount.hours(1)

    let endpoint: Endpoint

    struct Reply {
        let status: Int
        let body: [UInt8]
    }

    /// Sends one request. Throws for every status but 2xx.
    func call(
        _ verb: Verb, _ path: String, body: (any Encodable)? = nil
    ) async throws -> Reply {
        var request = HTTPClientRequest(url: base + path)
        request.method = HTTPMethod(rawValue: verb.rawValue)
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: AdminJSON.encode(body)))
        }
        let reply: Reply
        do {
            reply = try await Self.send(request)
        } catch {
            throw unreachable(error)
        }
        guard (200..<300).contains(reply.status) else { throw Self.failure(reply) }
        return reply
    }

    func unreachable(_ error: any Error) -> UserError {
        UserError(
            .failed, what: "cannot reach the daemon at \(endpoint)",
            why: Self.reason(of: error),
            remedy: "start it with martlet run, or name it with --api or MARTLET_API")
    }

    private static func send(_ request: HTTPClientRequest) async throws -> Reply {
        var configuration = HTTPClient.Configuration(timeout: .init(connect: .seconds(10)))
        // A daemon that is not there is told at once, not tried again until the time is over.
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(
            eventLoopGroupProvider: .singleton, configuration: configuration)
        let result: Result<Reply, any Error>
        do {
            let response = try await client.execute(request, timeout: Self.timeout)
            let buffer = try await response.body.collect(upTo: Self.replyBytesMax)
            result = .success(
                Reply(status: Int(response.status.code), body: Array(buffer.readableBytesView)))
        } catch {
            result = .failure(error)
        }
        try await client.shutdown()
        return try result.get()
    }

    var base: String {
        switch endpoint {
        case .tcp: "http://\(endpoint)"
        case .unix(let path): "http+unix://" + Self.escaped(path)
        }
    }

    /// A path as the host part of a URL: everything but letters and digits escaped.
    private static func escaped(_ path: String) -> String {
        let digits = Array("0123456789ABCDEF")
        var text = ""
        for byte in path.utf8 {
            let scalar = Unicode.Scalar(byte)
            if scalar.isASCII, scalar.properties.isAlphabetic || (0x30...0x39).contains(byte) {
                text.unicodeScalars.append(scalar)
            } else {
                text += "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
            }
        }
        return text
    }

    private static func reason(of error: any Error) -> String {
        switch error {
        case let error as HTTPClientError: error.shortDescription
        case let error as IOError: error.description
        default: "\(error)"
        }
    }

    /// The daemon's own words, split again; the status if it had none.
    static func failure(_ reply: Reply) -> UserError {
        guard let error = try? AdminJSON.decode(ErrorReply.self, from: reply.body) else {
            return UserError(
                .failed, what: "cannot use the reply", why: "status \(reply.status)",
                remedy: "see the daemon's log")
        }
        let kind = UserError.Kind(rawValue: error.code) ?? .failed
        let parts = error.error.components(separatedBy: " : ")
        guard parts.count >= 3 else {
            return UserError(kind, what: error.error, why: error.code, remedy: "see the log")
        }
        return UserError(
            kind, what: parts[0], why: parts[1...(parts.count - 2)].joined(separator: " : "),
            remedy: parts[parts.count - 1])
    }
}
