// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Refs: each is read and checked to lie where it says; the newest of a series tells what its name
// means. A ref that was deleted leaves no trace but a gap in its series, or a volume without a
// name.

import Documents
import Formats
import ObjectStore
import Primitives
import VolumeMap

/// The refs of a repository, as far as they can be read.
struct VerifyRefs {
    /// By name, newest first; nil: it cannot be read.
    var exports: [RefName: [(number: UInt64, ref: ExportRef?)]] = [:]
    /// Series of tags and bases, newest first.
    var tags: [RefName: [(number: UInt64, ref: TagRef?)]] = [:]
    var bases: [RefName: [(number: UInt64, ref: BaseRef?)]] = [:]
    var snapshots: [SnapshotRef] = []
    var readers: [ReaderRef] = []
    /// Refs that cannot be read, with what was read, and what nobody finds without them.
    var unread: [(key: RefKey, bytes: [UInt8])] = []
    var hasRepository = false

    mutating func add(_ key: RefKey, _ ref: VerifyRef?) {
        switch (key, ref) {
        case (_, .repository): hasRepository = true
        case (.numbered(.export(let name), let number), _):
            if case .export(let ref) = ref {
                exports[name, default: []].append((number, ref))
            } else {
                exports[name, default: []].append((number, nil))
            }
        case (.numbered(.tag(let name), let number), _):
            if case .tag(let ref) = ref {
                tags[name, default: []].append((number, ref))
            } else {
                tags[name, default: []].append((number, nil))
            }
        case (.numbered(.base(let name), let number), _):
            if case .base(let ref) = ref {
                bases[name, default: []].append((number, ref))
            } else {
                bases[name, default: []].append((number, nil))
            }
        case (_, .snapshot(let ref)): snapshots.append(ref)
        case (_, .reader(let ref)): readers.append(ref)
        default: break
        }
    }
}

extension Verifier {
    mutating func readRefs() throws(VerifyError) -> VerifyRefs {
        var keys: [(text: String, key: RefKey)] = [(RefKey.repository.text, .repository)]
        for prefix in ["refs/", "nodes/", "gc/", "gc-runs/", "gc-stops/"] {
            for entry in try listing(prefix) {
                if let key = RefKey(parsing: entry.key) {
                    keys.append((entry.key, key))
                } else {
                    noteForeign(entry.key)
                }
            }
        }
        var refs = VerifyRefs()
        // Large documents one by one, so that not all are in memory at once.
        let isLarge = { (key: RefKey) in VerifyRef.bytesMax(key) > Limits.documentBytesMax }
        let small = keys.filter { !isLarge($0.key) }
        for start in stride(from: 0, to: small.count, by: Self.refsAtOnce) {
            let slice = Array(small[start..<min(start + Self.refsAtOnce, small.count)])
            try read(slice, limit: Limits.documentBytesMax, into: &refs)
        }
        for key in keys where isLarge(key.key) {
            if case .numbered(.collection, _) = key.key { wasCollected = true }
            try read([key], limit: VerifyRef.bytesMax(key.key), into: &refs)
        }
        return refs
    }

    private static var refsAtOnce: Int { 256 }

    private mutating func read(
        _ keys: [(text: String, key: RefKey)], limit: Int, into refs: inout VerifyRefs
    ) throws(VerifyError) {
        let objects = try objects(keys.map(\.text), limit: limit, as: VerifyRef.self) {
            key, bytes throws(ObjectRefusal) in try VerifyRef.decode(key, bytes)
        }
        for ((text, key), object) in zip(keys, objects) {
            switch object {
            case .value(let ref):
                counts.refs += 1
                refs.add(key, ref)
            case .bad(let kind, let detail, let bytes):
                counts.refs += 1
                log.add(FaultPlace(text, "ref"), kind, detail)
                refs.add(key, nil)
                refs.unread.append((key, bytes))
            case .gone:
                guard case .repository = key else { continue }
                log.add(
                    FaultPlace(text, "ref"), .missing,
                    "the repository's identity: no daemon opens it without")
                refs.unread.append((key, []))
            }
        }
    }

    /// The volumes that a name means.
    func volumes(
        named name: RefName, _ refs: VerifyRefs, among volumes: Set<VolumeID>
    ) throws(VerifyError) -> Set<VolumeID> {
        var found = Set(refs.snapshots.filter { $0.name == name }.map(\.commit.volume))
        if let series = refs.exports[name] {
            if let ref = series.compactMap(\.ref).first { found.insert(ref.volume) }
        } else if let ref = refs.tags[name]?.compactMap(\.ref).first {
            found.insert(ref.commit.volume)
        } else if let ref = refs.bases[name]?.compactMap(\.ref).first {
            found.insert(ref.commit.volume)
        }
        if found.isEmpty {
            // The name is there and its ref cannot be read: what can be made out in it.
            let unread = refs.unread.filter { Self.isSeries(of: name, $0.key) }
            guard !unread.isEmpty else { throw .unknownName(name) }
            let text = unread.map { String(decoding: $0.bytes, as: UTF8.self) }.joined()
            for volume in volumes where text.contains(volume.description) {
                found.insert(volume)
            }
        }
        return found
    }

    private static func isSeries(of name: RefName, _ key: RefKey) -> Bool {
        switch key {
        case .numbered(.export(name), _), .numbered(.tag(name), _), .numbered(.base(name), _): true
        default: false
        }
    }

    // MARK: Names

    /// Gives the subjects their names and says which must be whole.
    mutating func name(_ refs: VerifyRefs) throws(VerifyError) {
        for (name, series) in refs.exports.sorted(by: { $0.key < $1.key }) {
            guard let ref = series.compactMap(\.ref).first, ref.state != .deleted else { continue }
            if let scope, !scope.contains(ref.volume) { continue }
            var head = history[ref.volume]?.first
            if head == nil { head = try lostHistory(ref) }
            guard let head else { continue }
            subjects[head].names.append("export \(name)")
            subjects[head].isRoot = true
            subjects[head].isRootAsHead = true
        }
        for ref in refs.snapshots {
            let key = RefKey.snapshot(ref.name, ref.commit.sequence)
            try pin(ref.commit, "snapshot \(ref.name)@\(ref.commit.sequence)", key)
        }
        for (name, series) in refs.tags.sorted(by: { $0.key < $1.key }) {
            guard let ref = series.compactMap(\.ref).first else { continue }
            try pin(ref.commit, "tag \(name)", .numbered(.tag(name), ref.number))
        }
        for (name, series) in refs.bases.sorted(by: { $0.key < $1.key }) {
            guard let ref = series.compactMap(\.ref).first else { continue }
            try pin(ref.commit, "base \(name)", .numbered(.base(name), ref.number))
        }
        for ref in refs.readers {
            try pin(ref.commit, "reader \(ref.id) of \(ref.node)", .reader(ref.id))
        }
    }

    /// An export whose volume has no commit: a fault, unless it is being created, or was made since
    /// commits were listed.
    private mutating func lostHistory(_ ref: ExportRef) throws(VerifyError) -> Int? {
        let prefix = CommitKey.prefix(of: ref.volume)
        guard ref.state != .creating, try listing(prefix).isEmpty else { return nil }
        let subject = addSubject(CommitKey(volume: ref.volume, sequence: ref.firstSequence))
        subjects[subject].size = ref.size.rawValue
        let place = FaultPlace(prefix, "commits")
        log.add(
            place, .missing, "export \(ref.name) names the volume, and it has no commit",
            owner: ref.volume)
        log.hit(place, subject, subjects[subject].whole)
        return subject
    }

    private mutating func pin(
        _ pointer: CommitPointer, _ name: String, _ key: RefKey
    ) throws(VerifyError) {
        if let scope, !scope.contains(pointer.volume) { return }
        let commit = CommitKey(volume: pointer.volume, sequence: pointer.sequence)
        pinned[commit, default: []].insert(pointer.token)
        if subjectByKey[commit] == nil { try readCommits([commit]) }
        let subject: Int
        if let known = subjectByKey[commit] {
            subject = known
        } else {
            // It may be a ref that went together with its commit meanwhile.
            guard try size(of: key.text) != nil else { return }
            let place = FaultPlace(commit.key, "commit")
            subject = addSubject(commit)
            log.add(place, .missing, "\(key.text) names it", owner: commit.volume)
            log.hit(place, subject, subjects[subject].whole)
        }
        subjects[subject].names.append(name)
        subjects[subject].isRoot = true
        subjects[subject].isRootAsHead = false
        let isReadable = subjects[subject].weight > 0
        guard isReadable, subjects[subject].token != pointer.token else { return }
        let place = FaultPlace(key.text, "ref")
        log.add(
            place, .inconsistent,
            "it names token \(pointer.token), the commit has \(subjects[subject].token)")
        log.hit(place, subject, subjects[subject].whole)
    }

    // MARK: What refs say of one another

    /// Gaps in series, refs that cannot be read, volumes without a name.
    mutating func checkNames(_ refs: VerifyRefs) {
        for (name, series) in refs.exports {
            let volume = series.compactMap(\.ref).first?.volume
            checkSeries(.export(name), series.map(\.number), volume)
        }
        for (name, series) in refs.tags {
            let volume = series.compactMap(\.ref).first?.commit.volume
            checkSeries(.tag(name), series.map(\.number), volume)
        }
        for (name, series) in refs.bases {
            let volume = series.compactMap(\.ref).first?.commit.volume
            checkSeries(.base(name), series.map(\.number), volume)
        }
        for (key, bytes) in refs.unread { hitByRef(key, bytes, refs) }
        guard scope == nil else { return }
        let named = Set(refs.exports.values.flatMap { $0.compactMap { $0.ref?.volume } })
        // A ref that cannot be read may be the one that names it: that fault is told already.
        guard refs.exports.values.allSatisfy({ $0.allSatisfy { $0.ref != nil } }) else { return }
        for (volume, commits) in history where !named.contains(volume) {
            guard let head = commits.first, subjects[head].state != .deleted else { continue }
            let place = FaultPlace(RefKey.exportsPrefix, "ref of volume \(volume)")
            log.add(place, .missing, "no export names it: its ref is lost", owner: volume)
            log.hit(place, head, subjects[head].whole)
        }
    }

    private mutating func checkSeries(
        _ series: RefSeries, _ numbers: [UInt64], _ volume: VolumeID?
    ) {
        let known = Set(numbers)
        guard let newest = numbers.max(), UInt64(known.count) < newest else { return }
        if let scope, let volume, !scope.contains(volume) { return }
        var told = 0
        for number in 1..<newest where !known.contains(number) {
            let place = FaultPlace(series.key(number), "ref")
            log.add(
                place, .missing, "numbers of a series are never deleted: a slow writer meets them",
                owner: volume)
            if let head = volume.flatMap({ history[$0]?.first }) { log.hit(place, head, nil) }
            told += 1
            if told == Self.gapsMax { return }
        }
    }

    private static var gapsMax: Int { 16 }

    /// Who cannot be found, or found as meant, for want of a ref.
    private mutating func hitByRef(_ key: RefKey, _ bytes: [UInt8], _ refs: VerifyRefs) {
        let place = FaultPlace(key.text, "ref")
        switch key {
        case .repository:
            for subject in subjects.indices { log.hit(place, subject, subjects[subject].whole) }
        case .numbered(.export(let name), let number):
            let series = refs.exports[name] ?? []
            let others = series.compactMap(\.ref).map(\.volume)
            let heads = heads(others, mentionedIn: bytes)
            if others.isEmpty { mark(heads, "export \(name)") }
            hit(place, heads, isNewest: series.first?.number == number)
        case .numbered(.tag(let name), let number):
            let series = refs.tags[name] ?? []
            let others = series.compactMap(\.ref).map(\.commit.volume)
            hit(place, heads(others, mentionedIn: bytes), isNewest: series.first?.number == number)
        case .numbered(.base(let name), let number):
            let series = refs.bases[name] ?? []
            let others = series.compactMap(\.ref).map(\.commit.volume)
            hit(place, heads(others, mentionedIn: bytes), isNewest: series.first?.number == number)
        case .snapshot(let name, let sequence):
            let volumes = refs.exports[name]?.compactMap(\.ref).map(\.volume) ?? []
            let pinned = Set(volumes).compactMap {
                subjectByKey[CommitKey(volume: $0, sequence: sequence)]
            }
            mark(pinned, "snapshot \(name)@\(sequence)")
            hit(place, pinned, isNewest: true)
        case .reader, .stop, .numbered(.node, _), .numbered(.collection, _),
            .numbered(.collectionPlan, _):
            break
        }
    }

    private mutating func mark(_ subjects: [Int], _ text: String) {
        for subject in subjects {
            self.subjects[subject].names.append(text)
            self.subjects[subject].isRoot = true
        }
    }

    private mutating func hit(_ place: FaultPlace, _ subjects: [Int], isNewest: Bool) {
        for subject in Set(subjects).sorted() {
            log.hit(place, subject, isNewest ? self.subjects[subject].whole : nil)
        }
    }

    /// The heads of the volumes that other numbers of the series name, else of those whose ids can
    /// still be made out in the ref.
    private func heads(_ named: [VolumeID], mentionedIn bytes: [UInt8]) -> [Int] {
        if let volume = named.first { return history[volume].map { Array($0.prefix(1)) } ?? [] }
        let text = String(decoding: bytes, as: UTF8.self)
        return history.filter { text.contains($0.key.description) }.compactMap(\.value.first)
    }
}
