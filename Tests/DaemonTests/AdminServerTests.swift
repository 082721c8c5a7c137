// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The API over real sockets, called by the command line's own client.

import AdminAPI
import Daemon
import Foundation
import Logging
import Primitives
import Testing

@testable import martlet

@Suite("API server")
struct AdminServerTests {
    /// Serves a fake on `address` while `body` runs.
    private func serve(
        _ address: AdminAddress, _ service: FakeAdminService,
        _ body: @Sendable (_ port: Int?) async throws -> Void
    ) async throws {
        let (ports, port) = AsyncStream.makeStream(of: Int?.self)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let server = AdminServer(
            handler: AdminHandler(service: service), address: address, logger: logger,
            onListening: { port.yield($0) })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run() }
            var iterator = ports.makeAsyncIterator()
            let bound = await iterator.next() ?? nil
            do {
                try await body(bound)
            } catch {
                group.cancelAll()
                throw error
            }
            group.cancelAll()
            while let _ = try? await group.next() {}
        }
    }

    @Test("answers over TCP, with errors in the daemon's words")
    func tcp() async throws {
        let service = FakeAdminService()
        try await serve(.tcp(host: "127.0.0.1", port: 0), service) { port in
            let client = APIClient(endpoint: .tcp(host: "127.0.0.1", port: port ?? 0))
            let reply = try await client.call(.get, "/api/exports/prod")
            #expect(
                try AdminJSON.decode(ExportReply.self, from: reply.body) == FakeAdminService.info)
            service.fail(with: .conflict)
            await #expect(throws: UserError(.conflict, what: "w", why: "y", remedy: "r")) {
                _ = try await client.call(.post, "/api/exports/prod/drain")
            }
        }
    }

    @Test("answers over a unix socket, also to a body over the limit")
    func unix() async throws {
        let path =
            NSTemporaryDirectory() + "/martlet-api-\(ProcessInfo.processInfo.processIdentifier)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let service = FakeAdminService()
        try await serve(.unix(path: path), service) { _ in
            let client = APIClient(endpoint: .unix(path: path))
            var request = PutExportRequest()
            request.sizeBytes = 1 << 20
            let reply = try await client.call(.put, "/api/exports/x", body: request)
            #expect(reply.status == 201)
            #expect(service.calls == ["put x size=1048576"])
            let large = String(repeating: "x", count: 1 << 20)
            do {
                _ = try await client.call(.put, "/api/exports/x", body: ["from": large])
                Issue.record("a megabyte was taken")
            } catch let error as UserError {
                #expect(error.kind == .tooLarge)
            }
        }
    }
}
