// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A shard's report in the words of the control plane, and as counters.

import ControlPlane
import Formats
import NBDServer
import ObjectStore
import Primitives
import VolumeEngine

enum StatusText {
    static func status(
        of report: PlaceReport, _ served: ServedVolume, _ prices: Configuration.Prices
    ) -> VolumeStatus {
        let volume = report.volume
        var status = VolumeStatus(
            volume: volume.id, size: volume.size, blockBytes: volume.blockBytes,
            isReadOnly: served.snapshot != nil, state: state(of: report),
            sequence: volume.commit.sequence, epoch: volume.epoch)
        status.journalBytes = volume.journalBytes
        status.journalSegments = volume.journalSegments
        status.unreturnedSegments = volume.unreturnedSegments
        status.dirtyBlocks = UInt64(volume.dirtyEntries)
        status.unpublishedAgeSeconds = volume.unpublishedAgeSeconds
        status.unpublishedBytes = volume.unpublishedBytes
        status.slowdownPercent = percent(volume.slowdown)
        status.stall = volume.stall?.rawValue
        status.storeAwaySeconds = volume.storeAwaySeconds
        status.lastError = volume.lastError
        status.uncleanTakeover = volume.commit.uncleanTakeover
        switch volume.failure {
        case .readOnly, .closing, nil: break
        case .some(let failure): status.failure = failure.reason
        }
        status.requests = report.requests
        status.storedBytes = volume.storedBytes
        status.requestDollarsPerMonth = prices.dollarsPerMonth(
            report.requests, in: report.openNanoseconds)
        status.storedDollarsPerMonth = volume.storedBytes.map {
            prices.dollarsPerMonth(storedBytes: $0)
        }
        switch volume.compactionRequest {
        case .running(let done, let total):
            status.freshBase = .running(blocksDone: done, blocksTotal: total)
        case .done(let sequence, let token):
            status.freshBase = .done(sequence: sequence, etag: token.description)
        case .failed(let why): status.freshBase = .failed(why)
        case nil: break
        }
        status.readers = report.connections - report.writers
        status.writers = report.writers
        return status
    }

    private static func state(of report: PlaceReport) -> OperationState {
        switch report.volume.failure {
        case .fenced: return .fenced
        case .readOnly: return .readOnly
        case .closing: return .draining
        case .some: return .failed
        case nil: break
        }
        if report.isLeaving { return .draining }
        if report.volume.isStalled { return .stalled }
        return report.volume.isCommitting ? .committing : .serving
    }

    /// Rounded up, so that zero means that nobody is slowed.
    static func percent(_ share: Double) -> Int { Int((share * 100).rounded(.up)) }

    /// The counters of one volume, by name.
    static func counters(of report: PlaceReport) -> [String: UInt64] {
        let (volume, clients) = (report.volume, report.statistics)
        let (counters, requests) = (volume.counters, report.requests)
        let compaction = volume.compaction
        return [
            "store_puts": requests.puts, "store_gets": requests.gets,
            "store_heads": requests.heads, "store_lists": requests.lists,
            "store_deletes": requests.deletes, "store_failures": requests.failures,
            "store_sent_bytes": requests.bytesSent,
            "store_received_bytes": requests.bytesReceived,
            "stored_bytes": volume.storedBytes ?? 0,
            "reads": counters.reads, "read_bytes": counters.readBytes,
            "writes": counters.writes, "written_bytes": counters.writtenBytes,
            "zeroes": counters.zeroes, "zeroed_bytes": counters.zeroedBytes,
            "flushes": counters.flushes, "syncs": counters.syncs, "fetches": counters.fetches,
            "fetches_failed": counters.fetchesFailed, "commits": counters.commits,
            "commits_postponed": counters.commitsPostponed,
            "compaction_looks": compaction.looks, "compaction_rounds": compaction.rounds,
            "compaction_commits": compaction.commits,
            "compacted_blocks": compaction.blocks, "compacted_bytes": compaction.bytes,
            "compaction_failures": compaction.failures,
            "client_errors": clients.errors, "connections": UInt64(report.connections),
            "writers": UInt64(report.writers), "journal_bytes": volume.journalBytes,
            "journal_segments": UInt64(volume.journalSegments),
            "unreturned_segments": UInt64(volume.unreturnedSegments),
            "returns_failed": counters.returnsFailed,
            "index_bytes": volume.indexBytes,
            "dirty_blocks": UInt64(volume.dirtyEntries),
            "unpublished_bytes": volume.unpublishedBytes,
            "unpublished_age_secs": volume.unpublishedAgeSeconds,
            "parked_requests": UInt64(volume.parkedRequests),
            "stalled": volume.isStalled ? 1 : 0, "store_away_secs": volume.storeAwaySeconds,
            "slowdown_percent": UInt64(percent(volume.slowdown)),
            "held_answers": UInt64(volume.heldAnswers), "writes_held": counters.writesHeld,
            "held_milliseconds": counters.heldNanoseconds / 1_000_000,
            "sequence": volume.commit.sequence.rawValue,
            "epoch": UInt64(volume.epoch.rawValue),
        ]
    }
}
