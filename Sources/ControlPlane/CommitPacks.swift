// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The packs that a commit needs: those that its page lists name, and those that its pack table says
// are referred to. Nothing but the pack table is read.

package import Formats
package import ObjectStore
import Primitives

/// Reads pack tables, each page of them once: forks and neighbours in a history share most pages.
package struct CommitPacks<Store: ObjectStore> {
    private let store: Store
    /// Hashes of the pages that were accepted.
    private var seen: Set<Hash128> = []

    package init(store: Store) { self.store = store }

    /// What a commit adds to those that were accepted.
    package struct Unseen {
        package var packs: Set<PackID> = []
        fileprivate var pages: [Hash128] = []
    }

    /// The packs of all pages that were not accepted before. Fails with `notFound` if a page's pack
    /// is not there, with `damaged` if a page is not what the commit says.
    package func unseen(of commit: Commit) throws(ObjectStoreError) -> Unseen {
        var unseen = Unseen()
        unseen.packs.formUnion(commit.chunkPages.packs)
        unseen.packs.formUnion(commit.packPages.packs)
        for entry in commit.packPages.entries {
            let hash = entry.page.hash
            guard !seen.contains(hash) else { continue }
            let page = try read(entry, of: commit)
            for case let entry? in page.entries where entry.live > 0 {
                unseen.packs.insert(entry.pack)
            }
            unseen.pages.append(hash)
        }
        return unseen
    }

    package mutating func accept(_ unseen: Unseen) { seen.formUnion(unseen.pages) }

    private func read(
        _ entry: PageList.Entry, of commit: Commit
    ) throws(ObjectStoreError) -> PackTablePage {
        var bytes: [UInt8]
        let key: String
        switch entry.page {
        case .inline(let inline):
            bytes = inline
            key = commit.key.key
        case .packed(let pointer):
            key = pointer.pack.key
            bytes = [UInt8](repeating: 0, count: Int(pointer.length))
            try read(key, at: UInt64(pointer.offset), into: &bytes)
            let hash = bytes.withUnsafeBytes { Pack.hash(ofPage: $0) }
            guard hash == pointer.hash else {
                throw .damaged(key: key, detail: "a table page has another hash")
            }
        }
        var failure: FormatError?
        let page = bytes.withUnsafeBytes { buffer -> PackTablePage? in
            do throws(FormatError) {
                return try PackTablePage(decoding: buffer, index: entry.index)
            } catch {
                failure = error
                return nil
            }
        }
        guard let page else {
            throw .damaged(key: key, detail: failure.map { "\($0)" } ?? "unreadable")
        }
        return page
    }

    private func read(
        _ key: String, at offset: UInt64, into bytes: inout [UInt8]
    ) throws(ObjectStoreError) {
        var failure: ObjectStoreError?
        bytes.withUnsafeMutableBytes { buffer in
            do throws(ObjectStoreError) {
                try store.get(key, at: offset, into: buffer)
            } catch { failure = error }
        }
        if let failure { throw failure }
    }
}
