// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The parser of answers: what S3 sends is read, everything else is nothing, and no bytes trap.

import ObjectStore
import Primitives
import Testing

@testable import ObjectStoreCloud

@Suite("answers are parsed within bounds")
struct XMLTests {
    private func parse(_ text: String) -> XMLElement? { XMLElement.parse(Array(text.utf8)) }

    @Test("elements, text, entities, CDATA, comments, attributes and prefixes")
    func reading() throws {
        let text = """
            <?xml version="1.0" encoding="UTF-8"?>
            <!-- a comment --> <ns:Result xmlns:ns='http://x/>"'>
              <Key a="1>2">a&amp;b&lt;&#65;&#x42;&quot;</Key><Empty/><Key><![CDATA[<raw>&]]></Key>
            </ns:Result>
            """
        let root = try #require(parse(text))
        #expect(root.name == "Result")
        #expect(root.all("Key").map(\.text) == ["a&b<AB\"", "<raw>&"])
        #expect(root.child("Empty") == XMLElement(name: "Empty"))
        #expect(root.child("None") == nil)
    }

    @Test(
        "what is broken, or more than S3 sends, is nothing",
        arguments: [
            "", "text", "<a>", "</a>", "<a></b>", "<a/><b/>", "<a>&nbsp;</a>", "<a>&#xD800;</a>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "<a b=\"></a>", "<a><![CDATA[</a>", "<>",
            "<a>&amp</a>", "x<a/>", "<a/>x", "<a <b/>",
        ])
    func broken(text: String) { #expect(parse(text) == nil) }

    @Test("depth and number of elements are bounded")
    func bounds() {
        func nested(_ depth: Int) -> String {
            String(repeating: "<a>", count: depth) + String(repeating: "</a>", count: depth)
        }
        #expect(parse(nested(XMLElement.depthMax)) != nil)
        #expect(parse(nested(XMLElement.depthMax + 1)) == nil)
        #expect(parse(nested(100_000)) == nil)
        func wide(_ count: Int) -> String {
            "<r>" + String(repeating: "<a/>", count: count) + "</r>"
        }
        #expect(parse(wide(XMLElement.countMax - 1)) != nil)
        #expect(parse(wide(XMLElement.countMax)) == nil)
    }

    @Test("20,000 damaged documents are read or refused, and none traps")
    func damage() {
        let whole = Array(
            """
            <?xml version="1.0"?><ListBucketResult xmlns="http://s3"><IsTruncated>true</IsTruncated>
            <Contents><Key>a&amp;b%2F</Key><Size>17</Size></Contents><!-- c --><a b='c'/>
            <EncodingType>url</EncodingType><![CDATA[x]]></ListBucketResult>
            """.utf8)
        #expect(S3Listing(parsing: whole)?.entries.count == 1)
        var random = SplitMix64(seed: 3)
        var read = 0
        for _ in 0..<20_000 {
            var bytes = whole
            for _ in 0...random.next(below: 4) {
                let place = Int(random.next(below: UInt64(bytes.count)))
                switch random.next(below: 4) {
                case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(bytes[place], at: place)
                default: bytes.removeSubrange(place...)
                }
                if bytes.isEmpty { break }
            }
            if S3Listing(parsing: bytes) != nil { read += 1 }
        }
        #expect(read > 100 && read < 19_000)
    }

    @Test("a listing says its keys decoded, and must be in order below what was asked for")
    func listings() throws {
        func listing(_ keys: [String], isTruncated: Bool = false) -> S3Listing? {
            let contents = keys.map { "<Contents><Key>\($0)</Key><Size>1</Size></Contents>" }
            return S3Listing(
                parsing: Array(
                    ("<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>"
                        + "\(isTruncated)</IsTruncated>" + contents.joined()
                        + "</ListBucketResult>").utf8))
        }
        let page = try #require(listing(["p/a%20b", "p/a%2Bb", "p/~"]))
        #expect(page.entries.map(\.key) == ["p/a b", "p/a+b", "p/~"])
        #expect(page.isInOrder(prefix: "p/", after: nil, limit: 3))
        #expect(!page.isInOrder(prefix: "p/", after: nil, limit: 2))
        #expect(!page.isInOrder(prefix: "q/", after: nil, limit: 3))
        #expect(!page.isInOrder(prefix: "p/", after: "p/a b", limit: 3))
        #expect(listing(["p/b", "p/a"])?.isInOrder(prefix: "", after: nil, limit: 9) == false)
        #expect(listing([], isTruncated: true) == nil)
        #expect(listing(["%zz"]) == nil)
        #expect(S3Listing(parsing: Array("<Other/>".utf8)) == nil)
    }
}
