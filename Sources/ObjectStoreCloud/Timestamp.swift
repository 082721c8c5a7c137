// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The four ways in which S3 and its neighbours write a point in time, as seconds since 1970 UTC.
// Own code of a page: the calendar is arithmetic, and Foundation's formatters cost more than they
// save.

enum Timestamp {
    /// A calendar day and a time of day, UTC.
    struct Civil: Equatable {
        var year: Int
        var month: Int
        var day: Int
        var hour: Int
        var minute: Int
        var second: Int

        /// Nil if some part is out of its range.
        var seconds: UInt64? {
            guard (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day),
                (0...23).contains(hour), (0...59).contains(minute), (0...60).contains(second)
            else { return nil }
            let days = Timestamp.days(year: year, month: month, day: day)
            return UInt64(days * 86_400 + hour * 3600 + minute * 60 + second)
        }
    }

    static func civil(_ seconds: UInt64) -> Civil {
        // The Gregorian calendar repeats after 146,097 days; a year that begins in March has its
        // leap day last.
        let sinceMarch = Int(seconds / 86_400) + 719_468
        let era = sinceMarch / 146_097
        let dayOfEra = sinceMarch % 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        let time = Int(seconds % 86_400)
        return Civil(
            year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month: month,
            day: dayOfYear - (153 * shifted + 2) / 5 + 1, hour: time / 3600,
            minute: time / 60 % 60, second: time % 60)
    }

    /// Days since 1970 of a day that is not before.
    static func days(year: Int, month: Int, day: Int) -> Int {
        let year = month <= 2 ? year - 1 : year
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let yearOfEra = year % 400
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return year / 400 * 146_097 + dayOfEra - 719_468
    }

    /// `20130524T000000Z`, as signatures have it.
    static func basic(_ seconds: UInt64) -> String {
        let time = civil(seconds)
        return padded(time.year, 4) + padded(time.month, 2) + padded(time.day, 2) + "T"
            + padded(time.hour, 2) + padded(time.minute, 2) + padded(time.second, 2) + "Z"
    }

    private static func padded(_ number: Int, _ digits: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, digits - text.count)) + text
    }

    /// `2026-11-21T12:30:00Z`, with or without a fraction, which is dropped.
    static func parseISO(_ text: String) -> UInt64? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes.last == UInt8(ascii: "Z"), bytes[4] == UInt8(ascii: "-"),
            bytes[7] == UInt8(ascii: "-"), bytes[10] == UInt8(ascii: "T"),
            bytes[13] == UInt8(ascii: ":"), bytes[16] == UInt8(ascii: ":"),
            bytes.count == 20 || bytes[19] == UInt8(ascii: "."),
            let year = number(bytes[0..<4]), let month = number(bytes[5..<7]),
            let day = number(bytes[8..<10]), let hour = number(bytes[11..<13]),
            let minute = number(bytes[14..<16]), let second = number(bytes[17..<19])
        else { return nil }
        return Civil(
            year: year, month: month, day: day, hour: hour, minute: minute, second: second
        ).seconds
    }

    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// `Fri, 24 May 2013 00:00:00 GMT`, the one form that HTTP senders may use.
    static func parseHTTP(_ text: String) -> UInt64? {
        let words = text.split(separator: " ")
        guard words.count == 6, words[5] == "GMT", words[0].hasSuffix(","),
            let month = months.firstIndex(of: String(words[2])),
            let day = number(Array(words[1].utf8)[...]),
            let year = number(Array(words[3].utf8)[...])
        else { return nil }
        let time = words[4].split(separator: ":").map { number(Array($0.utf8)[...]) }
        guard time.count == 3, let hour = time[0], let minute = time[1], let second = time[2]
        else { return nil }
        return Civil(
            year: year, month: month + 1, day: day, hour: hour, minute: minute, second: second
        ).seconds
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
        guard (1...4).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) })
        else { return nil }
        return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }
}
