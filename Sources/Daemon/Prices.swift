// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What requests and bytes cost a month, by the price table of the settings. An estimate to compare
// volumes and settings by, no bill: the defaults and their source are in Configuration.Prices.

import ObjectStore

extension Configuration.Prices {
    /// Seconds of a month: a twelfth of 365.25 days.
    static let monthSeconds = 2_629_800.0
    /// Less than this says nothing of a month.
    static let spanSecondsMin = 60.0

    /// Dollars for requests and transfers so far.
    func dollars(_ counts: StoreCounts) -> Double {
        let reads = Double(counts.gets) + Double(counts.heads)
        let requests =
            Double(counts.puts) * putUSDPerMillion + reads * getUSDPerMillion
            + Double(counts.lists) * listUSDPerMillion
            + Double(counts.deletes) * deleteUSDPerMillion
        let transfers =
            Double(counts.bytesSent) * sentUSDPerGB
            + Double(counts.bytesReceived) * receivedUSDPerGB
        return requests / 1e6 + transfers / 1e9
    }

    /// Dollars a month if it goes on as in the `nanoseconds` in which these requests were made.
    func dollarsPerMonth(_ counts: StoreCounts, in nanoseconds: UInt64) -> Double {
        let seconds = max(Double(nanoseconds) / 1e9, Self.spanSecondsMin)
        return dollars(counts) * Self.monthSeconds / seconds
    }

    /// Dollars a month for bytes at rest.
    func dollarsPerMonth(storedBytes: UInt64) -> Double {
        Double(storedBytes) / 1e9 * storedUSDPerGBMonth
    }
}
