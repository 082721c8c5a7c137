// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Exports of a repository in which one object is damaged: they end with its name, or are right.

import Formats
import HostIO
import ObjectStore
import Primitives
import RepositorySupport
import Testing
import VolumeMap

@testable import ImageTools

@Suite("what is damaged is named and never exported")
struct ExportDamageTests {
    /// Damages one object, exports, and puts it back; whether the export noticed.
    private func export(
        _ key: CommitKey, of repository: SmallRepository, with damaged: String, _ bytes: [UInt8]?
    ) throws -> Bool {
        let source = try repository.source(key)
        let whole = try #require(repository.store.objects[damaged])
        try repository.replace(damaged, bytes)
        defer { try? repository.replace(damaged, whole) }
        let told = ToldBlocks()
        let failure = exportFailure { () throws(ExportError) in
            try ImageReader(
                store: repository.store, target: source.commit, base: nil, spread: oneByOne
            ).run(into: told) { _ in true }
        }
        #expect(try repository.isRight(told, key, isWhole: failure == nil), "\(key), \(damaged)")
        guard let failure else { return false }
        guard case .unreadable(let volume, let sequence, let range, let cause) = failure else {
            Issue.record("\(failure)")
            return true
        }
        #expect(volume == key.volume && sequence == key.sequence)
        #expect("\(cause)".contains(damaged), "\(cause) does not name \(damaged)")
        #expect(range.upperBound <= source.commit.size.rawValue && !range.isEmpty)
        // The range is one that cannot be read, by the way that guests' reads take.
        let (failed, isRight) = try repository.readBack(key)
        let blockBytes = UInt64(source.commit.blockBytes)
        #expect(isRight)
        #expect(
            failed.contains { ($0 * blockBytes..<($0 + 1) * blockBytes).overlaps(range) },
            "\(range) can be read")
        #expect(failure.userError("cannot export").description.contains("martlet verify"))
        return true
    }

    @Test("no file is left of an export that meets a damaged pack")
    func files() throws {
        let repository = try SmallRepository.built()
        let key = try #require(try repository.history(of: "prod").last)
        let source = try repository.source(key)
        for pack in repository.needs[key] ?? [] where pack.hasPrefix("packs/") {
            let whole = try #require(repository.store.objects[pack])
            try repository.replace(pack, Array(whole.prefix(70)))
            for format in [ImageFormat.raw, .qcow2(nil), .qcow2(.zstd)] {
                let root = VolatileDisk(seed: 1).root
                let failure = exportFailure { () throws(ExportError) in
                    _ = try ImageExport(source, from: repository.store, as: format)
                        .write("image", in: root, replaces: false, token: Token(low: 1, high: 1))
                }
                #expect("\(String(describing: failure))".contains(pack))
                #expect(try root.list().isEmpty)
            }
            try repository.replace(pack, whole)
        }
    }

    @Test("every pack cut short, gone, or with single bytes inverted")
    func packs() throws {
        let repository = try SmallRepository.built()
        let keys = try repository.commits
        var noticed = 0
        for (pack, whole) in repository.store.objects.sorted(by: { $0.key < $1.key })
        where pack.hasPrefix("packs/") {
            for key in keys where repository.needs[key]?.contains(pack) == true {
                let isGone = try export(key, of: repository, with: pack, nil)
                #expect(isGone, "\(pack) is gone, and nobody notices")
                _ = try export(
                    key, of: repository, with: pack, Array(whole.prefix(whole.count / 2)))
                for part in 0..<16 {
                    var bytes = whole
                    bytes[whole.count * part / 16] ^= 0x40
                    if try export(key, of: repository, with: pack, bytes) { noticed += 1 }
                }
            }
        }
        #expect(noticed > 100, "\(noticed) inverted bytes were noticed")
    }
}
