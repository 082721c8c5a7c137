// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Sizes on the command line: bytes, or a number with K, M, G or T, which count in powers of 1,024.

import ArgumentParser

struct ByteSize: Equatable, ExpressibleByArgument {
    let bytes: UInt64

    init(bytes: UInt64) { self.bytes = bytes }

    /// For the help.
    var defaultValueDescription: String { Self.text(bytes) }

    /// Nil for anything but digits and one unit letter, or above 64 bits.
    init?(argument: String) {
        var digits = argument[...]
        var shift: UInt64 = 0
        if let unit = digits.last,
            let position = "KMGT".firstIndex(of: Character(unit.uppercased()))
        {
            shift = 10 * UInt64("KMGT".distance(from: "KMGT".startIndex, to: position) + 1)
            digits = digits.dropLast()
        }
        guard !digits.isEmpty, digits.allSatisfy({ $0.isASCII && $0.isNumber }),
            let number = UInt64(digits), number <= UInt64.max >> shift
        else { return nil }
        bytes = number << shift
    }

    /// `10 GiB` where that is exact, else with one decimal and the unit that fits.
    static func text(_ bytes: UInt64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"]
        var unit = 0
        while unit + 1 < units.count, bytes >> UInt64(10 * (unit + 1)) > 0 { unit += 1 }
        let whole = bytes >> UInt64(10 * unit)
        let rest = bytes - whole << UInt64(10 * unit)
        guard rest > 0 else { return "\(whole) \(units[unit])" }
        let tenth = (rest * 10) >> UInt64(10 * unit)
        return "\(whole).\(tenth) \(units[unit])"
    }
}
