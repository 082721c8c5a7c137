// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Finding a journal on this host, and the commit that it continues: the newest root beside
// `journal/`, or the file `root` in a journal that was set aside.
//
//   <volume>/root/<seq>  journal/NNNNNNNN.seg     journal.salvage-<epoch>[.k]/{root, NNNNNNNN.seg}

import ControlPlane
import Formats
import HostIO
import Journal
import Primitives

struct KeptJournal {
    /// As the user may name it.
    let name: String
    let journal: HostDirectory
    /// Nil if there is none that can be read.
    let root: Commit?

    private static var rootBytesMax: Int { 64 << 20 }

    /// `folder`: a volume's, or a journal's in that. `name`: which journal of a volume's folder;
    /// nil if there is only one.
    static func find(
        _ folder: String, named name: String?, _ what: String
    ) throws(UserError) -> KeptJournal {
        let directory = try explainLocal(what) { () throws(HostIOError) in
            try HostDirectory.open(path: folder, create: false)
        }
        let isJournal = try explainLocal(what) { () throws(HostIOError) in
            try !JournalInspection.segmentNames(in: directory).isEmpty
        }
        if isJournal {
            return try explainLocal(what) { () throws(HostIOError) in
                let volume = try? HostDirectory.open(path: folder + "/..", create: false)
                return KeptJournal(
                    name: folder, journal: directory,
                    root: try root(of: directory, named: folder, in: volume))
            }
        }
        let names = try explainLocal(what) { () throws(HostIOError) in try journals(in: directory) }
        let chosen = try choose(name, among: names, what)
        return try explainLocal(what) { () throws(HostIOError) in
            let journal = try directory.directory(chosen, create: false)
            return KeptJournal(
                name: chosen, journal: journal,
                root: try root(of: journal, named: chosen, in: directory))
        }
    }

    private static func choose(
        _ name: String?, among names: [String], _ what: String
    ) throws(UserError) -> String {
        if let name, names.contains(name) { return name }
        if name == nil, names.count == 1 { return names[0] }
        guard !names.isEmpty else {
            throw UserError(
                .notFound, what: what, why: "no journal with segments is in it",
                remedy: "name a volume's folder, CACHE/volumes/ID, of the host that wrote it")
        }
        let all = names.joined(separator: ", ")
        throw UserError(
            .badRequest, what: what,
            why: name.map { "it has no journal \($0), but \(all)" } ?? "it has several: \(all)",
            remedy: "choose one with --journal")
    }

    /// Folders with segments, ascending.
    private static func journals(in volume: HostDirectory) throws(HostIOError) -> [String] {
        var found: [String] = []
        for name in try volume.list() where name.hasPrefix("journal") {
            guard let folder = try? volume.directory(name, create: false) else { continue }
            if try !JournalInspection.segmentNames(in: folder).isEmpty { found.append(name) }
        }
        return found.sorted()
    }

    /// The commit that a journal continues; nil if none is there or it does not decode. The roots
    /// of the volume are those of `journal/` alone: what was set aside continued an earlier one,
    /// and has it inside unless the process died before it was written there.
    static func root(
        of journal: HostDirectory, named path: String, in volume: HostDirectory?
    ) throws(HostIOError) -> Commit? {
        if try journal.exists("root") {
            return commit(try journal.readAll("root", limit: rootBytesMax))
        }
        guard path.split(separator: "/").last == "journal", let volume, try volume.exists("root")
        else { return nil }
        let roots = try volume.directory("root", create: false)
        guard let newest = try roots.list().compactMap({ UInt64($0) }).max() else { return nil }
        return commit(try roots.readAll("\(newest)", limit: rootBytesMax))
    }

    private static func commit(_ bytes: [UInt8]?) -> Commit? {
        bytes?.withUnsafeBytes { try? Commit(decoding: $0, key: nil) }
    }
}
