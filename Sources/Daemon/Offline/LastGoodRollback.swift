// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet verify --repair last-good`: an export whose newest commit cannot be made whole goes back
// to the newest one that is, by the daemon's own rollback. The state before is a snapshot first.

public import Documents
import Formats
import Maintenance
import ObjectStore
public import Primitives

/// What is asked of the daemon.
public protocol RollbackService: Sendable {
    /// The volume of the export, if the daemon has it open. Nil also if no daemon answers.
    func openVolume(_ name: RefName) throws(UserError) -> VolumeID?
    /// Makes a snapshot; its number.
    func snapshot(_ name: RefName) throws(UserError) -> UInt64
    /// The number of the new head.
    func rollback(_ name: RefName, to sequence: UInt64) throws(UserError) -> UInt64
}

struct LastGoodRollback {
    let service: any RollbackService
    /// What was verified.
    let store: PatientStore

    /// Fails if the daemon has the volume open: it knows the newest commit.
    func checkClosed(_ item: LastGood) throws(UserError) {
        guard try service.openVolume(item.name) == item.volume else { return }
        throw UserError(
            .conflict, what: "cannot take \(item.name) back to commit \(item.good)",
            why: "the daemon here has it open, and knows its commit \(item.head)",
            remedy: "repair that with --repair cache")
    }

    /// Rolls an export back; what was done.
    func run(_ item: LastGood) throws(UserError) -> String {
        let what = "cannot roll \(item.name) back to commit \(item.good)"
        // One of that number that is of another volume is what the daemon would take.
        if let named = try snapshot(item.name, item.good.rawValue, what),
            named.commit.volume != item.volume
        {
            throw UserError(
                .conflict, what: what,
                why: "snapshot \(item.name)@\(item.good) is of volume \(named.commit.volume)",
                remedy: "fork a commit of volume \(item.volume) into another name")
        }
        let kept = try service.snapshot(item.name)
        // A replica has the same names, volumes and commits: only what is made now tells.
        guard try snapshot(item.name, kept, what)?.commit.volume == item.volume else {
            throw UserError(
                .conflict, what: what,
                why: "the daemon made snapshot \(item.name)@\(kept) in another repository",
                remedy: "name the daemon of this one with --api")
        }
        let head = try service.rollback(item.name, to: item.good.rawValue)
        return "to commit \(item.good) of \(UTCTime.text(item.labelSeconds)), which is now commit "
            + "\(head). Writes since then are not in it: they are in the snapshot "
            + "\(item.name)@\(kept), as far as that can be read"
    }

    private func snapshot(
        _ name: RefName, _ sequence: UInt64, _ what: String
    ) throws(UserError) -> SnapshotRef? {
        let key = RefKey.snapshot(name, CommitSequence(sequence)).text
        do throws(ObjectStoreError) {
            let bytes = try store.get(key, limit: Limits.documentBytesMax)
            return try? SnapshotRef(decoding: bytes)
        } catch {
            if case .notFound = error { return nil }
            throw UserError(
                .storeAway, what: what, why: "\(error)", remedy: "try again when it answers")
        }
    }
}
