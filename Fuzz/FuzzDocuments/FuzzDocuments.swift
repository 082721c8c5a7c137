// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Documents: the input as each kind of them, as a bare value, as the key of a ref, and as the body
// of a request.

import Documents
import FuzzSupport

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDocuments(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let bytes = Array(fuzzInput(data, count))
    tryAll(bytes)
    // No mutation finds a checksum: what stands behind it is reached with the right one.
    if let sealed = Repository.sealing(bytes) { tryAll(sealed) }
    if let value = try? JSONValue(parsing: bytes) {
        let text = value.text
        guard let again = try? JSONValue(parsing: Array(text.utf8)) else {
            require(false, "an accepted value has an encoding")
            return 0
        }
        require(again == value, "an accepted value comes back")
        require(again.text.utf8.elementsEqual(text.utf8), "a value has one encoding")
    }
    if let text = String(validating: bytes, as: UTF8.self), let key = RefKey(parsing: text) {
        require(key.text.utf8.elementsEqual(bytes), "a key has one spelling")
    }
    readBody(bytes)
    return 0
}

private func tryAll(_ bytes: [UInt8]) {
    tryOne(Repository.self, bytes)
    tryOne(Identity.self, bytes)
    tryOne(FailedMark.self, bytes)
    tryOne(ExportRef.self, bytes)
    tryOne(SnapshotRef.self, bytes)
    tryOne(TagRef.self, bytes)
    tryOne(BaseRef.self, bytes)
    tryOne(ReaderRef.self, bytes)
    tryOne(NodeBeat.self, bytes)
    tryOne(CondemnedSet.self, bytes)
    tryOne(CollectionPlan.self, bytes)
    tryOne(CollectionStop.self, bytes)
}

private func tryOne<Value: Document>(_ kind: Value.Type, _ bytes: [UInt8]) {
    guard let document = try? Value(decoding: bytes) else { return }
    let encoded = document.encoded
    require((try? Value(decoding: encoded)) == document, "an accepted document comes back")
    require((try? Value(decoding: encoded))?.encoded == encoded, "a document has one encoding")
}

/// One object of strings and numbers in any spelling, as the API takes it.
private func readBody(_ bytes: [UInt8]) {
    var scanner = JSONScanner(bytes, strings: .any)
    var keys: [String] = []
    try? scanner.members { key, scanner throws(DocumentError) in
        keys.append(key)
        if try scanner.first() == UInt8(ascii: "\"") {
            _ = try scanner.string()
        } else {
            let number = try scanner.number()
            require(Double(number) != nil, "what is taken as a number is one")
        }
    }
    require(Set(keys).count == keys.count, "no key is handed out twice")
}
