// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// MARTLET_FAILPOINT: for tests that crash or freeze the real daemon at a named place. Not a key of
// the configuration: nothing that serves people's data should set it.

import Glibc
public import Primitives

/// A failpoint to arm when the daemon starts, as `NAME@PASS=kill` or `NAME@PASS=stop`.
public struct FailpointSetting: Equatable, Sendable {
    public enum Action: String, CaseIterable, Sendable {
        /// The process gets SIGKILL.
        case kill
        /// The process gets SIGSTOP: whoever watches it may let it go on.
        case stop
    }

    public static let variable = "MARTLET_FAILPOINT"

    public let place: Failpoint
    public let pass: Int
    public let action: Action

    public init(parsing text: String) throws(UserError) {
        let parts = text.split(separator: "=", omittingEmptySubsequences: false)
        let place = parts[0].split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, place.count == 2 else {
            throw Self.refusal("\"\(text)\" is not NAME@PASS=ACTION")
        }
        guard let found = Failpoint(rawValue: String(place[0])) else {
            let names = Failpoint.allCases.map(\.rawValue).joined(separator: ", ")
            throw Self.refusal("no failpoint is named \"\(place[0])\"", remedy: "one of \(names)")
        }
        guard let pass = Int(place[1]), pass > 0 else {
            throw Self.refusal("the pass \"\(place[1])\" is not a number from 1 on")
        }
        guard let action = Action(rawValue: String(parts[1])) else {
            throw Self.refusal("the action \"\(parts[1])\" is not kill or stop")
        }
        self.place = found
        self.pass = pass
        self.action = action
    }

    /// From now on: the `pass`th time that the place is reached, the process gets the signal.
    public func arm() {
        let number = action == .kill ? SIGKILL : SIGSTOP
        Failpoint.arm(place, pass: pass) { _ = Glibc.kill(getpid(), number) }
    }

    private static func refusal(
        _ why: String, remedy: String = "see docs/HACKING.md"
    ) -> UserError {
        UserError(.badRequest, what: "cannot use \(variable)", why: why, remedy: remedy)
    }
}
