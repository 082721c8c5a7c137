// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Group commit and recycling: what makes appended batches durable, and what lets go of published
// ones.

public import HostIO
public import Primitives

extension Journal {
    /// True if everything appended is durable.
    public var isSynced: Bool { syncedBatch == appendedBatch }

    /// Begins a sync of everything appended; nil if all of it is durable already. At most one sync
    /// is under way: the caller checks `isSyncing` first, and lets later flushes wait for the next.
    public mutating func beginSync() -> SyncWork<Storage>? {
        precondition(!isSyncing)
        if failure != nil || isSynced { return nil }
        var segments: [SegmentFile<Storage>] = []
        for slot in dirtySlots {
            if let segment = slots[slot] { segments.append(segment.file) }
        }
        dirtySlots.removeAll(keepingCapacity: true)
        if isCurrentDirty, let current {
            segments.append(current)
            isCurrentDirty = false
        }
        isSyncing = true
        return SyncWork(target: appendedBatch, targetSequence: lastAppended, segments: segments)
    }

    /// Records the success of a sync: flushes up to its target may be answered.
    public mutating func syncEnded(_ work: SyncWork<Storage>) {
        precondition(isSyncing)
        isSyncing = false
        syncedBatch = max(syncedBatch, work.target)
        syncedSequence = max(syncedSequence, work.targetSequence)
    }

    /// Records the failure of a sync: the journal takes nothing more.
    public mutating func syncFailed(_ error: HostIOError) {
        precondition(isSyncing)
        isSyncing = false
        if failure == nil { failure = error }
    }

    /// Lets go of the oldest segments all of whose records are at or before `cut`, which is
    /// published and durable in the local root, and no longer read by anyone. With `idle` also of
    /// the current and the ready ones if nothing younger than the cut exists: the next append
    /// begins a new segment. The caller gives them back to the pool, in this order.
    public mutating func retire(
        upTo cut: RecordSequence, idle: Bool = false
    ) -> [SegmentFile<Storage>] {
        var retired: [SegmentFile<Storage>] = []
        while order.count > 1, let segment = slots[order[0]], segment.lastSequence <= cut {
            retired.append(segment.file)
            release(slot: order.removeFirst())
        }
        guard idle, !hasStaged, !isSyncing, failure == nil, lastAppended <= cut else {
            return retired
        }
        if let current {
            retired.append(current)
            release(slot: currentSlot)
            order.removeAll(keepingCapacity: true)
            self.current = nil
            isCurrentDirty = false
        }
        retired.append(contentsOf: readyFiles)
        freeSlots.append(contentsOf: ready)
        ready.removeAll()
        readyFiles.removeAll()
        rolledWriteback = nil
        workspace = nil
        // The local root contains it all, durably: nothing here is needed any more.
        syncedBatch = appendedBatch
        syncedSequence = lastAppended
        return retired
    }

    private mutating func release(slot: Int) {
        slots[slot] = nil
        mappedBases[slot] = nil
        dirtySlots.removeAll { $0 == slot }
        if rolledWriteback?.slot == slot { rolledWriteback = nil }
        freeSlots.append(slot)
    }

    /// The segments at hand for the committer, which reads up to a cut that is appended already.
    public func frozen() -> FrozenJournal<Storage> {
        FrozenJournal(
            segments: order.compactMap { slot in
                slots[slot].map { FrozenJournal.Segment(slot: slot, live: $0) }
            })
    }
}
