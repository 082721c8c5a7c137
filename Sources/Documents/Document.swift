// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What all documents share: a kind, a version and a checksum inside, one canonical encoding, a
// decoder that refuses unknown keys by name, and a bound on size. A document is encoded on one line
// that ends in a newline.

public import Primitives

/// A small JSON object of the repository or of the cache directory.
public protocol Document: Equatable, Sendable {
    /// The value of `kind`.
    static var kind: String { get }
    /// The value of `version` that this program writes and reads.
    static var version: UInt64 { get }
    /// Bytes that a decoder accepts at most.
    static var bytesMax: Int { get }

    /// Everything but `kind`, `version` and `checksum`.
    var members: [String: JSONValue] { get }

    /// Takes every member it knows from `reader` and checks it.
    init(reading reader: inout MemberReader) throws(DocumentError)
}

extension Document {
    public static var version: UInt64 { 1 }
    public static var bytesMax: Int { Limits.documentBytesMax }

    /// The canonical bytes.
    public var encoded: [UInt8] {
        var all = members
        all["kind"] = .string(Self.kind)
        all["version"] = .number(Self.version)
        return Self.sealed(all)
    }

    private static func sealed(_ members: [String: JSONValue]) -> [UInt8] {
        var all = members
        all["checksum"] = .string(checksum(of: members))
        return JSONValue.object(all).encoded + [UInt8(ascii: "\n")]
    }

    /// An object of JSON with the checksum that it must have; nil if `bytes` are none. For tests
    /// and fuzzers, which write documents by hand.
    package static func sealing(_ bytes: [UInt8]) -> [UInt8]? {
        guard case .object(var members) = try? JSONValue(parsing: bytes) else { return nil }
        members["checksum"] = nil
        return sealed(members)
    }

    /// BLAKE3 of the canonical text of all members but itself, as 32 hexadecimal digits.
    private static func checksum(of members: [String: JSONValue]) -> String {
        JSONValue.object(members).encoded.withUnsafeBytes {
            BLAKE3.hash($0, domain: .document).description
        }
    }

    /// The checksum is looked at last, so that what is not a document of this version is named.
    public init(decoding bytes: [UInt8]) throws(DocumentError) {
        guard bytes.count <= Self.bytesMax else {
            throw .tooLarge(kind: Self.kind, bytes: bytes.count, limit: Self.bytesMax)
        }
        guard case .object(let members) = try JSONValue(parsing: bytes) else {
            throw .malformed(offset: 0, detail: "not an object")
        }
        var reader = MemberReader(kind: Self.kind, members: members)
        let kind = try reader.string("kind")
        guard kind == Self.kind else { throw .wrongKind(expected: Self.kind, found: kind) }
        let version = try reader.number("version")
        guard version == Self.version else {
            throw .unsupportedVersion(kind: kind, found: version, supported: Self.version)
        }
        let checksum = try reader.string("checksum")
        try self.init(reading: &reader)
        try reader.finish()
        var rest = members
        rest["checksum"] = nil
        guard checksum == Self.checksum(of: rest) else { throw .damaged(kind: Self.kind) }
    }
}

/// The checksum as it lies in a document's bytes.
package enum DocumentChecksum {
    /// Where its 32 digits are; nil where there are none. The canonical encoding has no white
    /// space, and quotes in strings are escaped.
    package static func place(in bytes: [UInt8]) -> Range<Int>? {
        guard let name = bytes.firstRange(of: Array(#""checksum":""#.utf8)) else { return nil }
        let digits = name.upperBound..<(name.upperBound + 32)
        return digits.upperBound <= bytes.count ? digits : nil
    }
}

/// Hands out the members of an object one by one; what nobody took is an unknown key.
public struct MemberReader {
    public let kind: String
    private var members: [String: JSONValue]

    init(kind: String, members: [String: JSONValue]) {
        self.kind = kind
        self.members = members
    }

    public func badValue(_ key: String) -> DocumentError { .badValue(kind: kind, key: key) }

    private mutating func take(_ key: String) throws(DocumentError) -> JSONValue {
        guard let value = members.removeValue(forKey: key) else {
            throw .missingKey(kind: kind, key: key)
        }
        return value
    }

    /// True if the member is there: an optional one is absent, never null.
    public func has(_ key: String) -> Bool { members[key] != nil }

    public mutating func string(_ key: String) throws(DocumentError) -> String {
        guard case .string(let text) = try take(key) else { throw badValue(key) }
        return text
    }

    /// A text for people: at most `limit` bytes.
    public mutating func text(_ key: String, limit: Int) throws(DocumentError) -> String {
        let text = try string(key)
        guard text.utf8.count <= limit else { throw badValue(key) }
        return text
    }

    public mutating func number(_ key: String) throws(DocumentError) -> UInt64 {
        guard case .number(let number) = try take(key) else { throw badValue(key) }
        return number
    }

    public mutating func bool(_ key: String) throws(DocumentError) -> Bool {
        guard case .bool(let flag) = try take(key) else { throw badValue(key) }
        return flag
    }

    public mutating func array(_ key: String) throws(DocumentError) -> [JSONValue] {
        guard case .array(let elements) = try take(key) else { throw badValue(key) }
        return elements
    }

    public mutating func identifier<ID: Identifier128>(
        _ key: String, as type: ID.Type = ID.self
    ) throws(DocumentError) -> ID {
        guard let id = ID(hexadecimal: try string(key)), !id.isZero else { throw badValue(key) }
        return id
    }

    public mutating func name(_ key: String) throws(DocumentError) -> RefName {
        guard let name = RefName(try string(key)) else { throw badValue(key) }
        return name
    }

    /// A document's number in its series: 1...Limits.numberMax.
    public mutating func seriesNumber(_ key: String) throws(DocumentError) -> UInt64 {
        let number = try number(key)
        guard (1...Limits.numberMax).contains(number) else { throw badValue(key) }
        return number
    }

    /// A commit's number: 1...Limits.numberMax.
    public mutating func sequence(_ key: String) throws(DocumentError) -> CommitSequence {
        CommitSequence(try seriesNumber(key))
    }

    /// One of an enumeration's spellings.
    public mutating func choice<Value: RawRepresentable<String>>(
        _ key: String, as type: Value.Type = Value.self
    ) throws(DocumentError) -> Value {
        guard let value = Value(rawValue: try string(key)) else { throw badValue(key) }
        return value
    }

    /// A nested object: `body` takes its members, all of them.
    public mutating func object<Value>(
        _ key: String, _ body: (inout MemberReader) throws(DocumentError) -> Value
    ) throws(DocumentError) -> Value {
        guard case .object(let members) = try take(key) else { throw badValue(key) }
        return try Self.read(members, kind: "\(kind).\(key)", body)
    }

    /// Objects in an array.
    public mutating func objects<Value>(
        _ key: String, _ body: (inout MemberReader) throws(DocumentError) -> Value
    ) throws(DocumentError) -> [Value] {
        var values: [Value] = []
        for element in try array(key) {
            guard case .object(let members) = element else { throw badValue(key) }
            values.append(try Self.read(members, kind: "\(kind).\(key)", body))
        }
        return values
    }

    private static func read<Value>(
        _ members: [String: JSONValue], kind: String,
        _ body: (inout MemberReader) throws(DocumentError) -> Value
    ) throws(DocumentError) -> Value {
        var reader = MemberReader(kind: kind, members: members)
        let value = try body(&reader)
        try reader.finish()
        return value
    }

    /// Fails with the first key, in order, that nobody took.
    func finish() throws(DocumentError) {
        if let key = members.keys.min() { throw .unknownKey(kind: kind, key: key) }
    }
}

extension JSONValue {
    static func identifier(_ id: some Identifier128) -> JSONValue { .string(id.description) }
    static func scalar(_ value: some Scalar) -> JSONValue { .number(value.rawValue) }
}
