// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Signatures are those that others make: AWS's published examples, and requests signed by botocore
// (Vectors/signing.py).

import Foundation
import Testing

@testable import ObjectStoreCloud

@Suite("requests are signed as AWS wants it")
struct SignerTests {
    struct Vector: Decodable, CustomTestStringConvertible {
        let name: String
        let method: String
        let path: String
        let query: [[String]]
        let headers: [[String]]
        let payloadHash: String
        let region: String
        let date: String
        let accessKeyID: String
        let secretAccessKey: String
        let canonical: String
        let signature: String

        var testDescription: String { name }

        static let all: [Vector] = {
            let folder = URL(filePath: #filePath).deletingLastPathComponent()
            let file = folder.appending(path: "Vectors/signing.json")
            guard let data = try? Data(contentsOf: file),
                let all = try? JSONDecoder().decode([Vector].self, from: data)
            else { return [] }
            return all
        }()
    }

    @Test("signatures and canonical requests are botocore's", arguments: Vector.all)
    func botocore(vector: Vector) {
        let request = SignableRequest(
            method: vector.method, path: vector.path,
            query: URIText.query(vector.query.map { ($0[0], $0[1]) }),
            headers: vector.headers.map { ($0[0], $0[1]) }, payloadHash: vector.payloadHash)
        #expect(Signer.canonical(request).text == vector.canonical)
        let signer = Signer(
            accessKeyID: vector.accessKeyID, secretAccessKey: vector.secretAccessKey,
            region: vector.region)
        let value = signer.authorization(request, date: vector.date)
        #expect(value.hasSuffix("Signature=" + vector.signature))
        let scope = "\(vector.date.prefix(8))/\(vector.region)/s3/aws4_request"
        #expect(value.contains("Credential=\(vector.accessKeyID)/\(scope), "))
    }

    @Test("all stored cases were read")
    func cases() { #expect(Vector.all.count == 10) }

    @Test("the published example of a PUT has its published signature")
    func published() {
        let hash = Signer.hash(Array("Welcome to Amazon S3.".utf8))
        let request = SignableRequest(
            method: "PUT", path: "/" + URIText.encode("test$file.text", keepsSlash: true),
            headers: [
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("host", "examplebucket.s3.amazonaws.com"), ("x-amz-content-sha256", hash),
                ("x-amz-date", "20130524T000000Z"), ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ], payloadHash: hash)
        let signer = Signer(
            accessKeyID: "AKIAIOSFODNN7EXAMPLE",
            secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region: "us-east-1")
        #expect(
            signer.authorization(request, date: "20130524T000000Z").hasSuffix(
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"))
    }

    @Test("days and times are those of the calendar")
    func timestamps() {
        #expect(Timestamp.basic(1_369_353_600) == "20130524T000000Z")
        #expect(Timestamp.basic(0) == "19700101T000000Z")
        #expect(Timestamp.basic(951_782_399) == "20000228T235959Z")
        #expect(Timestamp.basic(951_868_800) == "20000301T000000Z")
        #expect(Timestamp.parseISO("2026-11-21T12:30:00Z") == 1_795_264_200)
        #expect(Timestamp.parseISO("2026-11-21T12:30:00.123Z") == 1_795_264_200)
        #expect(Timestamp.parseHTTP("Fri, 24 May 2013 00:00:01 GMT") == 1_369_353_601)
        for text in ["", "2026-11-21", "2026-13-21T12:30:00Z", "2026-11-21T12:30:00"] {
            #expect(Timestamp.parseISO(text) == nil)
        }
        for text in ["Fri, 24 Mai 2013 00:00:01 GMT", "24 May 2013", "Fri, 24 May 2013 0:0 GMT"] {
            #expect(Timestamp.parseHTTP(text) == nil)
        }
    }

    @Test("texts of URLs are encoded and decoded exactly")
    func uris() {
        #expect(URIText.encode("a/b ~c+ä&=%") == "a%2Fb%20~c%2B%C3%A4%26%3D%25")
        #expect(URIText.encode("a/b", keepsSlash: true) == "a/b")
        #expect(URIText.decode("a%2Fb%20~c%2B%C3%A4+x") == "a/b ~c+ä x")
        for text in ["%", "%4", "%zz", "%ff"] { #expect(URIText.decode(text) == nil) }
        #expect(
            URIText.query([("b", "2"), ("a", "x y"), ("delete", "")]) == "a=x%20y&b=2&delete=")
    }
}
