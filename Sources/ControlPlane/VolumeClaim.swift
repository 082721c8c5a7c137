// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The outcome of opening a volume: from which commit it starts, and what of this host's journal
// belongs to it.

public import Committer
public import HostIO
public import Primitives

/// What a host needs to run a volume. Made by the control plane only.
public struct VolumeClaim<Storage: StorageDirectory>: Sendable {
    public let served: ServedVolume
    /// The export's name, for messages.
    public let name: String
    /// The commit to start from.
    public let root: LocalRoot
    /// Nil for a read-only view, which touches no local directory.
    public let writer: WriterClaim<Storage>?
}

/// What the one writer of a volume has beside the root.
public struct WriterClaim<Storage: StorageDirectory>: Sendable {
    public let epoch: Epoch
    /// `<cache>/volumes/<volume-id>`, with `root/` in it and `journal/` to be.
    public let directory: Storage
    /// True: replay `journal/` beyond the root's cut. False: there is none, it was set aside.
    public let adoptsJournal: Bool
    /// False if the volume is served without having asked the store: nothing may be published
    /// before the head is seen to equal the root.
    public let isHeadConfirmed: Bool
    /// A commit behind the root whose PUT is not resolved: publish these bytes before anything
    /// else.
    public let pending: LocalRoot?
}
