// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Writes: create-if-absent in one part, repair's replacing, and deletes, alone or in batches.

import NIOHTTP1
public import ObjectStore
import Synchronization

extension S3Store {
    /// Bytes that S3 takes in one part.
    private static let bodyBytesMax = 5 << 30
    /// Keys that S3 deletes by one request.
    private static let batchMax = 1000

    public var deleteBatchMax: Int { deletesOneByOne ? 1 : Self.batchMax }

    public func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        // Signed like the rest: who strips the condition on the way breaks the signature.
        let reply = try put(key, body, [(name: "if-none-match", value: "*")], expecting: [412])
        switch reply.status {
        case 200, 201, 204:
            etagRule.withLock { $0.learn(reply, bytes: body) }
            return .created
        case 412: return .exists
        default: throw Self.odd(reply, key)
        }
    }

    public func replace(_ key: String, _ body: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        let reply = try put(key, body, [], expecting: [])
        guard [200, 201, 204].contains(reply.status) else { throw Self.odd(reply, key) }
    }

    private func put(
        _ key: String, _ body: UnsafeRawBufferPointer,
        _ conditions: [(name: String, value: String)], expecting statuses: Set<Int>
    ) throws(ObjectStoreError) -> HTTPReply {
        let object = try object(key)
        guard body.count <= Self.bodyBytesMax else {
            throw .refused(key: key, detail: "\(body.count) bytes are more than S3 takes at once")
        }
        var request = S3Request(action: .put, method: .PUT, key: object)
        request.headers =
            conditions + [(name: "content-type", value: "application/octet-stream")]
        request.setBody(body)
        return try perform(
            request, key: key, plan: .collect(limit: Self.answerBytesMax), expecting: statuses)
    }

    public func delete(_ keys: [String]) throws(ObjectStoreError) {
        var objects: [(key: String, object: String)] = []
        for key in keys { objects.append((key, try object(key))) }
        var rest = objects[...]
        while !rest.isEmpty {
            let batch = Array(rest.prefix(Self.batchMax))
            if batch.count == 1 || deletesOneByOne {
                for item in batch { try deleteOne(item.key, item.object) }
            } else if try !deleteBatch(batch) {
                deleteOneByOne()
                continue
            }
            rest = rest.dropFirst(batch.count)
        }
    }

    private func deleteOne(_ key: String, _ object: String) throws(ObjectStoreError) {
        let request = S3Request(action: .delete, method: .DELETE, key: object)
        do throws(ObjectStoreError) {
            _ = try perform(request, key: key, plan: .collect(limit: Self.answerBytesMax))
        } catch {
            if case .notFound = error { return }
            throw error
        }
    }

    /// False if the store knows no batches.
    private func deleteBatch(
        _ batch: [(key: String, object: String)]
    ) throws(ObjectStoreError) -> Bool {
        let first = batch[0].key
        // Keys are of letters that XML leaves alone.
        let members = batch.map { "<Object><Key>\($0.object)</Key></Object>" }.joined()
        let text =
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
            + "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>"
            + members + "</Delete>"
        var failure: ObjectStoreError?
        let reply = Array(text.utf8).withUnsafeBytes { body -> HTTPReply? in
            var request = S3Request(action: .delete, method: .POST, query: [("delete", "")])
            request.headers = [(name: "content-type", value: "application/xml")]
            request.setBody(body)
            request.addContentMD5()
            do throws(ObjectStoreError) {
                return try perform(
                    request, key: first, plan: .collect(limit: Self.answerBytesMax),
                    expecting: [405, 501])
            } catch {
                failure = error
                return nil
            }
        }
        if let failure { throw failure }
        guard let reply, reply.status == 200 else { return false }
        guard let result = XMLElement.parse(reply.body), result.name == "DeleteResult" else {
            throw .damaged(key: first, detail: "the answer to a batch of deletes cannot be read")
        }
        for error in result.all("Error") { try check(error, batch) }
        return true
    }

    /// One key of a batch that was not deleted.
    private func check(
        _ error: XMLElement, _ batch: [(key: String, object: String)]
    ) throws(ObjectStoreError) {
        let code = error.text("Code") ?? ""
        if code == "NoSuchKey" { return }
        let named = error.text("Key") ?? ""
        let key = batch.first { $0.object == named }?.key ?? batch[0].key
        let detail =
            "s3:DeleteObject: \(code.prefix(80)): \((error.text("Message") ?? "").prefix(160))"
        switch code {
        case "AccessDenied": throw .forbidden(key: key, detail: detail)
        default: throw .away(key: key, detail: detail)
        }
    }
}
