// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Credentials of the role of a virtual machine, from the metadata service (version 2: every read
// shows a token that was asked for first). The service is link-local, so no proxy is used and a
// host that is no such machine is told after a second.

import FoundationEssentials
import NIOHTTP1

struct InstanceMetadata: CredentialSource {
    private static let defaultEndpoint = "http://169.254.169.254"
    private static let tokenPath = "/latest/api/token"
    private static let rolePath = "/latest/meta-data/iam/security-credentials/"
    /// Seconds that a token is asked to last: one load takes three requests.
    private static let tokenSeconds = "300"
    private static let connectSeconds: Int64 = 1
    private static let requestSeconds: Int64 = 5
    /// Bytes of any answer at most.
    private static let answerBytesMax = 64 << 10

    private let endpoint: String
    private let isDisabled: Bool

    init(environment: [String: String]) {
        let named = environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] ?? ""
        let text = named.isEmpty ? Self.defaultEndpoint : named
        endpoint = text.hasSuffix("/") ? String(text.dropLast()) : text
        isDisabled = environment["AWS_EC2_METADATA_DISABLED"]?.lowercased() == "true"
    }

    /// The JSON of a role's credentials.
    private struct Answer: Decodable {
        let code: String
        let accessKeyID: String?
        let secretAccessKey: String?
        let token: String?
        let expiration: String?

        enum CodingKeys: String, CodingKey {
            case code = "Code"
            case accessKeyID = "AccessKeyId"
            case secretAccessKey = "SecretAccessKey"
            case token = "Token"
            case expiration = "Expiration"
        }
    }

    func load() throws(CredentialError) -> Credentials? {
        if isDisabled { return nil }
        let exchange = HTTPExchange(
            HTTPExchange.Options(
                connectSeconds: Self.connectSeconds, connections: 1, tls: nil, proxy: nil))
        defer { exchange.close() }
        guard let token = try token(exchange) else { return nil }
        let headers = [(name: "x-aws-ec2-metadata-token", value: token)]
        guard let roles = try ask(exchange, .GET, Self.rolePath, headers) else { return nil }
        guard let role = roles.split(whereSeparator: \.isNewline).first else { return nil }
        let path = Self.rolePath + URIText.encode(String(role))
        guard let text = try ask(exchange, .GET, path, headers) else {
            throw failure("the role \(role) has no credentials")
        }
        return try credentials(text, role: String(role))
    }

    /// Nil if nothing answers: then this is no such machine.
    private func token(_ exchange: HTTPExchange) throws(CredentialError) -> String? {
        let headers = [(name: "x-aws-ec2-metadata-token-ttl-seconds", value: Self.tokenSeconds)]
        do throws(TransportError) {
            let reply = try send(exchange, .PUT, Self.tokenPath, headers)
            return reply.status == 200 ? Self.text(reply) : nil
        } catch {
            return nil
        }
    }

    /// Nil if there is no such document.
    private func ask(
        _ exchange: HTTPExchange, _ method: HTTPMethod, _ path: String,
        _ headers: [(name: String, value: String)]
    ) throws(CredentialError) -> String? {
        let reply: HTTPReply
        do throws(TransportError) { reply = try send(exchange, method, path, headers) } catch {
            throw failure(error.detail)
        }
        switch reply.status {
        case 200: return Self.text(reply)
        case 404: return nil
        default: throw failure("status \(reply.status) for \(path)")
        }
    }

    private func send(
        _ exchange: HTTPExchange, _ method: HTTPMethod, _ path: String,
        _ headers: [(name: String, value: String)]
    ) throws(TransportError) -> HTTPReply {
        try exchange.send(
            HTTPCall(
                method: method, url: endpoint + path, headers: headers, body: nil,
                deadlineSeconds: Self.requestSeconds),
            plan: .collect(limit: Self.answerBytesMax))
    }

    private func credentials(
        _ text: String, role: String
    ) throws(CredentialError) -> Credentials {
        guard let answer = try? JSONDecoder().decode(Answer.self, from: Data(text.utf8)) else {
            throw failure("the answer for the role \(role) cannot be read")
        }
        guard answer.code == "Success", let id = answer.accessKeyID,
            let secret = answer.secretAccessKey, let token = answer.token
        else { throw failure("the role \(role) answers \(answer.code.prefix(80))") }
        let expiration = answer.expiration.flatMap(Timestamp.parseISO)
        guard let expiration else { throw failure("the role \(role) does not say until when") }
        return Credentials(
            accessKeyID: id, secretAccessKey: secret, sessionToken: token,
            expiresSeconds: expiration, source: "the instance's role \(role)")
    }

    private static func text(_ reply: HTTPReply) -> String {
        String(decoding: reply.body, as: UTF8.self)
    }

    private func failure(_ detail: String) -> CredentialError {
        CredentialError(
            why: "the instance metadata service at \(endpoint) : \(detail)",
            remedy: "check the instance's role, or set AWS_EC2_METADATA_DISABLED=true",
            isAway: true)
    }
}
