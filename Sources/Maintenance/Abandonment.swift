// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Giving up what somebody left, because an operator says so: the pin of a reader whose node is
// gone, an export whose creation nobody will finish, the objection of a host that was understood.

import ControlPlane
public import Documents
import ObjectStore
public import Primitives

/// What was given up.
public enum Abandonment: Equatable, Sendable {
    case reader(ReaderRef)
    /// The volume is ended for ever, the name is free.
    case creation(ExportRef)
    /// The collector may go on.
    case stop(CollectionStop)
}

extension Collector {
    /// `id` is a reader's, a stop's, or that of the volume of an export that is being created.
    /// Fails with `notFound` for anything else. The space comes back with the runs that follow.
    public static func abandon(
        _ id: String, in store: Store, clock: Time, random: inout some RandomSource
    ) throws(UserError) -> Abandonment {
        let refs = RefStore(store: store, what: "cannot abandon \(id.prefix(64))")
        guard let token = Token(hexadecimal: id), let volume = VolumeID(hexadecimal: id),
            !token.isZero
        else {
            throw UserError(
                .badRequest, what: refs.what, why: "it is not an id of 32 hexadecimal digits",
                remedy: "martlet gc --dry-run lists readers and unfinished exports with their ids")
        }
        let key = RefKey.reader(token).text
        if let reader: ReaderRef = try refs.find(key) {
            try refs.delete([key])
            return .reader(reader)
        }
        let stopKey = RefKey.stop(token).text
        if let stop: CollectionStop = try refs.find(stopKey) {
            try refs.delete([stopKey])
            return .stop(stop)
        }
        if let export = try creation(of: volume, refs) {
            try VolumeEnd(refs: refs, clock: clock)
                .publish(export, token: Token.random(from: &random))
            // Another number means that its creator went on: it finds the volume ended.
            guard try refs.append(export.next { $0.state = .deleted }) else { throw refs.contended }
            return .creation(export)
        }
        throw UserError(
            .notFound, what: refs.what,
            why: "no reader, no unfinished export and no stop has this id",
            remedy: "martlet gc --dry-run lists them")
    }

    private static func creation(
        of volume: VolumeID, _ refs: RefStore<Store>
    ) throws(UserError) -> ExportRef? {
        for (key, series) in try refs.newestKeys(below: RefKey.exportsPrefix) {
            let export: ExportRef = try refs.read(key, in: series)
            if export.volume == volume, export.state == .creating { return export }
        }
        return nil
    }
}
