// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The packs that tables name, by number, and what the store says of each.

import Formats
import Primitives

struct VerifyPacks {
    struct Record {
        let id: PackID
        /// Bytes of the object; nil: it is not in the store.
        var size: UInt64?
        /// Absence was asked for by name, not only not listed.
        var isCertain: Bool
        /// Trailer, index and header have been looked at.
        var isExamined = false
        /// What was wrong there.
        var faults: [FaultPlace] = []
    }

    /// Objects as listed, until a table names them.
    private var listed: [PackID: UInt64] = [:]
    private var numbers: [PackID: UInt32] = [:]
    private(set) var records: [Record] = []
    /// Bytes of the packs that are named.
    private(set) var bytesInUse: UInt64 = 0

    init() {}

    mutating func list(_ pack: PackID, bytes: UInt64) { listed[pack] = bytes }

    mutating func number(of pack: PackID) -> UInt32 {
        if let known = numbers[pack] { return known }
        let number = UInt32(records.count)
        let size = listed[pack]
        numbers[pack] = number
        records.append(Record(id: pack, size: size, isCertain: size != nil))
        bytesInUse += size ?? 0
        return number
    }

    subscript(number: UInt32) -> Record {
        get { records[Int(number)] }
        set { records[Int(number)] = newValue }
    }
}
