// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Another repository as a source of repairs: first what lies there under the same key, which a
// replica or a backup of the bucket has; else members of any of its packs that have the wanted
// hash, which a repository has that disks were copied to.

import Formats
public import ObjectStore
public import Primitives
import Synchronization
public import VolumeMap

public final class StoreRepairSource<Store: ObjectStore>: RepairSource {
    private struct Place {
        let pack: PackID
        let extent: PackExtent
    }

    public var name: String { store.url }
    public var vouches: Bool { false }
    private let store: Store
    private let spread: FetchSpread
    /// Where what was searched for lies: of several places two are kept, since one may be damaged.
    private var places: [Hash128: [Place]] = [:]
    private static var placesMax: Int { 2 }

    public init(_ store: Store, spread: @escaping FetchSpread = oneByOne) {
        self.store = store
        self.spread = spread
    }

    public func object(_ key: String, limit: Int) throws(ObjectStoreError) -> [UInt8]? {
        do throws(ObjectStoreError) { return try store.get(key, limit: limit) } catch {
            switch error {
            case .notFound, .damaged, .refused: return nil
            default: throw error
            }
        }
    }

    /// Reads the index of every pack.
    public func search(_ hashes: Set<Hash128>) throws(ObjectStoreError) {
        let wanted = hashes.subtracting(places.keys)
        guard !wanted.isEmpty else { return }
        let packs = try store.listAll(prefix: "packs/").compactMap { entry in
            (try? PackID(key: entry.key)).map { (pack: $0, bytes: entry.bytes) }
        }
        let state = Lock<(found: [(Hash128, Place)], failure: ObjectStoreError?)>(([], nil))
        let look: @Sendable (Int) -> Void = { [store] number in
            if state.withLock({ $0.failure != nil }) { return }
            let (pack, bytes) = packs[number]
            do throws(ObjectStoreError) {
                let members = try Self.index(of: pack, bytes: bytes, in: store)
                let found = members.filter { wanted.contains($0.hash) }
                state.withLock {
                    $0.found += found.map { ($0.hash, Place(pack: pack, extent: $0.extent)) }
                }
            } catch {
                let failure = error
                state.withLock { $0.failure = $0.failure ?? failure }
            }
        }
        spread(packs.count, look)
        let (found, failure) = state.withLock { $0 }
        if let failure { throw failure }
        for (hash, place) in found where places[hash, default: []].count < Self.placesMax {
            places[hash, default: []].append(place)
        }
    }

    /// The members of a pack; none if its end cannot be read.
    private static func index(
        of pack: PackID, bytes: UInt64, in store: Store
    ) throws(ObjectStoreError) -> [PackMember] {
        do throws(ObjectStoreError) {
            var suffix = try store.getSuffix(pack.key, count: Pack.suffixBytes)
            let trailer = suffix.withUnsafeBytes {
                try? PackTrailer(decodingEndOf: $0, packBytes: bytes)
            }
            guard let trailer else { return [] }
            let wanted = Int(trailer.index.length) + Pack.trailerBytes
            if wanted > suffix.count { suffix = try store.getSuffix(pack.key, count: wanted) }
            guard suffix.count >= wanted else { return [] }
            let index = suffix.withUnsafeBytes { suffix in
                let part = suffix[(suffix.count - wanted)..<(suffix.count - Pack.trailerBytes)]
                return try? PackIndex(
                    decoding: UnsafeRawBufferPointer(rebasing: part), trailer: trailer, pack: pack)
            }
            return index?.members ?? []
        } catch {
            switch error {
            case .notFound, .damaged, .refused: return []
            default: throw error
            }
        }
    }

    public func members(_ wanted: [WantedMember]) throws(ObjectStoreError) -> [FoundMember?] {
        var found: [FoundMember?] = []
        for wanted in wanted { found.append(try member(wanted.member)) }
        return found
    }

    private func member(_ member: PackMember) throws(ObjectStoreError) -> FoundMember? {
        for place in places[member.hash] ?? [] {
            var bytes = [UInt8](repeating: 0, count: Int(place.extent.length))
            let failure = bytes.withUnsafeMutableBytes { buffer -> ObjectStoreError? in
                do throws(ObjectStoreError) {
                    try store.get(place.pack.key, at: UInt64(place.extent.offset), into: buffer)
                    return nil
                } catch { return error }
            }
            switch failure {
            case nil: break
            case .notFound, .damaged, .refused: continue
            case let failure?: throw failure
            }
            guard member.kind == .frame, place.extent.length != member.extent.length else {
                let there = PackMember(kind: member.kind, extent: place.extent, hash: member.hash)
                if PackCheck.isMember(bytes[...], there, nil) { return .stored(bytes) }
                continue
            }
            if let content = Self.content(bytes) { return content }
        }
        return nil
    }

    /// What a frame holds, to be encoded to another length.
    private static func content(_ frame: [UInt8]) -> FoundMember? {
        frame.withUnsafeBytes { frame in
            guard let header = try? FrameHeader(decoding: frame) else { return nil }
            var content = [UInt8](repeating: 0, count: header.rawLength)
            let isRight = content.withUnsafeMutableBytes {
                (try? Frame.decode(frame, header: header, into: $0)) != nil
            }
            return isRight ? .content(content, mask: header.mask, grains: header.grains) : nil
        }
    }
}
