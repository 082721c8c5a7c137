// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Takes JSON text apart, one token after another, for whoever must refuse what a general decoder
// forgives: documents, whose bytes have one spelling, and bodies of requests, which may be spelled
// freely but must mean one thing. Both refuse an object with the same key twice.

/// Reads tokens from untrusted bytes. Never reads past the end; recursion is the caller's.
public struct JSONScanner {
    /// Which spellings of a string are taken.
    public enum Strings: Sendable {
        /// The encoder's own alone: `\"`, `\\`, and `\u00xx` for control characters.
        case canonical
        /// All of JSON. Surrogates must come in pairs.
        case any
    }

    private let bytes: [UInt8]
    private let strings: Strings
    private var offset = 0

    public init(_ bytes: [UInt8], strings: Strings) {
        self.bytes = bytes
        self.strings = strings
    }

    public func failure(_ detail: String) -> DocumentError {
        .malformed(offset: offset, detail: detail)
    }

    // MARK: Tokens

    mutating func skipSpace() {
        while offset < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[offset]) { offset += 1 }
    }

    private func peek() throws(DocumentError) -> UInt8 {
        guard offset < bytes.count else { throw failure("the text ends early") }
        return bytes[offset]
    }

    /// The first byte of the next token, which stays.
    public mutating func first() throws(DocumentError) -> UInt8 {
        skipSpace()
        return try peek()
    }

    /// Takes exactly these characters.
    public mutating func expect(_ word: StaticString) throws(DocumentError) {
        for index in 0..<word.utf8CodeUnitCount {
            guard try peek() == word.utf8Start[index] else { throw failure("expected \(word)") }
            offset += 1
        }
    }

    /// Takes `byte` if it comes next.
    private mutating func take(_ byte: UInt8) throws(DocumentError) -> Bool {
        guard try first() == byte else { return false }
        offset += 1
        return true
    }

    /// Fails if anything but white space follows.
    public mutating func end() throws(DocumentError) {
        skipSpace()
        guard offset == bytes.count else { throw failure("bytes behind the value") }
    }

    // MARK: Objects and arrays

    /// An object: `take` is called behind each key and must take the value. A key that is there
    /// twice, however it is spelled, fails.
    public mutating func members(
        _ take: (String, inout JSONScanner) throws(DocumentError) -> Void
    ) throws(DocumentError) {
        skipSpace()
        try expect("{")
        var keys: Set<String> = []
        if try self.take(UInt8(ascii: "}")) { return }
        while true {
            skipSpace()
            let key = try string()
            guard keys.insert(key).inserted else {
                throw failure("the key \(key.prefix(64)) is there twice")
            }
            guard try self.take(UInt8(ascii: ":")) else { throw failure("expected :") }
            try take(key, &self)
            if try self.take(UInt8(ascii: "}")) { return }
            guard try self.take(UInt8(ascii: ",")) else { throw failure("expected , or }") }
        }
    }

    /// An array: `take` must take one element.
    mutating func elements(
        _ take: (inout JSONScanner) throws(DocumentError) -> Void
    ) throws(DocumentError) {
        skipSpace()
        try expect("[")
        if try self.take(UInt8(ascii: "]")) { return }
        while true {
            try take(&self)
            if try self.take(UInt8(ascii: "]")) { return }
            guard try self.take(UInt8(ascii: ",")) else { throw failure("expected , or ]") }
        }
    }

    // MARK: Numbers

    /// A number as it is spelled: sign, whole part without leading zeros, fraction, exponent.
    public mutating func number() throws(DocumentError) -> String {
        let start = offset
        if offset < bytes.count, bytes[offset] == UInt8(ascii: "-") { offset += 1 }
        let whole = offset
        guard digits() > 0 else { throw failure("expected a digit") }
        if offset - whole > 1, bytes[whole] == UInt8(ascii: "0") {
            throw failure("a number with a leading zero")
        }
        if offset < bytes.count, bytes[offset] == UInt8(ascii: ".") {
            offset += 1
            guard digits() > 0 else { throw failure("expected a digit") }
        }
        if offset < bytes.count, bytes[offset] | 0x20 == UInt8(ascii: "e") {
            offset += 1
            if offset < bytes.count, [UInt8(ascii: "+"), UInt8(ascii: "-")].contains(bytes[offset])
            {
                offset += 1
            }
            guard digits() > 0 else { throw failure("expected a digit") }
        }
        return String(decoding: bytes[start..<offset], as: UTF8.self)
    }

    /// Takes digits; how many.
    private mutating func digits() -> Int {
        let start = offset
        while offset < bytes.count, (0x30...0x39).contains(bytes[offset]) { offset += 1 }
        return offset - start
    }

    // MARK: Strings

    public mutating func string() throws(DocumentError) -> String {
        try expect("\"")
        var content: [UInt8] = []
        while true {
            let byte = try peek()
            offset += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: content, as: UTF8.self) else {
                    throw failure("a string that is not UTF-8")
                }
                return text
            case UInt8(ascii: "\\"):
                switch strings {
                case .canonical: content.append(try canonicalEscape())
                case .any: content.append(contentsOf: String(try escape()).utf8)
                }
            case 0..<0x20: throw failure("a control character in a string")
            default: content.append(byte)
            }
        }
    }

    /// The escapes that the encoder makes, and no others: one spelling per string.
    private mutating func canonicalEscape() throws(DocumentError) -> UInt8 {
        let byte = try peek()
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            offset += 1
            return byte
        case UInt8(ascii: "u"):
            try expect("u00")
            let code = UInt8(try hexadecimal(digits: 2, capitals: false))
            guard code < 0x20 else { throw failure("an escape that is not needed") }
            return code
        default: throw failure("an escape that documents do not have")
        }
    }

    private mutating func escape() throws(DocumentError) -> Unicode.Scalar {
        let byte = try peek()
        offset += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "b"): return "\u{08}"
        case UInt8(ascii: "f"): return "\u{0C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return try codePoint()
        default: throw failure("an escape that JSON does not have")
        }
    }

    /// Behind `\u`: one code point, of one escape or of a pair of surrogates.
    private mutating func codePoint() throws(DocumentError) -> Unicode.Scalar {
        let first = try hexadecimal(digits: 4, capitals: true)
        if let scalar = Unicode.Scalar(first) { return scalar }
        guard first < 0xDC00 else { throw failure("half of a surrogate pair") }
        try expect("\\u")
        let second = try hexadecimal(digits: 4, capitals: true)
        guard (0xDC00...0xDFFF).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first & 0x3FF) << 10 + (second & 0x3FF))
        else { throw failure("half of a surrogate pair") }
        return scalar
    }

    private mutating func hexadecimal(
        digits: Int, capitals: Bool
    ) throws(DocumentError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<digits {
            let byte = try peek()
            offset += 1
            switch byte {
            case 0x30...0x39: value = value << 4 | UInt32(byte - 0x30)
            case 0x61...0x66: value = value << 4 | UInt32(byte - 0x61 + 10)
            case 0x41...0x46 where capitals: value = value << 4 | UInt32(byte - 0x41 + 10)
            default: throw failure("expected a hexadecimal digit")
            }
        }
        return value
    }
}
