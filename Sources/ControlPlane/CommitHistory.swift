// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The commits of a volume that are there, by the times that their writers noted. Clocks go wrong
// and writers change, so times need not ascend: what is found is a commit made by then whose next
// one was made later. For people who look for a state; no decision about data depends on it.

import Committer
import Documents
import Formats
import ObjectStore
import Primitives

struct CommitHistory<Store: ObjectStore> {
    let refs: RefStore<Store>

    /// The last commit of the export's volume that was made by `seconds`. Reads a commit for each
    /// halving of the history. Fails with `notFound`, naming the oldest, if all were made later.
    func last(of export: ExportRef, notAfter seconds: UInt64) throws(UserError) -> Commit {
        // Newest first. The collector may delete the older ones meanwhile.
        var keys = try refs.keys(prefix: CommitKey.prefix(of: export.volume))
        let sources = CommitSources(refs: refs)
        var found: Commit?
        var oldest: Commit?
        var searched = 0..<keys.count
        while !searched.isEmpty {
            let middle = searched.lowerBound + searched.count / 2
            let key = keys[middle]
            let sequence: CommitSequence
            do throws(FormatError) { sequence = try CommitKey(key: key).sequence } catch {
                throw UserError(refs.what, .damaged(key: key, detail: "\(error)"))
            }
            guard let commit = try sources.commit(of: export.volume, sequence) else {
                keys.remove(at: middle)
                searched = searched.lowerBound..<(searched.upperBound - 1)
                continue
            }
            if commit.labelSeconds <= seconds {
                found = commit
                searched = searched.lowerBound..<middle
            } else {
                oldest = commit
                searched = (middle + 1)..<searched.upperBound
            }
        }
        if let found { return found }
        let first = oldest.map {
            ": the oldest that is there is of \(UTCTime.text($0.labelSeconds))"
        }
        throw UserError(
            .notFound, what: refs.what,
            why: "\(export.name) has no commit of \(UTCTime.text(seconds)) or before"
                + (first ?? ""),
            remedy: "give a later time, or a snapshot that martlet snapshots \(export.name) lists")
    }
}
