// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Calls of the daemon's API that block their thread: a repair asks from the middle of its work.

import AdminAPI
import AsyncHTTPClient
import Daemon
import Documents
import NIOCore
import NIOHTTP1
import Primitives

final class BlockingClient: RollbackService {
    private struct RollbackBody: Encodable {
        let snapshotSequence: UInt64
    }

    private let api: APIClient
    private let client: HTTPClient

    init(_ api: APIClient) {
        self.api = api
        var configuration = HTTPClient.Configuration(timeout: .init(connect: .seconds(10)))
        configuration.connectionPool.retryConnectionEstablishment = false
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Ends its connections. Nothing is asked afterwards.
    func end() { try? client.syncShutdown() }

    private func send(
        _ verb: Verb, _ path: String, _ body: (any Encodable)? = nil, timeout: TimeAmount
    ) throws(UserError) -> APIClient.Reply {
        do {
            var request = try HTTPClient.Request(
                url: api.base + path, method: HTTPMethod(rawValue: verb.rawValue))
            if let body { request.body = .bytes(AdminJSON.encode(body)) }
            let response = try client.execute(request: request, deadline: .now() + timeout).wait()
            return APIClient.Reply(
                status: Int(response.status.code),
                body: response.body.map { Array($0.readableBytesView) } ?? [])
        } catch { throw api.unreachable(error) }
    }

    /// What the daemon has in its cache under a hash; nil: nothing.
    func block(_ hash: Hash128) throws(UserError) -> [UInt8]? {
        let reply = try send(.get, "/api/cache/blocks/\(hash)", timeout: .seconds(60))
        if reply.status == 404 { return nil }
        guard reply.status == 200 else { throw APIClient.failure(reply) }
        return reply.body
    }

    private func post<Answer: Decodable>(
        _ path: String, _ body: (any Encodable)? = nil, as type: Answer.Type
    ) throws(UserError) -> Answer {
        try decode(send(.post, path, body, timeout: .hours(1)), of: path, as: type)
    }

    private func decode<Answer: Decodable>(
        _ reply: APIClient.Reply, of path: String, as type: Answer.Type
    ) throws(UserError) -> Answer {
        guard (200..<300).contains(reply.status) else { throw APIClient.failure(reply) }
        do { return try AdminJSON.decode(type, from: reply.body) } catch {
            throw UserError(
                .failed, what: "cannot use the reply to \(path)", why: "\(error)",
                remedy: "see the daemon's log")
        }
    }

    func openVolume(_ name: RefName) throws(UserError) -> VolumeID? {
        let path = "/api/exports/\(name)"
        guard let reply = try? send(.get, path, timeout: .seconds(60)), reply.status != 404 else {
            return nil
        }
        let export = try decode(reply, of: path, as: ExportReply.self)
        return export.attached == true ? VolumeID(hexadecimal: export.volume) : nil
    }

    func snapshot(_ name: RefName) throws(UserError) -> UInt64 {
        try post("/api/exports/\(name)/snapshot", as: SnapshotReply.self).sequence
    }

    func rollback(_ name: RefName, to sequence: UInt64) throws(UserError) -> UInt64 {
        try post(
            "/api/exports/\(name)/rollback", RollbackBody(snapshotSequence: sequence),
            as: CommitReply.self
        ).sequence
    }
}
