// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A simulated host: its disk, its life, and what its guest did and may expect. Two of them work
// over one store; what one believes is its own until it asks.

import ControlPlane
import Formats
import HostIO
import ObjectStore
import Primitives
import VolumeEngine

/// One host. Confined to its simulation.
final class Node {
    struct Claimed {
        let token: Token
        let index: UInt64
        let history: GuestHistory
    }

    let number: Int
    let store: NodeStore
    var disk: VolatileDisk
    var bootID: BootID
    /// Nil while nothing runs here.
    var host: SimulatedHost?
    /// It has opened the volume at least once.
    var isStarted = false
    /// The volume as this host's guest knows it: after a take-over elsewhere a branch of its own.
    var history: GuestHistory
    /// What the guest's disk was after how many requests, by the cut a commit may carry.
    var indexByCut: [RecordSequence: UInt64] = [:]
    /// What its newest fence stands on.
    var claimed: Claimed?
    var flights: [UInt64: Flight] = [:]
    /// The worst that happened since the disk was last compared with the history.
    var worstDeath = Simulation.Death.kill
    /// What the cut is that the disk is armed with.
    var armedDeath = (death: Simulation.Death.kill, fault: Fault.killInCall)
    /// The store may have answered with faults since the volume was opened.
    var isStoreFaulty = false
    /// A call on the journal was told to fail since the last restart: the volume may refuse writes.
    var hasFailedDisk = false
    /// Another host was seen to have taken the volume: it takes no more writes.
    var isFenced = false
    /// The volume was opened, and it is not known yet how much of the history survived.
    var isUnjudged = false
    /// The disk has next to no room.
    var isDiskFull = false

    init(
        number: Int, store: MemoryStore, sent: SentCommits, sectors: Int,
        random: inout SplitMix64
    ) {
        self.number = number
        self.store = NodeStore(base: store, node: number, sent: sent)
        disk = VolatileDisk(seed: random.next())
        bootID = BootID.random(from: &random)
        history = GuestHistory(sectors: sectors)
    }
}

/// A process: the volume, its worker, and what is under way between them.
final class SimulatedHost {
    var volume: Volume<VolatileDirectory>
    let worker: VolumeWorker<VolatileDirectory, NodeStore>
    var effects: [VolumeEffect<VolatileDirectory>] = []
    var events: [VolumeEvent<VolatileDirectory>] = []
    /// Payloads lent to the volume until its turn ends.
    var lent: [UnsafeMutableRawBufferPointer] = []
    var controls: [ControlRequest: UInt64] = [:]
    var nextControl: UInt64 = 1
    var isClosing = false
    /// The last record that was found at the start.
    var recoveredLast = RecordSequence(0)
    /// Of the commit that was found without an answer at the start.
    var openedPending: Token?

    init(
        volume: consuming Volume<VolatileDirectory>,
        worker: VolumeWorker<VolatileDirectory, NodeStore>
    ) {
        self.volume = volume
        self.worker = worker
    }

    deinit { returnPayloads() }

    func returnPayloads() {
        for payload in lent { payload.deallocate() }
        lent.removeAll()
    }
}
