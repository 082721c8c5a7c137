// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A point in time as people write it: RFC 3339 in UTC, in whole seconds. The C library knows the
// calendar; Foundation is not for the core.

import Glibc

public enum UTCTime {
    private static let form = "%Y-%m-%dT%H:%M:%SZ"

    /// `2026-11-22T10:00:00Z`.
    public static func text(_ seconds: UInt64) -> String {
        var time = time_t(truncatingIfNeeded: min(seconds, 253_402_300_799))
        var parts = tm()
        gmtime_r(&time, &parts)
        return String(unsafeUninitializedCapacity: 32) { room in
            room.withMemoryRebound(to: CChar.self) {
                strftime($0.baseAddress, $0.count, form, &parts)
            }
        }
    }

    /// Seconds since 1970; nil for every other spelling, and for what no calendar has.
    public static func parse(_ text: some StringProtocol) -> UInt64? {
        // Read at the places of the one spelling; whether it is that, the last line tells.
        let bytes = Array(text.utf8)
        guard bytes.count == 20 else { return nil }
        func number(_ places: Range<Int>) -> Int32? {
            Int32(String(decoding: bytes[places], as: UTF8.self))
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19)
        else { return nil }
        var parts = tm()
        parts.tm_year = year - 1900
        parts.tm_mon = month - 1
        parts.tm_mday = day
        parts.tm_hour = hour
        parts.tm_min = minute
        parts.tm_sec = second
        guard let seconds = UInt64(exactly: timegm(&parts)), self.text(seconds) == text else {
            return nil
        }
        return seconds
    }
}
