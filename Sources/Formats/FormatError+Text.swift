// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A refusal as one line for people: which format, which field, where, what was found.

internal import Primitives

extension FormatError {
    /// One line: `journal batch: number at offset 24 is 0`.
    public var explanation: String { format.rawValue + ": " + detail }

    private var detail: String {
        switch self {
        case .truncated(_, let offset, let wanted, let available):
            "ends at offset \(offset): \(wanted) bytes wanted, \(available) there"
        case .trailingBytes(_, let offset, let count):
            "\(count) bytes too many from offset \(offset) on"
        case .wrongMagic(_, let found, let expected):
            "magic at the start is \(Self.word(found)), not \(Self.word(expected))"
        case .unsupportedVersion(_, let found, let supported):
            "version is \(found), this program reads \(supported)"
        case .wrongChecksum(_, let offset, let found, let expected):
            "checksum at offset \(offset) is \(Self.word(found)), the bytes have"
                + " \(Self.word(expected))"
        case .wrongHash(_, let found, let expected): "hash is \(found), not \(expected)"
        case .reservedNotZero(_, let offset): "reserve at offset \(offset) is not zero"
        case .badValue(_, let field, let offset, let found):
            "\(field) at offset \(offset) is \(found)"
        case .wrongIdentity(_, let field, let found, let expected):
            "\(field) is \(Self.word(found)), not \(Self.word(expected))"
        case .corruptCompression(_, let stored, let expected):
            "\(stored) stored bytes do not yield \(expected)"
        case .malformedKey(_, let key): "\"\(key)\" is no key of ours"
        }
    }

    private static func word(_ value: UInt64) -> String { hexadecimal(value, digits: 16) }
}
