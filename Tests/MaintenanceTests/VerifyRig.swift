// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One damage to a repository: what verify says of it, held against what reads really do.

import Documents
import Formats
import Maintenance
import ObjectStore
import Primitives
import RepositorySupport
import Testing
import VolumeMap

extension SmallRepository {
    func verify(
        _ change: (inout VerifyOptions) -> Void = { _ in }
    ) throws -> VerifyReport {
        var options = VerifyOptions()
        change(&options)
        var verifier = Verifier(
            store: store, options: options, random: SplitMix64(seed: 3))
        return try verifier.run()
    }

    /// Bytes of a commit that the report says cannot be read.
    func reported(_ report: VerifyReport, _ key: CommitKey) -> [Range<UInt64>] {
        (report.faults + report.notes).flatMap(\.hits).filter {
            $0.volume == key.volume && $0.sequences.contains(key.sequence)
        }.flatMap(\.ranges)
    }

    /// Holds a report on one damaged object against the store as it is: what it says cannot be read
    /// cannot, all else reads right.
    func expectExact(_ report: VerifyReport, _ comment: String, damaged: String?) throws {
        for (key, blocks) in contents {
            let ranges = reported(report, key)
            // A ref decides what can be found, not what can be read.
            if damaged.flatMap({ RefKey(parsing: $0) }) != nil { continue }
            if let damaged, needs[key]?.contains(damaged) != true {
                if !ranges.isEmpty { Issue.record("\(comment): \(key) does not need it") }
                continue
            }
            // A commit that is gone is a state that nobody asks for, unless a ref does.
            if store.objects[key.key] == nil { continue }
            let (failed, isRight) = try readBack(key)
            #expect(isRight, "\(comment): commit \(key) reads wrong")
            let root = try #require(roots[key])
            let size = root.size.rawValue
            let blockBytes = UInt64(root.blockBytes)
            for block in blocks.keys {
                let bytes = (block * blockBytes)..<min((block + 1) * blockBytes, size)
                let isReported = ranges.contains { $0.overlaps(bytes) }
                let isWhollyReported = ranges.contains {
                    $0.lowerBound <= bytes.lowerBound && bytes.upperBound <= $0.upperBound
                }
                // Not an expectation each: there are very many.
                guard failed.contains(block) != isReported || isReported != isWhollyReported
                else { continue }
                Issue.record("\(comment): block \(block) of \(key): reported \(isReported)")
            }
            #expect(ranges.allSatisfy { $0.upperBound <= size }, "\(comment): past the end")
        }
    }

    /// Volumes that depend on an object, by what its key says.
    func owner(of key: String) -> VolumeID? {
        (try? CommitKey(key: key))?.volume ?? (try? PackID(key: key))?.volume
    }

    /// Damages nothing but one object, looks, and puts it back.
    func damaged(
        _ key: String, _ bytes: [UInt8]?, _ comment: String,
        _ judge: (VerifyReport) throws -> Void = { _ in }
    ) throws {
        let whole = try #require(store.objects[key])
        try replace(key, bytes)
        let report = try verify()
        try expectExact(report, "\(key) \(comment)", damaged: key)
        try judge(report)
        try replace(key, whole)
    }

    /// That the object is named, with a volume that depends on it.
    func expectNamed(_ report: VerifyReport, _ key: String, _ comment: String) {
        let named = report.faults.filter { $0.key == key }
        #expect(!named.isEmpty, "\(comment): \(key) is not named")
        guard let owner = owner(of: key) else { return }
        #expect(named.allSatisfy { $0.owner == owner }, "\(comment)")
        #expect(named.contains { !$0.hits.isEmpty }, "\(comment): \(key) hits nobody")
    }
}
