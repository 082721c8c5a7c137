// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The handler behind one socket. A server listens on one address: the daemon runs one for TCP and
// one for the unix socket. Bodies are read here, up to the limit and no further.

private import HTTPTypes
private import Hummingbird
public import Logging
private import NIOCore
private import Primitives
public import ServiceLifecycle

/// Where a server listens.
public enum AdminAddress: Sendable, Equatable {
    case tcp(host: String, port: Int)
    case unix(path: String)
}

/// Serves the API on one address until its task is cancelled or the group shuts down gracefully.
public struct AdminServer: Service {
    private let handler: AdminHandler
    private let address: AdminAddress
    private let logger: Logger
    private let onListening: @Sendable (_ port: Int?) async -> Void

    /// `onListening` is called once the socket accepts, with the bound port of a TCP address.
    public init(
        handler: AdminHandler, address: AdminAddress, logger: Logger,
        onListening: @escaping @Sendable (_ port: Int?) async -> Void
    ) {
        self.handler = handler
        self.address = address
        self.logger = logger
        self.onListening = onListening
    }

    public func run() async throws {
        let bind: BindAddress =
            switch address {
            case .tcp(let host, let port): .hostname(host, port: port)
            case .unix(let path): .unixDomainSocket(path: path)
            }
        let listening = onListening
        let application = Application(
            responder: AdminResponder(handler: handler),
            configuration: ApplicationConfiguration(address: bind, serverName: "martlet"),
            onServerRunning: { channel in await listening(channel.localAddress?.port) },
            logger: logger)
        try await application.run()
    }
}

private struct AdminContext: InitializableFromSource {
    init(source: ApplicationRequestContextSource) {}
}

private struct AdminResponder: HTTPResponder {
    let handler: AdminHandler

    func respond(to request: Request, context: AdminContext) async throws -> Response {
        var body: [UInt8] = []
        var isTooLarge = false
        for try await buffer in request.body {
            // What is over the limit is read and dropped, so that the client sees the answer.
            if body.count + buffer.readableBytes > Limits.apiBodyBytesMax { isTooLarge = true }
            if !isTooLarge { body.append(contentsOf: buffer.readableBytesView) }
        }
        let uri = request.uri.string
        let parts = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let response = await handler.respond(
            to: AdminRequest(
                request.method.rawValue, String(parts.first ?? "/"),
                query: parts.count > 1 ? String(parts[1]) : "", body: body),
            tooLarge: isTooLarge)
        var headers = HTTPFields()
        headers[.contentType] = response.contentType
        if let etag = response.etag { headers[.eTag] = "\"\(etag)\"" }
        if let allow = response.allow { headers[.allow] = allow }
        let isHead = request.method == .head
        if let stream = response.stream {
            return Response(
                status: HTTPResponse.Status(code: response.status), headers: headers,
                body: isHead ? ResponseBody() : Self.body(of: stream))
        }
        headers[.contentLength] = String(response.body.count)
        return Response(
            status: HTTPResponse.Status(code: response.status), headers: headers,
            body: isHead
                ? ResponseBody() : ResponseBody(byteBuffer: ByteBuffer(bytes: response.body)))
    }

    /// A failure in the middle ends the connection: the client sees that the end is missing.
    private static func body(of stream: StreamedBody) -> ResponseBody {
        ResponseBody { writer in
            try await writer.write(ByteBuffer(bytes: stream.first))
            while let bytes = try await stream.rest.next() {
                try await writer.write(ByteBuffer(bytes: bytes))
            }
            try await writer.finish(nil)
        }
    }
}
