// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the server asks of whoever knows the exports, and what it hands over when a client has
// chosen.

import Glibc
public import NBDProtocol
import Synchronization

/// Where an export is served. Opaque to the server.
public struct ExportPlacement: Sendable, Equatable {
    public var shard: Int
    public var device: Int
    /// Tells the device from the next one in its slot: whoever adopts the connection compares it.
    public var generation: UInt64

    public init(shard: Int, device: Int, generation: UInt64 = 0) {
        self.shard = shard
        self.device = device
        self.generation = generation
    }
}

/// The answer to a name.
public enum ExportAnswer: Sendable {
    case found(ExportOffer, ExportPlacement)
    case notFound
    /// It exists, but not for this client: fenced, quarantined. The reason is shown to its user.
    case refused(String)
    /// Starting, stopping, or the store is away.
    case notNow(String)
}

/// Who knows the exports. Called on the negotiation thread: must not block; may answer from any
/// thread, once, now or later.
public protocol ExportResolver: Sendable {
    func resolve(
        _ name: String, for purpose: ExportPurpose,
        reply: @escaping @Sendable (ExportAnswer) -> Void)

    func list(reply: @escaping @Sendable ([(name: String, description: String)]) -> Void)
}

/// A connection whose client has chosen its export: on its way to the shard that serves it. Closes
/// its descriptor if nobody takes it.
public final class NegotiatedConnection: Sendable {
    public let agreement: Agreement
    public let offer: ExportOffer
    public let placement: ExportPlacement
    /// Bytes of the transmission phase that came with the handshake.
    public let leftover: [UInt8]
    private let descriptor: Atomic<Int32>

    public init(
        descriptor: Int32, agreement: Agreement, offer: ExportOffer, placement: ExportPlacement,
        leftover: [UInt8]
    ) {
        self.descriptor = Atomic(descriptor)
        self.agreement = agreement
        self.offer = offer
        self.placement = placement
        self.leftover = leftover
    }

    deinit {
        let left = takeDescriptor()
        if left >= 0 { close(left) }
    }

    /// The descriptor, the first time; -1 after that.
    func takeDescriptor() -> Int32 { descriptor.exchange(-1, ordering: .acquiringAndReleasing) }
}
