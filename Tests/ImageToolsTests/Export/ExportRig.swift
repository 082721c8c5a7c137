// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Exports of a repository that the real engine made, held against what was read of it block by
// block when it was made.

import Committer
import ControlPlane
import Documents
import Formats
import Glibc
import HostIO
import ObjectStore
import Primitives
import RepositorySupport
import Shard
import Testing
import VolumeMap

@testable import ImageTools

extension SmallRepository {
    /// The disk of a commit, from the blocks that were read when the repository was made.
    func image(_ key: CommitKey) throws -> [UInt8] {
        let (root, blocks) = (try #require(roots[key]), try #require(contents[key]))
        var image = [UInt8](repeating: 0, count: Int(root.size.rawValue))
        for (block, bytes) in blocks where !bytes.isEmpty {
            let start = Int(block) * root.blockBytes
            let count = min(bytes.count, image.count - start)
            image.replaceSubrange(start..<(start + count), with: bytes[..<count])
        }
        return image
    }

    /// Whether what was told of a commit is what was read of it; all of it, if it is whole.
    func isRight(_ told: ToldBlocks, _ key: CommitKey, isWhole: Bool) throws -> Bool {
        let (root, blocks) = (try #require(roots[key]), try #require(contents[key]))
        for (run, bytes) in zip(told.runs, told.bytes) {
            let block = run.lowerBound / UInt64(root.blockBytes)
            guard run.lowerBound == block * UInt64(root.blockBytes),
                let expected = blocks[block], expected.count >= bytes.count,
                memcmp(expected, bytes, bytes.count) == 0
            else { return false }
        }
        return !isWhole || told.runs.count == blocks.values.count { !$0.isEmpty }
    }

    func commit(_ key: CommitKey) throws -> Commit {
        try HeadFinder(store: store).commit(of: key.volume, key.sequence).commit
    }

    func source(_ key: CommitKey, since base: CommitKey? = nil) throws -> ExportSource {
        ExportSource(
            name: "test", commit: try commit(key), base: try base.map { try commit($0) }, pins: [],
            isUnpinned: true)
    }

    /// Commits of the volume of an export, oldest first.
    func history(of name: String) throws -> [CommitKey] {
        let volume = try volume(name)
        return try commits.filter { $0.volume == volume }.sorted { $0.sequence < $1.sequence }
    }
}

/// Equal, told by the first place that is not.
func expectSame(_ found: [UInt8], _ expected: [UInt8], _ comment: String) {
    guard found.count == expected.count else {
        Issue.record("\(comment): \(found.count) bytes instead of \(expected.count)")
        return
    }
    if memcmp(found, expected, found.count) == 0 { return }
    let place = zip(found, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    Issue.record("\(comment): byte \(place ?? -1) differs")
}

extension StorageDirectory {
    func content(_ name: String) throws -> [UInt8] {
        let file = try open(name, writable: false)
        return try file.read(at: 0, count: Int(try file.size()))
    }
}

extension ImageExport {
    /// Writes a file of a directory.
    @discardableResult
    func write<Storage: ExtentDirectory>(
        _ name: String, in directory: Storage, replaces: Bool, token: Token
    ) throws(ExportError) -> ExportSummary {
        try write(
            ImagePlace(directory: directory, name: name, path: directory.path + "/" + name),
            replaces: replaces, token: token.low)
    }
}

/// What an export told, in order.
final class ToldBlocks: ImageSink, @unchecked Sendable {
    // Confined: calls come one after another.
    private(set) var runs: [Range<UInt64>] = []
    private(set) var bytes: [[UInt8]] = []
    private(set) var contents = 0

    func take(_ blocks: [ImageBlock]) throws(ExportError) {
        for block in blocks {
            if block.content != nil { contents += 1 }
            block.forEachRun { run in
                let start = block.offset + UInt64(run.lowerBound)
                runs.append(start..<(start + UInt64(run.count)))
                bytes.append(
                    block.content.map { Array($0[run]) } ?? Array(repeating: 0, count: run.count))
            }
        }
    }

    var byteCount: Int { runs.reduce(0) { $0 + $1.count } }

    /// A copy of `base` with all that was told laid over it, of `size` bytes.
    func applied(to base: [UInt8], size: Int) -> [UInt8] {
        var image = base
        image.removeLast(max(0, image.count - size))
        image.append(contentsOf: repeatElement(0, count: max(0, size - image.count)))
        for (run, bytes) in zip(runs, bytes) {
            image.replaceSubrange(Int(run.lowerBound)..<Int(run.upperBound), with: bytes)
        }
        return image
    }
}

/// Threads for one test, ended with it.
final class Crew: Sendable {
    private let pool: WorkerPool
    init(_ threads: Int = 4) { pool = WorkerPool(threads: threads, name: "test") }
    deinit { pool.stop() }
    var spread: FetchSpread { { [pool] in pool.spread($0, $1) } }
}

/// The failure of `body`.
func exportFailure(_ body: () throws(ExportError) -> Void) -> ExportError? {
    do throws(ExportError) { try body() } catch { return error }
    return nil
}
