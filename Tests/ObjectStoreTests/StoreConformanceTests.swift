// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The stores that need nothing but this machine keep the promises of the seam.

import HostIO
import ObjectStore
import Primitives
import StoreConformance
import TestSupport
import Testing

/// The implementations of the seam that need nothing but this machine.
enum Implementation: String, CaseIterable, CustomTestStringConvertible {
    case directoryOnHost
    case directoryOnVolatileDisk
    case memory
    case wrapped

    var testDescription: String { rawValue }

    func open() throws -> OpenedStore {
        switch self {
        case .directoryOnHost:
            let scratch = try ScratchDirectory()
            let root = try HostDirectory.open(path: scratch.path, create: false)
            return OpenedStore(
                store: DirectoryStore(root: root, token: Token(low: 1, high: 1)), scratch: scratch)
        case .directoryOnVolatileDisk:
            return OpenedStore(
                store: DirectoryStore(
                    root: VolatileDisk(seed: 1).root, token: Token(low: 1, high: 1)))
        case .memory:
            return OpenedStore(store: MemoryStore())
        case .wrapped:
            let counting = CountingStore(MemoryStore())
            return OpenedStore(
                store: RetryingStore(
                    counting, clock: ManualClock(), random: SplitMix64(seed: 1)
                ) { _ in true })
        }
    }
}

extension Implementation {
    func check(_ body: (StoreConformance) throws -> Void) throws {
        let opened = try open()
        defer { withExtendedLifetime(opened) {} }
        try body(StoreConformance(opened.store))
    }
}

/// A store and what must live as long as it is used.
final class OpenedStore: Sendable {
    let store: any ObjectStore
    private let scratch: ScratchDirectory?

    init(store: any ObjectStore, scratch: ScratchDirectory? = nil) {
        self.store = store
        self.scratch = scratch
    }
}

@Suite("every object store keeps the promises of the seam")
struct StoreConformanceTests {
    @Test(
        "an object is created once and keeps its first content",
        arguments: Implementation.allCases)
    func createOnce(on implementation: Implementation) throws {
        try implementation.check { try $0.createOnce() }
    }

    @Test("ranges and suffixes are exact", arguments: Implementation.allCases)
    func ranges(on implementation: Implementation) throws {
        try implementation.check { try $0.ranges() }
    }

    @Test(
        "an absent key is not found, and too large an object is refused",
        arguments: Implementation.allCases)
    func absence(on implementation: Implementation) throws {
        try implementation.check { try $0.absence() }
    }

    @Test("bad keys are refused before anything happens", arguments: Implementation.allCases)
    func badKeys(on implementation: Implementation) throws {
        try implementation.check { try $0.badKeys() }
    }

    @Test(
        "keys are listed in byte order, whatever the prefix and page size",
        arguments: Implementation.allCases)
    func listing(on implementation: Implementation) throws {
        try implementation.check { try $0.listing() }
    }

    @Test(
        "deleting frees the key, and deleting what is absent succeeds",
        arguments: Implementation.allCases)
    func deletion(on implementation: Implementation) throws {
        try implementation.check { try $0.deletion() }
    }

    @Test("of eight racing creators of a key one wins", arguments: Implementation.allCases)
    func racing(on implementation: Implementation) throws {
        try implementation.check { try $0.racing() }
    }

    @Test(
        "replacing takes the key from whatever is there, and readers find old bytes or new ones",
        arguments: Implementation.allCases)
    func replacing(on implementation: Implementation) throws {
        try implementation.check { try $0.replacing() }
    }

    @Test("the probe accepts it for writing and leaves nothing", arguments: Implementation.allCases)
    func probing(on implementation: Implementation) throws {
        try implementation.check { try $0.probing() }
    }
}
