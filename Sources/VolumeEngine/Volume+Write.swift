// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The write path: widen to whole grains, stage in the journal, append once a turn, apply to the
// active memtable, answer. A request is one unit: recovery finds it whole or not at all.

public import BlockDevice
import Glibc
import HostIO
import Journal
public import Primitives

/// A guest write in whole grains: merged edges around the caller's payload.
struct WidenedWrite {
    let firstGrain: UInt64
    let grains: Int
    /// The merged first grain, if the write does not cover it from its start.
    let head: UnsafeMutableRawBufferPointer?
    /// The merged last grain, if the write does not cover it to its end.
    let tail: UnsafeMutableRawBufferPointer?
    /// The payload's bytes for the whole grains between.
    let middle: UnsafeRawBufferPointer

    /// Fills `pieces` (3 entries) with the memory of `count` grains from `start` on; how many it
    /// used.
    func pieces(
        from start: Int, count: Int, into pieces: UnsafeMutablePointer<iovec>
    ) -> Int {
        let headGrains = head == nil ? 0 : 1
        var used = 0
        if start == 0, let head {
            pieces[used] = iovec(iov_base: head.baseAddress, iov_len: head.count)
            used += 1
        }
        let middleGrains = middle.count / Limits.grainBytes
        let low = max(0, start - headGrains)
        let high = min(middleGrains, start + count - headGrains)
        if high > low, let base = middle.baseAddress {
            pieces[used] = iovec(
                iov_base: UnsafeMutableRawPointer(mutating: base + low * Limits.grainBytes),
                iov_len: (high - low) * Limits.grainBytes)
            used += 1
        }
        if let tail, start + count == grains {
            pieces[used] = iovec(iov_base: tail.baseAddress, iov_len: tail.count)
            used += 1
        }
        return used
    }
}

/// Whether an edge grain could be merged now.
enum MergeOutcome {
    case ready(UnsafeMutableRawBufferPointer)
    case blocked(Submission)
}

extension Volume {
    public mutating func write(
        at offset: ByteOffset, payload: UnsafeRawBufferPointer, fua: Bool, tag: RequestTag
    ) -> Submission {
        let count = UInt64(payload.count)
        guard contains(offset, count) else { return .failed(.outOfRange) }
        if let refusal = refusalOfWrites(tag) { return refusal }
        guard count > 0 else { return completeEmpty(fua: fua, tag: tag) }
        let firstGrain = offset.rawValue / grainBytes
        let end = offset.rawValue + count
        let grains = Int((end - 1) / grainBytes - firstGrain + 1)
        guard hasRoom(pages: grains) else { return parkForRoom(tag, pages: grains) }
        let widened: WidenedWrite
        switch widen(offset: offset.rawValue, payload: payload, tag: tag) {
        case .ready(let ready): widened = ready
        case .blocked(let submission): return submission
        }
        guard stage(widened, continues: false) else { return .failed(.failed) }
        staged.requests.append(StagedRequest(tag: tag, needsSync: fua))
        counters.writes &+= 1
        counters.writtenBytes &+= count
        return .staged
    }

    enum WidenOutcome {
        case ready(WidenedWrite)
        case blocked(Submission)
    }

    private mutating func widen(
        offset: UInt64, payload: UnsafeRawBufferPointer, tag: RequestTag
    ) -> WidenOutcome {
        let end = offset + UInt64(payload.count)
        let first = offset / grainBytes
        let last = (end - 1) / grainBytes
        let headCut = Int(offset % grainBytes)
        let tailCut = Int(end % grainBytes)
        if headCut != 0 || tailCut != 0 { prepareToMerge(first, last) }
        var head: UnsafeMutableRawBufferPointer?
        var tail: UnsafeMutableRawBufferPointer?
        var middle = payload
        if headCut != 0 || (first == last && tailCut != 0) {
            let count = min(payload.count, Limits.grainBytes - headCut)
            let piece = UnsafeRawBufferPointer(rebasing: payload[..<count])
            switch merge(grain: first, at: headCut, piece, tag: tag) {
            case .ready(let page): head = page
            case .blocked(let submission): return .blocked(submission)
            }
            middle = UnsafeRawBufferPointer(rebasing: payload[count...])
        }
        if tailCut != 0 && middle.count > 0 {
            let piece = UnsafeRawBufferPointer(rebasing: middle[(middle.count - tailCut)...])
            switch merge(grain: last, at: 0, piece, tag: tag) {
            case .ready(let page): tail = page
            case .blocked(let submission): return .blocked(submission)
            }
            middle = UnsafeRawBufferPointer(rebasing: middle[..<(middle.count - tailCut)])
        }
        return .ready(
            WidenedWrite(
                firstGrain: first, grains: Int(last - first + 1), head: head, tail: tail,
                middle: middle))
    }

    /// Makes sure that two edges can be merged without an append between them: the arena has room,
    /// and neither grain is staged (its content could not be read back yet).
    mutating func prepareToMerge(_ first: UInt64, _ last: UInt64) {
        if edges.available < 2 || staged.overlaps(grain: first) || staged.overlaps(grain: last) {
            appendStaged()
        }
    }

    /// Lays `piece` over the present content of a grain, in a page lent until the append. The base
    /// is read now, at the moment of staging: whatever was written while the request waited is in
    /// it.
    mutating func merge(
        grain: UInt64, at inside: Int, _ piece: UnsafeRawBufferPointer, tag: RequestTag
    ) -> MergeOutcome {
        precondition(inside + piece.count <= Limits.grainBytes)
        let page = edges.take()
        let onDevice = min(grainBytes, size.rawValue - grain * grainBytes)
        if inside == 0 && UInt64(piece.count) >= onDevice {
            zeroFill(UnsafeMutableRawBufferPointer(rebasing: page[piece.count...]))
        } else {
            let block = BlockIndex(rawValue: (grain * grainBytes) >> blockShift)
            let within = Int((grain * grainBytes) & UInt64(blockBytes - 1))
            switch copy(block, from: within, into: page) {
            case .copied: break
            case .missingBase:
                let at = ByteOffset(grain * grainBytes)
                return .blocked(
                    parkOnFetches(from: at, count: ByteCount(onDevice), tag: tag))
            case .coldPage(let cold): return .blocked(parkOnWarming(cold, tag: tag))
            case .failed: return .blocked(.failed(.failed))
            }
        }
        if let from = piece.baseAddress, let to = page.baseAddress {
            memcpy(to + inside, from, piece.count)
        }
        return .ready(page)
    }

    /// Stages all grains of a write; false if an append on the way failed and closed the volume.
    mutating func stage(_ write: WidenedWrite, continues: Bool) -> Bool {
        var done = 0
        while done < write.grains {
            let count = min(write.grains - done, journal.recordPagesMax)
            let isLast = done + count == write.grains
            let grain = GrainIndex(write.firstGrain + UInt64(done))
            let start = done
            let page = withUnsafeTemporaryAllocation(of: iovec.self, capacity: 3) { pieces in
                stagePieces(
                    write, from: start, count: count, grain: grain,
                    continues: continues || !isLast, pieces)
            }
            guard let page else { return false }
            staged.ranges.append(
                StagedRange(firstGrain: grain.rawValue, count: UInt64(count), page: page))
            staged.bytes += UInt64(count) * grainBytes
            done += count
        }
        return true
    }

    private mutating func stagePieces(
        _ write: WidenedWrite, from start: Int, count: Int, grain: GrainIndex, continues: Bool,
        _ pieces: UnsafeMutableBufferPointer<iovec>
    ) -> JournalPage? {
        // An append on the way to here may have failed and closed the volume.
        guard case .open = gate, let base = pieces.baseAddress else { return nil }
        let used = write.pieces(from: start, count: count, into: base)
        let list = UnsafeBufferPointer(start: base, count: used)
        for _ in 0..<2 {
            switch journal.stageWrite(
                firstGrain: grain, pieces: list, epoch: epoch, continues: continues)
            {
            case .at(let page): return page
            case .batchFull: appendStaged(keepingEdges: true)
            }
            guard case .open = gate else { return nil }
        }
        preconditionFailure("an empty batch takes any record that there is room for")
    }

    /// Appends the batch, applies it, and answers what is complete. After a failure the journal is
    /// never trusted again: everything staged fails and the volume is closed for writing.
    ///
    /// `keepingEdges`: a unit is under way whose merged edges are still to be staged. Otherwise
    /// nothing lent is needed after the append, so the arena starts over.
    mutating func appendStaged(keepingEdges: Bool = false) {
        if !keepingEdges { edges.reset() }
        guard journal.hasStaged else { return }
        do throws(HostIOError) {
            // A sync may have failed since these records were staged.
            if let failure = journal.failure { throw failure }
            try journal.append()
        } catch {
            dropStaged(error)
            return
        }
        for range in staged.ranges {
            if let page = range.page {
                active.set(
                    firstGrain: GrainIndex(range.firstGrain), count: Int(range.count),
                    firstPage: page)
            } else {
                active.setZero(
                    grains: range.firstGrain..<(range.firstGrain + range.count))
            }
        }
        if !staged.ranges.isEmpty {
            indexWeight = active.weight
            if oldestActive == nil { oldestActive = now }
        }
        answerStaged(journaled: staged.bytes + grainBytes)
        uncommittedBytes += staged.bytes + grainBytes
        staged.removeAll()
        if let due = journal.writebackDue() {
            effects.append(.startWriteback(due.0, offset: due.offset, count: due.count))
        }
    }

    /// Answers what was appended: now, or when the pace allows it.
    @inline(__always)
    private mutating func answerStaged(journaled bytes: UInt64) {
        pace.look(at: space)
        // Earlier ones first, should there be room again.
        releaseAnswers()
        let due = pace.charge(bytes, now: now)
        for request in staged.requests {
            if request.needsSync {
                flushWaiting.append(.write(request.tag, due: due))
            } else if let due {
                hold(request.tag, until: due)
            } else {
                completions.append(Completion(tag: request.tag, outcome: .done))
            }
        }
    }

    /// Keeps the answer to a write that is journaled until its time.
    mutating func hold(_ tag: RequestTag, until due: Instant) {
        counters.writesHeld &+= 1
        counters.heldNanoseconds &+= due.nanoseconds(since: now)
        pace.hold(tag, until: due)
    }

    private mutating func dropStaged(_ failure: HostIOError) {
        for request in staged.requests {
            completions.append(Completion(tag: request.tag, outcome: .failed(.failed)))
        }
        staged.removeAll()
        fail(.journal(failure))
    }

    /// A write of nothing is a write all the same: with FUA it answers after a sync.
    mutating func completeEmpty(fua: Bool, tag: RequestTag) -> Submission {
        guard fua else { return .done }
        flushWaiting.append(.request(tag))
        return .staged
    }

    /// Why a write cannot be taken now, if so.
    mutating func refusalOfWrites(_ tag: RequestTag) -> Submission? {
        switch gate {
        case .open: break
        case .closed(.readOnly), .closed(.fenced): return .failed(.readOnly)
        case .closed(.closing): return .failed(.shuttingDown)
        case .closed: return .failed(.failed)
        }
        if isResolving { return parkForRoom(tag, pages: 0) }
        if isIndexFull {
            lastError = "the index of unpublished writes is full"
            return refusal(options.whenFull, .noSpace) ?? parkForRoom(tag, pages: 0)
        }
        guard isStalled else { return nil }
        return refusal(options.whenUnpublished, .failed) ?? parkForRoom(tag, pages: 0)
    }

    /// What a writer is told; nil: it waits.
    private func refusal(_ policy: StallPolicy, _ failure: BlockError) -> Submission? {
        switch policy {
        case .pause: nil
        case .fail: .failed(failure)
        case .refuse: .failed(.readOnly)
        }
    }

    /// True if the memtable may not grow before the next cut, which waits for the running commit.
    @inline(__always)
    var isIndexFull: Bool { indexWeight >= options.indexBytesMax &+ uncommittedBytes / 4 }

    /// True if a unit of this many payload pages can be staged to its end now.
    func hasRoom(pages: Int) -> Bool { segmentsWanted(pages: pages) == 0 }

    /// Segments missing for a unit of this many payload pages: what is ordered is what is asked
    /// for.
    func segmentsWanted(pages: Int) -> Int {
        journal.segmentsWanted(forPages: pages, records: pages / journal.recordPagesMax + 3)
    }

    mutating func parkForRoom(_ tag: RequestTag, pages: Int) -> Submission {
        if isFull, !isResolving, let refusal = refusal(options.whenFull, .noSpace) {
            return refusal
        }
        pagesWanted = max(pagesWanted, pages)
        parks.parkForRoom(tag)
        return .parked
    }
}

/// Bytes of a grain, as the arithmetic of offsets wants it.
let grainBytes = UInt64(Limits.grainBytes)
