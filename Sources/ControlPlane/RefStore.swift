// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Reading and creating refs. Nothing is ever overwritten: a change is the next number of a series,
// and who finds the number taken reads again and decides anew. A PUT whose answer was lost is
// recognised by its bytes when it is repeated.

import Documents
import ObjectStore
import Primitives

/// A document that lies in a series.
protocol SeriesDocument: Document {
    var series: RefSeries { get }
    var number: UInt64 { get }
}

extension ExportRef: SeriesDocument {
    var series: RefSeries { .export(name) }
}

extension TagRef: SeriesDocument {
    var series: RefSeries { .tag(tag) }
}

extension BaseRef: SeriesDocument {
    var series: RefSeries { .base(name) }
}

extension NodeBeat: SeriesDocument {
    var series: RefSeries { .node(node) }
}

extension CondemnedSet: SeriesDocument {
    var series: RefSeries { .collection }
    var number: UInt64 { run }
}

/// The refs of a store, on behalf of one operation, which it names in failures.
struct RefStore<Store: ObjectStore> {
    let store: Store
    /// What cannot be done if a call fails.
    let what: String

    /// The document that holds: one listing of one key, one read.
    func newest<Ref: SeriesDocument>(
        _ series: RefSeries, as type: Ref.Type = Ref.self
    ) throws(UserError) -> Ref? {
        try newest(series, count: 1, as: type).first
    }

    /// The `count` newest, newest first.
    func newest<Ref: SeriesDocument>(
        _ series: RefSeries, count: Int, as type: Ref.Type = Ref.self
    ) throws(UserError) -> [Ref] {
        let page = try explainStore(what) { () throws(ObjectStoreError) in
            try store.list(prefix: series.prefix, after: nil, limit: count)
        }
        var found: [Ref] = []
        for entry in page.entries { found.append(try read(entry.key, in: series)) }
        return found
    }

    /// One document of a series, under a key that a listing gave.
    func read<Ref: SeriesDocument>(
        _ key: String, in series: RefSeries, as type: Ref.Type = Ref.self
    ) throws(UserError) -> Ref {
        guard let number = series.number(of: key) else {
            throw UserError(what, key, .malformedKey(key))
        }
        let ref: Ref = try get(key)
        guard ref.series == series, ref.number == number else {
            throw UserError(
                what, key, .misplaced(key: key, found: ref.series.key(ref.number)))
        }
        return ref
    }

    func get<Ref: Document>(_ key: String, as type: Ref.Type = Ref.self) throws(UserError) -> Ref {
        let bytes = try explainStore(what) { () throws(ObjectStoreError) in
            try store.get(key, limit: Ref.bytesMax)
        }
        do throws(DocumentError) { return try Ref(decoding: bytes) } catch {
            throw UserError(what, key, error)
        }
    }

    /// Nil if the key is free.
    func find<Ref: Document>(
        _ key: String, as type: Ref.Type = Ref.self
    ) throws(UserError) -> Ref? {
        let bytes = try explainStore(what) { () throws(ObjectStoreError) -> [UInt8]? in
            do throws(ObjectStoreError) {
                return try store.get(key, limit: Ref.bytesMax)
            } catch {
                if case .notFound = error { return nil }
                throw error
            }
        }
        guard let bytes else { return nil }
        do throws(DocumentError) { return try Ref(decoding: bytes) } catch {
            throw UserError(what, key, error)
        }
    }

    /// Creates the next document of its series. False if another has the number: read again.
    func append(_ document: some SeriesDocument) throws(UserError) -> Bool {
        try create(document.series.key(document.number), document)
    }

    /// True if the key now holds exactly this document, by this call or an earlier one.
    func create(_ key: String, _ document: some Document) throws(UserError) -> Bool {
        let bytes = document.encoded
        return try explainStore(what) { () throws(ObjectStoreError) in
            switch try store.putIfAbsent(key, bytes) {
            case .created: return true
            case .exists: return try store.get(key, limit: 64 << 20) == bytes
            }
        }
    }

    func delete(_ keys: [String]) throws(UserError) {
        guard !keys.isEmpty else { return }
        try explainStore(what) { () throws(ObjectStoreError) in try store.delete(keys) }
    }

    func keys(prefix: String) throws(UserError) -> [String] {
        try explainStore(what) { () throws(ObjectStoreError) in
            try store.listAll(prefix: prefix).map(\.key)
        }
    }

    /// Others kept changing the ref for every try that is allowed.
    var contended: UserError {
        UserError(
            .conflict, what: what, why: "other hosts change the same name all the time",
            remedy: "find out who else manages this name, then try again")
    }
}
