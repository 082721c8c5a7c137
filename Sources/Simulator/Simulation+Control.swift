// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The control plane's part: drains, grows, and what a published commit must hold.

import BlockDevice
import CleanCache
import Formats
import HostIO
import ObjectStore
import Primitives
import VolumeEngine
import VolumeMap

extension Simulation {
    /// Asks for a commit, or for more room.
    func askControl() throws(SimulationFailure) {
        guard let host = node.host, !host.isClosing, host.controls.count < 4 else { return }
        let request = ControlRequest(number: host.nextControl)
        host.nextControl += 1
        if chance(2_000) {
            let sectors = deviceSectors + 1 + Int(random.next(below: 64))
            host.controls[request] = 0
            report.actions.note(.resize)
            host.volume.requestResize(
                request, to: ByteCount(UInt64(sectors * Limits.sectorBytes)))
        } else {
            host.controls[request] = node.history.acknowledged
            report.actions.note(.commit)
            host.volume.requestCommit(request)
        }
        try settle()
    }

    func answered(
        _ request: ControlRequest, _ answer: ControlAnswer
    ) throws(SimulationFailure) {
        guard let covers = node.host?.controls.removeValue(forKey: request) else {
            throw failure("an answer to nobody's question")
        }
        report.note(request.number << 8 | 0xC0)
        let isAwaited = node.host?.awaited[request] != nil
        if isAwaited { node.host?.awaited[request] = .some(answer) }
        switch answer {
        case .committed(let root):
            guard let index = node.indexByCut[root.commit.cut], index >= covers else {
                let held = node.indexByCut[root.commit.cut].map { "\($0)" } ?? "nothing known"
                throw failure(
                    "commit \(root.commit.sequence) answers for more than it holds: for \(covers), "
                        + "and holds \(held)")
            }
            node.history.publish(upTo: covers)
        case .resized: report.transitions.note(.grown)
        case .failed(let reason):
            // A rollback is tried again when a write came between.
            var isExcused = reason == .closing
            if case .refused = reason { isExcused = isAwaited }
            guard isExcused || node.machine.isDead || node.hasFailedDisk || node.isFenced else {
                throw failure("a control request failed for no reason: \(reason.reason)")
            }
        }
    }

    /// Reads a commit from the store alone and judges it.
    func checkStore(
        _ root: Root, holds bounds: ClosedRange<UInt64>, of history: GuestHistory
    ) throws(SimulationFailure) {
        report.storeChecks += 1
        let cache = CleanCache(capacityBytes: Limits.cacheBytesMin)
        let fetcher = MapFetcher(store: store, cache: cache)
        let stamps = try stamps(of: root) { block throws(SimulationFailure) in
            try bring(block, of: root, by: fetcher)
        }
        let verdict = history.judge(stamps, bounds: bounds)
        guard case .prefix = verdict else {
            throw failure("commit \(root.commit.sequence) in the store is no prefix: \(verdict)")
        }
    }

    /// What the sectors of a commit say of themselves.
    func stamps<Failure: Error>(
        of root: Root, _ read: (BlockIndex) throws(Failure) -> CachedBlock?
    ) throws(Failure) -> [GuestHistory.Stamp] {
        var stamps: [GuestHistory.Stamp] = []
        let sectors = Int(root.size.rawValue) / Limits.sectorBytes
        let blockSectors = root.blockBytes / Limits.sectorBytes
        for index in 0..<root.blockCount {
            let content = try read(BlockIndex(index))
            for sector in 0..<min(blockSectors, sectors - stamps.count) {
                guard let content else {
                    stamps.append(.zeros)
                    continue
                }
                let start = sector * Limits.sectorBytes
                let bytes = UnsafeRawBufferPointer(
                    rebasing: content.bytes[start..<(start + Limits.sectorBytes)])
                stamps.append(GuestHistory.stamp(of: bytes, sector: stamps.count))
            }
        }
        return stamps
    }

    private func bring(
        _ block: BlockIndex, of root: Root, by fetcher: MapFetcher<MemoryStore>
    ) throws(SimulationFailure) -> CachedBlock? {
        var last = ""
        for _ in 0..<100 {
            do throws(FetchError) { return try fetcher.content(of: block, in: root) } catch {
                last = "\(error)"
                guard error.isRetryable || hasStoreFaults else { break }
            }
            if hasStoreFaults { healStore() }
        }
        throw failure("block \(block) of commit \(root.commit.sequence): \(last)")
    }
}
