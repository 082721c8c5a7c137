// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Staging and appending: the acknowledge path. Nothing here allocates once the workspace is made.

public import Formats
public import Glibc
public import HostIO
public import Primitives

extension Journal {
    public var hasStaged: Bool { recordCount > 0 }

    /// Stages a write of whole grains. The pieces' memory is lent until `append`, and must not
    /// change.
    public mutating func stageWrite(
        firstGrain: GrainIndex, pieces: UnsafeBufferPointer<iovec>, epoch: Epoch, continues: Bool
    ) -> Staged {
        precondition(failure == nil)
        precondition(pieces.count > 0 && pieces.count <= JournalWorkspace.payloadPiecesMax)
        var byteCount = 0
        for piece in pieces { byteCount += piece.iov_len }
        let pages = byteCount / Limits.grainBytes
        precondition(byteCount > 0 && byteCount.isMultiple(of: Limits.grainBytes))
        precondition(pages <= recordPagesMax)
        guard beginRecord(pages: pages, pieces: pieces.count) else { return .batchFull }
        let page = headerPage + 1 + payloadPages
        let record = JournalRecord(
            kind: .write, continues: continues, epoch: epoch, sequence: lastStaged.next,
            offset: firstGrain.rawValue * UInt64(Limits.grainBytes), length: UInt64(byteCount),
            firstPage: UInt32(page), checksum: checksum(of: pieces))
        put(record)
        if let target = workspacePieces {
            for (index, piece) in pieces.enumerated() { target[2 + pieceCount + index] = piece }
        }
        pieceCount += pieces.count
        payloadPages += pages
        return .at(JournalPage(slot: stagedSlot, page: page))
    }

    /// Stages a record without payload.
    public mutating func stageMark(
        kind: JournalRecord.Kind, offset: UInt64, length: UInt64, epoch: Epoch, continues: Bool
    ) -> Staged {
        precondition(failure == nil && kind != .write)
        guard beginRecord(pages: 0, pieces: 0) else { return .batchFull }
        put(
            JournalRecord(
                kind: kind, continues: continues, epoch: epoch, sequence: lastStaged.next,
                offset: offset, length: length))
        return .at(JournalPage(rawValue: 0))
    }

    /// Appends everything staged as one batch with one system call. After return its pages can be
    /// read and its requests answered; durable is it only after a sync. Throws once: then the
    /// journal has failed, what was staged is dropped, and nothing of it may be acknowledged.
    public mutating func append() throws(HostIOError) {
        precondition(failure == nil)
        if recordCount == 0 { return }
        guard let header = workspaceHeader, let pieces = workspacePieces else { return }
        BatchHeader(
            number: nextBatch, syncedTo: syncedBatch, syncedSequence: syncedSequence,
            chainBefore: chain, bootID: bootID, recordCount: recordCount,
            payloadPages: payloadPages
        ).encode(into: header)
        let checksum = BatchHeader.seal(page: header, seed: stagedSeed)
        pieces[1] = iovec(iov_base: header, iov_len: Limits.grainBytes)
        if rolls { roll() }
        guard let file = current?.file else { preconditionFailure("no segment to append to") }
        let skipped = rolls ? 0 : 1
        let firstPage = rolls ? 0 : headerPage
        Failpoint.journalBeforeAppend.hit()
        do throws(HostIOError) {
            try file.write(
                at: UInt64(firstPage * Limits.grainBytes),
                pieces: UnsafeMutableBufferPointer(
                    start: pieces + skipped, count: 2 - skipped + pieceCount))
        } catch {
            failure = error
            dropStaged()
            throw error
        }
        Failpoint.journalAfterAppend.hit()
        nextPage = headerPage + 1 + payloadPages
        chain = checksum
        appendedBatch = nextBatch
        nextBatch = nextBatch.next
        lastAppended = lastStaged
        isCurrentDirty = true
        clearStaged()
    }

    /// Finds room for a record in the batch being staged, or begins a batch. False: the batch is
    /// full.
    private mutating func beginRecord(pages: Int, pieces: Int) -> Bool {
        if recordCount > 0 {
            return recordCount < Limits.batchRecordsMax
                && payloadPages + pages <= recordPagesMax
                && headerPage + 1 + payloadPages + pages <= segmentPages
                && pieceCount + pieces <= JournalWorkspace.payloadPiecesMax
        }
        if workspaceHeader == nil { workspace = JournalWorkspace() }
        if let current, nextPage + 1 + pages <= segmentPages {
            rolls = false
            headerPage = nextPage
            stagedSeed = current.nonce
            stagedSlot = currentSlot
        } else {
            precondition(!ready.isEmpty, "staged without asking for room")
            rolls = true
            headerPage = 1
            stagedSeed = readyFiles[0].nonce
            stagedSlot = ready[0]
        }
        return true
    }

    /// Encodes the record into the header page.
    private mutating func put(_ record: JournalRecord) {
        precondition(record.invalidField == nil, "record is not valid")
        guard let header = workspaceHeader else { return }
        record.encode(into: header + BatchHeader.offset(ofRecord: recordCount))
        recordCount += 1
        lastStaged = record.sequence
    }

    private func checksum(of pieces: UnsafeBufferPointer<iovec>) -> UInt64 {
        if pieces.count == 1 {
            return XXH3.hash(
                UnsafeRawBufferPointer(start: pieces[0].iov_base, count: pieces[0].iov_len),
                seed: stagedSeed)
        }
        switch workspace {
        case .some(let workspace):
            workspace.hasher.reset(seed: stagedSeed)
            for piece in pieces {
                workspace.hasher.update(
                    UnsafeRawBufferPointer(start: piece.iov_base, count: piece.iov_len))
            }
            return workspace.hasher.finish()
        case .none: preconditionFailure("staged without a workspace")
        }
    }

    /// Makes the next ready segment the current one; its superblock goes out with the batch.
    private mutating func roll() {
        let file = readyFiles.removeFirst()
        let slot = ready.removeFirst()
        let header = SegmentHeader(
            volume: volume, pages: segmentPages, generation: generation, nonce: file.nonce,
            firstBatch: nextBatch, chainBefore: chain, firstSequence: lastAppended.next,
            syncedTo: syncedBatch, syncedSequence: syncedSequence, bootID: bootID)
        if let superblock = workspaceSuperblock, let pieces = workspacePieces {
            header.encode(into: superblock)
            pieces[0] = iovec(iov_base: superblock, iov_len: Limits.grainBytes)
        }
        if current != nil {
            slots[currentSlot]?.lastSequence = lastAppended
            if isCurrentDirty { dirtySlots.append(currentSlot) }
            rolledWriteback = (currentSlot, writebackFrom, nextPage)
        }
        slots[slot] = LiveSegment(file: file, header: header, lastSequence: RecordSequence(0))
        order.append(slot)
        mappedBases[slot] = file.mapping?.baseAddress
        let mappedCount = max(1, Self.mappedBytes / (segmentPages * Limits.grainBytes))
        if order.count > mappedCount { mappedBases[order[order.count - 1 - mappedCount]] = nil }
        current = file
        currentSlot = slot
        isCurrentDirty = false
        nextPage = 0
        writebackFrom = 0
    }

    private mutating func clearStaged() {
        if let header = workspaceHeader {
            (header + BatchHeader.recordsOffset).initializeMemory(
                as: UInt8.self, repeating: 0, count: recordCount * JournalRecord.byteCount)
        }
        recordCount = 0
        pieceCount = 0
        payloadPages = 0
        rolls = false
    }

    private mutating func dropStaged() {
        lastStaged = lastAppended
        clearStaged()
    }

    // MARK: Workspace access

    private var workspaceHeader: UnsafeMutableRawPointer? {
        switch workspace {
        case .some(let workspace): return workspace.header
        case .none: return nil
        }
    }

    private var workspaceSuperblock: UnsafeMutableRawPointer? {
        switch workspace {
        case .some(let workspace): return workspace.superblock
        case .none: return nil
        }
    }

    private var workspacePieces: UnsafeMutablePointer<iovec>? {
        switch workspace {
        case .some(let workspace): return workspace.pieces
        case .none: return nil
        }
    }
}
