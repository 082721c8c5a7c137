// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Reads: whole objects, ranges, ends, sizes. What comes back is compared with what was asked for
// before anybody uses it.

import NIOHTTP1
public import ObjectStore
import Synchronization

extension S3Store {
    public func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        let request = S3Request(action: .get, method: .GET, key: try object(key))
        let reply = try perform(request, key: key, plan: .collect(limit: limit))
        guard reply.status == 200 else { throw Self.odd(reply, key) }
        guard etagRule.withLock({ $0.agrees(reply) }) else {
            throw .damaged(key: key, detail: "the bytes are not those that the store's ETag is of")
        }
        return reply.body
    }

    public func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        guard buffer.count > 0 else {
            guard try head(key) != nil else { throw .notFound(key: key) }
            return
        }
        let (end, isBeyond) = offset.addingReportingOverflow(UInt64(buffer.count))
        guard !isBeyond else { throw .damaged(key: key, detail: "no object has a byte \(offset)") }
        let last = end - 1
        var request = S3Request(action: .get, method: .GET, key: try object(key))
        request.headers.append((name: "range", value: "bytes=\(offset)-\(last)"))
        let reply = try perform(request, key: key, plan: .fill(buffer), expecting: [416])
        switch reply.status {
        case 206:
            guard let range = ContentRange(reply), range.first == offset else {
                throw .damaged(key: key, detail: "the store sent another range")
            }
        // A store may send the whole object where that is what the range means.
        case 200 where offset == 0: break
        case 416: throw .damaged(key: key, detail: "the object ends before byte \(offset)")
        default: throw Self.odd(reply, key)
        }
        guard reply.bodyBytes == buffer.count else {
            throw .damaged(
                key: key, detail: "\(reply.bodyBytes) bytes at \(offset) instead of \(buffer.count)"
            )
        }
    }

    public func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8] {
        precondition(count >= 0)
        guard count > 0 else {
            guard try head(key) != nil else { throw .notFound(key: key) }
            return []
        }
        var request = S3Request(action: .get, method: .GET, key: try object(key))
        request.headers.append((name: "range", value: "bytes=-\(count)"))
        let reply = try perform(request, key: key, plan: .collect(limit: count), expecting: [416])
        switch reply.status {
        case 206:
            guard let range = ContentRange(reply), let size = range.size, range.last + 1 == size,
                range.count == UInt64(reply.bodyBytes),
                UInt64(reply.bodyBytes) == min(size, UInt64(count))
            else { throw .damaged(key: key, detail: "the store sent another end of the object") }
            return reply.body
        // The whole object: it is no longer than was asked for.
        case 200: return reply.body
        case 416:
            // An empty object has no last byte.
            guard try head(key) == 0 else { throw Self.odd(reply, key) }
            return []
        default: throw Self.odd(reply, key)
        }
    }

    /// An answer to HEAD has no body and so no reason.
    private static let unexplained: Set<Int> = [301, 307, 400, 401, 403, 404]

    public func head(_ key: String) throws(ObjectStoreError) -> UInt64? {
        let request = S3Request(action: .get, method: .HEAD, key: try object(key))
        let reply = try perform(
            request, key: key, plan: .collect(limit: 0), expecting: Self.unexplained)
        if reply.status == 404 { return nil }
        if Self.unexplained.contains(reply.status) { return try sizeByGet(key) }
        guard let size = reply.header("content-length").flatMap({ UInt64($0) }) else {
            throw .damaged(key: key, detail: "the store does not say how long the object is")
        }
        return size
    }

    /// Whatever the answer is, it has a date.
    public func dateSeconds() throws(ObjectStoreError) -> UInt64? {
        let key = "martlet.json"
        let reply = try perform(
            S3Request(action: .get, method: .HEAD, key: try object(key)), key: key,
            plan: .collect(limit: 0), expecting: Self.unexplained)
        guard let date = reply.header("date").flatMap(Timestamp.parseHTTP) else {
            throw .damaged(key: key, detail: "the store's answer has no date")
        }
        return date
    }

    /// Asks for one byte, to learn why a HEAD failed.
    private func sizeByGet(_ key: String) throws(ObjectStoreError) -> UInt64? {
        var request = S3Request(action: .get, method: .GET, key: try object(key))
        request.headers.append((name: "range", value: "bytes=0-0"))
        let reply: HTTPReply
        do throws(ObjectStoreError) {
            reply = try perform(request, key: key, plan: .collect(limit: 1), expecting: [416])
        } catch {
            if case .notFound = error { return nil }
            throw error
        }
        if reply.status == 416 { return 0 }
        guard let size = ContentRange(reply)?.size else { throw Self.odd(reply, key) }
        return size
    }

    static func odd(_ reply: HTTPReply, _ key: String) -> ObjectStoreError {
        .damaged(key: key, detail: "the store answered with status \(reply.status)")
    }
}

/// `bytes first-last/size`; the size may be unknown.
struct ContentRange: Equatable {
    let first: UInt64
    let last: UInt64
    let size: UInt64?

    var count: UInt64 { last - first + 1 }

    init?(_ reply: HTTPReply) {
        guard let text = reply.header("content-range") else { return nil }
        self.init(parsing: text)
    }

    /// Nil unless it is a range with its first byte before or at its last, both below the size.
    init?(parsing text: String) {
        guard text.hasPrefix("bytes ") else { return nil }
        let parts = text.dropFirst(6).split(separator: "/")
        guard parts.count == 2 else { return nil }
        let ends = parts[0].split(separator: "-")
        guard ends.count == 2, let first = UInt64(ends[0]), let last = UInt64(ends[1]),
            first <= last, last < UInt64.max
        else { return nil }
        self.first = first
        self.last = last
        if parts[1] == "*" {
            size = nil
        } else {
            guard let size = UInt64(parts[1]), last < size else { return nil }
            self.size = size
        }
    }
}
