// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The subset of XML that S3 answers in: elements, text, the five entities, numbered characters,
// CDATA. Attributes are passed over, document types refused. Own code, since the alternative brings
// two C libraries with it; bounded, since it reads what a server chose to send.

/// An element with its text and the elements in it, in order.
struct XMLElement: Equatable {
    /// Elements within one another; S3 uses four.
    static let depthMax = 16
    /// Elements of one answer: a page of 1,000 keys has some 12,000.
    static let countMax = 65_536

    /// Without a namespace's prefix.
    var name: String
    /// All its own text, white space included.
    var text = ""
    var children: [XMLElement] = []

    /// The first child of that name.
    func child(_ name: String) -> XMLElement? { children.first { $0.name == name } }

    /// The text of the first child of that name.
    func text(_ name: String) -> String? { child(name)?.text }

    func all(_ name: String) -> [XMLElement] { children.filter { $0.name == name } }

    /// Parses one document; nil if it is none, or beyond the bounds.
    static func parse(_ bytes: [UInt8]) -> XMLElement? {
        var parser = XMLParser(bytes: bytes)
        return parser.document()
    }
}

/// Walks the bytes once; open elements are on a stack of its own.
private struct XMLParser {
    let bytes: [UInt8]
    private var offset = 0
    private var open: [XMLElement] = []
    private var count = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() -> XMLElement? {
        var root: XMLElement?
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { offset = 3 }
        while offset < bytes.count {
            if bytes[offset] == UInt8(ascii: "<") {
                switch markup() {
                case .closed(let element):
                    guard root == nil else { return nil }
                    root = element
                case .inside: continue
                case .broken: return nil
                }
            } else {
                guard let text = text() else { return nil }
                if open.isEmpty {
                    guard text.utf8.allSatisfy({ [0x20, 0x09, 0x0A, 0x0D].contains($0) }) else {
                        return nil
                    }
                } else {
                    open[open.count - 1].text += text
                }
            }
        }
        return open.isEmpty ? root : nil
    }

    private enum Step {
        /// The outermost element ended.
        case closed(XMLElement)
        case inside
        case broken
    }

    /// At a `<`.
    private mutating func markup() -> Step {
        if skip("<?") { return skipPast("?>") ? .inside : .broken }
        if skip("<!--") { return skipPast("-->") ? .inside : .broken }
        if skip("<![CDATA[") {
            let start = offset
            guard !open.isEmpty, skipPast("]]>"),
                let text = String(validating: bytes[start..<(offset - 3)], as: UTF8.self)
            else { return .broken }
            open[open.count - 1].text += text
            return .inside
        }
        if skip("<!") { return .broken }
        if skip("</") {
            guard let name = name(), let element = open.popLast(), element.name == name else {
                return .broken
            }
            skipSpace()
            guard skip(">") else { return .broken }
            return close(element)
        }
        return begin()
    }

    private mutating func begin() -> Step {
        offset += 1
        count += 1
        guard count <= XMLElement.countMax, open.count < XMLElement.depthMax, let name = name()
        else { return .broken }
        // Attributes: quoted text may hold a closing bracket.
        var quote: UInt8?
        while offset < bytes.count {
            let byte = bytes[offset]
            offset += 1
            if let open = quote {
                if byte == open { quote = nil }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "'"): quote = byte
            case UInt8(ascii: "<"): return .broken
            case UInt8(ascii: ">"):
                let element = XMLElement(name: name)
                if bytes[offset - 2] == UInt8(ascii: "/") { return close(element) }
                open.append(element)
                return .inside
            default: continue
            }
        }
        return .broken
    }

    private mutating func close(_ element: XMLElement) -> Step {
        guard !open.isEmpty else { return .closed(element) }
        open[open.count - 1].children.append(element)
        return .inside
    }

    /// A name without its namespace's prefix.
    private mutating func name() -> String? {
        let start = offset
        while offset < bytes.count, isName(bytes[offset]) { offset += 1 }
        let name = String(decoding: bytes[start..<offset], as: UTF8.self)
        return name.split(separator: ":").last.map(String.init)
    }

    private func isName(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x80...0xFF: true
        case UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: ":"): true
        default: false
        }
    }

    /// Text up to the next `<`, entities replaced; nil if there is an unknown one.
    private mutating func text() -> String? {
        var content: [UInt8] = []
        while offset < bytes.count, bytes[offset] != UInt8(ascii: "<") {
            guard bytes[offset] == UInt8(ascii: "&") else {
                content.append(bytes[offset])
                offset += 1
                continue
            }
            let end = bytes[offset...].prefix(12).firstIndex(of: UInt8(ascii: ";"))
            guard let end, let scalar = Self.entity(bytes[(offset + 1)..<end]) else { return nil }
            content += Array(String(Character(scalar)).utf8)
            offset = end + 1
        }
        return String(validating: content, as: UTF8.self)
    }

    private static func entity(_ name: ArraySlice<UInt8>) -> Unicode.Scalar? {
        let name = String(decoding: name, as: UTF8.self)
        switch name {
        case "amp": return "&"
        case "lt": return "<"
        case "gt": return ">"
        case "quot": return "\""
        case "apos": return "'"
        default:
            guard name.hasPrefix("#") else { return nil }
            let digits = name.dropFirst()
            let number =
                digits.hasPrefix("x") ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
            return number.flatMap(Unicode.Scalar.init)
        }
    }

    private mutating func skipSpace() {
        while offset < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[offset]) { offset += 1 }
    }

    private mutating func skip(_ mark: StaticString) -> Bool {
        let length = mark.utf8CodeUnitCount
        guard offset + length <= bytes.count else { return false }
        for index in 0..<length where bytes[offset + index] != mark.utf8Start[index] {
            return false
        }
        offset += length
        return true
    }

    private mutating func skipPast(_ mark: StaticString) -> Bool {
        while offset < bytes.count {
            if skip(mark) { return true }
            offset += 1
        }
        return false
    }
}
