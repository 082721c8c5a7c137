// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The variable that arms a failpoint: what it takes, and how it refuses.

import Daemon
import Primitives
import Testing

@Suite("failpoint setting")
struct FailpointSettingTests {
    @Test("every place, a pass and an action are read", arguments: Failpoint.allCases)
    func valid(place: Failpoint) throws {
        let kill = try FailpointSetting(parsing: "\(place.rawValue)@1=kill")
        #expect(kill.place == place && kill.pass == 1 && kill.action == .kill)
        let stop = try FailpointSetting(parsing: "\(place.rawValue)@20=stop")
        #expect(stop.place == place && stop.pass == 20 && stop.action == .stop)
    }

    @Test(
        "anything else is refused by what is wrong with it",
        arguments: [
            ("", "is not NAME@PASS=ACTION"), ("commit.after-put", "is not NAME@PASS=ACTION"),
            ("commit.after-put=kill", "is not NAME@PASS=ACTION"),
            ("commit.after-putt@1=kill", "no failpoint is named \"commit.after-putt\""),
            ("commit.after-put@0=kill", "the pass \"0\""),
            ("commit.after-put@x=kill", "the pass \"x\""),
            ("commit.after-put@1=exit", "the action \"exit\""),
            ("commit.after-put@1=kill=stop", "is not NAME@PASS=ACTION"),
        ])
    func invalid(text: String, why: String) throws {
        let error = try #require(throws: UserError.self) { try FailpointSetting(parsing: text) }
        #expect(error.kind == .badRequest)
        #expect(error.why.contains(why))
    }
}
