// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// An open directory of a `VolatileDisk`. Like files, it dies with a crash.

import Glibc

/// A directory of the twin.
public struct VolatileDirectory: StorageDirectory {
    public typealias File = VolatileFile

    let disk: VolatileDisk
    let entries: VolatileEntries
    private let generation: Int
    public let path: String

    init(disk: VolatileDisk, entries: VolatileEntries, generation: Int, path: String) {
        self.disk = disk
        self.entries = entries
        self.generation = generation
        self.path = path
    }

    private func place(_ name: String) -> String { path + "/" + name }

    func perform<Result: Sendable>(
        _ kind: VolatileDisk.Kind, _ operation: HostIOError.Operation, _ name: String?,
        _ body: (inout VolatileState, _ isCut: Bool) throws(HostIOError) -> Result
    ) throws(HostIOError) -> Result {
        if let name {
            precondition(!name.isEmpty && !name.contains("/"), "a name is one component")
        }
        let call = VolatileCall(
            kind: kind, operation: operation, path: name.map(place) ?? path, offset: 0, count: 0,
            generation: generation)
        return try disk.perform(call, body)
    }

    private func handle(
        _ content: VolatileContent, _ name: String, isWritable: Bool, holdsLock: Bool = false
    ) -> VolatileFile {
        VolatileFile(
            disk: disk, content: content, generation: generation, path: place(name),
            isWritable: isWritable, holdsLock: holdsLock)
    }

    public func identity() throws(HostIOError) -> UInt64 {
        try perform(.stat, .stat, nil) { _, _ in entries.identity }
    }

    public func open(_ name: String, writable: Bool) throws(HostIOError) -> VolatileFile {
        let content = try perform(.open, .open, name) {
            (state, _) throws(HostIOError) -> VolatileContent in
            switch entries.current[name] {
            case .file(let content)?:
                state.opened(content)
                return content
            case .directory?: throw HostIOError(.open, path: place(name), code: EISDIR)
            case nil: throw HostIOError(.open, path: place(name), code: ENOENT)
            }
        }
        return handle(content, name, isWritable: writable)
    }

    public func create(_ name: String) throws(HostIOError) -> VolatileFile {
        let content = try perform(.create, .create, name) {
            (state, _) throws(HostIOError) -> VolatileContent in
            guard entries.current[name] == nil else {
                throw HostIOError(.create, path: place(name), code: EEXIST)
            }
            return try makeFile(name, .create, &state)
        }
        return handle(content, name, isWritable: true)
    }

    private func makeFile(
        _ name: String, _ operation: HostIOError.Operation, _ state: inout VolatileState
    ) throws(HostIOError) -> VolatileContent {
        guard !entries.isRemoved else {
            throw HostIOError(operation, path: place(name), code: ENOENT)
        }
        let made = VolatileContent(extents: state.addresses.map { VolatileExtents(addresses: $0) })
        state.opened(made)
        state.change([.init(directory: entries, name: name, node: .file(made))])
        return made
    }

    public func directory(_ name: String, create: Bool) throws(HostIOError) -> VolatileDirectory {
        let isMissing = try !exists(name)
        let isMade = isMissing && create
        let child = try perform(
            isMade ? .makeDirectory : .open, isMade ? .makeDirectory : .open, name
        ) { (state, _) throws(HostIOError) -> VolatileEntries in
            switch entries.current[name] {
            case .directory(let child)?: return child
            case .file?: throw HostIOError(.open, path: place(name), code: ENOTDIR)
            case nil:
                guard create && !entries.isRemoved else {
                    throw HostIOError(.open, path: place(name), code: ENOENT)
                }
                let made = state.makeDirectory()
                state.change([.init(directory: entries, name: name, node: .directory(made))])
                return made
            }
        }
        return VolatileDirectory(
            disk: disk, entries: child, generation: generation, path: place(name))
    }

    public func rename(
        _ name: String, to target: VolatileDirectory, as newName: String
    ) throws(HostIOError) {
        try perform(.rename, .rename, name) { (state, _) throws(HostIOError) in
            func failure(_ code: Int32) -> HostIOError {
                HostIOError(.rename, path: place(name), code: code)
            }
            guard let node = entries.current[name], !target.entries.isRemoved else {
                throw failure(ENOENT)
            }
            if let existing = target.entries.current[newName] {
                if existing.isSame(as: node) { return }
                switch (node, existing) {
                case (.file, .directory): throw failure(EISDIR)
                case (.directory, .file): throw failure(ENOTDIR)
                case (.directory, .directory(let other)):
                    if !other.current.isEmpty { throw failure(ENOTEMPTY) }
                    other.isRemoved = true
                case (.file, .file): break
                }
            }
            state.change([
                .init(directory: target.entries, name: newName, node: node),
                .init(directory: entries, name: name, node: nil),
            ])
        }
    }

    public func link(
        _ name: String, to target: VolatileDirectory, as newName: String
    ) throws(HostIOError) {
        try perform(.link, .link, name) { (state, _) throws(HostIOError) in
            func failure(_ code: Int32) -> HostIOError {
                HostIOError(.link, path: target.place(newName), code: code)
            }
            guard let node = entries.current[name], !target.entries.isRemoved else {
                throw failure(ENOENT)
            }
            guard target.entries.current[newName] == nil else { throw failure(EEXIST) }
            guard case .file = node else { throw failure(EPERM) }
            state.change([.init(directory: target.entries, name: newName, node: node)])
        }
    }

    public func remove(_ name: String) throws(HostIOError) {
        try perform(.remove, .remove, name) { (state, _) throws(HostIOError) in
            guard let node = entries.current[name] else { return }
            if case .directory(let child) = node, !child.current.isEmpty {
                throw HostIOError(.remove, path: place(name), code: ENOTEMPTY)
            }
            state.change([.init(directory: entries, name: name, node: nil)])
        }
    }

    public func list() throws(HostIOError) -> [String] {
        try perform(.list, .list, nil) { _, _ in entries.current.keys.sorted() }
    }

    public func exists(_ name: String) throws(HostIOError) -> Bool {
        try perform(.stat, .stat, name) { _, _ in entries.current[name] != nil }
    }

    public func sync() throws(HostIOError) {
        try perform(.directorySync, .sync, nil) { state, isCut in
            if !isCut { state.syncNames(of: entries) }
        }
    }

    public func lock(_ name: String) throws(HostIOError) -> VolatileFile? {
        let content = try perform(.lock, .lock, name) {
            (state, _) throws(HostIOError) -> VolatileContent? in
            let content: VolatileContent
            switch entries.current[name] {
            case .file(let known)?:
                if known.isLocked { return nil }
                state.opened(known)
                content = known
            case .directory?: throw HostIOError(.lock, path: place(name), code: EISDIR)
            case nil: content = try makeFile(name, .lock, &state)
            }
            content.isLocked = true
            return content
        }
        return content.map { handle($0, name, isWritable: true, holdsLock: true) }
    }

    public func space() throws(HostIOError) -> (free: UInt64, total: UInt64) {
        try perform(.stat, .stat, nil) { state, _ in
            let total = state.capacityBytes
            return (total > state.usedBytes ? total - state.usedBytes : 0, total)
        }
    }
}
