// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A volume on a simulated host: what runs of it there, and what its guest did and may expect. Two
// hosts work over one store; what one believes of a volume is its own until it asks.

import CleanCache
import ControlPlane
import Formats
import HostIO
import ObjectStore
import Primitives
import VolumeEngine
import VolumeMap

/// One volume on one host. Confined to its simulation.
final class Node {
    /// What a fence or a rollback stands on: where a host begins that adopts nothing else.
    struct Claimed {
        let token: Token
        let index: UInt64
        let history: GuestHistory
        /// How often the volume went back to older content before: what another generation
        /// acknowledged is gone on purpose.
        let generation: Int
        let cut: RecordSequence
    }

    let machine: Machine
    unowned let track: Track
    /// Nil while it does not run here.
    var host: SimulatedHost?
    /// It is to run here: it was opened, and nobody took it off.
    var isStarted = false
    /// The volume as this host's guest knows it: after a take-over elsewhere a branch of its own.
    var history: GuestHistory
    /// What the guest's disk was after how many requests, by the cut a commit may carry.
    var indexByCut: [RecordSequence: UInt64] = [:]
    /// What its newest fence or rollback stands on.
    var claimed: Claimed? {
        didSet { if let claimed { bases[claimed.token] = claimed } }
    }
    /// All that it ever was.
    private(set) var bases: [Token: Claimed] = [:]
    /// The cache directory was put back to a copy, and the volume has not been opened since.
    var restored: Restored?
    /// It serves such a copy, in a place where nobody can tell that it is one. The newest epoch of
    /// then: from a later one on it knows better.
    var rolledBack: Epoch?
    /// Of the history.
    var generation = 0
    /// The commit that it last asked to go back to.
    var rollback: Token?
    var flights: [UInt64: Flight] = [:]
    /// The worst that happened since the disk was last compared with the history.
    var worstDeath = Simulation.Death.kill
    /// Another host was seen to have taken the volume: it takes no more writes.
    var isFenced = false
    /// The volume was opened, and it is not known yet how much of the history survived.
    var isUnjudged = false
    /// No guest may send anything.
    var isHeld = false

    init(machine: Machine, track: Track, history: GuestHistory) {
        self.machine = machine
        self.track = track
        self.history = history
    }

    /// It serves a copy that the store has left behind, and has not found out.
    var isBehindItself: Bool {
        rolledBack != nil && host?.volume.root.commit.token != track.chain.head.token
    }

    var number: Int { machine.number }
    var store: NodeStore { machine.store }
    var disk: VolatileDisk { machine.disk }
    var isStoreFaulty: Bool { host?.isStoreFaulty ?? machine.isStoreFaulty }
    var hasFailedDisk: Bool {
        get { machine.hasFailedDisk }
        set { machine.hasFailedDisk = newValue }
    }

    /// What the process had of it in memory is gone.
    /// It is to run, and what its recovery found is not judged yet.
    var isWaiting: Bool { isStarted && isUnjudged }

    func drop() {
        host?.returnPayloads()
        host = nil
        flights.removeAll()
        isFenced = false
        isUnjudged = true
        isHeld = false
    }
}

/// What runs of a volume: the volume, its worker, and what is under way between them.
final class SimulatedHost {
    var volume: Volume<VolatileDirectory>
    let worker: VolumeWorker<VolatileDirectory, NodeStore>
    let cache: CleanCache
    /// Of what it packs.
    var codec = Codec.raw
    var effects: [VolumeEffect<VolatileDirectory>] = []
    var events: [VolumeEvent<VolatileDirectory>] = []
    /// Payloads lent to the volume until its turn ends.
    var lent: [UnsafeMutableRawBufferPointer] = []
    var controls: [ControlRequest: UInt64] = [:]
    /// What the control plane waits for, and what came.
    var awaited: [ControlRequest: ControlAnswer?] = [:]
    var nextControl: UInt64 = 1
    var isClosing = false
    /// It may still report or remember a fault of the store.
    var isStoreFaulty = false
    /// The last record that was found at the start.
    var recoveredLast = RecordSequence(0)
    /// The cut of the root that it was opened from.
    var openedCut = RecordSequence(0)
    /// Of the commit that was found without an answer at the start.
    var openedPending: Token?

    init(
        volume: consuming Volume<VolatileDirectory>,
        worker: VolumeWorker<VolatileDirectory, NodeStore>, cache: CleanCache
    ) {
        self.volume = volume
        self.worker = worker
        self.cache = cache
    }

    deinit { returnPayloads() }

    func returnPayloads() {
        for payload in lent { payload.deallocate() }
        lent.removeAll()
    }
}
