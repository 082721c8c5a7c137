// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// From a request to a reply, without any server: finds the route, checks names, query and body,
// calls the service, and turns whatever fails into JSON. AdminServer puts it behind sockets.

internal import Primitives

/// A request, with its body read whole.
public struct AdminRequest: Sendable {
    public var method: String
    /// As sent: escapes are still in it.
    public var path: String
    public var query: String
    public var body: [UInt8]

    public init(_ method: String, _ path: String, query: String = "", body: [UInt8] = []) {
        self.method = method
        self.path = path
        self.query = query
        self.body = body
    }
}

public struct AdminResponse: Equatable, Sendable {
    public var status: Int
    public var contentType = "application/json"
    /// Of a manifest: the token of the commit it names.
    public var etag: String?
    /// For 405: the methods that would do.
    public var allow: String?
    public var body: [UInt8]
    /// In place of `body`.
    public var stream: StreamedBody?

    init(status: Int = 200, body: [UInt8] = []) {
        self.status = status
        self.body = body
    }
}

public struct AdminHandler: Sendable {
    private let service: any AdminService
    private let counters: RequestCounters

    public init(service: any AdminService, counters: RequestCounters = RequestCounters()) {
        self.service = service
        self.counters = counters
    }

    /// Answers; never throws. `tooLarge` stands for a body over the limit, which nobody reads.
    public func respond(to request: AdminRequest, tooLarge: Bool = false) async -> AdminResponse {
        var response: AdminResponse
        do throws(AdminFailure) {
            if tooLarge || request.body.count > Limits.apiBodyBytesMax { throw .bodyTooLarge }
            response = try await route(request)
        } catch {
            response = AdminResponse(status: error.status, body: AdminJSON.encode(error.reply))
            if case .wrongMethod(_, _, let allowed) = error {
                response.allow = allowed.joined(separator: ", ")
            }
        }
        counters.count(method: request.method, status: response.status)
        return response
    }

    private func route(_ request: AdminRequest) async throws(AdminFailure) -> AdminResponse {
        guard let components = PathText.components(request.path) else {
            throw .unknownPath(request.path)
        }
        switch AdminRoute.match(request.method, components) {
        case .unknown: throw .unknownPath(request.path)
        case .wrongMethod(let allowed):
            throw .wrongMethod(request.method, path: request.path, allowed: allowed)
        case .found(let route, let parameters):
            do throws(UserError) {
                let query = try PathText.query(
                    request.query, flags: route.flags, numbers: route.numbers)
                let call = AdminCall(
                    parameters: parameters, flags: query.flags, numbers: query.numbers,
                    body: request.body)
                return try await perform(route.action, call)
            } catch {
                throw .user(error)
            }
        }
    }

    private func perform(
        _ action: AdminAction, _ call: AdminCall
    ) async throws(UserError) -> AdminResponse {
        switch action {
        case .listExports, .putExport, .getExport, .deleteExport, .open, .promote, .acknowledge,
            .compact, .resetCache:
            return try await performOnExport(action, call)
        case .drain, .snapshot, .snapshots, .deleteSnapshot, .tag, .tags, .rollback:
            return try await performOnHistory(action, call)
        case .status: return json(try await service.status(try call.name))
        case .diff:
            let diff = try await service.diff(try call.name, try call.diffRequest())
            // What cannot be told at all fails here, where it is an answer like others.
            var response = AdminResponse()
            response.contentType = "application/octet-stream"
            response.stream = StreamedBody(first: try await diff.next() ?? [], rest: diff)
            return response
        case .cachedBlock: return try await cachedBlock(try call.hash())
        case .exportMetrics:
            return AdminResponse(
                body: AdminJSON.encode(MetricTable(try await service.metrics(try call.name))))
        case .manifest:
            let etag = try await service.manifest(
                prefix: call.parameters[0], name: call.parameters[1])
            var response = AdminResponse(status: etag == nil ? 404 : 200)
            response.etag = etag
            return response
        case .health: return AdminResponse(body: Array(#"{"status":"ok"}"#.utf8))
        case .ready:
            let readiness = await service.readiness()
            return json(readiness, status: readiness.ready ? 200 : 503)
        case .metrics:
            let families = await service.metricFamilies() + [counters.family]
            var response = AdminResponse(body: Array(PrometheusText.render(families).utf8))
            response.contentType = "text/plain; version=0.0.4; charset=utf-8"
            return response
        }
    }

    private func cachedBlock(_ hash: Hash128) async throws(UserError) -> AdminResponse {
        guard let bytes = try await service.cachedBlock(hash) else {
            throw UserError(
                .notFound, what: "cannot read \(hash)", why: "it is not in the cache of this host",
                remedy: "ask another host, or the store")
        }
        var response = AdminResponse(body: bytes)
        response.contentType = "application/octet-stream"
        return response
    }

    private func performOnExport(
        _ action: AdminAction, _ call: AdminCall
    ) async throws(UserError) -> AdminResponse {
        switch action {
        case .listExports: return json(ExportList(exports: try await service.exports()))
        case .getExport: return json(try await service.export(try call.name))
        case .putExport:
            let result = try await service.putExport(try call.name, try call.putRequest())
            return json(result.info, status: result.isCreated ? 201 : 200)
        case .deleteExport:
            try call.expectEmptyBody()
            try await service.deleteExport(try call.name, purge: call.flags.contains("purge"))
            return json(DoneReply())
        case .promote:
            try call.expectEmptyBody()
            let force = call.flags.contains("force")
            return json(try await service.promote(try call.name, force: force))
        case .open:
            try call.expectEmptyBody()
            let force = call.flags.contains("force")
            return json(try await service.open(try call.name, force: force))
        case .compact:
            try call.expectEmptyBody()
            return json(try await service.compact(try call.name), status: 202)
        case .resetCache:
            try call.expectEmptyBody()
            return json(try await service.resetCache(try call.name))
        default:
            try call.expectEmptyBody()
            try await service.acknowledge(try call.name)
            return json(DoneReply())
        }
    }

    private func performOnHistory(
        _ action: AdminAction, _ call: AdminCall
    ) async throws(UserError) -> AdminResponse {
        switch action {
        case .drain:
            try call.expectEmptyBody()
            return json(try await service.drain(try call.name))
        case .snapshot:
            let tag = try call.tag()
            return json(try await service.snapshot(try call.name, tag: tag))
        case .snapshots:
            let list = try await service.snapshots(try call.name)
            return call.flags.contains("detail") ? json(list) : json(list.map(\.sequence))
        case .deleteSnapshot:
            try call.expectEmptyBody()
            try await service.deleteSnapshot(try call.name, sequence: try call.sequence())
            return json(DoneReply())
        case .tag:
            guard let tag = try call.tag() else {
                throw JSONBody.refusal("tag is missing", remedy: #"send {"tag":"NAME"}"#)
            }
            return json(try await service.tag(try call.name, tag: tag))
        case .tags: return json(TagList(tags: try await service.tags()))
        default:
            let point = try call.rollbackPoint()
            return json(try await service.rollback(try call.name, to: point))
        }
    }

    private func json(_ value: some Encodable, status: Int = 200) -> AdminResponse {
        AdminResponse(status: status, body: AdminJSON.encode(value))
    }
}
