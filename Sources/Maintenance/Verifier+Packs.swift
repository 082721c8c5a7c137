// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Packs as objects: that they are there, and their ends: trailer, index, header. No read of a disk
// needs those; repair and inspection do.

import Formats
import ObjectStore
import Primitives
import Synchronization
import VolumeMap

extension Verifier {
    /// The part of a fault that is a pack as a whole.
    static var wholePack: String { FormatName.pack.rawValue }

    mutating func listPacks() throws(VerifyError) {
        // The folders of a name are those of its volumes and of all whose packs these share; to
        // know those, tables would have to be read first. One listing costs less.
        for entry in try listing("packs/") {
            if let pack = try? PackID(key: entry.key) {
                packs.list(pack, bytes: entry.bytes)
            } else {
                noteForeign(entry.key)
            }
        }
    }

    /// True if the pack is in the store. One that was not listed is asked for by name, once.
    mutating func isThere(_ number: UInt32) throws(VerifyError) -> Bool {
        if !packs[number].isCertain {
            packs[number].size = try size(of: packs[number].id.key)
            packs[number].isCertain = true
        }
        return packs[number].size != nil
    }

    /// A pack that is not there: the place of that fault.
    mutating func missingPack(_ number: UInt32) -> FaultPlace {
        let pack = packs[number].id
        let place = FaultPlace(pack.key, Self.wholePack)
        log.add(place, .missing, "it is not in the store", owner: pack.volume)
        return place
    }

    /// Looks at the ends of packs that have not been looked at.
    mutating func examineEnds(_ numbers: some Sequence<UInt32>) throws(VerifyError) {
        var fresh: [UInt32] = []
        for number in numbers where !packs[number].isExamined {
            packs[number].isExamined = true
            if try isThere(number) { fresh.append(number) }
        }
        counts.packs += fresh.count
        let ends = fresh.map { PackEnd(id: packs[$0].id, size: packs[$0].size ?? 0) }
        let run = PackEnds(store: store, meter: meter, packs: ends)
        spread(ends.count) { run.examine($0) }
        tell()
        for (index, found) in try run.findings().sorted(by: { $0.key < $1.key }) {
            let pack = ends[index].id
            let place = FaultPlace(pack.key, found.part)
            log.add(place, found.kind, found.detail, owner: pack.volume)
            packs[fresh[index]].faults.append(place)
        }
    }
}

/// A pack whose ends are looked at.
struct PackEnd: Sendable {
    let id: PackID
    let size: UInt64
}

/// What is wrong there.
struct PackFinding: Sendable {
    let part: String
    let kind: VerifyFault.Kind
    let detail: String
}

/// The ends of several packs, read side by side.
final class PackEnds<Store: ObjectStore>: Sendable {
    private enum Failure: Error {
        case store(FetchError)
        case format(FormatError)
    }

    private let store: Store
    private let meter: VerifyMeter
    private let packs: [PackEnd]
    private let state = Lock<(findings: [Int: PackFinding], away: FetchError?)>(([:], nil))

    init(store: Store, meter: VerifyMeter, packs: [PackEnd]) {
        self.store = store
        self.meter = meter
        self.packs = packs
    }

    func findings() throws(VerifyError) -> [Int: PackFinding] {
        let (findings, away) = state.withLock { $0 }
        if let away { throw VerifyError(away) }
        return findings
    }

    /// Any thread, once for each pack.
    func examine(_ index: Int) {
        if state.withLock({ $0.away != nil }) { return }
        var finding: PackFinding?
        for _ in 0..<FetchLimits.damagedTriesMax {
            finding = nil
            do throws(Failure) { try examine(packs[index]) } catch {
                switch error {
                case .store(.away(let key, let detail)):
                    return state.withLock {
                        $0.away = $0.away ?? .away(key: key, detail: detail)
                    }
                case .store(.missingObject):
                    finding = PackFinding(part: "pack", kind: .missing, detail: "it is gone")
                case .store(let error):
                    finding = PackFinding(part: "pack", kind: .damaged, detail: "\(error)")
                case .format(let error):
                    finding = PackFinding(
                        part: Self.part(error.format), kind: error.faultKind,
                        detail: error.explanation)
                }
            }
            if finding == nil { return }
        }
        let last = finding
        state.withLock { $0.findings[index] = last }
    }

    private static func part(_ format: FormatName) -> String {
        format == .pack ? "pack header" : format.rawValue
    }

    private func examine(_ pack: PackEnd) throws(Failure) {
        let count = min(pack.size, UInt64(Pack.suffixBytes))
        let suffix = try read(pack.id, at: pack.size - count, count: Int(count))
        let trailer = try suffix.decode { bytes throws(FormatError) in
            try PackTrailer(decodingEndOf: bytes, packBytes: pack.size)
        }
        let start = UInt64(trailer.index.offset)
        let lead = pack.size - count
        let index: ReadBytes
        if start >= lead {
            let from = Int(start - lead)
            index = ReadBytes(bytes: Array(suffix.bytes[from..<(from + Int(trailer.index.length))]))
        } else {
            index = try read(pack.id, at: start, count: Int(trailer.index.length))
        }
        _ = try index.decode { bytes throws(FormatError) in
            try PackIndex(decoding: bytes, trailer: trailer, pack: pack.id)
        }
        let header =
            lead == 0 ? suffix : try read(pack.id, at: 0, count: FormatLimits.packHeaderBytes)
        let found = try header.decode { bytes throws(FormatError) in
            try Pack.header(
                decoding: UnsafeRawBufferPointer(
                    rebasing: bytes[..<min(bytes.count, FormatLimits.packHeaderBytes)]))
        }
        guard found == pack.id else {
            throw .format(
                .wrongIdentity(
                    .pack, field: "pack token", found: found.token.low,
                    expected: pack.id.token.low))
        }
    }

    private struct ReadBytes {
        let bytes: [UInt8]

        func decode<Value>(
            _ body: (UnsafeRawBufferPointer) throws(FormatError) -> Value
        ) throws(Failure) -> Value {
            let result = bytes.withUnsafeBytes { lent -> Result<Value, FormatError> in
                do throws(FormatError) { return .success(try body(lent)) } catch {
                    return .failure(error)
                }
            }
            switch result {
            case .success(let value): return value
            case .failure(let error): throw .format(error)
            }
        }
    }

    private func read(_ pack: PackID, at offset: UInt64, count: Int) throws(Failure) -> ReadBytes {
        var bytes = [UInt8](repeating: 0, count: count)
        let failure = bytes.withUnsafeMutableBytes { buffer -> ObjectStoreError? in
            do throws(ObjectStoreError) {
                try store.get(pack.key, at: offset, into: buffer)
                return nil
            } catch { return error }
        }
        if let failure { throw .store(FetchError(failure)) }
        meter.add(UInt64(count))
        return ReadBytes(bytes: bytes)
    }
}
