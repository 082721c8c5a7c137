// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What NBD clients see of the exports: names, and where each is served. A name that nobody used yet
// is claimed here, on a control thread, when the first client comes.

import AdminAPI
import BlockDevice
import ControlPlane
import Documents
import NBDProtocol
import NBDServer
import Primitives
import Shard
import VolumeEngine

typealias DaemonControl = ControlPlane<ShardHost, DaemonStore>

struct ExportDirectory: ExportResolver {
    let control: DaemonControl
    let host: ShardHost
    let hands: Hands
    let changes: ChangeDirectory

    func resolve(
        _ name: String, for purpose: ExportPurpose,
        reply: @escaping @Sendable (ExportAnswer) -> Void
    ) {
        let isQueued = hands.control.trySubmit {
            do throws(UserError) {
                switch purpose {
                case .describe: reply(try describe(name))
                case .contexts: reply(try contexts(name))
                case .attach(let bitmaps): reply(try attach(name, bitmaps))
                }
            } catch {
                reply(Self.answer(to: error))
            }
        }
        if !isQueued { reply(.notNow("the daemon is busy or stopping: try again")) }
    }

    func list(reply: @escaping @Sendable ([(name: String, description: String)]) -> Void) {
        let isQueued = hands.control.trySubmit {
            reply(
                control.list().filter { $0.state == .live && $0.transport == .nbd }.map {
                    (name: $0.name, description: Self.description(of: $0.volume))
                })
        }
        if !isQueued { reply([]) }
    }

    private static func description(of volume: VolumeID) -> String { "volume \(volume)" }

    /// An export's facts, without claiming it. Views are attached: they claim nothing.
    private func describe(_ name: String) throws(UserError) -> ExportAnswer {
        guard ExportName.isValid(name) else { return try attach(name, []) }
        let info = try control.info(name)
        guard info.state == .live else { throw notServed(name, "it is \(info.state.rawValue)") }
        try requireTransport(info)
        let geometry = DeviceGeometry(
            size: info.size, blockBytes: info.blockBytes, isReadOnly: info.isReadOnly)
        return .found(
            ExportOffer(
                name: name, description: Self.description(of: info.volume), geometry: geometry),
            ExportPlacement(shard: 0, device: 0))
    }

    /// The snapshots since which changes can be told: the older ones of the same name, for a view
    /// `NAME@SEQ`. What can be written changes while it is told.
    private func contexts(_ name: String) throws(UserError) -> ExportAnswer {
        guard let export = Self.export(ofView: name) else { return try describe(name) }
        let answer = try describe(name)
        guard case .found(var offer, let placement) = answer,
            let sequence = try control.attach(name).served.snapshot
        else { return answer }
        offer.bitmaps = try control.snapshotNumbers(export).filter { $0 < sequence }
            .map { "\($0)" }
        return .found(offer, placement)
    }

    /// Nil for every other name.
    private static func export(ofView name: String) -> String? {
        let parts = name.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, ExportName.isValid(String(parts[0])) else { return nil }
        return String(parts[0])
    }

    private func attach(_ name: String, _ bitmaps: [String]) throws(UserError) -> ExportAnswer {
        if ExportName.isValid(name) { try requireTransport(try control.info(name)) }
        let attachment = try control.attach(name)
        guard let location = host.location(attachment.served),
            let report = host.report(attachment.served)
        else { return .notNow("\(name) is being closed: try again") }
        guard !report.isHeld else {
            return .notNow("\(name) is being rolled back: try again when the store took the commit")
        }
        let isReadOnly = attachment.isReadOnly || attachment.served.snapshot != nil
        let geometry = DeviceGeometry(
            size: report.volume.size, blockBytes: attachment.blockBytes, isReadOnly: isReadOnly)
        var offer = ExportOffer(
            name: name, description: Self.description(of: attachment.served.volume),
            geometry: geometry)
        if let export = Self.export(ofView: name), let sequence = attachment.served.snapshot {
            for bitmap in bitmaps {
                offer.changes.append(
                    try changes.changes(
                        of: export, sequence, volume: attachment.served.volume, since: bitmap))
            }
        }
        return .found(
            offer,
            ExportPlacement(
                shard: location.shard, device: location.place.slot,
                generation: location.place.generation))
    }

    private func requireTransport(_ info: ExportInfo) throws(UserError) {
        guard info.transport == .nbd else {
            throw notServed(info.name, "its transport is \(info.transport.rawValue)")
        }
    }

    private func notServed(_ name: String, _ why: String) -> UserError {
        UserError(
            .conflict, what: "cannot serve \(name)", why: why, remedy: "see martlet info \(name)")
    }

    private static func answer(to error: UserError) -> ExportAnswer {
        switch error.kind {
        case .notFound, .badRequest: .notFound
        case .storeAway: .notNow(error.description)
        default: .refused(error.description)
        }
    }
}
