// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A volume's directory in the cache, as the control plane uses it. The engine owns `journal/` while
// the volume runs, the committer `root/`; here are the small documents beside them, and what
// becomes of a journal that does not belong to the head.
//
//   <cache>/volumes/<volume-id>/identity.json      where this copy was made
//                               export.json        the export's ref, for a start without the store
//                               failed             why it is closed for writing, if it is
//                               root/  journal/
//                               journal.salvage-<epoch>[.k]   set aside by a claim; never replayed

package import Documents
import Glibc
package import HostIO
import Primitives

struct LocalVolume<Storage: StorageDirectory>: Sendable {
    let volume: VolumeID
    let directory: Storage

    private static var identityName: String { "identity.json" }
    private static var exportName: String { "export.json" }
    private static var failedName: String { "failed" }
    private static var journalName: String { "journal" }
    private static var salvagePrefix: String { "journal.salvage-" }

    /// Nil if there is none and `create` is false.
    static func open(
        _ volume: VolumeID, in cache: Storage, create: Bool
    ) throws(HostIOError) -> LocalVolume? {
        guard let volumes = try folder("volumes", in: cache, create: create),
            let directory = try folder(volume.description, in: volumes, create: create)
        else { return nil }
        return LocalVolume(volume: volume, directory: directory)
    }

    /// All volumes that have a directory here.
    static func all(in cache: Storage) throws(HostIOError) -> [LocalVolume] {
        guard let volumes = try folder("volumes", in: cache, create: false) else { return [] }
        var found: [LocalVolume] = []
        for name in try volumes.list() {
            guard let volume = VolumeID(hexadecimal: name) else { continue }
            found.append(
                LocalVolume(volume: volume, directory: try volumes.directory(name, create: false)))
        }
        return found
    }

    /// A subdirectory; with `create` its name is durable.
    private static func folder(
        _ name: String, in parent: Storage, create: Bool
    ) throws(HostIOError) -> Storage? {
        if create { return try parent.durableDirectory(name) }
        return try parent.exists(name) ? try parent.directory(name, create: false) : nil
    }

    // MARK: Documents

    /// Nil if it is absent or cannot be read: the directory then counts as a foreign copy.
    func identity() throws(HostIOError) -> Identity? { try document(Self.identityName) }

    func write(_ identity: Identity) throws(HostIOError) {
        try directory.replaceDurably(Self.identityName, with: identity.encoded)
    }

    func export() throws(HostIOError) -> ExportRef? { try document(Self.exportName) }

    /// Durable on return. What is there already is not written again: a start with thousands of
    /// volumes would wait for as many syncs. Where a kill came between the name and its sync, a
    /// power cut may bring back an older ref, which the store corrects.
    func write(_ export: ExportRef) throws(HostIOError) {
        let bytes = export.encoded
        if let kept = try? directory.readAll(Self.exportName, limit: ExportRef.bytesMax),
            kept == bytes
        {
            return
        }
        try directory.replaceDurably(Self.exportName, with: bytes)
    }

    /// Why the volume is closed for writing. A mark that cannot be read closes it too.
    func failure() throws(HostIOError) -> String? {
        guard try directory.exists(Self.failedName) else { return nil }
        let mark: FailedMark? = try document(Self.failedName)
        return mark?.reason ?? "a mark of failure that cannot be read"
    }

    func removeFailure() throws(HostIOError) {
        try directory.remove(Self.failedName)
        try directory.sync()
    }

    private func document<Value: Document>(_ name: String) throws(HostIOError) -> Value? {
        guard try directory.exists(name) else { return nil }
        do throws(HostIOError) {
            guard let bytes = try directory.readAll(name, limit: Value.bytesMax) else { return nil }
            return try? Value(decoding: bytes)
        } catch {
            guard error.code == EFBIG else { throw error }
            return nil
        }
    }

    // MARK: Journal

    /// Renames the journal, if it holds anything, so that no start replays it. Durable on return;
    /// the root it continued must be gone before. `root` goes with it, so that what it holds can be
    /// told.
    func setJournalAside(epoch: Epoch, root: [UInt8]?) throws(HostIOError) {
        guard try directory.exists(Self.journalName) else { return }
        let journal = try directory.directory(Self.journalName, create: false)
        guard try !journal.list().isEmpty else { return }
        var name = "\(Self.salvagePrefix)\(epoch)"
        var number = 1
        while try directory.exists(name) {
            number += 1
            name = "\(Self.salvagePrefix)\(epoch).\(number)"
        }
        try directory.rename(Self.journalName, to: directory, as: name)
        try directory.sync()
        if let root { try journal.replaceDurably("root", with: root) }
    }

    /// What the journal's files take.
    func journalBytes() throws(HostIOError) -> UInt64 {
        guard try directory.exists(Self.journalName) else { return 0 }
        let journal = try directory.directory(Self.journalName, create: false)
        var bytes: UInt64 = 0
        for name in try journal.list() { bytes += try journal.open(name, writable: false).size() }
        return bytes
    }

    /// Names of journals that were set aside.
    func salvage() throws(HostIOError) -> [String] {
        try directory.list().filter { $0.hasPrefix(Self.salvagePrefix) }
    }

    /// Removes the volume from this host. Journals that were set aside stay unless `all`. The root
    /// goes first, so that a crash in between leaves nothing that could be served.
    func remove(all: Bool, from cache: Storage) throws(HostIOError) {
        let kept = all ? [] : try salvage()
        try empty("root")
        for name in try directory.list() where name != "root" && !kept.contains(name) {
            try removeTree(name)
        }
        try removeTree("root")
        try directory.sync()
        guard kept.isEmpty,
            let volumes = try Self.folder("volumes", in: cache, create: false)
        else { return }
        try volumes.remove(volume.description)
        try volumes.sync()
    }

    private func empty(_ name: String) throws(HostIOError) {
        guard try directory.exists(name) else { return }
        let folder = try directory.directory(name, create: false)
        for file in try folder.list() { try folder.remove(file) }
        try folder.sync()
    }

    /// A file, or a folder of files.
    private func removeTree(_ name: String) throws(HostIOError) {
        guard try directory.exists(name) else { return }
        if name == "root" || name.hasPrefix(Self.journalName) { try empty(name) }
        try directory.remove(name)
    }
}

/// The refs of exports that a cache directory keeps: each was in the store.
package func keptExports(
    in cache: some StorageDirectory
) throws(HostIOError) -> [ExportRef] {
    var found: [ExportRef] = []
    for volume in try LocalVolume.all(in: cache) {
        if let ref = try volume.export() { found.append(ref) }
    }
    return found
}
