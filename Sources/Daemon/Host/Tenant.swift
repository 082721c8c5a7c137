// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a shard keeps beside each volume: whose hands work for it, and how far its departure is.
//
//   serving ──leave──▶ disconnecting ──settled──▶ closing ──last commit──▶ emptying ──▶ (gone)
//                           │ not clean                ├── failed: serving again  ▲
//                           └──────────────────────────┼──────────────────────────┤
//                                                      └── deadline ──────────────┘

import ControlPlane
import HostIO
import Primitives
import VolumeEngine

/// A question that waits for a volume's answer.
struct Question {
    let answer: Answer<ControlResult>
    let place: Place
    let deadline: Instant?
    /// Connections are refused until the volume has answered, however long that takes.
    let isHolding: Bool
    /// It is the last commit of a departure: the answer goes through it.
    let isDeparture: Bool
    /// Whoever asked was told that the deadline passed, and the volume is still at it.
    var isOverdue = false
}

/// A volume on its way off the shard.
struct Departure {
    enum Step {
        case disconnecting
        case closing
        case emptying(ControlResult)
    }
    var step = Step.disconnecting
    let isClean: Bool
    let deadline: Instant?
    let answer: Answer<ControlResult>
}

struct Tenant {
    let place: Place
    let served: ServedVolume
    let name: String
    let worker: VolumeWorker<HostDirectory, VolumeStore>
    /// Effects that workers have, or that wait for one.
    var effectsRunning = 0
    let openedAt: Instant
    /// Since when no client uses a read-only view.
    var idleSince: Instant
    var departure: Departure?

    init(
        place: Place, served: ServedVolume, name: String,
        worker: VolumeWorker<HostDirectory, VolumeStore>, openedAt: Instant
    ) {
        self.place = place
        self.served = served
        self.name = name
        self.worker = worker
        self.openedAt = openedAt
        idleSince = openedAt
    }
}
