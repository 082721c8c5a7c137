// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A valid name of an export, snapshot, tag, base or node: 1 to 128 of `[A-Za-z0-9._-]`, the first
// alphanumeric. Nothing else ever becomes part of a key, so no name can reach outside its folder.

import Primitives

public struct RefName: Hashable, Comparable, Sendable, CustomStringConvertible {
    public let text: String

    public init?(_ text: some StringProtocol) {
        guard (1...Limits.nameCharactersMax).contains(text.utf8.count) else { return nil }
        for (index, byte) in text.utf8.enumerated() {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                continue
            case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                guard index > 0 else { return nil }
            default: return nil
            }
        }
        self.text = String(text)
    }

    public var description: String { text }

    /// By bytes, as the store lists.
    public static func < (left: RefName, right: RefName) -> Bool {
        left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
    }
}
