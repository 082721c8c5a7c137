// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a daemon has in its cache, by hash. Blocks its thread: a repair asks from the middle of its
// work.

import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import Primitives

final class CacheClient: Sendable {
    private let api: APIClient
    private let client: HTTPClient

    init(_ api: APIClient) {
        self.api = api
        var configuration = HTTPClient.Configuration(
            timeout: .init(connect: .seconds(10), read: .seconds(60)))
        configuration.connectionPool.retryConnectionEstablishment = false
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    /// Ends its connections. Nothing is asked afterwards.
    func end() { try? client.syncShutdown() }

    /// Nil: the daemon has nothing under the hash.
    func block(_ hash: Hash128) throws(UserError) -> [UInt8]? {
        let reply: APIClient.Reply
        do {
            let request = try HTTPClient.Request(url: "\(api.base)/api/cache/blocks/\(hash)")
            let response = try client.execute(request: request).wait()
            reply = APIClient.Reply(
                status: Int(response.status.code),
                body: response.body.map { Array($0.readableBytesView) } ?? [])
        } catch { throw api.unreachable(error) }
        if reply.status == 404 { return nil }
        guard reply.status == 200 else { throw APIClient.failure(reply) }
        return reply.body
    }
}
