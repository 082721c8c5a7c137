// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A file that is there whole or not at all: made under a temporary name beside its own, synced,
// then given its name. A file of that name is left alone unless it is to be replaced.

import Glibc
import HostIO

/// Who may read a new file.
enum FileReaders {
    /// Its owner alone.
    case owner
    /// Whoever the user's mask leaves.
    case user
    /// As these permission bits say.
    case mode(UInt32)
}

/// A file in the making. Confined to one call.
struct OutputFile<Storage: ExtentDirectory> {
    let file: Storage.File
    private let place: ImagePlace<Storage>
    private let temporary: String
    private let replaces: Bool

    /// Refuses a name that is taken, if it is not to be replaced, and one of what is no file.
    ///
    /// - Parameters:
    ///   - replaces: a regular file of that name gives way at once, and leaves its permissions.
    ///   - token: a random number: makes the temporary name one that nobody else has.
    init(
        _ place: ImagePlace<Storage>, replaces: Bool, readers: FileReaders, token: UInt64
    ) throws(ImageFileError) {
        self.place = place
        self.replaces = replaces
        // Names have 255 bytes at most.
        let start = String(decoding: place.name.utf8.prefix(100), as: UTF8.self)
        temporary = ".\(start).\(String(token, radix: 16)).part"
        let (directory, temporary) = (place.directory, self.temporary)
        let mode: UInt32?
        switch (try place.check(replacing: replaces), readers) {
        case (let before?, _): mode = before.mode & 0o777
        case (nil, .mode(let wanted)): mode = wanted & 0o777
        case (nil, .user):
            file = try onFile { () throws(HostIOError) in try directory.createForUser(temporary) }
            return
        case (nil, .owner): mode = nil
        }
        // The owner's alone until it has its mode: who may not read it shall not open it before.
        let made = try onFile { () throws(HostIOError) in try directory.create(temporary) }
        file = made
        guard let mode else { return }
        do throws(HostIOError) { try made.setMode(mode) } catch {
            try? directory.remove(temporary)
            throw .io(error)
        }
    }

    /// Makes the content durable, then the name. If it throws, the temporary name is still there.
    func publish() throws(ImageFileError) {
        let directory = place.directory
        try onFile { () throws(HostIOError) in try file.sync() }
        if replaces {
            // What has the name by now may be something else.
            _ = try place.check(replacing: true)
            try rename()
        } else {
            do throws(HostIOError) {
                // A second name is refused where somebody else took it meanwhile.
                try directory.link(temporary, to: directory, as: place.name)
            } catch {
                if error.code == EEXIST { throw .exists(place.path) }
                // Some file systems give a file one name: there, look and rename are two steps.
                guard [EPERM, EOPNOTSUPP, ENOSYS, EMLINK].contains(error.code) else {
                    throw .io(error)
                }
                _ = try place.check(replacing: false)
                try rename()
            }
            // Absent where it was renamed.
            try onFile { () throws(HostIOError) in try directory.remove(temporary) }
        }
        try onFile { () throws(HostIOError) in try directory.sync() }
    }

    private func rename() throws(ImageFileError) {
        try onFile { () throws(HostIOError) in
            try place.directory.rename(temporary, to: place.directory, as: place.name)
        }
    }

    /// Leaves nothing behind.
    func discard() { try? place.directory.remove(temporary) }
}
