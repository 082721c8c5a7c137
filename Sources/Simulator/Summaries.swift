// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Effects and events in a line each, for traces.

import Journal
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
        case .recordFailure(let failure): "record \(failure)"
        case .answer(let request, _): "answer \(request.number)"
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
        }
    }
}
