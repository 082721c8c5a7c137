// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A file that is there whole or not at all: made under a temporary name beside its own, synced,
// then given its name. A file of that name is left alone unless it is to be replaced.

import Glibc
import HostIO
import Primitives

/// A file in the making. Confined to the thread that exports.
struct OutputFile<Storage: StorageDirectory> {
    let file: Storage.File
    private let directory: Storage
    private let name: String
    private let temporary: String
    private let replaces: Bool

    /// Fails with `exists` if the name is taken and not to be replaced. `token` makes the temporary
    /// name one that nobody else has.
    init(
        _ name: String, in directory: Storage, replaces: Bool, token: Token
    ) throws(ExportError) {
        self.directory = directory
        self.name = name
        self.replaces = replaces
        // Names have 255 bytes at most; the whole token would tell no more.
        let start = String(decoding: name.utf8.prefix(100), as: UTF8.self)
        temporary = ".\(start).\(token.description.prefix(16)).part"
        let temporary = self.temporary
        if !replaces {
            let isTaken = try output { () throws(HostIOError) in try directory.exists(name) }
            if isTaken { throw .exists(path: directory.path + "/" + name) }
        }
        file = try output { () throws(HostIOError) in try directory.create(temporary) }
    }

    /// Makes the content durable, then the name. If it throws, the temporary name is still there.
    func publish() throws(ExportError) {
        try output { () throws(HostIOError) in try file.sync() }
        if replaces {
            try output { () throws(HostIOError) in
                try directory.rename(temporary, to: directory, as: name)
            }
        } else {
            do throws(HostIOError) {
                try directory.link(temporary, to: directory, as: name)
                // From here on the file is there: a second name that stays does no harm.
                discard()
            } catch {
                try publishWithoutLinks(after: error)
            }
        }
        try output { () throws(HostIOError) in try directory.sync() }
    }

    /// Some file systems have no second names: there the check and the rename are two steps.
    private func publishWithoutLinks(after error: HostIOError) throws(ExportError) {
        if error.code == EEXIST { throw .exists(path: directory.path + "/" + name) }
        guard error.operation == .link, [EPERM, EOPNOTSUPP, ENOSYS].contains(error.code) else {
            throw .output(error)
        }
        let isTaken = try output { () throws(HostIOError) in try directory.exists(name) }
        if isTaken { throw .exists(path: directory.path + "/" + name) }
        try output { () throws(HostIOError) in
            try directory.rename(temporary, to: directory, as: name)
        }
    }

    /// Leaves nothing behind.
    func discard() { try? directory.remove(temporary) }
}
