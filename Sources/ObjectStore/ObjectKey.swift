// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The rule of keys, checked by every store before anything else, so that one that accepts more
// never hides a key that another would refuse.

import Primitives

package enum ObjectKey {
    package static let bytesMax = 512
    /// File systems take no longer name.
    private static let componentBytesMax = 255

    /// Throws `refused` unless the key follows the rule that `ObjectStore` states.
    package static func check(_ key: String) throws(ObjectStoreError) {
        guard key.utf8.count <= bytesMax else {
            throw .refused(key: key, detail: "the key is longer than \(bytesMax) bytes")
        }
        for component in key.parts(between: "/") where !isComponent(component) {
            throw .refused(key: key, detail: "\"\(component)\" is no part of a key")
        }
    }

    /// A listing's prefix is any beginning of a key, also an empty one.
    package static func check(prefix: String) throws(ObjectStoreError) {
        guard prefix.utf8.count <= bytesMax,
            prefix.utf8.allSatisfy({ isAllowed($0) || $0 == UInt8(ascii: "/") })
        else { throw .refused(key: prefix, detail: "no key begins like this") }
    }

    package static func isKey(_ text: String) -> Bool {
        (try? check(text)) != nil
    }

    static func isComponent(_ text: some StringProtocol) -> Bool {
        let bytes = text.utf8
        let isDots = bytes.count <= 2 && bytes.allSatisfy { $0 == UInt8(ascii: ".") }
        return !isDots && bytes.count <= componentBytesMax && bytes.allSatisfy(isAllowed)
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "-"): true
        default: false
        }
    }
}
