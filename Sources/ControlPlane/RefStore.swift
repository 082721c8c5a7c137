// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Reading and creating refs. Nothing is ever overwritten: a change is the next number of a series,
// and who finds the number taken reads again and decides anew. A PUT whose answer was lost is
// recognised by its bytes when it is repeated.

import Committer
package import Documents
package import ObjectStore
package import Primitives

/// A document that lies in a series.
package protocol SeriesDocument: Document {
    var series: RefSeries { get }
    var number: UInt64 { get }
}

extension ExportRef: SeriesDocument {
    package var series: RefSeries { .export(name) }
}

extension TagRef: SeriesDocument {
    package var series: RefSeries { .tag(tag) }
}

extension BaseRef: SeriesDocument {
    package var series: RefSeries { .base(name) }
}

extension NodeBeat: SeriesDocument {
    package var series: RefSeries { .node(node) }
}

extension CondemnedSet: SeriesDocument {
    package var series: RefSeries { .collection }
    package var number: UInt64 { run }
}

extension CollectionPlan: SeriesDocument {
    package var series: RefSeries { .collectionPlan }
    package var number: UInt64 { run }
}

/// The refs of a store, on behalf of one operation, which it names in failures.
package struct RefStore<Store: ObjectStore> {
    package let store: Store
    /// What cannot be done if a call fails.
    package let what: String

    package init(store: Store, what: String) {
        self.store = store
        self.what = what
    }

    /// The document that holds: one listing of one key, one read.
    package func newest<Ref: SeriesDocument>(
        _ series: RefSeries, as type: Ref.Type = Ref.self
    ) throws(UserError) -> Ref? {
        try newest(series, count: 1, as: type).first
    }

    /// The `count` newest, newest first. Sets of the collector are deleted when they are old: one
    /// that went between the listing and the reading is looked for again.
    package func newest<Ref: SeriesDocument>(
        _ series: RefSeries, count: Int, as type: Ref.Type = Ref.self
    ) throws(UserError) -> [Ref] {
        for _ in 0..<Self.listingsMax {
            let keys = try newestKeys(series, count: count)
            var found: [Ref] = []
            for key in keys {
                guard let ref: Ref = try find(key) else { break }
                found.append(try placed(ref, key, in: series))
            }
            if found.count == keys.count { return found }
        }
        throw contended
    }

    private static var listingsMax: Int { 16 }
    private static var readsMax: Int { 3 }
    private static var createsMax: Int { 16 }

    /// The number of the newest; zero if there is none. Nothing is read.
    package func newestNumber(_ series: RefSeries) throws(UserError) -> UInt64 {
        guard let key = try newestKeys(series, count: 1).first else { return 0 }
        guard let number = series.number(of: key) else {
            throw UserError(what, key, .malformedKey(key))
        }
        return number
    }

    private func newestKeys(_ series: RefSeries, count: Int) throws(UserError) -> [String] {
        try explainStore(what) { () throws(ObjectStoreError) in
            try store.list(prefix: series.prefix, after: nil, limit: count).entries.map(\.key)
        }
    }

    /// One document of a series, under a key that a listing gave.
    package func read<Ref: SeriesDocument>(
        _ key: String, in series: RefSeries, as type: Ref.Type = Ref.self
    ) throws(UserError) -> Ref {
        try placed(get(key), key, in: series)
    }

    private func placed<Ref: SeriesDocument>(
        _ ref: Ref, _ key: String, in series: RefSeries
    ) throws(UserError) -> Ref {
        guard let number = series.number(of: key) else {
            throw UserError(what, key, .malformedKey(key))
        }
        guard ref.series == series, ref.number == number else {
            throw UserError(
                what, key, .misplaced(key: key, found: ref.series.key(ref.number)))
        }
        return ref
    }

    package func get<Ref: Document>(
        _ key: String, as type: Ref.Type = Ref.self
    ) throws(UserError) -> Ref {
        guard let ref: Ref = try find(key) else {
            return try explainStore(what) { () throws(ObjectStoreError) in throw .notFound(key: key)
            }
        }
        return ref
    }

    /// Nil if the key is free. What does not decode is read again: it may have been harmed on its
    /// way.
    package func find<Ref: Document>(
        _ key: String, as type: Ref.Type = Ref.self
    ) throws(UserError) -> Ref? {
        var triesLeft = Self.readsMax
        while true {
            guard let bytes = try bytes(key, limit: Ref.bytesMax) else { return nil }
            triesLeft -= 1
            do throws(DocumentError) { return try Ref(decoding: bytes) } catch {
                if triesLeft == 0 { throw UserError(what, key, error) }
            }
        }
    }

    private func bytes(_ key: String, limit: Int) throws(UserError) -> [UInt8]? {
        try explainStore(what) { () throws(ObjectStoreError) -> [UInt8]? in
            do throws(ObjectStoreError) {
                return try store.get(key, limit: limit)
            } catch {
                if case .notFound = error { return nil }
                throw error
            }
        }
    }

    /// Creates the next document of its series. False if another has the number: read again.
    package func append(_ document: some SeriesDocument) throws(UserError) -> Bool {
        try create(document.series.key(document.number), document)
    }

    /// True if the key now holds exactly this document, by this call or an earlier one.
    package func create(_ key: String, _ document: some Document) throws(UserError) -> Bool {
        let encoded = document.encoded
        for _ in 0..<Self.createsMax {
            let outcome = try explainStore(what) { () throws(ObjectStoreError) in
                try store.putIfAbsent(key, encoded)
            }
            if case .created = outcome { return true }
            // What had the key may have been deleted since.
            if let found = try bytes(key, limit: CondemnedSet.bytesMax) { return found == encoded }
        }
        throw contended
    }

    /// Above every number that an export's name has had, so that a snapshot's number names one
    /// commit for ever. `previous` is the newest ref of the name.
    package func firstFreeSequence(
        of name: RefName, after previous: ExportRef?
    ) throws(UserError) -> CommitSequence {
        guard let previous else { return CommitSequence(1) }
        let head = try explainCommit(what) { () throws(CommitError) in
            try HeadFinder(store: store).headSequence(of: previous.volume)
        }
        var last = head ?? previous.firstSequence
        for key in try keys(prefix: RefKey.snapshotsPrefix(of: name)) {
            if case .snapshot(_, let sequence) = RefKey(parsing: key) { last = max(last, sequence) }
        }
        return last.next
    }

    package func delete(_ keys: [String]) throws(UserError) {
        guard !keys.isEmpty else { return }
        try explainStore(what) { () throws(ObjectStoreError) in try store.delete(keys) }
    }

    package func keys(prefix: String) throws(UserError) -> [String] {
        try explainStore(what) { () throws(ObjectStoreError) in
            try store.listAll(prefix: prefix).map(\.key)
        }
    }

    /// The newest key of every series below a prefix, ascending.
    package func newestKeys(
        below prefix: String
    ) throws(UserError) -> [(key: String, series: RefSeries)] {
        var newest: [(key: String, series: RefSeries)] = []
        for key in try keys(prefix: prefix) {
            guard case .numbered(let series, _)? = RefKey(parsing: key) else {
                throw UserError(what, key, .malformedKey(key))
            }
            // The first key of a series has its highest number.
            if newest.last?.series != series { newest.append((key, series)) }
        }
        return newest
    }

    /// The snapshots below a prefix of keys, by name and number. Those that go meanwhile are left
    /// out.
    package func snapshots(below prefix: String) throws(UserError) -> [SnapshotRef] {
        var found: [SnapshotRef] = []
        for key in try keys(prefix: prefix) {
            guard case .snapshot(let name, let sequence)? = RefKey(parsing: key) else {
                throw UserError(what, key, .malformedKey(key))
            }
            guard let ref: SnapshotRef = try find(key) else { continue }
            guard ref.name == name, ref.commit.sequence == sequence else {
                let other = RefKey.snapshot(ref.name, ref.commit.sequence).text
                throw UserError(what, key, .misplaced(key: key, found: other))
            }
            found.append(ref)
        }
        return found
    }

    package var noRepository: UserError {
        UserError(
            .notFound, what: what, why: "there is no repository at \(store.url)",
            remedy: "name the store with --store or --config")
    }

    /// Others kept changing the ref for every try that is allowed.
    package var contended: UserError {
        UserError(
            .conflict, what: what, why: "other hosts change the same name all the time",
            remedy: "find out who else manages this name, then try again")
    }
}
