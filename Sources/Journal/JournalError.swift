// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Why a journal cannot be read, made or grown. A failed append or sync is not here: the journal
// keeps that as its `failure`.

public import HostIO
public import Primitives

/// A failure of a journal or of the segment pool.
public enum JournalError: Error, Equatable, Sendable {
    /// The local disk failed a call.
    case io(HostIOError)
    /// The disk budget of all journals is used up.
    case budgetExhausted(usedBytes: UInt64, budgetBytes: UInt64)
    /// Batch `batch` cannot be read, but a later one says that everything up to `claimed` was
    /// synced: flushed data rotted, or a segment is missing. The volume must not be served.
    case rotted(segment: String, batch: BatchNumber, claimed: BatchNumber)
    /// The committer asked for records that the segments at hand do not hold whole.
    case incomplete(from: RecordSequence, upTo: RecordSequence, found: RecordSequence)
    /// A payload of a record does not have its checksum.
    case wrongPayload(segment: String, sequence: RecordSequence)
}
