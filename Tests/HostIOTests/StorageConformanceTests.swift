// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One suite for both implementations of the storage seam. Each behaviour is a generic function over
// `StorageDirectory`; the suite runs it on a directory of the host and on one of the volatile disk.

import Glibc
import HostIO
import Primitives
import TestSupport
import Testing

/// The implementations of the seam.
enum Implementation: String, CaseIterable, CustomTestStringConvertible {
    case host
    case volatile

    var testDescription: String { rawValue }

    func run(_ behaviour: some Behaviour) throws {
        switch self {
        case .host:
            let scratch = try ScratchDirectory()
            try behaviour.check(HostDirectory.open(path: scratch.path, create: false))
            withExtendedLifetime(scratch) {}
        case .volatile:
            try behaviour.check(VolatileDisk(seed: 7).root)
        }
    }
}

/// A generic closure: Swift has none, so each behaviour is a type.
protocol Behaviour {
    func check<Storage: StorageDirectory>(_ root: Storage) throws
}

/// The `errno` a call failed with, or nil.
func failureCode(_ body: () throws -> Void) -> Int32? {
    do {
        try body()
        return nil
    } catch {
        return (error as? HostIOError)?.code
    }
}

@Suite("every storage directory keeps the promises of the seam")
struct StorageConformanceTests {
    @Test("a file reads back what was written in pieces", arguments: Implementation.allCases)
    func pieces(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                let file = try root.create("file")
                var first = [UInt8](repeating: 1, count: 3000)
                var second = [UInt8](repeating: 2, count: 5000)
                try first.withUnsafeMutableBytes { one in
                    try second.withUnsafeMutableBytes { two in
                        var pieces = [
                            iovec(iov_base: one.baseAddress, iov_len: one.count),
                            iovec(iov_base: nil, iov_len: 0),
                            iovec(iov_base: two.baseAddress, iov_len: two.count),
                        ]
                        try pieces.withUnsafeMutableBufferPointer {
                            try file.write(at: 100, pieces: $0)
                        }
                    }
                }
                #expect(try file.size() == 8100)
                #expect(try file.read(at: 0, count: 100) == [UInt8](repeating: 0, count: 100))
                #expect(try file.read(at: 100, count: 9000) == first + second)
                #expect(try file.read(at: 8100, count: 10).isEmpty)
                #expect(try file.read(at: 1 << 40, count: 10).isEmpty)
            }
        }
        try implementation.run(Check())
    }

    @Test("a write of more pieces than one call takes is whole", arguments: Implementation.allCases)
    func manyPieces(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                let file = try root.create("file")
                var bytes = (0..<2500 * 7).map { UInt8(truncatingIfNeeded: $0 / 7) }
                let expected = bytes
                try bytes.withUnsafeMutableBytes { buffer in
                    var pieces = (0..<2500).map { index in
                        iovec(iov_base: buffer.baseAddress?.advanced(by: index * 7), iov_len: 7)
                    }
                    try pieces.withUnsafeMutableBufferPointer {
                        try file.write(at: 0, pieces: $0)
                    }
                }
                #expect(try file.read(at: 0, count: 1 << 20) == expected)
            }
        }
        try implementation.run(Check())
    }

    @Test("a name can be created once", arguments: Implementation.allCases)
    func createOnce(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                _ = try root.create("file")
                #expect(failureCode { _ = try root.create("file") } == EEXIST)
                #expect(failureCode { _ = try root.open("other", writable: true) } == ENOENT)
                _ = try root.directory("folder", create: true)
                #expect(failureCode { _ = try root.create("folder") } == EEXIST)
                #expect(failureCode { _ = try root.open("folder", writable: false) } == EISDIR)
                #expect(failureCode { _ = try root.open("folder", writable: true) } == EISDIR)
                #expect(failureCode { _ = try root.directory("file", create: true) } == ENOTDIR)
                #expect(failureCode { _ = try root.directory("none", create: false) } == ENOENT)
            }
        }
        try implementation.run(Check())
    }

    @Test("a link is made once and names the same file", arguments: Implementation.allCases)
    func linkOnce(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                let file = try root.create("a")
                let folder = try root.directory("folder", create: true)
                try root.link("a", to: folder, as: "b")
                #expect(failureCode { try root.link("a", to: folder, as: "b") } == EEXIST)
                #expect(failureCode { try root.link("none", to: folder, as: "c") } == ENOENT)
                try file.write(at: 0, [1, 2, 3])
                #expect(try folder.readAll("b", limit: 10) == [1, 2, 3])
                try root.remove("a")
                #expect(try folder.readAll("b", limit: 10) == [1, 2, 3])
                #expect(try file.read(at: 0, count: 3) == [1, 2, 3])
            }
        }
        try implementation.run(Check())
    }

    @Test("names are listed in order", arguments: Implementation.allCases)
    func listing(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                #expect(try root.list().isEmpty)
                for name in ["b", "a.1", "a", "A", "0"] { _ = try root.create(name) }
                _ = try root.directory("a-folder", create: true)
                #expect(try root.list() == ["0", "A", "a", "a-folder", "a.1", "b"])
                #expect(try root.exists("a-folder"))
                #expect(try !root.exists("c"))
            }
        }
        try implementation.run(Check())
    }

    @Test("a rename moves across directories and replaces", arguments: Implementation.allCases)
    func renaming(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                let left = try root.directory("left", create: true)
                let right = try root.directory("right", create: true)
                let file = try left.create("file")
                try file.write(at: 0, [1])
                try right.create("taken").write(at: 0, [2])
                try left.rename("file", to: right, as: "taken")
                #expect(try left.list().isEmpty)
                #expect(try right.readAll("taken", limit: 1) == [1])
                #expect(failureCode { try left.rename("file", to: right, as: "x") } == ENOENT)
                #expect(failureCode { try right.rename("taken", to: root, as: "left") } == EISDIR)
                // A directory handle outlives the renaming of its directory.
                try root.rename("right", to: left, as: "moved")
                try right.create("later").write(at: 0, [3])
                let moved = try left.directory("moved", create: false)
                #expect(try moved.list() == ["later", "taken"])
                #expect(try moved.identity() == right.identity())
            }
        }
        try implementation.run(Check())
    }

    @Test(
        "removing what is absent succeeds, a full directory stays",
        arguments: Implementation.allCases)
    func removal(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                try root.remove("none")
                let folder = try root.directory("folder", create: true)
                _ = try folder.create("file")
                #expect(failureCode { try root.remove("folder") } == ENOTEMPTY)
                try folder.remove("file")
                try root.remove("folder")
                #expect(try root.list().isEmpty)
                #expect(failureCode { _ = try folder.create("file") } == ENOENT)
            }
        }
        try implementation.run(Check())
    }

    @Test("a lock has one holder at a time", arguments: Implementation.allCases)
    func locking(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                var holder = try root.lock("lock")
                #expect(holder != nil)
                #expect(try root.lock("lock") == nil)
                withExtendedLifetime(holder) {}
                holder = nil
                let next = try root.lock("lock")
                #expect(next != nil)
                withExtendedLifetime(next) {}
            }
        }
        try implementation.run(Check())
    }

    @Test("what was just written is read without waiting", arguments: Implementation.allCases)
    func cachedReads(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                let file = try root.create("file")
                try file.write(at: 0, [UInt8](repeating: 9, count: 10_000))
                var buffer = [UInt8](repeating: 0, count: 12_000)
                let count = try buffer.withUnsafeMutableBytes {
                    try file.readIfCached(at: 0, into: $0)
                }
                // Nil is allowed: a file system may not know how.
                if let count {
                    #expect(count == 10_000)
                    #expect(buffer[9_999] == 9 && buffer[10_000] == 0)
                }
            }
        }
        try implementation.run(Check())
    }

    @Test("a mapping shows later writes and survives the name", arguments: Implementation.allCases)
    func mapping(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                let file = try root.create("file")
                try file.allocate(1 << 20)
                let view = try file.mapping(count: 1 << 20)
                #expect(view.count == 1 << 20)
                #expect(view[500_000] == 0)
                try file.write(at: 500_000, [5])
                #expect(view[500_000] == 5)
                #expect(try file.mapping(count: 1 << 20).baseAddress == view.baseAddress)
                try root.remove("file")
                try file.write(at: 7, [6])
                #expect(view[7] == 6)
                withExtendedLifetime(file) {}
            }
        }
        try implementation.run(Check())
    }

    @Test(
        "allocation sets the size both ways and new bytes are zero",
        arguments: Implementation.allCases)
    func allocation(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                let file = try root.create("file")
                try file.write(at: 0, [UInt8](repeating: 1, count: 5000))
                try file.allocate(8192)
                #expect(try file.size() == 8192)
                #expect(try file.read(at: 4999, count: 10) == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
                try file.allocate(100)
                #expect(try file.size() == 100)
                try file.allocate(5000)
                #expect(try file.read(at: 99, count: 4) == [1, 0, 0, 0])
                file.startWriteback(at: 0, count: 4096)
                try file.sync()
                try root.sync()
            }
        }
        try implementation.run(Check())
    }

    @Test(
        "a small file is replaced as a whole and read to a limit",
        arguments: Implementation.allCases)
    func replacing(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                #expect(try root.readAll("file", limit: 10) == nil)
                try root.replaceDurably("file", with: [1, 2, 3])
                try root.replaceDurably("file", with: [4])
                #expect(try root.readAll("file", limit: 1) == [4])
                try root.replaceDurably("file", with: [])
                #expect(try root.readAll("file", limit: 0) == [])
                #expect(try root.list() == ["file"])
                try root.replaceDurably("file", with: [1, 2])
                #expect(failureCode { _ = try root.readAll("file", limit: 1) } == EFBIG)
                let space = try root.space()
                #expect(space.free > 0 && space.free <= space.total)
            }
        }
        try implementation.run(Check())
    }

    @Test("a size is set without the bytes, up and down", arguments: Implementation.allCases)
    func sizes(on implementation: Implementation) throws {
        struct Check: Behaviour {
            func check<Storage: StorageDirectory>(_ root: Storage) throws {
                let file = try root.create("file")
                try file.write(at: 0, [1, 2, 3])
                try file.resize(10_000)
                #expect(try file.size() == 10_000)
                #expect(try file.read(at: 1, count: 5) == [2, 3, 0, 0, 0])
                try file.resize(2)
                #expect(try file.read(at: 0, count: 5) == [1, 2])
                try file.resize(4)
                #expect(try file.read(at: 0, count: 5) == [1, 2, 0, 0])
            }
        }
        try implementation.run(Check())
    }
}
