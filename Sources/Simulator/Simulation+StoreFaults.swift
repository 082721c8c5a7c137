// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A store that is away, has too much to do, loses replies, carries requests out late, and gives
// back what is short, damaged or not there. What the S3 client makes of status codes has tests of
// its own; here is what it hands up: 409, 429 and 503 are a store that is away and did nothing, 412
// is an existing key, be it by the very same PUT, sent again below the seam.

import Documents
import Formats
import ObjectStore
import Primitives

extension Simulation {
    func injectStoreFault(_ fault: Fault) {
        for machine in machines { machine.isStoreFaulty = true }
        for node in (tracks + leaving).flatMap(\.nodes) { node.host?.isStoreFaulty = true }
        for slot in collectors { slot.isFaulty = true }
        hasStoreFaults = true
        switch fault {
        case .storeAway: store.setAway(true)
        case .requestsAway:
            store.inject(StoreFault(.away, times: 1 + Int(random.next(below: 5))))
        case .readsAway:
            // Behind the nodes of the map come the blocks.
            store.inject(
                StoreFault(
                    .away, operation: .get, keyPrefix: "packs/",
                    skipping: Int(random.next(below: 12)), times: 1 + Int(random.next(below: 3))))
        case .replyLost: store.inject(StoreFault(.replyLost, operation: .put))
        case .latePut:
            let count = Int(random.next(below: 20))
            store.inject(StoreFault(.late(afterRequests: count), operation: .put))
        case .throttled:
            // What reads alone meet hits the later ones of a commit, too.
            store.injectAtRandom(
                StoreFault(.throttled, operation: chance(5_000) ? .get : nil),
                perMille: 50 + random.next(below: 400))
        case .putConflict:
            store.inject(
                StoreFault(.conflict, operation: .put, times: 1 + Int(random.next(below: 3))))
        case .putRepeated: store.inject(StoreFault(.repeated, operation: .put))
        case .shortRead: store.inject(StoreFault(.short, operation: .get))
        case .flippedRead:
            // Nothing points to a ref, so nothing but the ref itself says what it is to hold.
            let isRef = chance(5_000)
            store.inject(
                StoreFault(
                    .flipped, operation: .get, keyPrefix: isRef ? "refs/" : "",
                    times: isRef ? 1 + Int(random.next(below: 4)) : 1))
        default:
            guard let key = drawObject(for: fault) else { return }
            harm(key, fault)
        }
        report.faults.note(fault)
    }

    /// A pack or a commit: what points to those says what they hold. A ref that cannot be found is
    /// one that is not there, and who asks again later gets another answer, so refs are left alone.
    private func drawObject(for fault: Fault) -> String? {
        switch fault {
        case .packDamaged, .packMissing: draw(store.keys(prefix: "packs/"))
        case .commitMissing: draw(viewed()) ?? draw(store.keys(prefix: "volumes/"))
        default: draw(store.keys(prefix: chance(5_000) ? "packs/" : "volumes/"))
        }
    }

    /// Mostly none; else commits that nothing but views has any more.
    private func viewed() -> [String] {
        guard chance(5_000) else { return [] }
        let named = Set(names.snapshots.map(\.commit))
        return names.views.map(\.commit).filter { !named.contains($0) }
            .map { CommitKey.key($0.volume, $0.sequence) }
            .filter { store.byteCount(of: $0) != nil }
    }

    private func harm(_ key: String, _ fault: Fault) {
        switch fault {
        case .packMissing, .commitMissing: store.hide(key)
        case .objectTruncated:
            let size = UInt64(store.byteCount(of: key) ?? 0)
            store.truncate(key, to: Int(random.next(below: max(1, size))))
        default: damage(key)
        }
    }

    private func damage(_ key: String) {
        let size = UInt64(store.byteCount(of: key) ?? 0)
        guard size > 0 else { return }
        let offset = Int(random.next(below: size))
        store.rot(key, at: offset)
        damaged.append((key, offset))
    }

    /// Everything in the store is as it should be again. What a volume saw meanwhile it may still
    /// report, until it has been told the time.
    func healStore() {
        store.heal()
        // The same byte inverted again, unless it was collected.
        for (key, offset) in damaged where store.byteCount(of: key) != nil {
            store.rot(key, at: offset)
        }
        damaged.removeAll()
        hasStoreFaults = false
    }
}
