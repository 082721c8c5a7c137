// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Objects as files below a directory, the key as the path. An object appears under its key by
// `link`, which the kernel grants to one of many, and only after its bytes are durable;
// `putIfAbsent` returns after the names are durable too, up to the root.
// `replace`, for repair alone, does the same with `rename` in place of `link`.
//
// The steps of a PUT: stage a file in `+staging/<token>/` (no key has a "+") → write, fdatasync →
// open or make the folders, fsync each one's parent → link → fsync the folder → remove the staged
// name. A staging folder is locked by its owner; those whose owner is gone are cleared at the first
// write.

import Glibc
public import HostIO
public import Primitives
import Synchronization

/// A store in a directory, shared by all processes that open it. Generic, so that it runs on the
/// volatile disk as well.
public final class DirectoryStore<Storage: StorageDirectory>: ObjectStore {
    public let url: String
    public var deleteBatchMax: Int { 1 }
    let root: Storage
    private let token: Token
    private let writer = Lock(Writer())
    /// Numbers staged files. Relaxed: only uniqueness matters.
    private let stagedCount = Atomic<UInt64>(0)

    private static var stagingName: String { "+staging" }
    private static var lockName: String { "lock" }
    /// Folders remembered as durable; forgetting them costs a sync each, no more.
    private static var durableFoldersMax: Int { 65_536 }

    private struct Writer {
        var staging: Staging?
        /// Folders that were there when their parent was synced.
        var durableFolders: Set<String> = []
    }

    private struct Staging {
        let folder: Storage
        let lock: Storage.File
    }

    /// `token` tells this opening of the store from all others.
    public init(root: Storage, token: Token) {
        self.root = root
        self.token = token
        url = "file://" + root.path
    }

    // MARK: Writing

    public func putIfAbsent(
        _ key: String, _ body: UnsafeRawBufferPointer
    ) throws(ObjectStoreError) -> PutOutcome {
        try ObjectKey.check(key)
        do throws(HostIOError) {
            return try put(key, body)
        } catch {
            throw Self.translate(error, key: key)
        }
    }

    private func put(_ key: String, _ body: UnsafeRawBufferPointer) throws(HostIOError)
        -> PutOutcome
    {
        let (folders, name) = Self.split(key)
        let folder = try folderForWriting(folders)
        // Saves writing the body; the link below decides.
        if try folder.exists(name) { return try existing(name, in: folder) }

        let (staging, staged) = try stage(body)
        defer { try? staging.remove(staged) }
        do throws(HostIOError) {
            try staging.link(staged, to: folder, as: name)
        } catch {
            if error.code == EEXIST { return try existing(name, in: folder) }
            throw error
        }
        try folder.sync()
        return .created
    }

    /// A durable file without a name that anybody knows.
    private func stage(
        _ body: UnsafeRawBufferPointer
    ) throws(HostIOError) -> (folder: Storage, name: String) {
        let staging = try staging()
        let staged = String(stagedCount.wrappingAdd(1, ordering: .relaxed).newValue)
        let file = try staging.create(staged)
        do throws(HostIOError) {
            try file.write(at: 0, body)
            try file.sync()
        } catch {
            try? staging.remove(staged)
            throw error
        }
        return (staging, staged)
    }

    public func replace(_ key: String, _ body: UnsafeRawBufferPointer) throws(ObjectStoreError) {
        try ObjectKey.check(key)
        do throws(HostIOError) {
            let (folders, name) = Self.split(key)
            let folder = try folderForWriting(folders)
            let (staging, staged) = try stage(body)
            defer { try? staging.remove(staged) }
            try staging.rename(staged, to: folder, as: name)
            try folder.sync()
        } catch {
            throw Self.translate(error, key: key)
        }
    }

    /// The key is taken. The caller will act on that, so it must stay true after a power cut.
    private func existing(_ name: String, in folder: Storage) throws(HostIOError) -> PutOutcome {
        _ = try folder.open(name, writable: false)
        try folder.sync()
        return .exists
    }

    private func folderForWriting(_ components: [String]) throws(HostIOError) -> Storage {
        var current = root
        var path = ""
        for component in components {
            let next = try current.directory(component, create: true)
            path += component + "/"
            // Another thread or process may have made it a moment ago and not synced it yet, so
            // only those are trusted whose parent was synced here after they were seen.
            let known = path
            if !writer.withLock({ $0.durableFolders.contains(known) }) {
                try current.sync()
                writer.withLock { writer in
                    if writer.durableFolders.count >= Self.durableFoldersMax {
                        writer.durableFolders.removeAll()
                    }
                    writer.durableFolders.insert(known)
                }
            }
            current = next
        }
        return current
    }

    public func delete(_ keys: [String]) throws(ObjectStoreError) {
        for key in keys { try ObjectKey.check(key) }
        var touched: [String: Storage] = [:]
        for key in keys {
            do throws(HostIOError) {
                let (folders, name) = Self.split(key)
                guard let folder = try folderForReading(folders) else { continue }
                // Opened first: `remove` would take an empty folder of that name with it.
                _ = try folder.open(name, writable: false)
                try folder.remove(name)
                touched[folders.joined(separator: "/")] = folder
            } catch {
                guard Self.isAbsence(error.code) else { throw Self.translate(error, key: key) }
            }
        }
        for (path, folder) in touched {
            do throws(HostIOError) { try folder.sync() } catch {
                throw Self.translate(error, key: path)
            }
        }
    }

    /// Files are dated by this host.
    public func dateSeconds() throws(ObjectStoreError) -> UInt64? { nil }

    // MARK: Staging

    private func staging() throws(HostIOError) -> Storage {
        try writer.withLock { writer throws(HostIOError) in
            if let staging = writer.staging { return staging.folder }
            let area = try root.directory(Self.stagingName, create: true)
            Self.clearStale(in: area)
            let made = try ownStaging(in: area)
            writer.staging = made
            return made.folder
        }
    }

    private func ownStaging(in area: Storage) throws(HostIOError) -> Staging {
        // Another opener may take a folder for stale between its making and its locking; a few
        // rounds always suffice, since each opener clears once.
        for attempt in 0..<16 {
            let folder = try area.directory("\(token)-\(attempt)", create: true)
            do throws(HostIOError) {
                guard let lock = try folder.lock(Self.lockName) else { continue }
                if try folder.exists(Self.lockName) { return Staging(folder: folder, lock: lock) }
            } catch {
                guard error.code == ENOENT else { throw error }
            }
        }
        throw HostIOError(.lock, path: area.path, code: EBUSY)
    }

    /// Removes what openers that died have left. Failures leave it for the next one.
    private static func clearStale(in area: Storage) {
        do throws(HostIOError) {
            for name in try area.list() {
                let folder = try area.directory(name, create: false)
                guard let lock = try folder.lock(lockName) else { continue }
                for staged in try folder.list() { try folder.remove(staged) }
                try area.remove(name)
                withExtendedLifetime(lock) {}
            }
        } catch {
            return
        }
    }

    // MARK: Reading

    public func get(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        try reading(key) { file, size throws(HostIOError) -> [UInt8]? in
            guard size <= UInt64(limit) else { return nil }
            return try file.read(at: 0, count: Int(size))
        }.unwrapped(orRefused: key, "the object is larger than \(limit) bytes")
    }

    public func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        let count = try reading(key) { file, _ throws(HostIOError) in
            try file.read(at: offset, into: buffer)
        }
        guard count == buffer.count else {
            throw .damaged(
                key: key, detail: "\(count) bytes at \(offset) instead of \(buffer.count)")
        }
    }

    public func getSuffix(_ key: String, count: Int) throws(ObjectStoreError) -> [UInt8] {
        precondition(count >= 0)
        return try reading(key) { file, size throws(HostIOError) in
            let wanted = min(UInt64(count), size)
            return try file.read(at: size - wanted, count: Int(wanted))
        }
    }

    public func head(_ key: String) throws(ObjectStoreError) -> UInt64? {
        do {
            return try reading(key) { _, size throws(HostIOError) in size }
        } catch .notFound {
            return nil
        }
    }

    private func reading<Result>(
        _ key: String, _ body: (Storage.File, UInt64) throws(HostIOError) -> Result
    ) throws(ObjectStoreError) -> Result {
        try ObjectKey.check(key)
        do throws(HostIOError) {
            let (folders, name) = Self.split(key)
            if let folder = try folderForReading(folders) {
                let file = try folder.open(name, writable: false)
                return try body(file, try file.size())
            }
        } catch {
            if Self.isAbsence(error.code) { throw .notFound(key: key) }
            throw Self.translate(error, key: key)
        }
        throw .notFound(key: key)
    }

    /// Nil if a folder on the way is missing.
    func folderForReading(_ components: [String]) throws(HostIOError) -> Storage? {
        var current = root
        for component in components {
            do throws(HostIOError) {
                current = try current.directory(component, create: false)
            } catch {
                if Self.isAbsence(error.code) { return nil }
                throw error
            }
        }
        return current
    }

    // MARK: Names and errors

    static func split(_ key: String) -> (folders: [String], name: String) {
        var components = key.split(separator: "/").map(String.init)
        let name = components.removeLast()
        return (components, name)
    }

    /// No object has this key: nothing is there, or a folder, or an object where a folder would be.
    static func isAbsence(_ code: Int32) -> Bool {
        code == ENOENT || code == ENOTDIR || code == EISDIR
    }

    static func isFolder(_ code: Int32) -> Bool { code == EISDIR }

    static func translate(_ error: HostIOError, key: String) -> ObjectStoreError {
        switch error.code {
        case EACCES, EPERM, EROFS: .forbidden(key: key, detail: error.description)
        case ENOTDIR, EISDIR:
            .refused(key: key, detail: "a part of the key is an object, or the key is a folder")
        case ENAMETOOLONG, EFBIG: .refused(key: key, detail: error.description)
        default: .away(key: key, detail: error.description)
        }
    }
}

extension Optional {
    fileprivate func unwrapped(
        orRefused key: String, _ detail: String
    ) throws(ObjectStoreError) -> Wrapped {
        guard let value = self else { throw .refused(key: key, detail: detail) }
        return value
    }
}
