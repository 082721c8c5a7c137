// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Documents: one encoding each, kept as golden text; a decoder that trusts nothing; keys whose
// parsing and building are inverse.

import Documents
import Formats
import Foundation
import Primitives
import Testing

/// A document whose bytes are fixed for its version.
struct DocumentCase: Sendable, CustomTestStringConvertible {
    let name: String
    let encoded: [UInt8]
    /// Decodes and encodes again.
    let again: @Sendable ([UInt8]) throws(DocumentError) -> [UInt8]
    let golden: String

    var testDescription: String { name }

    init<Value: Document>(_ document: Value, golden: String) {
        name = Value.kind
        encoded = document.encoded
        again = { bytes throws(DocumentError) in try Value(decoding: bytes).encoded }
        self.golden = golden
    }

    private static let volume = VolumeID(low: 0x0807_0605_0403_0201, high: 0x100F_0E0D_0C0B_0A09)
    private static let token = Token(low: 1, high: 2)
    private static let commit = CommitPointer(
        volume: volume, sequence: CommitSequence(42), token: token, labelSeconds: 1_800_000_000)

    private static func name(_ text: String) -> RefName {
        guard let name = RefName(text) else { preconditionFailure("a bad name in a sample") }
        return name
    }

    private static let commitKey = CommitKey(volume: volume, sequence: CommitSequence(42))
    private static let otherKey = CommitKey(volume: volume, sequence: CommitSequence(43))
    private static let pack = PackID(
        volume: volume, epoch: Epoch(3), sequence: CommitSequence(42), number: 1, token: token)
    private static let commitText =
        "volumes/0102030405060708090a0b0c0d0e0f10/commits/ffffffffffffffd5.42"
    private static let otherText =
        "volumes/0102030405060708090a0b0c0d0e0f10/commits/ffffffffffffffd4.43"
    private static let packText =
        "packs/0102030405060708090a0b0c0d0e0f10/00000003-000000000000002a-0001-\(tokenText).pack"

    private static let volumeText = #""volume":"0102030405060708090a0b0c0d0e0f10"}"#
    private static let tokenText = "01000000000000000200000000000000"

    static let all: [DocumentCase] = [
        DocumentCase(
            Repository(id: token, createdSeconds: 7),
            golden: #"{"checksum":"4f62598393388cac41de95887685b58c","#
                + #""created":7,"encryption":"none","format_version":1,"id":"\#(tokenText)","#
                + #""kind":"repository","version":1}"#),
        DocumentCase(
            Identity(volume: volume, machine: "m1", cacheDirectory: 99, createdSeconds: 7),
            golden: #"{"cache_directory":99,"#
                + #""checksum":"17bd6650360c4ef3a1595983c0c753e7","#
                + #""created":7,"kind":"identity","machine":"m1","#
                + #""version":1,\#(volumeText)"#),
        DocumentCase(
            FailedMark(volume: volume, reason: "sync \"x\"\n", labelSeconds: 7),
            golden: #"{"checksum":"fe043ce2166c719ad3977d3af801ca9f","#
                + #""kind":"failed","label":7,"reason":"sync \"x\"\u000a","version":1,"#
                + volumeText),
        DocumentCase(
            ExportRef(
                name: name("prod"), number: 3, volume: volume, state: .live,
                definition: ExportDefinition(
                    size: ByteCount(4096), blockBytes: 131072, isReadOnly: false, transport: .nbd,
                    source: "base"),
                size: ByteCount(8192), isReadOnly: true,
                origin: ExportOrigin(name: "tag:base", commit: commit),
                firstSequence: CommitSequence(1)),
            golden: #"{"checksum":"63df72d54145b3fe94a08ad18cbd657f","#
                + #""first_sequence":1,"kind":"export","n":3,"name":"prod","origin":{"#
                + #""label":1800000000,"name":"tag:base","sequence":42,"token":"\#(tokenText)","#
                + volumeText + #","readonly":true,"request":{"block_size":131072,"#
                + #""readonly":false,"size_bytes":4096,"source":"base","transport":"nbd"},"#
                + #""size_bytes":8192,"state":"live","version":1,\#(volumeText)"#),
        DocumentCase(
            SnapshotRef(name: name("prod"), commit: commit, tag: name("t")),
            golden: #"{"checksum":"8a1a6a58cd64e949d33a0c9cca74e8f0","#
                + #""kind":"snapshot","label":1800000000,"name":"prod","sequence":42,"#
                + #""tag":"t","token":"\#(tokenText)","version":1,\#(volumeText)"#),
        DocumentCase(
            TagRef(tag: name("t"), number: 2, commit: commit, export: name("prod")),
            golden: #"{"checksum":"35caaf4e953bcbbd8c760d3bf3c5753a","#
                + #""export":"prod","kind":"tag","label":1800000000,"n":2,"sequence":42,"#
                + #""tag":"t","token":"\#(tokenText)","version":1,\#(volumeText)"#),
        DocumentCase(
            BaseRef(name: name("b"), number: 2, commit: commit, source: "disk.img"),
            golden: #"{"checksum":"138ce1ba4ec4d1826d1de646a72f0080","#
                + #""kind":"base","label":1800000000,"n":2,"name":"b","sequence":42,"#
                + #""source":"disk.img","token":"\#(tokenText)","version":1,\#(volumeText)"#),
        DocumentCase(
            ReaderRef(id: token, node: name("n1"), commit: commit, purpose: .fork),
            golden: #"{"checksum":"9a11266aa1b7cc0e6a873999e289a174","#
                + #""id":"\#(tokenText)","kind":"reader","label":1800000000,"node":"n1","#
                + #""purpose":"fork","sequence":42,"token":"\#(tokenText)","version":1,"#
                + volumeText),
        DocumentCase(
            NodeBeat(
                node: name("n1"), number: 5, address: "n1:8080", labelSeconds: 7,
                volumes: [volume]),
            golden: #"{"address":"n1:8080","#
                + #""checksum":"609a7dfb9ddeb58814abe4ea771f67b1","#
                + #""kind":"beat","label":7,"n":5,"node":"n1","#
                + #""version":1,"volumes":["0102030405060708090a0b0c0d0e0f10"]}"#),
        DocumentCase(
            CondemnedSet(
                run: 4,
                groups: [
                    CondemnedSet.Group(
                        labelSeconds: 7, keys: CollectedKeys(commits: [commitKey], packs: [pack])),
                    CondemnedSet.Group(
                        labelSeconds: 9, keys: CollectedKeys(commits: [otherKey])),
                ]),
            golden: #"{"checksum":"ef27e737a487c2bdb9d3873ac37a5352","#
                + #""groups":[{"commits":["\#(commitText)"],"label":7,"packs":["#
                + #""\#(packText)"]},{"commits":["\#(otherText)"],"label":9,"packs":[]}],"#
                + #""kind":"condemned","run":4,"version":1}"#),
        DocumentCase(
            CollectionPlan(
                run: 5, node: "n1", labelSeconds: 8,
                keys: CollectedKeys(commits: [commitKey], packs: [pack])),
            golden: #"{"checksum":"2ab23d4b36568a90489b5595bd7460f9","#
                + #""commits":["\#(commitText)"],"kind":"collection","label":8,"node":"n1","#
                + #""packs":["\#(packText)"],"run":5,"version":1}"#),
        DocumentCase(
            CollectionStop(id: token, node: "n1", pack: pack, run: 5, commit: commit),
            golden: #"{"checksum":"68e7af86b058d70b18410780ff3504ce","#
                + #""id":"\#(tokenText)","kind":"stop","label":1800000000,"node":"n1","#
                + #""pack":"\#(packText)","run":5,"sequence":42,"token":"\#(tokenText)","#
                + #""version":1,\#(volumeText)"#),
    ]
}

@Suite("Documents")
struct DocumentTests {
    @Test(
        "each document has one encoding, which its golden text keeps", arguments: DocumentCase.all)
    func golden(sample: DocumentCase) throws {
        #expect(String(decoding: sample.encoded, as: UTF8.self) == sample.golden + "\n")
        #expect(try sample.again(sample.encoded) == sample.encoded)
    }

    @Test(
        "a flipped byte is refused, and so is a missing one, but for the line's end",
        arguments: DocumentCase.all)
    func flips(sample: DocumentCase) throws {
        for offset in sample.encoded.indices {
            for mask in [UInt8](arrayLiteral: 1, 2, 4, 8, 16, 32, 64, 128, 255) {
                var bytes = sample.encoded
                bytes[offset] ^= mask
                #expect(throws: DocumentError.self) { try sample.again(bytes) }
            }
            let head = Array(sample.encoded[..<offset])
            if offset < sample.encoded.count - 1 {
                #expect(throws: DocumentError.self) { try sample.again(head) }
            } else {
                #expect(try sample.again(head) == sample.encoded)
            }
        }
    }

    @Test("what became another valid document is damaged, whatever is in it")
    func otherDocument() throws {
        let one = BaseRef(
            name: try #require(RefName("b")), number: 2,
            commit: CommitPointer(
                volume: VolumeID(low: 1, high: 2), sequence: CommitSequence(42),
                token: Token(low: 1, high: 2), labelSeconds: 7), source: "disk.img")
        let text = String(decoding: one.encoded, as: UTF8.self)
        let other = Array(text.replacingOccurrences(of: ":42,", with: ":43,").utf8)
        #expect(throws: DocumentError.damaged(kind: "base")) { try BaseRef(decoding: other) }
        let sealed = try #require(BaseRef.sealing(other))
        #expect(try BaseRef(decoding: sealed).commit.sequence == CommitSequence(43))
    }

    @Test("an unknown key and another version are refused by name", arguments: DocumentCase.all)
    func strict(sample: DocumentCase) throws {
        let text = String(decoding: sample.encoded, as: UTF8.self)
        let extended = text.replacingOccurrences(
            of: #""kind":"\#(sample.name)""#, with: #""kind":"\#(sample.name)","zzz":1"#)
        #expect(throws: DocumentError.unknownKey(kind: sample.name, key: "zzz")) {
            try sample.again(Array(extended.utf8))
        }
        let newer = text.replacingOccurrences(of: #""version":1"#, with: #""version":2"#)
        #expect(
            throws: DocumentError.unsupportedVersion(kind: sample.name, found: 2, supported: 1)
        ) {
            try sample.again(Array(newer.utf8))
        }
        let large = Array(text.utf8) + [UInt8](repeating: 0x20, count: 65 << 20)
        #expect(throws: DocumentError.self) { try sample.again(large) }
    }

    @Test(
        "what is not the subset of JSON is refused",
        arguments: [
            "", "{", "[]", "{}x", #"{"a":1,"a":2}"#, #"{"a":01}"#, #"{"a":1.5}"#, #"{"a":-1}"#,
            #"{"a":null}"#, #"{"a":"\n"}"#, #"{"a":"\u0041"}"#, #"{"a":18446744073709551616}"#,
            #"{"a":1,}"#, "{\"a\":\"\u{1}\"}", String(repeating: "[", count: 100_000),
        ])
    func malformed(text: String) {
        #expect(throws: DocumentError.self) { try Repository(decoding: Array(text.utf8)) }
    }

    @Test("a set of the collector names commits and packs only, each once, in order of time")
    func condemnedTrustsNothing() {
        let commit = "volumes/0102030405060708090a0b0c0d0e0f10/commits/ffffffffffffffd5.42"
        func group(_ label: Int, _ commits: [String], packs: [String] = []) -> String {
            let quoted = [commits, packs].map { list in
                "[" + list.map { "\"\($0)\"" }.joined(separator: ",") + "]"
            }
            return "{\"commits\":\(quoted[0]),\"label\":\(label),\"packs\":\(quoted[1])}"
        }
        func decode(_ groups: [String]) throws(DocumentError) -> CondemnedSet {
            let text =
                "{\"groups\":[\(groups.joined(separator: ","))],\"kind\":\"condemned\","
                + "\"run\":4,\"version\":1}"
            return try CondemnedSet(decoding: CondemnedSet.sealing(Array(text.utf8)) ?? [])
        }
        #expect(throws: Never.self) { try decode([group(7, [commit])]) }
        #expect(throws: Never.self) { try decode([]) }
        for bad in [
            [group(7, ["refs/exports/prod/fffffffffffffffe"])], [group(7, ["martlet.json"])],
            [group(7, [commit, commit])], [group(7, [commit]), group(8, [commit])],
            [group(7, [commit]), group(7, [], packs: ["packs/x"])], [group(7, [])],
            [group(7, [], packs: [commit])],
        ] {
            #expect(throws: DocumentError.self) { try decode(bad) }
        }
    }

    @Test("keys of refs parse back to what built them, and nothing else parses")
    func keys() throws {
        let name = try #require(RefName("prod.1"))
        let keys: [RefKey] = [
            .repository, .snapshot(name, CommitSequence(42)), .reader(Token(low: 1, high: 2)),
            .numbered(.export(name), 1), .numbered(.tag(name), 1 << 63 - 1),
            .numbered(.base(name), 7),
            .numbered(.node(name), 9), .numbered(.collection, 3),
            .numbered(.collectionPlan, 4), .stop(Token(low: 3, high: 4)),
        ]
        for key in keys { #expect(RefKey(parsing: key.text) == key) }
        #expect(RefSeries.export(name).key(1) == "refs/exports/prod.1/fffffffffffffffe")
        #expect(
            RefKey.snapshot(name, CommitSequence(42)).text
                == "refs/snapshots/prod.1/00000000000000000042")
        for key in keys {
            let text = Array(key.text.utf8)
            for offset in text.indices {
                var changed = text
                changed[offset] ^= 0x20
                let other = String(decoding: changed, as: UTF8.self)
                if let parsed = RefKey(parsing: other) { #expect(parsed.text == other) }
            }
        }
        let foreign = [
            "refs/exports/prod/ffffffffffffffff", "refs/exports/prod/FFFFFFFFFFFFFFFE",
            "refs/exports/../fffffffffffffffe", "refs/snapshots/prod/42", "refs/exports/prod/",
            "refs/snapshots/prod/00000000000000000000", "refs/readers/", "gc/x", "nodes/a",
            "refs/snapshots/prod/99999999999999999999", "refs/exports//fffffffffffffffe", "",
            "refs/snapshots/prod/09223372036854775808", "refs/tags/prod/7fffffffffffffff",
        ]
        for key in foreign { #expect(RefKey(parsing: key) == nil, "\(key)") }
    }

    @Test("names are 1 to 128 of A-Z a-z 0-9 . _ - and begin with a letter or a digit")
    func names() {
        for good in ["a", "9", "a.b_c-d", String(repeating: "x", count: 128)] {
            #expect(RefName(good)?.text == good)
        }
        for bad in ["", ".", "..", "-a", "_a", "a/b", "a b", "a\0", "é", "a:b", "a@1"] {
            #expect(RefName(bad) == nil)
        }
        #expect(RefName(String(repeating: "x", count: 129)) == nil)
    }
}
