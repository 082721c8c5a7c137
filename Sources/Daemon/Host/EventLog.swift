// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What of a volume's events an operator should read in the log: on the worker's thread, where a
// slow log holds up nobody's guest.

import HostIO
import Logging
import VolumeEngine

struct EventLog: Sendable {
    let logger: Logger

    func note(_ event: VolumeEvent<HostDirectory>, of name: String) {
        switch event {
        case .retired(let left, let failure?):
            warn(
                "journal segments cannot be given back",
                ["export": "\(name)", "segments": "\(left.count)", "why": "\(failure)"])
        case .commitEnded(let run, .postponed(let detail)):
            warn(
                "a commit is postponed",
                ["export": "\(name)", "commit": "\(run.sequence)", "why": "\(detail)"])
        case .commitEnded(let run, .fenced(let detail)):
            warn(
                "the volume was taken over by another host",
                ["export": "\(name)", "commit": "\(run.sequence)", "why": "\(detail)"])
        case .commitEnded(_, .failed(let failure)):
            warn(
                "the volume is closed for writing",
                ["export": "\(name)", "why": "\(failure.reason)"])
        case .synced(_, let failure?):
            warn(
                "the volume is closed for writing",
                ["export": "\(name)", "why": "a sync of the journal failed: \(failure)"])
        default: break
        }
    }

    private func warn(_ message: Logger.Message, _ facts: Logger.Metadata) {
        logger.warning(message, metadata: facts)
    }
}
