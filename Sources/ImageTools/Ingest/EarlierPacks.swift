// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a broken-off import left in the store: whole packs that no commit names. Their indexes say
// what they hold, so the next try sends only what is missing. The collector leaves them alone as
// long as they are newer than their volume's head.

import ControlPlane
import Formats
import ObjectStore
import Primitives
import Synchronization
import VolumeMap

struct EarlierPacks<Store: ObjectStore> {
    /// A pack and the size of it.
    struct Found {
        let index: PackIndex
        let bytes: UInt64
    }

    let store: Store
    let what: String
    let spread: FetchSpread

    /// The packs of the commit behind `head`, by number. One that cannot be read is left out: what
    /// it holds is stored again.
    func of(_ head: Commit) throws(UserError) -> [Found] {
        let entries = try explainStore(what) { () throws(ObjectStoreError) in
            try store.listAll(prefix: PackID.keyPrefix(of: head.volume))
        }
        var wanted: [(pack: PackID, bytes: UInt64)] = []
        for entry in entries {
            guard let pack = try? PackID(key: entry.key), pack.epoch == head.epoch,
                pack.sequence == head.sequence.next
            else { continue }
            wanted.append((pack, entry.bytes))
        }
        wanted.sort { $0.pack.number < $1.pack.number }
        let results = Lock<[Int: Result<PackIndex?, ObjectStoreError>]>([:])
        let read: @Sendable (Int) -> Void = { [store, wanted] number in
            let result: Result<PackIndex?, ObjectStoreError>
            do throws(ObjectStoreError) {
                let (pack, bytes) = wanted[number]
                result = .success(try Self.index(of: pack, bytes: bytes, in: store))
            } catch { result = .failure(error) }
            results.withLock { $0[number] = result }
        }
        spread(wanted.count, read)
        var found: [Found] = []
        for (number, result) in results.withLock({ $0 }).sorted(by: { $0.key < $1.key }) {
            let index = try explainStore(what) { () throws(ObjectStoreError) in try result.get() }
            if let index { found.append(Found(index: index, bytes: wanted[number].bytes)) }
        }
        return found
    }

    private static func index(
        of pack: PackID, bytes: UInt64, in store: Store
    ) throws(ObjectStoreError) -> PackIndex? {
        do throws(ObjectStoreError) {
            var suffix = try store.getSuffix(pack.key, count: Pack.suffixBytes)
            guard let trailer = trailer(of: suffix, bytes: bytes) else { return nil }
            let wanted = Int(trailer.index.length) + Pack.trailerBytes
            if wanted > suffix.count { suffix = try store.getSuffix(pack.key, count: wanted) }
            guard suffix.count >= wanted else { return nil }
            return suffix.withUnsafeBytes { suffix in
                let start = suffix.count - wanted
                return try? PackIndex(
                    decoding: UnsafeRawBufferPointer(
                        rebasing: suffix[start..<(suffix.count - Pack.trailerBytes)]),
                    trailer: trailer, pack: pack)
            }
        } catch {
            switch error {
            case .notFound, .damaged: return nil
            default: throw error
            }
        }
    }

    private static func trailer(of suffix: [UInt8], bytes: UInt64) -> PackTrailer? {
        suffix.withUnsafeBytes { try? PackTrailer(decodingEndOf: $0, packBytes: bytes) }
    }
}
