// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Listing a directory store in byte order of keys. The order of a folder's names is not that order:
// "a-b" sorts before "a/x", though "a" sorts before "a-b". So a folder waits until all names that
// sort before its own with a "/" behind it are done. Whether a name is a folder is found only when
// it is reached, so that a page of a large folder opens as few files as it shows.

import HostIO

extension DirectoryStore {
    public func list(
        prefix: String, after: String?, limit: Int
    ) throws(ObjectStoreError) -> ListPage {
        precondition((1...1000).contains(limit))
        try ObjectKey.check(prefix: prefix)
        var walk = ListWalk<Storage>(prefix: prefix, after: after, limit: limit)
        do throws(HostIOError) {
            // Folders that the prefix names in full are entered directly.
            let folders = prefix.split(separator: "/", omittingEmptySubsequences: false)
                .dropLast().map(String.init)
            guard folders.allSatisfy({ ObjectKey.isComponent($0) }),
                let folder = try folderForReading(folders)
            else { return ListPage(entries: [], isTruncated: false) }
            try walk.visit(folder, base: folders.map { $0 + "/" }.joined())
        } catch {
            throw Self.translate(error, key: prefix)
        }
        let isTruncated = walk.entries.count > limit
        return ListPage(entries: Array(walk.entries.prefix(limit)), isTruncated: isTruncated)
    }
}

/// One walk in key order. Collects one entry more than the limit, to know whether keys follow.
private struct ListWalk<Storage: StorageDirectory> {
    let prefix: String
    let after: String?
    let limit: Int
    var entries: [ListPage.Entry] = []

    private var isFull: Bool { entries.count > limit }

    mutating func visit(_ folder: Storage, base: String) throws(HostIOError) {
        // Folders that wait; a later one sorts before an earlier one, whose name it begins with.
        var waiting: [String] = []
        for name in try folder.list() where ObjectKey.isComponent(name) {
            while let last = waiting.last, last + "/" < name {
                waiting.removeLast()
                try enter(last, of: folder, base: base)
            }
            if isFull { return }
            guard mayShow(base + name) else { continue }
            if try isFolder(name, in: folder, base: base) { waiting.append(name) }
        }
        while let last = waiting.popLast(), !isFull { try enter(last, of: folder, base: base) }
    }

    private mutating func enter(
        _ name: String, of folder: Storage, base: String
    ) throws(HostIOError) {
        if isFull { return }
        do throws(HostIOError) {
            let child = try folder.directory(name, create: false)
            try visit(child, base: base + name + "/")
        } catch {
            // Removed by another while we looked.
            guard DirectoryStore<Storage>.isAbsence(error.code) else { throw error }
        }
    }

    /// False if neither the key nor any key below it belongs on the page.
    private func mayShow(_ key: String) -> Bool {
        let below = key + "/"
        guard key.hasPrefix(prefix) || prefix.hasPrefix(below) else { return false }
        guard let after else { return true }
        return below > after || after.hasPrefix(below)
    }

    /// Shows the entry if it is an object; true if it is a folder.
    private mutating func isFolder(
        _ name: String, in folder: Storage, base: String
    ) throws(HostIOError) -> Bool {
        let key = base + name
        do throws(HostIOError) {
            let file = try folder.open(name, writable: false)
            if key.hasPrefix(prefix), after.map({ key > $0 }) ?? true {
                entries.append(.init(key: key, bytes: try file.size()))
            }
            return false
        } catch {
            guard DirectoryStore<Storage>.isAbsence(error.code) else { throw error }
            return DirectoryStore<Storage>.isFolder(error.code)
        }
    }
}
