// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The end of a batch: what each commit counts against what was found, and the packs it depends on.
// The end of a run: faults that time has taken away, and the report.

import Formats
import ObjectStore
import Primitives
import VolumeMap

extension Verifier {
    mutating func close(_ batch: VerifyBatch) throws(VerifyError) {
        var used = Set<UInt32>()
        for walked in batch.commits { used.formUnion(dependencies(of: walked)) }
        try examineEnds(used.sorted())
        let broken = used.filter { !packs[$0].faults.isEmpty }
        for walked in batch.commits {
            if !broken.isEmpty {
                for pack in broken.intersection(dependencies(of: walked)).sorted() {
                    for place in packs[pack].faults { log.hit(place, walked.subject, nil) }
                }
            }
            compareCounts(walked)
        }
    }

    /// Packs that must be there for a commit: those that its map refers to, or its page lists name.
    private mutating func dependencies(of walked: WalkedCommit) -> Set<UInt32> {
        var used = Set<UInt32>()
        for page in walked.slotPages.values {
            for (pack, live) in zip(page.packs, page.live) where live > 0 { used.insert(pack) }
        }
        for pack in walked.commit.chunkPages.packs + walked.commit.packPages.packs {
            used.insert(packs.number(of: pack))
        }
        return used
    }

    /// The digest, the references and the sizes that a commit states. A wrong count is no fault of
    /// any read, but a collector or a compaction would believe it.
    private mutating func compareCounts(_ walked: WalkedCommit) {
        let key = walked.commit.key.key
        let owner = walked.commit.volume
        let digest = walked.digest.take()?.finish()
        guard walked.isWhole, let digest else { return }
        if digest != walked.commit.digest {
            let place = FaultPlace(key, "digest of the volume")
            log.add(
                place, .inconsistent, "it is \(walked.commit.digest), the chunks have \(digest)",
                owner: owner)
            log.hit(place, walked.subject, nil)
        }
        for (index, page) in walked.slotPages.sorted(by: { $0.key < $1.key }) {
            for entry in page.packs.indices where page.packs[entry] != SlotPage.none {
                let slot = Int(index) * Limits.tablePageEntries + entry
                let found = slot < walked.references.count ? walked.references[slot] : 0
                let pack = packs[page.packs[entry]]
                var wrong: [String] = []
                if found != page.live[entry] {
                    wrong.append("\(page.live[entry]) references, the map has \(found)")
                }
                if found > 0, pack.faults.isEmpty, let size = pack.size, size != page.bytes[entry] {
                    wrong.append("\(page.bytes[entry]) bytes, the object has \(size)")
                }
                guard !wrong.isEmpty else { continue }
                let place = FaultPlace(key, "pack slot \(slot)")
                log.add(
                    place, .inconsistent,
                    "the pack table gives \(pack.id.key) " + wrong.joined(separator: " and "),
                    owner: owner)
                log.hit(place, walked.subject, nil)
            }
        }
    }

    // MARK: The report

    mutating func finish() throws(VerifyError) -> VerifyReport {
        counts.bytes = meter.bytes
        var result = VerifyReport(url: store.url, sample: options.sample, counts: counts)
        var isStillThere: [Int: Bool] = [:]
        for entry in log.entries {
            var hits = entry.hits
            var past: [Int: ByteRanges] = [:]
            if entry.kind == .missing, entry.place.part == Self.wholePack {
                for subject in entry.hits.keys.sorted() {
                    let isThere: Bool
                    if let known = isStillThere[subject] {
                        isThere = known
                    } else {
                        isThere = try isStillInUse(subject)
                        isStillThere[subject] = isThere
                    }
                    if !isThere { past[subject] = hits.removeValue(forKey: subject) }
                }
            }
            if !hits.isEmpty || past.isEmpty { result.faults.append(fault(entry, hits)) }
            if !past.isEmpty { result.notes.append(fault(entry, past)) }
        }
        for key in foreign.sorted() {
            result.notes.append(
                VerifyFault(
                    kind: .foreign, key: key, part: "object", extent: nil,
                    detail: "no program of ours makes such a key", owner: nil, hits: []))
        }
        result.isComplete = log.lost == 0 && lostForeign == 0
        return result
    }

    /// Whether something missing is missed. Where a collector runs, packs that only old commits
    /// need may be gone, and a commit that was a head when the run began may be old by now.
    private func isStillInUse(_ subject: Int) throws(VerifyError) -> Bool {
        let state = subjects[subject]
        guard wasCollected else { return true }
        guard state.isRoot else { return false }
        guard state.isRootAsHead, state.weight > 0 else { return true }
        let next = CommitKey(volume: state.key.volume, sequence: state.key.sequence.next)
        return try size(of: next.key) == nil
    }

    private func fault(_ entry: VerifyLog.Entry, _ hits: [Int: ByteRanges]) -> VerifyFault {
        VerifyFault(
            kind: entry.kind, key: entry.place.key, part: entry.place.part,
            extent: entry.place.extent, detail: entry.detail, owner: entry.owner,
            hits: grouped(hits))
    }

    /// States of one volume that lose the same are one hit.
    private func grouped(_ hits: [Int: ByteRanges]) -> [VerifyHit] {
        var groups: [HitGroup: [Int]] = [:]
        for (subject, ranges) in hits {
            let group = HitGroup(volume: subjects[subject].key.volume, ranges: ranges.merged)
            groups[group, default: []].append(subject)
        }
        return groups.map { group, members in
            let ordered = members.sorted {
                subjects[$0].key.sequence < subjects[$1].key.sequence
            }
            return VerifyHit(
                volume: group.volume, names: ordered.flatMap { subjects[$0].names },
                sequences: ordered.map { subjects[$0].key.sequence }, ranges: group.ranges)
        }.sorted {
            ($0.volume, $0.sequences.first ?? .none) < ($1.volume, $1.sequences.first ?? .none)
        }
    }
}

/// What states of a volume have in common.
private struct HitGroup: Hashable {
    let volume: VolumeID
    let ranges: [Range<UInt64>]
}
