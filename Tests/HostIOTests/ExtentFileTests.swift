// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the seam of image files promises, on the host's file system, whatever it can, and on the
// twin with and without extents. Real reflinks are in Tests/e2e/blockdiff.py.

import HostIO
import Primitives
import TestSupport
import Testing

private protocol ExtentBehaviour {
    func check<Storage: ExtentDirectory>(_ root: Storage) throws
}

private enum ExtentStorage: String, CaseIterable, CustomTestStringConvertible, Sendable {
    case host
    case twin
    case twinWithExtents

    var testDescription: String { rawValue }

    func run(_ behaviour: some ExtentBehaviour) throws {
        switch self {
        case .host:
            let scratch = try ScratchDirectory()
            try behaviour.check(HostDirectory.open(path: scratch.path, create: false))
            withExtendedLifetime(scratch) {}
        case .twin: try behaviour.check(VolatileDisk(seed: 7).root)
        case .twinWithExtents: try behaviour.check(VolatileDisk(seed: 7, hasExtents: true).root)
        }
    }
}

@Suite("every image file keeps the promises of the seam")
struct ExtentFileTests {
    @Test(
        "data and holes cover the file, and what is outside of data reads as zeros",
        arguments: ExtentStorage.allCases)
    fileprivate func data(on storage: ExtentStorage) throws {
        struct Check: ExtentBehaviour {
            func check<Storage: ExtentDirectory>(_ root: Storage) throws {
                let file = try root.createForUser("file")
                try file.resize(1 << 20)
                try file.write(at: 65536, [UInt8](repeating: 1, count: 4096))
                try file.write(at: 300_000, [UInt8](repeating: 2, count: 10))
                var place: UInt64 = 0
                var found: [Range<UInt64>] = []
                while let next = try file.nextData(from: place) {
                    #expect(!next.isEmpty && next.lowerBound >= place)
                    #expect(next.upperBound <= 1 << 20)
                    found.append(next)
                    place = next.upperBound
                }
                for byte in [65536, 69631, 300_000, 300_009] as [UInt64] {
                    #expect(found.contains { $0.contains(byte) }, "\(byte)")
                }
                #expect(try file.nextData(from: 1 << 20) == nil)
                #expect(try file.nextData(from: 1 << 30) == nil)
            }
        }
        try storage.run(Check())
    }

    @Test(
        "extents ascend, reach beyond where they were asked for, and end",
        arguments: ExtentStorage.allCases)
    fileprivate func extents(on storage: ExtentStorage) throws {
        struct Check: ExtentBehaviour {
            func check<Storage: ExtentDirectory>(_ root: Storage) throws {
                let file = try root.createForUser("file")
                try file.resize(1 << 20)
                for index in 0..<8 {
                    try file.write(
                        at: UInt64(index) * 131072, [UInt8](repeating: 3, count: 8192))
                }
                guard var some = try file.extents(from: 0, settled: true) else { return }
                var place: UInt64 = 0
                var covered: UInt64 = 0
                while !some.isEmpty {
                    for extent in some {
                        #expect(extent.length > 0 && extent.end > place)
                        covered += extent.length
                        place = extent.end
                    }
                    some = try file.extents(from: place, settled: false) ?? []
                }
                #expect(covered >= 8 * 8192)
                #expect(try file.extents(from: 1 << 20, settled: false)?.isEmpty == true)
            }
        }
        try storage.run(Check())
    }

    @Test("a punched range reads as zeros and the size stays", arguments: ExtentStorage.allCases)
    fileprivate func punch(on storage: ExtentStorage) throws {
        struct Check: ExtentBehaviour {
            func check<Storage: ExtentDirectory>(_ root: Storage) throws {
                let file = try root.createForUser("file")
                try file.write(at: 0, [UInt8](repeating: 5, count: 20000))
                let isFree = try file.punch(at: 4000, count: 9000)
                #expect(try file.size() == 20000)
                let bytes = try file.read(at: 0, count: 20000)
                #expect(bytes[3999] == 5 && bytes[13000] == 5)
                #expect(bytes[4000..<13000].allSatisfy { $0 == (isFree ? 0 : 5) })
            }
        }
        try storage.run(Check())
    }

    @Test(
        "what is shared or copied reads the same, and writes to one do not reach the other",
        arguments: ExtentStorage.allCases)
    fileprivate func share(on storage: ExtentStorage) throws {
        struct Check: ExtentBehaviour {
            func check<Storage: ExtentDirectory>(_ root: Storage) throws {
                var random = SplitMix64(seed: 9)
                let bytes = (0..<50_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
                let source = try root.createForUser("source")
                try source.write(at: 0, bytes)
                let copy = try root.createForUser("copy")
                let isShared = try copy.share(from: source)
                if isShared {
                    #expect(try copy.read(at: 0, count: 60_000).elementsEqual(bytes))
                    let ours = try copy.extents(from: 0, settled: true)
                    #expect(try source.extents(from: 0, settled: true) == ours)
                    try copy.write(at: 8192, [0, 1, 2])
                    #expect(try source.read(at: 8192, count: 3).elementsEqual(bytes[8192..<8195]))
                    #expect(try copy.extents(from: 0, settled: true) != ours)
                } else {
                    #expect(try copy.size() == 0)
                }
                let part = try root.createForUser("part")
                if let count = try part.copy(from: source, at: 4096, count: 1 << 20) {
                    #expect(count > 0 && count <= 50_000 - 4096)
                    let found = try part.read(at: 4096, count: Int(count))
                    #expect(found.elementsEqual(bytes[4096..<4096 + Int(count)]))
                }
                #expect(try part.copy(from: source, at: 50_000, count: 10) == nil)
            }
        }
        try storage.run(Check())
    }

    @Test(
        "facts tell kinds, sizes and permissions, and notice a write",
        arguments: ExtentStorage.allCases)
    fileprivate func facts(on storage: ExtentStorage) throws {
        struct Check: ExtentBehaviour {
            func check<Storage: ExtentDirectory>(_ root: Storage) throws {
                #expect(try root.facts(of: "file") == nil)
                let file = try root.createForUser("file")
                try file.write(at: 10, [1])
                try file.setMode(0o640)
                let facts = try file.facts()
                #expect(facts.kind == .regular && facts.size == 11 && facts.mode == 0o640)
                #expect(try root.facts(of: "file") == facts)
                try file.resize(5)
                #expect(try file.facts().modified >= facts.modified)
                #expect(try file.facts().size == 5)
                _ = try root.directory("folder", create: true)
                #expect(try root.facts(of: "folder")?.kind == .directory)
            }
        }
        try storage.run(Check())
    }
}
