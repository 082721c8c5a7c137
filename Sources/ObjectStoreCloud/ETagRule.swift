// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Whether a store's ETag is the MD5 of an object's bytes: it is at most, and where it is not nobody
// may rely on it. Found out by what the store answers to our own PUTs, used to check what it sends
// back.

import Crypto

struct ETagRule: Equatable {
    /// Objects above have a hash of their own in whatever points to them, and MD5 costs time.
    static let bytesMax = 64 << 10

    enum Finding { case unknown, isMD5, isOther }

    private(set) var finding = Finding.unknown

    /// A PUT of these bytes was answered with this.
    mutating func learn(_ reply: HTTPReply, bytes: UnsafeRawBufferPointer) {
        guard finding != .isOther, bytes.count <= Self.bytesMax, let tag = Self.plainTag(reply)
        else {
            return
        }
        finding = tag == Self.md5(bytes) ? .isMD5 : .isOther
    }

    /// False if the object's bytes are not those that its tag is of.
    func agrees(_ reply: HTTPReply) -> Bool {
        guard finding == .isMD5, reply.body.count <= Self.bytesMax, let tag = Self.plainTag(reply)
        else { return true }
        return reply.body.withUnsafeBytes { tag == Self.md5($0) }
    }

    private static func md5(_ bytes: UnsafeRawBufferPointer) -> String {
        var digest = Insecure.MD5()
        digest.update(bufferPointer: bytes)
        return Signer.hexadecimal(digest.finalize())
    }

    /// The tag if it can be a plain MD5: of one part, not encrypted with a key of its own.
    private static func plainTag(_ reply: HTTPReply) -> String? {
        guard let header = reply.header("etag") else { return nil }
        if let kind = reply.header("x-amz-server-side-encryption"), kind != "AES256" { return nil }
        if reply.header("x-amz-server-side-encryption-customer-algorithm") != nil { return nil }
        let tag = header.filter { $0 != "\"" }.lowercased()
        return tag.utf8.count == 32 && tag.allSatisfy(\.isHexDigit) ? tag : nil
    }
}
