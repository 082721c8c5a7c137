// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What is sent to a shard of volumes: ends of effects from workers, connections from the
// negotiation, and questions of the control plane, each with the answer to give.

import ControlPlane
import HostIO
import NBDServer
import ObjectStore
import Primitives
import VolumeEngine
import VolumeMap

/// A volume's place on its shard. The generation tells it from the next volume in the same slot.
struct Place: Hashable, Sendable {
    let slot: Int
    let generation: UInt64
}

/// A volume on its way into a shard.
struct Arrival: Sendable {
    let served: ServedVolume
    let name: String
    let seed: VolumeSeed<HostDirectory>
    let options: VolumeOptions
    let worker: VolumeWorker<HostDirectory, VolumeStore>
}

/// What the control plane asks of a running volume.
enum ControlVerb: Sendable {
    /// Publish everything acknowledged.
    case commit
    case resize(ByteCount)
    /// Take over the content of an older commit. Refused while a client may write.
    case rollback(Root)
    /// Publish without the record of an unclean take-over.
    case acknowledge
    /// Begin a fresh base. Answered at once.
    case compact
    /// End all connections and take the volume off the shard; with `clean`, after a last commit.
    case leave(clean: Bool)
}

/// How that ended.
enum ControlResult: Sendable {
    case committed(Root)
    case resized(ByteCount)
    case begun
    /// Off the shard.
    case left
    case failed(VolumeFailure)
    /// Not done when the deadline passed.
    case timedOut
    case writersAttached(Int)
    /// It does not run here (any more).
    case absent
}

/// A moment's state of a place.
struct PlaceReport: Sendable {
    let volume: VolumeReport
    let connections: Int
    let writers: Int
    let statistics: SessionStatistics
    let isLeaving: Bool
    /// Nobody may connect: a rollback is on its way.
    let isHeld: Bool
    /// What the volume asked of the store since it was opened here, and how long that is.
    let requests: StoreCounts
    let openNanoseconds: UInt64
}

enum ShardEvent: Sendable {
    /// An effect has been carried out; not all end in an event of the volume.
    case performed(Place, VolumeEvent<HostDirectory>?)
    case adopt(NegotiatedConnection)
    case insert(Arrival, Answer<Place?>)
    case control(Place, ControlVerb, deadline: Instant?, Answer<ControlResult>)
    case report(Place, Answer<PlaceReport?>)
    case disconnect(Place)
}
