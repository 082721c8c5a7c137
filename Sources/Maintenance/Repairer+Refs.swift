// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Refs, and other documents. A source may have another meaning of the same name, which is as whole:
// a copy of a repository that somebody worked with has other refs under the same keys. What is left
// of a document speaks for one: a checksum of 128 bits is in it. So does the next of its series.

import Documents
import ObjectStore
import Primitives
import VolumeMap

extension Repairer {
    mutating func repairRefs(of report: VerifyReport) throws(VerifyError) {
        for fault in report.faults where fault.kind != .inconsistent {
            guard let key = RefKey(parsing: fault.key) else { continue }
            if outcomes[fault.key]?.result == .repaired { continue }
            try repair(key)
        }
    }

    private mutating func repair(_ key: RefKey) throws(VerifyError) {
        let text = key.text
        let limit = VerifyRef.bytesMax(key)
        let own = try fresh(text, limit: limit) { Self.isWhole($0, text) }
        if own?.isWhole == true { return note(text, .repaired, "it is whole now") }
        let found = candidates(text, limit: limit) { Self.isWhole($0, text) }
        let next = try nextInSeries(key)
        let ours = found.first { candidate in
            candidate.source.vouches || Self.isKin(own?.bytes ?? [], of: candidate.bytes)
                || next.map { next in
                    let there = try? candidate.source.object(next.key, limit: next.bytes.count)
                    return there == next.bytes
                } == true
        }
        guard let ours else { return noteUnproven(text, found, "the ref of that name") }
        try put(text, ours.bytes, isMissing: own == nil, "the whole ref", from: [ours.source.name])
    }

    private static func isWhole(_ bytes: [UInt8], _ key: String) -> Bool {
        (try? VerifyRef.decode(key, bytes)) != nil
    }

    /// The document behind this one, if it is whole.
    private func nextInSeries(
        _ key: RefKey
    ) throws(VerifyError) -> (key: String, bytes: [UInt8])? {
        guard case .numbered(let series, let number) = key, number < .max else { return nil }
        let next = series.key(number + 1)
        guard
            let found = try fresh(
                next, limit: VerifyRef.bytesMax(key),
                isWhole: {
                    Self.isWhole($0, next)
                }), found.isWhole
        else { return nil }
        return (next, found.bytes)
    }

    /// Whether damaged bytes were those of a document: they have its checksum in them, or all but
    /// the checksum is the same.
    private static func isKin(_ damaged: [UInt8], of whole: [UInt8]) -> Bool {
        guard let place = DocumentChecksum.place(in: whole) else { return false }
        if damaged.contains(whole[place]) { return true }
        return damaged.count == whole.count
            && damaged[..<place.lowerBound] == whole[..<place.lowerBound]
            && damaged[place.upperBound...] == whole[place.upperBound...]
    }
}
