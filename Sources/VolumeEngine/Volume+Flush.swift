// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Group commit of flushes: one sync of the journal answers all that wait for it. A failed sync
// fails them and closes the volume for writing, because the kernel has dropped what it could not
// write.

public import BlockDevice
import Formats
import HostIO
import Journal
public import Primitives

/// Who waits for the journal to be synced up to now.
enum SyncWaiter {
    /// A FLUSH, or an empty write with FUA.
    case request(RequestTag)
    /// A write with FUA. Its answer may be due later than the sync.
    case write(RequestTag, due: Instant?)
    /// A grow, answered when its record is durable.
    case resize(ControlRequest, ByteCount)
}

extension Volume {
    public mutating func flush(tag: RequestTag) -> Submission {
        counters.flushes &+= 1
        switch gate {
        case .open: break
        case .closed(.readOnly): return .done
        case .closed(.closing): break
        case .closed: return .failed(.failed)
        }
        flushWaiting.append(.request(tag))
        return .staged
    }

    /// Grows the device. The answer comes when the record of it is durable.
    public mutating func requestResize(_ request: ControlRequest, to newSize: ByteCount) {
        if case .closed(let failure) = gate {
            effects.append(.answer(request, .failed(failure)))
            return
        }
        guard newSize > size else {
            effects.append(.answer(request, .resized(size)))
            return
        }
        guard journal.room(forPages: 0, records: 1) else {
            resizesWaiting.append((request, newSize))
            return
        }
        guard stageMark(.resize, offset: 0, length: newSize.rawValue, continues: false) else {
            effects.append(.answer(request, .failed(.refused("the journal failed"))))
            return
        }
        appendStaged()
        if case .closed(let failure) = gate {
            effects.append(.answer(request, .failed(failure)))
            return
        }
        if oldestActive == nil { oldestActive = now }
        size = max(size, newSize)
        flushWaiting.append(.resize(request, newSize))
    }

    mutating func startSyncIfNeeded() {
        guard !isSyncInFlight else { return }
        var commitWaits = false
        if case .syncing = phase { commitWaits = true }
        guard !flushWaiting.isEmpty || commitWaits else { return }
        if case .closed(let failure) = gate, failure != .closing {
            for waiter in flushWaiting { completeSync(of: waiter, failure: failure) }
            flushWaiting.removeAll(keepingCapacity: true)
            return
        }
        guard let work = journal.beginSync() else {
            for waiter in flushWaiting { completeSync(of: waiter, failure: nil) }
            flushWaiting.removeAll(keepingCapacity: true)
            commitSynced()
            return
        }
        precondition(flushInFlight.isEmpty)
        swap(&flushWaiting, &flushInFlight)
        isSyncInFlight = true
        counters.syncs &+= 1
        effects.append(.sync(work))
    }

    mutating func syncEnded(_ work: SyncWork<Storage>, failure: HostIOError?) {
        isSyncInFlight = false
        if let failure { journal.syncFailed(failure) } else { journal.syncEnded(work) }
        let reason = failure.map { VolumeFailure.journal($0) }
        for waiter in flushInFlight { completeSync(of: waiter, failure: reason) }
        flushInFlight.removeAll(keepingCapacity: true)
        if let reason { fail(reason) } else { commitSynced() }
    }

    mutating func completeSync(of waiter: SyncWaiter, failure: VolumeFailure?) {
        switch waiter {
        case .request(let tag):
            let outcome: Completion.Outcome = failure == nil ? .done : .failed(.failed)
            completions.append(Completion(tag: tag, outcome: outcome))
        case .write(let tag, let due):
            if failure == nil, let due, pace.isSlowing, due > now {
                hold(tag, until: due)
            } else {
                let outcome: Completion.Outcome = failure == nil ? .done : .failed(.failed)
                completions.append(Completion(tag: tag, outcome: outcome))
            }
        case .resize(let request, let newSize):
            let answer: ControlAnswer = failure.map { .failed($0) } ?? .resized(newSize)
            effects.append(.answer(request, answer))
        }
    }
}
