// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Commits: each is read and decoded, its place and its parent checked. Then they are put into
// batches that fit in memory, forks beside their sources.

import Committer
import Formats
import ObjectStore
import Primitives
import VolumeMap

extension Verifier {
    /// Bytes of decoded commits, and of what is made of them, that are held at one time.
    private static var batchBytesMax: Int { 64 << 20 }
    private static var commitsAtOnce: Int { 64 }

    mutating func listCommits(prefix: String) throws(VerifyError) -> [CommitKey] {
        var keys: [CommitKey] = []
        for entry in try listing(prefix) {
            if let key = try? CommitKey(key: entry.key) {
                keys.append(key)
            } else {
                noteForeign(entry.key)
            }
        }
        return keys
    }

    /// Reads commits, newest first in each volume, and makes them subjects. One that was listed and
    /// is gone was pruned meanwhile.
    mutating func readCommits(_ keys: [CommitKey]) throws(VerifyError) {
        for start in stride(from: 0, to: keys.count, by: Self.commitsAtOnce) {
            let slice = Array(keys[start..<min(start + Self.commitsAtOnce, keys.count)])
            for (key, object) in zip(slice, try commits(slice)) { take(key, object) }
        }
        // What a commit that cannot be read is as large as: its next of kin.
        for commits in history.values {
            let size = commits.map { subjects[$0].size }.max() ?? 0
            for subject in commits where subjects[subject].weight == 0 {
                subjects[subject].size = size
                let place = FaultPlace(subjects[subject].key.key, "commit")
                if log.contains(place) { log.hit(place, subject, subjects[subject].whole) }
            }
        }
    }

    private func commits(
        _ keys: [CommitKey]
    ) throws(VerifyError) -> [ReadObject<Commit>] {
        try objects(keys.map(\.key), limit: CommitLimits.commitBytesMax, as: Commit.self) {
            key, bytes throws(ObjectRefusal) in
            let result = bytes.withUnsafeBytes { lent -> Result<Commit, FormatError> in
                do throws(FormatError) {
                    return .success(try Commit(decoding: lent, key: try CommitKey(key: key)))
                } catch { return .failure(error) }
            }
            switch result {
            case .success(let commit): return commit
            case .failure(let error): throw error.refusal
            }
        }
    }

    private mutating func take(_ key: CommitKey, _ object: ReadObject<Commit>) {
        switch object {
        case .gone: return
        case .value(let commit):
            counts.commits += 1
            let subject = addSubject(key)
            let weight = Self.weight(of: commit)
            subjects[subject].size = commit.size.rawValue
            subjects[subject].weight = weight
            subjects[subject].token = commit.token
            subjects[subject].parentToken = commit.parentToken
            subjects[subject].state = commit.state
            subjects[subject].labelSeconds = commit.labelSeconds
            subjects[subject].family = Self.family(of: commit)
            if heldBytes + weight <= Self.batchBytesMax {
                heldBytes += weight
                subjects[subject].commit = commit
            }
        case .bad(let kind, let detail, _):
            counts.commits += 1
            _ = addSubject(key)
            log.add(FaultPlace(key.key, "commit"), kind, detail, owner: key.volume)
        }
    }

    /// The new subject, in its place in the history of its volume.
    mutating func addSubject(_ key: CommitKey) -> Int {
        let subject = subjects.count
        let newer = history[key.volume]?.first.map { subjects[$0].size } ?? 0
        subjects.append(VerifySubject(key: key, size: newer, family: key.volume))
        subjectByKey[key] = subject
        var commits = history[key.volume] ?? []
        let place =
            commits.firstIndex { subjects[$0].key.sequence < key.sequence } ?? commits.count
        commits.insert(subject, at: place)
        history[key.volume] = commits
        return subject
    }

    /// Bytes of a decoded commit and of the tables that are made of it.
    private static func weight(of commit: Commit) -> Int {
        var bytes = 1024 + Int(commit.slotCount) * 32
        for entry in commit.chunkPages.entries + commit.packPages.entries {
            if case .inline(let page) = entry.page { bytes += page.count } else { bytes += 128 }
        }
        return bytes
    }

    private static func family(of commit: Commit) -> VolumeID {
        guard let first = commit.packPages.entries.first else { return commit.volume }
        switch first.page {
        case .packed(let pointer): return pointer.pack.volume
        case .inline(let bytes):
            let page = bytes.withUnsafeBytes { try? PackTablePage(decoding: $0) }
            return page?.entries.lazy.compactMap { $0 }.first?.pack.volume ?? commit.volume
        }
    }

    // MARK: History

    /// Parents, and holes. A collector makes holes.
    mutating func checkHistory() {
        counts.volumes = history.count
        for (volume, commits) in history {
            for (newer, older) in zip(commits, commits.dropFirst()) {
                let (after, before) = (subjects[newer], subjects[older])
                guard before.key.sequence.next == after.key.sequence else {
                    if !wasCollected { tellHole(in: volume, below: newer) }
                    continue
                }
                guard after.weight > 0, before.weight > 0, after.parentToken != before.token
                else { continue }
                let place = FaultPlace(after.key.key, "commit")
                log.add(
                    place, .inconsistent,
                    "its parent has token \(after.parentToken), the commit before has "
                        + "\(before.token)", owner: volume)
                log.hit(place, newer, nil)
            }
        }
    }

    private mutating func tellHole(in volume: VolumeID, below subject: Int) {
        let sequence = CommitSequence(subjects[subject].key.sequence.rawValue - 1)
        let key = CommitKey(volume: volume, sequence: sequence)
        let place = FaultPlace(key.key, "commit")
        log.add(place, .missing, "there are commits before and after it", owner: volume)
        log.hit(place, subject, nil)
    }

    // MARK: Batches

    /// Subjects that can be read, as many at one time as fit. Forks follow their sources, so that
    /// what they share is read once.
    func batches() -> [[Int]] {
        let order = subjects.indices.filter { subjects[$0].weight > 0 }.sorted {
            let (left, right) = (subjects[$0], subjects[$1])
            return (left.family, left.key.volume, left.key.sequence)
                < (right.family, right.key.volume, right.key.sequence)
        }
        var batches: [[Int]] = []
        var bytes = Int.max
        for subject in order {
            let weight = subjects[subject].weight
            if bytes > Self.batchBytesMax - min(weight, Self.batchBytesMax) {
                batches.append([])
                bytes = 0
            }
            batches[batches.count - 1].append(subject)
            bytes += weight
        }
        return batches
    }

    /// The commits of a batch; those that did not fit in memory are read again. Nil: gone or
    /// damaged since.
    func commits(of batch: [Int]) throws(VerifyError) -> [(subject: Int, commit: Commit)] {
        let absent = batch.filter { subjects[$0].commit == nil }
        var read: [Int: Commit] = [:]
        for (subject, object) in zip(absent, try commits(absent.map { subjects[$0].key })) {
            if case .value(let commit) = object { read[subject] = commit }
        }
        return batch.compactMap { subject in
            guard let commit = subjects[subject].commit ?? read[subject] else { return nil }
            return (subject, commit)
        }
    }
}
