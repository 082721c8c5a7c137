// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The faults of a run as they are found: by place, each with the states of volumes that it hits.
// Bounded; what does not fit is counted as lost and makes the report incomplete, never clean.

import Primitives

/// Where a fault is.
struct FaultPlace: Hashable {
    let key: String
    /// In the words of docs/formats.
    let part: String
    let extent: Range<UInt64>?

    init(_ key: String, _ part: String, _ extent: Range<UInt64>? = nil) {
        self.key = key
        self.part = part
        self.extent = extent
    }
}

/// Bytes of a disk. Added in any order, mostly ascending.
struct ByteRanges: Hashable {
    private(set) var ranges: [Range<UInt64>] = []

    /// True if a range more has to be kept.
    mutating func add(_ range: Range<UInt64>) -> Bool {
        if let last = ranges.last, range.lowerBound >= last.lowerBound,
            range.lowerBound <= last.upperBound
        {
            ranges[ranges.count - 1] =
                last.lowerBound..<max(last.upperBound, range.upperBound)
            return false
        }
        ranges.append(range)
        return true
    }

    /// Ascending, with gaps between.
    var merged: [Range<UInt64>] {
        var merged = ByteRanges()
        for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            _ = merged.add(range)
        }
        return merged.ranges
    }
}

struct VerifyLog {
    struct Entry {
        let place: FaultPlace
        let kind: VerifyFault.Kind
        let detail: String
        let owner: VolumeID?
        /// By subject.
        var hits: [Int: ByteRanges] = [:]
    }

    private let faultsMax: Int
    private let rangesMax: Int
    private var index: [FaultPlace: Int] = [:]
    private(set) var entries: [Entry] = []
    private var rangeCount = 0
    /// Faults or ranges that were not kept.
    private(set) var lost = 0

    init(faultsMax: Int, rangesMax: Int) {
        self.faultsMax = faultsMax
        self.rangesMax = rangesMax
    }

    /// Notes a fault once; the first word on a place stands.
    mutating func add(
        _ place: FaultPlace, _ kind: VerifyFault.Kind, _ detail: String, owner: VolumeID? = nil
    ) {
        if index[place] != nil { return }
        guard entries.count < faultsMax else {
            lost += 1
            return
        }
        index[place] = entries.count
        entries.append(Entry(place: place, kind: kind, detail: detail, owner: owner))
    }

    /// Notes that a fault hits a subject: the range cannot be read, or nothing but its dependence.
    mutating func hit(_ place: FaultPlace, _ subject: Int, _ range: Range<UInt64>?) {
        guard let entry = index[place] else {
            lost += 1
            return
        }
        var hit = entries[entry].hits[subject] ?? ByteRanges()
        if let range, !range.isEmpty {
            guard rangeCount < rangesMax else {
                lost += 1
                return
            }
            if hit.add(range) { rangeCount += 1 }
        }
        entries[entry].hits[subject] = hit
    }

    /// Places that have been noted.
    func contains(_ place: FaultPlace) -> Bool { index[place] != nil }
}
