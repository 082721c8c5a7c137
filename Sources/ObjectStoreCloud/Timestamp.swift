// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The three ways in which S3 and its neighbours write a point in time, as seconds since 1970 UTC.

import FoundationEssentials

enum Timestamp {
    private static let basicStyle = Date.ISO8601FormatStyle(
        dateSeparator: .omitted, dateTimeSeparator: .standard, timeSeparator: .omitted,
        timeZoneSeparator: .omitted, includingFractionalSeconds: false, timeZone: .gmt)

    /// `20130524T000000Z`, as signatures have it.
    static func basic(_ seconds: UInt64) -> String {
        Date(timeIntervalSince1970: Double(seconds)).formatted(basicStyle)
    }

    /// `2026-11-21T12:30:00Z`, with or without a fraction, which is dropped.
    static func parseISO(_ text: String) -> UInt64? {
        guard let date = try? Date.ISO8601FormatStyle().parse(text) else { return nil }
        return UInt64(exactly: date.timeIntervalSince1970.rounded(.down))
    }

    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// `Fri, 24 May 2013 00:00:00 GMT`, the one form that HTTP senders may use.
    static func parseHTTP(_ text: String) -> UInt64? {
        let words = text.split(separator: " ")
        guard words.count == 6, words[0].hasSuffix(","), words[1].utf8.count == 2,
            let month = months.firstIndex(of: String(words[2])), words[3].utf8.count == 4,
            words[4].utf8.count == 8, words[5] == "GMT"
        else { return nil }
        let number = month < 9 ? "0\(month + 1)" : "\(month + 1)"
        return parseISO("\(words[3])-\(number)-\(words[1])T\(words[4])Z")
    }
}
