// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The oracle of names: what the store's refs say, what each commit that has a name holds, and what
// of the store it needs, all found out without the product's control plane and collector.

import CleanCache
import Committer
import ControlPlane
import Documents
import Formats
import ObjectStore
import Primitives
import VolumeMap

/// The objects of a moment, without faults; notes what is read.
final class PeekStore: ObjectStore, @unchecked Sendable {
    // Confined: to the one check that made it.
    let objects: [String: [UInt8]]
    private(set) var read: Set<String> = []

    init(_ objects: [String: [UInt8]]) { self.objects = objects }

    var url: String { "peek:" }
    var deleteBatchMax: Int { 1 }

    private func find(_ key: String) throws(ObjectStoreError) -> [UInt8] {
        read.insert(key)
        guard let bytes = objects[key] else { throw .notFound(key: key) }
        return bytes
    }

    func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] { try find(key) }

    func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        let bytes = try find(key)
        guard Int(offset) + buffer.count <= bytes.count else {
            throw .damaged(key: key, detail: "it ends at \(bytes.count)")
        }
        buffer.copyBytes(from: bytes[Int(offset)..<Int(offset) + buffer.count])
    }

    func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8] {
        Array(try find(key).suffix(count))
    }

    func head(_ key: String) throws(ObjectStoreError) -> UInt64? {
        objects[key].map { UInt64($0.count) }
    }

    func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        throw .refused(key: prefix, detail: "a reader lists nothing")
    }

    func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        throw .refused(key: key, detail: "a reader writes nothing")
    }

    func replace(_ key: String, _ body: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        throw .refused(key: key, detail: "a reader writes nothing")
    }

    func dateSeconds() throws(ObjectStoreError) -> UInt64? { nil }

    func delete(_ keys: [String]) throws(ObjectStoreError) {
        throw .refused(key: keys.first ?? "", detail: "a reader deletes nothing")
    }
}

extension Simulation {
    static var exportNames: [String] { [firstName, "b", "c"] }
    static var tagNames: [String] { ["t", "u"] }

    // MARK: What refs say

    /// The newest document of a series, with its key.
    func newest<Ref: Document>(
        _ prefix: String, as type: Ref.Type = Ref.self
    ) throws(SimulationFailure) -> (key: String, ref: Ref)? {
        guard let key = store.keys(prefix: prefix).first else { return nil }
        return (key, try document(key))
    }

    private func document<Ref: Document>(_ key: String) throws(SimulationFailure) -> Ref {
        guard let bytes = store.object(key) else { throw failure("\(key) is gone") }
        do throws(DocumentError) { return try Ref(decoding: bytes) } catch {
            throw failure("\(key) cannot be read: \(error)")
        }
    }

    func newestExport(_ name: String) throws(SimulationFailure) -> ExportRef? {
        try newest("refs/exports/\(name)/")?.ref
    }

    /// Follows what became of the exports: volumes get names and lose them.
    func learnNames() throws(SimulationFailure) {
        try followChains()
        let moment = store.creations
        guard moment != names.learned else { return }
        var isLate = false
        // Twice: one volume may be made of another that has its name since then, too.
        for (place, name) in (Self.exportNames + Self.exportNames).enumerated() {
            let isFirst = place < Self.exportNames.count
            guard let key = store.keys(prefix: "refs/exports/\(name)/").first,
                key != names.newest[name]
            else { continue }
            let ref: ExportRef = try document(key)
            // Its source is not known before the host that wrote it is judged.
            if let origin = ref.origin?.commit, contents[origin.token] == nil {
                let isKnown = (tracks + leaving).contains { $0.volume == origin.volume }
                isLate = isLate || isKnown
                if isKnown || isFirst { continue }
            }
            names.newest[name] = key
            leaving += tracks.filter { $0.name == name && $0.volume != ref.volume }
            tracks.removeAll { $0.name == name && $0.volume != ref.volume }
            if let track = tracks.first(where: { $0.volume == ref.volume }) {
                track.state = ref.state
                if ref.state == .deleted {
                    leaving.append(track)
                    tracks.removeAll { $0 === track }
                }
            } else if ref.state == .live || ref.state == .detached {
                try follow(ref)
            }
        }
        names.learned = isLate ? nil : moment
    }

    /// A volume that the world did not know.
    private func follow(_ ref: ExportRef) throws(SimulationFailure) {
        let key = CommitKey.key(ref.volume, ref.firstSequence)
        guard let bytes = store.object(key) else {
            throw failure("\(ref.name) is \(ref.state), and its first commit is not there")
        }
        let first = try decode(bytes, key)
        let content = try content(of: first)
        names.unfinished[ref.name.text] = nil
        let track = Track(
            name: ref.name.text, first: first, content: content, machines: machines)
        track.state = ref.state
        tracks.append(track)
        try followChain(of: track)
    }

    /// A volume that lost its name runs on until the step is over. What it published is taken in:
    /// another one may have been made from it.
    func sweep() throws(SimulationFailure) {
        for track in leaving {
            for node in track.nodes {
                node.drop()
                node.isStarted = false
            }
            try followChain(of: track)
        }
        retired += leaving
        leaving = []
    }

    /// Nil for a volume that has no name any more, where the store was not asked.
    func knownNode(
        of claim: VolumeClaim<Storage>, on machine: Machine
    ) throws(SimulationFailure) -> Node? {
        try learnNames()
        let volume = claim.served.volume
        if let track = (tracks + leaving).first(where: { $0.volume == volume }) {
            return track.nodes[machine.number]
        }
        let isRetired = retired.contains { $0.volume == volume }
        guard isRetired, claim.writer?.isHeadConfirmed == false
        else { throw failure("\(claim.name) was opened, and nothing has this name") }
        // The host had no way to know, and learns it with all names, as soon as it can.
        return nil
    }

    // MARK: What commits hold

    /// What a commit holds that landed, or that is the first of its volume.
    func content(of commit: Commit) throws(SimulationFailure) -> Content {
        if let known = contents[commit.token] { return known }
        guard commit.parentToken == .zero else {
            throw failure("\(commit.key.key) has a name, and never landed")
        }
        var found = Content(
            index: 0,
            history: GuestHistory(sectors: Int(commit.size.rawValue) / Limits.sectorBytes))
        for key in store.keys(prefix: "refs/exports/") {
            let ref: ExportRef = try document(key)
            guard ref.volume == commit.volume else { continue }
            guard let origin = ref.origin else { break }
            try learn(of: origin.commit.token, for: commit.volume)
            guard let source = contents[origin.commit.token] else {
                throw failure("\(ref.name) was made from \(origin.commit), which never landed")
            }
            found = Content(
                index: source.index, history: source.base(sectors: found.history.sectors))
            break
        }
        contents[commit.token] = found
        return found
    }

    /// The commit that a ref means. Nil if it is not there.
    func commit(at pointer: CommitPointer) throws(SimulationFailure) -> Commit? {
        let key = CommitKey.key(pointer.volume, pointer.sequence)
        guard let bytes = store.object(key) else { return nil }
        let commit = try decode(bytes, key)
        return commit.token == pointer.token ? commit : nil
    }

    /// The newest commit in the store, also if it is not judged yet.
    func storedHead(of track: Track) throws(SimulationFailure) -> Commit {
        guard let key = store.keys(prefix: CommitKey.prefix(of: track.volume)).first,
            let bytes = store.object(key)
        else { throw failure("\(track.name) has no commit") }
        return try decode(bytes, key)
    }

    /// Reads a commit to the last sector, with nothing but the store, and judges it if what it
    /// holds is known. Returns the objects that it took.
    @discardableResult
    func examine(
        _ commit: Commit, _ holder: @autoclosure () -> String
    ) throws(SimulationFailure) -> Set<String> {
        if let known = names.needs[commit.token] { return known }
        var objects = store.objects
        for (key, offset) in damaged { objects[key]?[offset] ^= 0xFF }
        let peek = PeekStore(objects)
        let root = Root(commit: commit)
        let fetcher = MapFetcher(
            store: peek, cache: CleanCache(capacityBytes: Limits.cacheBytesMin))
        let stamps: [GuestHistory.Stamp]
        do throws(FetchError) {
            stamps = try self.stamps(of: root) { block throws(FetchError) in
                try fetcher.content(of: block, in: root)
            }
        } catch { throw failure("\(holder()) cannot be read: \(error)") }
        report.storeChecks += 1
        if let content = contents[commit.token] {
            let verdict = content.history.judge(stamps, bounds: content.index...content.index)
            guard case .prefix = verdict else {
                throw failure("\(holder()) does not hold what it is to hold: \(verdict)")
            }
        }
        var needed = peek.read
        needed.insert(commit.key.key)
        names.needs[commit.token] = needed
        return needed
    }

    // MARK: What must hold

    /// Every promise, once: what has a name is there and can be read.
    func checkNames() throws(SimulationFailure) {
        names.needs = [:]
        for (holder, commit) in try roots() { try examine(commit, holder) }
    }

    /// The commits that have to be there, each with who needs it.
    func roots() throws(SimulationFailure) -> [(holder: String, commit: Commit)] {
        var found: [(String, Commit)] = []
        func add(_ holder: String, _ pointer: CommitPointer) throws(SimulationFailure) {
            guard let commit = try commit(at: pointer) else {
                throw failure("\(holder) needs commit \(pointer.sequence), which is gone")
            }
            found.append((holder, commit))
        }
        for snapshot in names.snapshots {
            let holder = "snapshot \(snapshot.name)@\(snapshot.commit.sequence)"
            guard let name = RefName(snapshot.name) else { continue }
            let key = RefKey.snapshot(name, snapshot.commit.sequence).text
            guard store.byteCount(of: key) != nil else { throw failure("\(holder) is gone") }
            let ref: SnapshotRef = try document(key)
            guard ref.commit == snapshot.commit else {
                throw failure("\(holder) names another commit")
            }
            try add(holder, snapshot.commit)
        }
        for tag in Self.tagNames {
            guard let promised = names.tags[tag] else { continue }
            guard let (_, ref) = try newest("refs/tags/\(tag)/", as: TagRef.self),
                ref.number >= promised.number
            else { throw failure("tag \(tag) went back") }
            if ref.number == promised.number { try add("tag \(tag)", promised.commit) }
        }
        for view in names.views { try add("a view on host \(view.machine)", view.commit) }
        for track in tracks where !track.chain.isEnded {
            // A call may have given the name to another volume already, and collectors run in it.
            if let ref = try newestExport(track.name), ref.volume != track.volume { continue }
            let head = try storedHead(of: track)
            if head.state != .deleted { found.append((track.name, head)) }
        }
        return found
    }
}
