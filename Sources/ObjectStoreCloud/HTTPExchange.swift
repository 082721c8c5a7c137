// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One HTTP request at a time, as a blocking call: the bridge from worker threads to
// async-http-client's event loops. Never called on an event loop or a shard.
//
// A body that is being received is written straight into the caller's memory. The caller takes that
// memory back before it returns, so that a late part of a request that was given up finds none.

import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// A request, whole.
struct HTTPCall {
    var method: HTTPMethod
    var url: String
    var headers: [(name: String, value: String)]
    /// Not copied before the call, not used after it.
    var body: UnsafeRawBufferPointer?
    /// From the call to the last byte of the answer.
    var deadlineSeconds: Int64
}

/// What is done with the body of a success. Other answers are collected to a bound, for their
/// reason.
enum BodyPlan {
    case collect(limit: Int)
    /// At most as many bytes as the buffer has.
    case fill(UnsafeMutableRawBufferPointer)
}

struct HTTPReply {
    var status: Int
    var headers: HTTPHeaders
    /// Empty if the body went into the caller's buffer.
    var body: [UInt8]
    /// Bytes of the body, wherever they went.
    var bodyBytes: Int

    func header(_ name: String) -> String? { headers.first(name: name) }
}

/// Why there is no answer.
enum TransportError: Error, Equatable {
    /// Not reached, broken off, timed out: worth trying again.
    case away(String)
    /// The other side is not whom we trust.
    case untrusted(String)
    case proxy(String)
    /// The body is longer than the plan takes.
    case tooLarge

    var detail: String {
        switch self {
        case .away(let detail), .untrusted(let detail), .proxy(let detail): detail
        case .tooLarge: "the answer is too large"
        }
    }
}

final class HTTPExchange: Sendable {
    struct Options {
        var connectSeconds: Int64
        /// Connections to one host at most; more requests wait for one.
        var connections: Int
        var tls: TLSConfiguration?
        var proxy: ProxySettings?
    }

    /// Seconds that an unused connection is kept. Stores close theirs at about a minute; ours must
    /// be gone before, or a request meets the end of its connection.
    private static let idleSeconds: Int64 = 20
    /// Bytes taken from a socket at a time. Objects have megabytes, and each part costs its way
    /// through the pipeline: NIO's own 64 KiB at most are four times as many.
    private static let receiveBytes = 256 << 10

    private let client: HTTPClient

    init(_ options: Options) {
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: options.tls, redirectConfiguration: .disallow,
            timeout: .init(connect: .seconds(options.connectSeconds)),
            proxy: options.proxy?.forClient, decompression: .disabled)
        configuration.connectionPool.idleTimeout = .seconds(Self.idleSeconds)
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit =
            options.connections
        // Trying again is the caller's, who counts and waits.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        configuration.http1_1ConnectionDebugInitializer = { channel in
            channel.setOption(
                .recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: Self.receiveBytes)
            )
        }
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Ends all connections. Called once, after the last call.
    func close() {
        // Fails only if it was called before.
        try? client.syncShutdown()
    }

    /// Sends and waits for the whole answer, whatever its status.
    func send(_ call: HTTPCall, plan: BodyPlan) throws(TransportError) -> HTTPReply {
        let sink = ResponseSink(plan, isHead: call.method == .HEAD)
        defer { sink.detach() }
        do {
            var request = try HTTPClient.Request(url: call.url, method: call.method)
            for (name, value) in call.headers { request.headers.add(name: name, value: value) }
            if let body = call.body {
                var buffer = ByteBufferAllocator().buffer(capacity: body.count)
                buffer.writeBytes(body)
                request.body = .byteBuffer(buffer)
            }
            return try client.execute(
                request: request, delegate: sink, deadline: .now() + .seconds(call.deadlineSeconds)
            ).futureResult.wait()
        } catch {
            throw Self.translate(error, sink)
        }
    }

    private static func translate(_ error: any Error, _ sink: ResponseSink) -> TransportError {
        if sink.isOverflown { return .tooLarge }
        switch error {
        case let error as HTTPClientError:
            switch error {
            // Another refusal of a proxy, such as 502, may pass: that one is as good as away.
            case .proxyAuthenticationRequired, .invalidProxyConfiguration:
                return .proxy(error.shortDescription)
            default: return .away(error.shortDescription)
            }
        case let error as NIOSSLError:
            let text = "\(error)"
            return text.contains("CERTIFICATE_VERIFY_FAILED") ? .untrusted(text) : .away(text)
        case let error as NIOSSLExtraError: return .untrusted(error.description)
        case let error as NIOConnectionError:
            let reason =
                error.connectionErrors.first.map { "\($0.error)" }
                ?? (error.dnsAError ?? error.dnsAAAAError).map { "\($0)" } ?? "no address"
            return .away("cannot connect to \(error.host):\(error.port): \(reason)")
        default: return .away("\(error)")
        }
    }
}
