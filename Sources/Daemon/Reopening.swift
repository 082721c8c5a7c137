// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a daemon opens by itself: the exports of its configuration, and those that were open here
// when the last daemon ended, whose acknowledged writes have to reach the store. Each for itself,
// in the background, and again while the store is away.

import AdminAPI
import ControlPlane
import Logging
import Primitives
import Shard
import Synchronization

final class Reopening: Sendable {
    private enum Work: Sendable {
        case put(ExportSetting)
        case attach(String)

        var name: String {
            switch self {
            case .put(let setting): setting.name
            case .attach(let name): name
            }
        }
    }

    private struct Queue {
        var due: [Work] = []
        /// What the store was away for.
        var away: [Work] = []
        var running = 0
        var isHalted = false
    }

    /// Volumes opened at one time. The other control threads are for clients and the API, who would
    /// wait behind thousands of volumes otherwise.
    private static let runningMax = 6

    private let control: DaemonControl
    private let hands: Hands
    private let logger: Logger
    private let queue = Lock(Queue())

    init(control: DaemonControl, hands: Hands, logger: Logger) {
        self.control = control
        self.hands = hands
        self.logger = logger
    }

    /// Returns at once.
    func start(_ settings: [ExportSetting]) {
        queue.withLock { $0.due = settings.map(Work.put) }
        hands.control.submit { [self] in
            let names = control.exportsOpenHere()
            queue.withLock { $0.due += names.map(Work.attach) }
            work()
        }
        work()
    }

    /// Tries again what the store was away for.
    func retry() {
        queue.withLock { queue in
            queue.due += queue.away
            queue.away.removeAll()
        }
        work()
    }

    /// Opens nothing more, for good. What is being opened is not waited for.
    func halt() { queue.withLock { $0.isHalted = true } }

    /// Sets as many threads to work as there is work for.
    private func work() {
        while true {
            let isWanted = queue.withLock { queue in
                guard !queue.isHalted,
                    queue.running < min(Self.runningMax, queue.due.count)
                else { return false }
                queue.running += 1
                return true
            }
            guard isWanted else { return }
            let isQueued = hands.control.trySubmit { [self] in
                while let work = next() { attempt(work) }
            }
            // Too many wait, or the end has come: what is due stays so until `retry`.
            if !isQueued { return queue.withLock { $0.running -= 1 } }
        }
    }

    /// The next piece of work of a running thread; nil ends it.
    private func next() -> Work? {
        queue.withLock { queue in
            if queue.isHalted || queue.due.isEmpty {
                queue.running -= 1
                return nil
            }
            return queue.due.removeFirst()
        }
    }

    private func attempt(_ work: Work) {
        do throws(UserError) { try perform(work) } catch {
            let isAway = error.kind == .storeAway
            if isAway { queue.withLock { $0.away.append(work) } }
            logger.error(
                "export not served",
                metadata: [
                    "export": "\(work.name)", "why": "\(error)", "retried": "\(isAway)",
                ])
        }
    }

    private func perform(_ work: Work) throws(UserError) {
        switch work {
        case .put(let setting):
            var request = PutExportRequest()
            request.sizeBytes = setting.bytes > 0 ? setting.bytes : nil
            request.blockSize = Int(setting.blockSize)
            request.readonly = setting.readonly
            request.transport = setting.transport.rawValue
            request.from = setting.from.isEmpty ? nil : setting.from
            _ = try AdminBridge.put(setting.name, request, on: control)
        case .attach(let name): _ = try control.attach(name)
        }
    }
}
