// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Listings: ListObjectsV2, each page asked for by the key that it follows, so that a page stands
// for itself. Keys that cannot be ours are passed over.

import NIOHTTP1
public import ObjectStore

extension S3Store {
    /// Pages without a key of ours that are read on end, so that a foreign bucket ends a listing.
    private static let foreignPagesMax = 1000

    public func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        try ObjectKey.check(prefix: prefix)
        precondition((1...1000).contains(limit))
        var start = after.map { self.prefix + $0 }
        for _ in 0..<Self.foreignPagesMax {
            let page = try page(self.prefix + prefix, after: start, limit: limit, key: prefix)
            let entries = page.entries.compactMap { entry -> ListPage.Entry? in
                let key = String(entry.key.dropFirst(self.prefix.count))
                return ObjectKey.isKey(key) ? ListPage.Entry(key: key, bytes: entry.bytes) : nil
            }
            guard entries.isEmpty, page.isTruncated, let last = page.entries.last else {
                // Callers go on behind the last entry: foreign keys behind it come again, and are
                // passed over again.
                return ListPage(entries: entries, isTruncated: page.isTruncated)
            }
            start = last.key
        }
        throw .damaged(key: prefix, detail: "the bucket has too many keys that are not martlet's")
    }

    private func page(
        _ wanted: String, after: String?, limit: Int, key: String
    ) throws(ObjectStoreError) -> S3Listing {
        var request = S3Request(action: .list, method: .GET)
        request.query = [
            ("list-type", "2"), ("encoding-type", "url"), ("max-keys", "\(limit)"),
        ]
        if !wanted.isEmpty { request.query.append(("prefix", wanted)) }
        if let after { request.query.append(("start-after", after)) }
        let reply = try perform(request, key: key, plan: .collect(limit: Self.answerBytesMax))
        guard let page = S3Listing(parsing: reply.body) else {
            throw .damaged(key: key, detail: "the listing cannot be read")
        }
        guard page.isInOrder(prefix: wanted, after: after, limit: limit) else {
            throw .damaged(
                key: key, detail: "the listing is not in byte order, or not of what was asked for")
        }
        return page
    }
}

/// One answer to ListObjectsV2.
struct S3Listing: Equatable {
    /// Keys as the store has them.
    let entries: [ListPage.Entry]
    let isTruncated: Bool

    /// Nil if it is none.
    init?(parsing body: [UInt8]) {
        guard let root = XMLElement.parse(body), root.name == "ListBucketResult" else {
            return nil
        }
        let isEncoded = root.text("EncodingType") == "url"
        var entries: [ListPage.Entry] = []
        for content in root.all("Contents") {
            guard let text = content.text("Key"),
                let key = isEncoded ? URIText.decode(text) : text,
                let bytes = content.text("Size").flatMap({ UInt64($0) })
            else { return nil }
            entries.append(ListPage.Entry(key: key, bytes: bytes))
        }
        guard let flag = root.text("IsTruncated") else { return nil }
        isTruncated = flag == "true"
        self.entries = entries
        // A page that says that there is more has to say behind what.
        if isTruncated && entries.isEmpty { return nil }
    }

    func isInOrder(prefix: String, after: String?, limit: Int) -> Bool {
        guard entries.count <= limit else { return false }
        var previous = after.map { Array($0.utf8) }
        for entry in entries {
            let key = Array(entry.key.utf8)
            guard key.starts(with: prefix.utf8) else { return false }
            if let previous, !previous.lexicographicallyPrecedes(key) { return false }
            previous = key
        }
        return true
    }
}
