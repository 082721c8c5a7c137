// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Commits. Nothing carries the hash of a commit, so a source's whole commit of the same number is
// not enough: a copy of a repository that somebody wrote to has other commits under the same keys.
// The commit behind it names its token, and so do refs; else what is left of its own bytes speaks.

import Committer
import Formats
import ObjectStore
import Primitives
import VolumeMap

extension Repairer {
    mutating func repairCommits(
        of report: VerifyReport, _ verifier: Verifier<Store>
    ) throws(VerifyError) {
        for fault in report.faults where fault.kind != .inconsistent {
            guard let key = try? CommitKey(key: fault.key) else { continue }
            if outcomes[fault.key]?.result == .repaired { continue }
            try repair(key, isNamed: fault.isNamed, tokens: verifier.tokens(of: key))
        }
    }

    private mutating func repair(
        _ key: CommitKey, isNamed: Bool, tokens: Set<Token>
    ) throws(VerifyError) {
        let own = try fresh(key.key, limit: CommitLimits.commitBytesMax) {
            Self.decode($0, key) != nil
        }
        if own?.isWhole == true { return note(key.key, .repaired, "it is whole now") }
        guard tokens.count <= 1 else {
            let words = tokens.map(\.description).sorted().joined(separator: ", ")
            return note(key.key, .notRepaired, "refs and commits name unlike tokens: \(words)")
        }
        let found = candidates(key.key, limit: CommitLimits.commitBytesMax) {
            Self.decode($0, key) != nil
        }
        let ours = found.first { candidate in
            tokens.first.map { $0 == Self.decode(candidate.bytes, key)?.token }
                ?? (candidate.source.vouches || Self.isKin(own?.bytes ?? [], candidate.bytes))
        }
        guard let ours else {
            return noteUnproven(key.key, found, "the commit of that number")
        }
        try write(
            key.key, ours.bytes, isMissing: own == nil, isNamed: isNamed, "the whole commit",
            from: [ours.source.name])
    }

    static func decode(_ bytes: [UInt8], _ key: CommitKey) -> Commit? {
        bytes.withUnsafeBytes { try? Commit(decoding: $0, key: key) }
    }

    /// Whether damaged bytes were those of a commit: the hash that they state is its hash, or all
    /// but the hash is the same.
    private static func isKin(_ damaged: [UInt8], _ whole: [UInt8]) -> Bool {
        let hash = 48..<64
        guard damaged.count >= hash.upperBound, whole.count >= hash.upperBound else { return false }
        if damaged[hash] == whole[hash] { return true }
        return damaged[..<hash.lowerBound] == whole[..<hash.lowerBound]
            && damaged[hash.upperBound...] == whole[hash.upperBound...]
    }
}

extension Verifier {
    /// The tokens that the next commit and refs give a commit.
    func tokens(of key: CommitKey) -> Set<Token> {
        var tokens = pinned[key] ?? []
        let next = CommitKey(volume: key.volume, sequence: key.sequence.next)
        if let subject = subjectByKey[next], subjects[subject].weight > 0,
            !subjects[subject].parentToken.isZero
        {
            tokens.insert(subjects[subject].parentToken)
        }
        return tokens
    }
}
