// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Files of one directory, on any storage, and diffs among them.

import Formats
import HostIO
import ImageTools
import Primitives
import Testing

/// A directory with images. Confined to one test.
struct DiffRig<Storage: ExtentDirectory> {
    let directory: Storage

    func place(_ name: String) -> ImagePlace<Storage> {
        ImagePlace(directory: directory, name: name, path: name)
    }

    func end(_ name: String) -> DiffEnd<Storage> { .file(place(name)) }

    var tool: BlockDiffTool<Storage> { BlockDiffTool(token: 0xBD1F) { _, _ in true } }

    @discardableResult
    func make(_ name: String, size: Int, _ parts: [(Int, [UInt8])] = []) throws -> Storage.File {
        let file = try directory.create(name)
        try file.resize(UInt64(size))
        for (offset, bytes) in parts { try file.write(at: UInt64(offset), bytes) }
        return file
    }

    @discardableResult
    func make(_ name: String, _ bytes: [UInt8]) throws -> Storage.File {
        try make(name, size: bytes.count, [(0, bytes)])
    }

    /// A file that shares all bytes of another, where that can be done, else holds the same.
    func clone(_ source: String, as name: String) throws -> Storage.File {
        let file = try directory.create(name)
        let from = try directory.open(source, writable: false)
        if try !file.share(from: from) { try file.write(at: 0, bytes(source)) }
        try file.resize(try from.size())
        return file
    }

    func bytes(_ name: String) throws -> [UInt8] {
        let file = try directory.open(name, writable: false)
        return try file.read(at: 0, count: Int(try file.size()))
    }

    @discardableResult
    func create(
        _ diff: String, _ target: String, base: String?, version: Int = 1, codec: Codec = .zstd,
        takesDigests: Bool = true, replaces: Bool = false
    ) throws -> DiffSummary {
        var options = DiffCreation()
        options.version = version
        options.codec = codec
        options.takesDigests = takesDigests
        options.replaces = replaces
        return try tool.create(
            end(diff), target: place(target), base: base.map(place), options)
    }

    @discardableResult
    func apply(
        _ diff: String, _ target: String, base: String?, replaces: Bool = false,
        trustsBase: Bool = false
    ) throws -> DiffSummary {
        var options = DiffApplication()
        options.replaces = replaces
        options.trustsBase = trustsBase
        return try tool.apply(end(diff), target: place(target), base: base.map(place), options)
    }

    func ranges(_ diff: String) throws -> [ChangedRange] {
        var ranges: [ChangedRange] = []
        try tool.view(end(diff), { _ in }, { ranges.append($0) })
        return ranges
    }
}

/// The error of a block diff that a call threw, or nil.
func diffError(_ body: () throws -> Void) -> BlockDiffError? {
    do {
        try body()
        return nil
    } catch {
        return error as? BlockDiffError
    }
}

/// Two arrays are compared without printing them.
func expectEqualBytes(_ found: [UInt8], _ expected: [UInt8], _ what: String = "") {
    guard found != expected else { return }
    let first = zip(found, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    Issue.record(
        "\(what): \(found.count) and \(expected.count) bytes differ at \(first ?? -1)")
}

extension SplitMix64 {
    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }
}
