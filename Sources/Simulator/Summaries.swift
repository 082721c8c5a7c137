// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Effects and events in a line each, for traces, and as a number each, for the hash of a run.

import Committer
import HostIO
import Journal
import Primitives
import VolumeEngine

extension VolumeEffect {
    var summary: String {
        switch self {
        case .sync: "sync"
        case .startWriteback(_, let offset, let count): "write-back of \(count) at \(offset)"
        case .takeSegments(let numbers): "take segments \(numbers)"
        case .retire(let segments): "retire \(segments.map(\.name))"
        case .fetch(let order): "fetch \(order.number.number) of \(order.blocks.count) blocks"
        case .warm(let order): "warm \(order.number.number)"
        case .commit: "commit"
        case .gather: "gather"
        case .recordFailure(let failure): "record \(failure)"
        case .answer(let request, _): "answer \(request.number)"
        }
    }

    var number: UInt64 {
        switch self {
        case .sync: 1
        case .startWriteback(_, let offset, let count): 2 | offset << 8 ^ count << 32
        case .takeSegments(let numbers): numbers.reduce(3) { $0 &* 31 &+ $1 << 8 }
        case .retire(let segments): segments.reduce(4) { $0 &* 31 &+ $1.number << 8 }
        case .fetch(let order):
            order.blocks.reduce(5 | order.number.number << 8) { $0 &* 31 &+ $1.rawValue }
        case .warm(let order): 6 | order.number.number << 8
        case .commit(let run): 7 | run.sequence.rawValue << 8
        case .recordFailure: 8
        case .gather: 10
        case .answer(let request, _): 9 | request.number << 8
        }
    }

    var isCommit: Bool {
        if case .commit = self { true } else { false }
    }

    /// Where the process died, if it died in this.
    var deathPlace: Transition? {
        switch self {
        case .sync: .diedInSync
        case .takeSegments: .diedTakingSegments
        case .retire: .diedReturningSegments
        case .commit: .diedInCommit
        case .startWriteback, .fetch, .warm, .gather, .recordFailure, .answer: nil
        }
    }
}

extension VolumeEvent {
    var summary: String {
        switch self {
        case .synced(_, let failure): "synced, failure \(failure as Any)"
        case .segmentsTaken(let segments, let isFull, let failure):
            "took \(segments.map(\.name)), full \(isFull), failure \(failure as Any)"
        case .fetched(let number, let failure):
            "fetched \(number.number), failure \(failure as Any)"
        case .warmed(let number, let failure):
            "warmed \(number.number), failure \(failure as Any)"
        case .retired(let left, let failure):
            "retired, left \(left.count), failure \(failure as Any)"
        case .commitEnded(_, let outcome): "commit ended: \(outcome)"
        case .gathered(_, let outcome): "gathered: \(outcome)"
        }
    }

    var number: UInt64 {
        switch self {
        case .synced(_, let failure): 1 | UInt64(failure?.code.magnitude ?? 0) << 8
        case .segmentsTaken(let segments, let isFull, _):
            segments.reduce(isFull ? 2 : 3) { $0 &* 31 &+ $1.nonce }
        case .fetched(let number, let failure): (failure == nil ? 4 : 5) | number.number << 8
        case .warmed(let number, let failure): (failure == nil ? 6 : 7) | number.number << 8
        case .retired(let left, _): 8 | UInt64(left.count) << 8
        case .commitEnded(let run, let outcome):
            switch outcome {
            case .published: 9 | run.sequence.rawValue << 8
            case .postponed: 10 | run.sequence.rawValue << 8
            case .fenced: 11 | run.sequence.rawValue << 8
            case .failed: 12 | run.sequence.rawValue << 8
            }
        case .gathered(_, let outcome):
            switch outcome {
            case .nothing: 13
            case .gathered(let step): 14 | UInt64(step.relocation.blockCount) << 8
            case .crowded: 15
            case .stopped: 16
            case .failed: 17
            }
        }
    }

    /// The store's part of it failed.
    var isFailedFetch: Bool {
        switch self {
        case .fetched(_, let failure): failure != nil
        case .warmed(_, let failure): failure != nil
        default: false
        }
    }

    /// What the volume goes through with it.
    var transition: Transition? {
        switch self {
        case .synced(_, let failure): failure == nil ? nil : .closedByFailure
        case .segmentsTaken(_, let isFull, _): isFull ? .foundFull : nil
        case .fetched(_, let failure): failure == nil ? .fetched : .fetchFailed
        case .retired(let left, let failure):
            left.isEmpty && failure == nil ? .segmentsReturned : nil
        case .commitEnded(_, .published): .published
        case .commitEnded(_, .postponed): .postponed
        case .commitEnded(_, .failed): .closedByFailure
        case .commitEnded(_, .fenced): .fenced
        case .warmed, .gathered: nil
        }
    }
}
