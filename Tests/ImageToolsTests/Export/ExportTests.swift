// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Raw images in files and streams, of disks of all shapes; and what a failure leaves.

import CleanCache
import ControlPlane
import Documents
import Formats
import Glibc
import HostIO
import ObjectStore
import Primitives
import RepositorySupport
import Synchronization
import TestSupport
import Testing
import VolumeMap

@testable import ImageTools

@Suite("an export is the disk of a commit, byte for byte")
struct ExportTests {
    private let token = Token(low: 1, high: 2)

    private func bytes<Store: ObjectStore>(
        _ source: ExportSource, _ store: Store, _ spread: @escaping FetchSpread = oneByOne
    ) throws -> [UInt8] {
        let root = VolatileDisk(seed: 1).root
        _ = try ImageExport(source, from: store, as: .raw, spread: spread)
            .write("image", in: root, replaces: false, token: token)
        #expect(try root.list() == ["image"])
        return try root.content("image")
    }

    @Test("raw files of every commit: stacks, trimmed blocks, a rollback, a short last block")
    func everyCommit() throws {
        let repository = try SmallRepository.built()
        let crew = Crew()
        var stacked = 0
        for key in try repository.commits {
            let expected = try repository.image(key)
            let source = try repository.source(key)
            expectSame(try bytes(source, repository.store), expected, "\(key)")
            expectSame(try bytes(source, repository.store, crew.spread), expected, "\(key)")
            let walk = ImageWalk(
                target: Root(commit: source.commit), base: nil,
                fetcher: MapFetcher(
                    store: repository.store, cache: .init(capacityBytes: Limits.cacheBytesMin)))
            try walk.forEachDemand { stacked = max(stacked, $0.frames.count) }
        }
        #expect(stacked == Limits.stackFramesMax, "no stack of four was exported")
    }

    @Test("a directory store gives the same as memory")
    func directoryStore() throws {
        let repository = try SmallRepository.built()
        let scratch = try ScratchDirectory()
        let store = DirectoryStore(
            root: try HostDirectory.open(path: scratch.path, create: false), token: token)
        for (key, body) in repository.store.objects { _ = try store.putIfAbsent(key, body) }
        for key in try repository.commits {
            expectSame(
                try bytes(try repository.source(key), store), try repository.image(key), "\(key)")
        }
        withExtendedLifetime(scratch) {}
    }

    @Test("a stream gets the whole disk in order, zeros included")
    func stream() throws {
        let repository = try SmallRepository.built()
        for key in try repository.commits {
            let stream = CollectedStream()
            _ = try ImageExport(
                try repository.source(key), from: repository.store, as: .raw,
                spread: Crew().spread
            ).write(to: stream)
            expectSame(stream.bytes, try repository.image(key), "\(key)")
        }
    }

    @Test("holes of the volume and zeros by content are holes of the file")
    func holes() throws {
        let repository = try SmallRepository()
        try repository.create("zeros")
        // Not compared with what is there: the committer sees the block for the first time.
        let guest = try repository.running("zeros")
        try guest.write(0, repository.fresh(SmallRepository.blockBytes))
        _ = try repository.plane.drain("zeros")
        try repository.reopen("zeros")
        try repository.running("zeros").write(4096, [UInt8](repeating: 0, count: 8192))
        _ = try repository.plane.drain("zeros")
        let key = try #require(try repository.history(of: "zeros").last)
        let scratch = try ScratchDirectory()
        let folder = try HostDirectory.open(path: scratch.path, create: false)
        let summary = try ImageExport(
            try repository.source(key), from: repository.store, as: .raw
        ).write("image", in: folder, replaces: false, token: token)
        #expect(summary.size == SmallRepository.size)
        #expect(summary.dataBytes == UInt64(SmallRepository.blockBytes))
        var status = stat()
        #expect(stat("\(scratch.path)/image", &status) == 0)
        #expect(UInt64(status.st_size) == SmallRepository.size)
        // Two grains of data, and what the file system keeps of its own.
        #expect(status.st_blocks * 512 <= 8192 + 4096, "\(status.st_blocks) sectors")
    }

    @Test("a volume of 16 TB without data, and then with three blocks, costs what is there")
    func sparse() throws {
        let repository = try SmallRepository()
        let size: UInt64 = 16_000_000_000_000
        _ = try repository.plane.put(
            "large", PutRequest(size: ByteCount(size), blockBytes: 128 << 10))
        _ = try repository.plane.drain("large")
        let scratch = try ScratchDirectory()
        let folder = try HostDirectory.open(path: scratch.path, create: false)
        let places: [UInt64] = [0, 7 << 40, size - 4096]
        for (number, isFull) in [false, true].enumerated() {
            if isFull {
                for place in places {
                    try repository.running("large").write(place, repository.fresh(4096))
                }
                _ = try repository.plane.drain("large")
            }
            let key = try #require(try repository.history(of: "large").last)
            repository.store.record(true)
            _ = try ImageExport(try repository.source(key), from: repository.store, as: .raw)
                .write("\(number)", in: folder, replaces: false, token: token)
            // The commit, then nodes and frames.
            #expect(repository.store.requests.count <= (isFull ? 7 : 1))
            repository.store.record(false)
            var status = stat()
            #expect(stat("\(scratch.path)/\(number)", &status) == 0)
            #expect(UInt64(status.st_size) == size)
            #expect(status.st_blocks * 512 <= 1 << 17)
        }
        let file = try folder.open("1", writable: false)
        for place in places {
            let found = try file.read(at: place, count: 4096)
            #expect(try repository.running("large").read(place, 4096) == found)
        }
    }

    @Test("a file that is there is kept, unless it is to be replaced")
    func existing() throws {
        let repository = try SmallRepository.built()
        let key = try #require(try repository.history(of: "prod").last)
        let root = VolatileDisk(seed: 1).root
        try root.replaceDurably("image", with: [1, 2, 3])
        let export = ImageExport(try repository.source(key), from: repository.store, as: .raw)
        let failure = exportFailure { () throws(ExportError) in
            _ = try export.write("image", in: root, replaces: false, token: token)
        }
        #expect(failure == .exists(path: root.path + "/image"))
        #expect(try root.content("image") == [1, 2, 3])
        _ = try export.write("image", in: root, replaces: true, token: token)
        expectSame(try root.content("image"), try repository.image(key), "replaced")
        #expect(try root.list() == ["image"])
    }

    @Test("a link, a pipe, a directory or a device of the name stays, also where it is to go")
    func notFiles() throws {
        let repository = try SmallRepository.built()
        let key = try #require(try repository.history(of: "prod").last)
        let scratch = try ScratchDirectory()
        let folder = try HostDirectory.open(path: scratch.path, create: false)
        #expect(symlink("/dev/null", scratch.path + "/link") == 0)
        #expect(symlink("nowhere", scratch.path + "/dangling") == 0)
        #expect(mkfifo(scratch.path + "/pipe", 0o600) == 0)
        #expect(mkdir(scratch.path + "/folder", 0o700) == 0)
        let names = try folder.list()
        let export = ImageExport(try repository.source(key), from: repository.store, as: .raw)
        for replaces in [false, true] {
            for name in names {
                let failure = exportFailure { () throws(ExportError) in
                    try export.write(name, in: folder, replaces: replaces, token: token)
                }
                #expect(failure == .notRegular(path: scratch.path + "/" + name))
                #expect(failure?.userError("").kind == .badRequest)
            }
            let device = exportFailure { () throws(ExportError) in
                let root = try output { () throws(HostIOError) in
                    try HostDirectory.open(path: "/dev", create: false)
                }
                try export.write("null", in: root, replaces: replaces, token: token)
            }
            #expect(device == .notRegular(path: "/dev/null"))
        }
        #expect(try folder.list() == names)
    }

    @Test("a file that comes to be a link while the export runs is not replaced")
    func linkedMeanwhile() throws {
        let repository = try SmallRepository.built()
        let key = try #require(try repository.history(of: "prod").last)
        let scratch = try ScratchDirectory()
        let folder = try HostDirectory.open(path: scratch.path, create: false)
        _ = try folder.create("image")
        let failure = exportFailure { () throws(ExportError) in
            try ImageExport(
                try source(key, repository), from: repository.store, as: .raw,
                progress: { _ in
                    try? folder.remove("image")
                    return symlink("nowhere", scratch.path + "/image") == 0 || errno == EEXIST
                }
            ).write("image", in: folder, replaces: true, token: token)
        }
        #expect(failure == .notRegular(path: scratch.path + "/image"))
        #expect(try folder.list() == ["image"])
    }

    @Test("a new file is its owner's alone, and one that replaces another is as that was")
    func permissions() throws {
        let repository = try SmallRepository.built()
        let key = try #require(try repository.history(of: "prod").last)
        let scratch = try ScratchDirectory()
        let folder = try HostDirectory.open(path: scratch.path, create: false)
        let export = ImageExport(try repository.source(key), from: repository.store, as: .raw)
        try export.write("image", in: folder, replaces: false, token: token)
        #expect(try folder.facts(of: "image")?.mode == 0o600)
        try folder.open("image", writable: true).setMode(0o644)
        try export.write("image", in: folder, replaces: true, token: token)
        #expect(try folder.facts(of: "image")?.mode == 0o644)
    }

    @Test("a name that is taken while the export runs is kept")
    func takenMeanwhile() throws {
        let repository = try SmallRepository.built()
        let key = try #require(try repository.history(of: "prod").last)
        let root = VolatileDisk(seed: 1).root
        let failure = exportFailure { () throws(ExportError) in
            _ = try ImageExport(
                try source(key, repository), from: repository.store, as: .raw,
                progress: { _ in
                    try? root.replaceDurably("image", with: [7])
                    return true
                }
            ).write("image", in: root, replaces: false, token: token)
        }
        #expect(failure == .exists(path: root.path + "/image"))
        #expect(try root.content("image") == [7])
        #expect(try root.list() == ["image"])
    }

    private func source(
        _ key: CommitKey, _ repository: SmallRepository
    ) throws(ExportError) -> ExportSource {
        do { return try repository.source(key) } catch { throw .stopped }
    }

    @Test("an export that is stopped, or whose disk is full, leaves nothing behind")
    func nothingLeft() throws {
        let repository = try SmallRepository.built()
        let key = try #require(try repository.history(of: "prod").last)
        let source = try repository.source(key)
        for format in [ImageFormat.raw, .qcow2(nil), .qcow2(.zstd)] {
            let root = VolatileDisk(seed: 1, capacityBytes: 64 << 10).root
            let full = exportFailure { () throws(ExportError) in
                _ = try ImageExport(source, from: repository.store, as: format)
                    .write("image", in: root, replaces: false, token: token)
            }
            guard case .output(let error)? = full, error.isOutOfSpace else {
                Issue.record("\(String(describing: full)) instead of a full disk")
                continue
            }
            #expect(try root.list().isEmpty)
            let roomy = VolatileDisk(seed: 1).root
            let stopped = exportFailure { () throws(ExportError) in
                _ = try ImageExport(
                    source, from: repository.store, as: format, progress: { $0.bytes == 0 }
                ).write("image", in: roomy, replaces: false, token: token)
            }
            #expect(stopped == .stopped)
            #expect(try roomy.list().isEmpty)
        }
    }

    @Test("a store that is away ends the export, and is told from damage")
    func away() throws {
        let repository = try SmallRepository.built()
        let key = try #require(try repository.history(of: "prod").last)
        let source = try repository.source(key)
        repository.store.inject(StoreFault(.away, operation: .get, times: .max))
        let root = VolatileDisk(seed: 1).root
        let failure = exportFailure { () throws(ExportError) in
            _ = try ImageExport(source, from: repository.store, as: .raw, spread: Crew().spread)
                .write("image", in: root, replaces: false, token: token)
        }
        guard case .away? = failure else {
            Issue.record("\(String(describing: failure))")
            return
        }
        #expect(failure?.userError("cannot export").kind == .storeAway)
        #expect(try root.list().isEmpty)
        repository.store.heal()
        // An answer that comes damaged is asked for again.
        repository.store.inject(StoreFault(.flipped, operation: .get, skipping: 2, times: 2))
        expectSame(try bytes(source, repository.store), try repository.image(key), "healed")
    }
}

/// A stream in memory.
final class CollectedStream: ByteStream {
    private let collected = Lock<[UInt8]>([])
    var bytes: [UInt8] { collected.withLock { $0 } }
    func write(_ bytes: UnsafeRawBufferPointer) {
        let copy = Array(bytes)
        collected.withLock { $0 += copy }
    }
}
