// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Places, holes and sharing of the twin's files. On a disk without extents every answer is that of
// a file system that knows none of it.

import Glibc
import Primitives
import Synchronization

extension VolatileFile: ExtentFile {
    public func facts() throws(HostIOError) -> FileFacts {
        try perform(.stat, .stat) { _, _ in content.facts }
    }

    public func extents(
        from offset: UInt64, settled: Bool
    ) throws(HostIOError) -> [FileExtent]? {
        try perform(.stat, .stat, offset: offset) { _, _ in
            content.extents?.extents(from: offset)
        }
    }

    public func nextData(from offset: UInt64) throws(HostIOError) -> Range<UInt64>? {
        try perform(.stat, .stat, offset: offset) { _, _ in
            let size = UInt64(content.size)
            guard let extents = content.extents else { return offset < size ? offset..<size : nil }
            return extents.nextData(from: offset, size: size)
        }
    }

    public func setMode(_ mode: UInt32) throws(HostIOError) {
        try perform(.allocate, .allocate) { _, _ in content.mode = mode }
    }

    public func punch(at offset: UInt64, count: UInt64) throws(HostIOError) -> Bool {
        precondition(count > 0)
        return try perform(.write, .write, offset: offset, count: count) { state, _ in
            guard content.extents != nil else { return false }
            content.punch(offset..<offset + count, random: &state.random)
            return true
        }
    }

    public func share(from source: VolatileFile) throws(HostIOError) -> Bool {
        try perform(.write, .write, count: UInt64(source.content.size)) {
            (state, _) throws(HostIOError) in
            guard let shared = source.content.extents, content.extents != nil else { return false }
            try take(from: source, 0..<UInt64(source.content.size), &state)
            content.extents?.share(shared)
            return true
        }
    }

    public func copy(
        from source: VolatileFile, at offset: UInt64, count: UInt64
    ) throws(HostIOError) -> UInt64? {
        precondition(count > 0)
        return try perform(.write, .write, offset: offset, count: count) {
            (state, _) throws(HostIOError) in
            let end = min(offset + count, UInt64(source.content.size))
            guard let shared = source.content.extents, content.extents != nil, offset < end else {
                return nil
            }
            try take(from: source, offset..<end, &state)
            content.extents?.share(shared, offset..<end)
            return end - offset
        }
    }

    private func take(
        from source: VolatileFile, _ range: Range<UInt64>, _ state: inout VolatileState
    ) throws(HostIOError) {
        let size = max(content.size, Int(range.upperBound))
        guard state.charge(content, newSize: size) else {
            throw HostIOError(.write, path: path, code: ENOSPC)
        }
        let bytes = source.content.bytes()[Int(range.lowerBound)..<Int(range.upperBound)]
        bytes.withUnsafeBytes {
            content.write(at: Int(range.lowerBound), $0, random: &state.random)
        }
    }
}

extension VolatileDirectory: ExtentDirectory {
    public func facts(of name: String) throws(HostIOError) -> FileFacts? {
        try perform(.stat, .stat, name) { _, _ in
            switch entries.current[name] {
            case .file(let content)?: content.facts
            case .directory(let child)?:
                FileFacts(
                    kind: .directory, device: 1, inode: child.identity, size: 0, modified: 0,
                    mode: 0o755)
            case nil: nil
            }
        }
    }

    public func createForUser(_ name: String) throws(HostIOError) -> VolatileFile {
        let file = try create(name)
        disk.state.withLock { _ in file.content.mode = 0o644 }
        return file
    }
}

extension VolatileContent {
    var facts: FileFacts {
        FileFacts(
            kind: .regular, device: 1, inode: UInt64(UInt(bitPattern: ObjectIdentifier(self))),
            size: UInt64(size), modified: Int64(changes), mode: mode)
    }
}

extension VolatileDisk {
    /// Makes the addresses of a file's bytes say nothing, as those of compressed extents do.
    public func blurExtents(_ path: String, _ range: Range<UInt64>, address: UInt64) {
        state.withLock { state in
            guard case .file(let content)? = state.node(at: path) else {
                preconditionFailure("no file \(path)")
            }
            content.extents?.blur(range, address: address)
        }
    }
}
