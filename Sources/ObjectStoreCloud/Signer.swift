// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// AWS Signature Version 4 in the Authorization header. Pure: method, path, query, headers, the hash
// of the payload and the time go in, one header value comes out.

import Crypto

/// What a signature covers.
struct SignableRequest {
    var method: String
    /// Encoded, beginning with a slash.
    var path: String
    /// Encoded and sorted, as `URIText.query` makes it.
    var query = ""
    /// All headers to sign, `host` and `x-amz-date` among them. Names in lower case.
    var headers: [(name: String, value: String)]
    /// Of the body, in hexadecimal.
    var payloadHash: String
}

/// Signs for one pair of keys in one region.
struct Signer {
    private static let algorithm = "AWS4-HMAC-SHA256"

    let accessKeyID: String
    let secretAccessKey: String
    let region: String
    var service = "s3"

    /// The value of the Authorization header. `date` is what `x-amz-date` says.
    func authorization(_ request: SignableRequest, date: String) -> String {
        let day = String(date.prefix(8))
        let scope = "\(day)/\(region)/\(service)/aws4_request"
        let (canonical, signed) = Self.canonical(request)
        let text = [
            Self.algorithm, date, scope, Self.hash(Array(canonical.utf8)),
        ].joined(separator: "\n")
        let code = HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: key(day))
        return "\(Self.algorithm) Credential=\(accessKeyID)/\(scope), SignedHeaders=\(signed), "
            + "Signature=\(Self.hexadecimal(code))"
    }

    /// The canonical request and the list of signed headers.
    static func canonical(_ request: SignableRequest) -> (text: String, signedHeaders: String) {
        let headers = request.headers.sorted { $0.name < $1.name }
        let signed = headers.map(\.name).joined(separator: ";")
        let lines =
            [request.method, request.path, request.query]
            + headers.map { $0.name + ":" + trimmed($0.value) } + ["", signed, request.payloadHash]
        return (lines.joined(separator: "\n"), signed)
    }

    /// Runs of spaces count as one, those at the ends not at all.
    private static func trimmed(_ value: String) -> String {
        value.split(separator: " ").joined(separator: " ")
    }

    private func key(_ day: String) -> SymmetricKey {
        var key = SymmetricKey(data: Array("AWS4\(secretAccessKey)".utf8))
        for part in [day, region, service, "aws4_request"] {
            let code = HMAC<SHA256>.authenticationCode(for: Array(part.utf8), using: key)
            key = SymmetricKey(data: code)
        }
        return key
    }

    /// SHA-256 in hexadecimal.
    static func hash(_ bytes: [UInt8]) -> String { hexadecimal(SHA256.hash(data: bytes)) }

    /// SHA-256 of memory that is not copied.
    static func hash(_ bytes: UnsafeRawBufferPointer) -> String {
        var digest = SHA256()
        digest.update(bufferPointer: bytes)
        return hexadecimal(digest.finalize())
    }

    static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(
            decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] },
            as: UTF8.self)
    }
}
