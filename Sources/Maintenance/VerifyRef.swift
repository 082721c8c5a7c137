// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Any document of the repository, decoded by what its key says it is, and checked to lie there.

import Documents
import Primitives

enum VerifyRef: Sendable {
    case repository
    case export(ExportRef)
    case snapshot(SnapshotRef)
    case tag(TagRef)
    case base(BaseRef)
    case reader(ReaderRef)
    /// A node's beat or a condemned set: nothing depends on them.
    case other

    static func decode(_ key: String, _ bytes: [UInt8]) throws(ObjectRefusal) -> VerifyRef {
        guard let parsed = RefKey(parsing: key) else {
            throw ObjectRefusal(kind: .foreign, detail: "no key of a ref")
        }
        do throws(DocumentError) {
            let (ref, place, canonical) = try decode(parsed, bytes)
            guard place == parsed else {
                throw DocumentError.misplaced(key: key, found: place.text)
            }
            // The checksum is of the meaning: no other spelling is ever written.
            guard canonical == bytes else {
                throw DocumentError.malformed(offset: 0, detail: "not as it was written")
            }
            return ref
        } catch {
            if case .misplaced = error {
                throw ObjectRefusal(kind: .misplaced, detail: error.explanation)
            }
            throw ObjectRefusal(kind: .damaged, detail: error.explanation)
        }
    }

    /// The document, where it says that it lies, and its bytes as we write them.
    private static func decode(
        _ key: RefKey, _ bytes: [UInt8]
    ) throws(DocumentError) -> (VerifyRef, RefKey, [UInt8]) {
        switch key {
        case .repository:
            return (.repository, key, try Repository(decoding: bytes).encoded)
        case .snapshot:
            let ref = try SnapshotRef(decoding: bytes)
            return (.snapshot(ref), .snapshot(ref.name, ref.commit.sequence), ref.encoded)
        case .reader:
            let ref = try ReaderRef(decoding: bytes)
            return (.reader(ref), .reader(ref.id), ref.encoded)
        case .stop:
            let stop = try CollectionStop(decoding: bytes)
            return (.other, .stop(stop.id), stop.encoded)
        case .numbered(.export, _):
            let ref = try ExportRef(decoding: bytes)
            return (.export(ref), .numbered(.export(ref.name), ref.number), ref.encoded)
        case .numbered(.tag, _):
            let ref = try TagRef(decoding: bytes)
            return (.tag(ref), .numbered(.tag(ref.tag), ref.number), ref.encoded)
        case .numbered(.base, _):
            let ref = try BaseRef(decoding: bytes)
            return (.base(ref), .numbered(.base(ref.name), ref.number), ref.encoded)
        case .numbered(.node, _):
            let beat = try NodeBeat(decoding: bytes)
            return (.other, .numbered(.node(beat.node), beat.number), beat.encoded)
        case .numbered(.collection, _):
            let set = try CondemnedSet(decoding: bytes)
            return (.other, .numbered(.collection, set.run), set.encoded)
        case .numbered(.collectionPlan, _):
            let plan = try CollectionPlan(decoding: bytes)
            return (.other, .numbered(.collectionPlan, plan.run), plan.encoded)
        }
    }

    /// Bytes that a document of this place may have.
    static func bytesMax(_ key: RefKey) -> Int {
        switch key {
        case .numbered(.collection, _): CondemnedSet.bytesMax
        case .numbered(.collectionPlan, _): CollectionPlan.bytesMax
        case .numbered(.node, _): NodeBeat.bytesMax
        default: Limits.documentBytesMax
        }
    }
}
