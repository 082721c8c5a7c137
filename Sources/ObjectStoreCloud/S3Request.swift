// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One request to S3: what it asks for, and how it becomes a signed HTTP call.

import Crypto
import FoundationEssentials
import NIOHTTP1

/// What is asked, apart from where and by whom.
struct S3Request {
    /// For the permission that a refusal names.
    enum Action: String {
        case put = "s3:PutObject"
        case get = "s3:GetObject"
        case list = "s3:ListBucket"
        case delete = "s3:DeleteObject"
    }

    static let emptyHash = Signer.hash([UInt8]())

    let action: Action
    let method: HTTPMethod
    /// The whole key, prefix included; nil for the bucket.
    var key: String?
    var query: [(name: String, value: String)] = []
    /// Names in lower case.
    var headers: [(name: String, value: String)] = []
    var body: UnsafeRawBufferPointer?
    /// Of the body. Made once, whatever the number of tries.
    var payloadHash = S3Request.emptyHash

    /// Changes something in the store.
    var isUpload: Bool { action == .put || action == .delete }

    mutating func setBody(_ bytes: UnsafeRawBufferPointer) {
        body = bytes
        payloadHash = Signer.hash(bytes)
    }

    var hasContentMD5: Bool { headers.contains { $0.name == "content-md5" } }

    mutating func addContentMD5() {
        guard let body, !hasContentMD5 else { return }
        var digest = Insecure.MD5()
        digest.update(bufferPointer: body)
        headers.append((name: "content-md5", value: Data(digest.finalize()).base64EncodedString()))
    }

    /// The HTTP call, signed if there are credentials. `seconds`: the time, since 1970.
    func call(
        to address: S3Address, _ credentials: Credentials?, at seconds: UInt64,
        deadlineSeconds: Int64
    ) -> HTTPCall {
        let path = address.path(key)
        let queryText = URIText.query(query)
        var sent = headers + [(name: "host", value: address.hostHeader)]
        if let credentials {
            let date = Timestamp.basic(seconds)
            sent.append((name: "x-amz-content-sha256", value: payloadHash))
            sent.append((name: "x-amz-date", value: date))
            if let token = credentials.sessionToken {
                sent.append((name: "x-amz-security-token", value: token))
            }
            let signer = Signer(
                accessKeyID: credentials.accessKeyID,
                secretAccessKey: credentials.secretAccessKey, region: address.region)
            let value = signer.authorization(
                SignableRequest(
                    method: method.rawValue, path: path, query: queryText, headers: sent,
                    payloadHash: payloadHash),
                date: date)
            sent.append((name: "authorization", value: value))
        }
        let url = address.endpoint + path + (queryText.isEmpty ? "" : "?" + queryText)
        return HTTPCall(
            method: method, url: url, headers: sent, body: body,
            deadlineSeconds: deadlineSeconds)
    }
}
