// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A simulated host: its disk, its boot, and the process on it with the real control plane. All
// volumes of a host live and die with that process.

import ControlPlane
import Formats
import HostIO
import Journal
import ObjectStore
import Primitives

typealias SimulatedPlane = ControlPlane<SimulatedVolumes, NodeStore>

/// One host. Confined to its simulation.
final class Machine {
    /// What a process has beside its volumes.
    struct Process {
        let plane: SimulatedPlane
        let volumes: SimulatedVolumes
        let pool: SegmentPool<VolatileDirectory>
        /// The exports of the store were learned since the start.
        var isStoreKnown: Bool
    }

    let number: Int
    let store: NodeStore
    var disk: VolatileDisk
    var bootID: BootID
    /// Nil while none runs.
    var process: Process?
    /// What the cut is that the disk or the next requests are armed with.
    var armedDeath = (death: Simulation.Death.kill, fault: Fault.killInCall)
    /// The store may have answered with faults since the last call of the control plane.
    var isStoreFaulty = false
    /// A call on a journal was told to fail since the process began: volumes may refuse writes.
    var hasFailedDisk = false {
        didSet {
            guard hasFailedDisk else { return }
            hasEverFailed = true
            sealed = []
        }
    }
    /// So it was in the life of this disk.
    var hasEverFailed = false
    /// Volumes whose journals were recovered and made durable since: nothing is to be missing.
    var sealed: Set<VolumeID> = []
    /// Volumes whose journals here lost what was flushed, until they are opened again.
    var spoiled: Set<VolumeID> = []
    /// Of its cache directory, not the newest.
    var copy: DirectoryCopy?
    /// How often the directory was put into another one, with a number of its own.
    var places: UInt64 = 0
    /// The disk has next to no room.
    var isDiskFull = false
    /// A call of the control plane, or a step on behalf of another, is not over.
    var isBusy = false
    /// How wrong its wall clock is.
    let skew = ClockSkew()

    init(number: Int, store: NodeStore, random: inout SplitMix64) {
        self.number = number
        self.store = store
        disk = VolatileDisk(seed: random.next())
        bootID = BootID.random(from: &random)
    }

    /// The time as this host sees it.
    func clock(_ world: ManualClock) -> SkewedClock { SkewedClock(base: world, skew: skew) }

    /// The process is gone, or about to be: what it still does has no effect.
    var isDead: Bool { disk.isOff || store.gate.isDead }
}

/// How far a host's clock is from the world's.
final class ClockSkew: @unchecked Sendable {
    // Confined: to its simulation.
    var seconds: Int64 = 0
}

/// The world's time, with a wall clock that may be wrong.
struct SkewedClock: Clock {
    let base: ManualClock
    let skew: ClockSkew

    var now: Instant { base.now }
    var wallSeconds: UInt64 {
        UInt64(max(0, Int64(clamping: base.wallSeconds) + skew.seconds))
    }
}
