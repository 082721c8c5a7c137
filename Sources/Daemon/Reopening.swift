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

    private let control: DaemonControl
    private let hands: Hands
    private let logger: Logger
    /// What the store was away for.
    private let waiting = Lock<[Work]>([])

    init(control: DaemonControl, hands: Hands, logger: Logger) {
        self.control = control
        self.hands = hands
        self.logger = logger
    }

    func start(_ settings: [ExportSetting]) {
        for setting in settings { submit(.put(setting)) }
        for name in control.exportsOpenHere() { submit(.attach(name)) }
    }

    /// Tries again what the store was away for.
    func retry() {
        let again = waiting.withLock { waiting in
            defer { waiting.removeAll() }
            return waiting
        }
        for work in again { submit(work) }
    }

    private func submit(_ work: Work) {
        let isQueued = hands.control.trySubmit { [self] in
            do throws(UserError) { try perform(work) } catch {
                let isAway = error.kind == .storeAway
                if isAway { waiting.withLock { $0.append(work) } }
                logger.error(
                    "export not served",
                    metadata: [
                        "export": "\(work.name)", "why": "\(error)", "retried": "\(isAway)",
                    ])
            }
        }
        if !isQueued { waiting.withLock { $0.append(work) } }
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
