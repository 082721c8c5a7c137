// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The reference model: every guest request that changed the disk, in the order the device took
// them, and what each sector held after each. A sector's bytes name the sector and the request that
// wrote them, so that what is read back says by itself which moment it belongs to.
//
// The oracle is one question: is there a single index k, at or past everything that was promised,
// so that every sector of the disk is as it was after the first k requests? If so the disk is a
// prefix of the history; if not, something was lost, reordered, split or made up.

import Primitives

/// What the guest did, and what it may expect to find.
struct GuestHistory {
    private struct Version {
        let request: UInt64
        let isZero: Bool
    }

    /// The number of the newest request that was taken.
    private(set) var count: UInt64 = 0
    private(set) var sectors: Int
    private var versions: [[Version]]
    /// Requests with these numbers and below were answered.
    private(set) var acknowledged: UInt64 = 0
    /// Requests up to this one were covered by an answered flush.
    private(set) var flushed: UInt64 = 0
    /// Requests up to this one are in a commit that the store acknowledged.
    private(set) var published: UInt64 = 0

    init(sectors: Int) {
        self.sectors = sectors
        versions = Array(repeating: [], count: sectors)
    }

    mutating func grow(to newSectors: Int) {
        precondition(newSectors >= sectors)
        versions += Array(repeating: [], count: newSectors - sectors)
        sectors = newSectors
    }

    /// The device took a write or zero of `range`. Numbers rise; those of other hosts' requests are
    /// left out.
    mutating func take(_ range: Range<Int>, isZero: Bool, number: UInt64) {
        precondition(number > count)
        count = number
        for sector in range {
            versions[sector].append(Version(request: number, isZero: isZero))
        }
    }

    /// The history up to a request, all of it published.
    func prefix(_ index: UInt64) -> GuestHistory {
        var copy = self
        copy.rewind(to: index)
        copy.published = index
        return copy
    }

    mutating func acknowledge(_ request: UInt64) { acknowledged = max(acknowledged, request) }
    mutating func flush(upTo request: UInt64) {
        flushed = max(flushed, request)
        acknowledged = max(acknowledged, request)
    }
    mutating func publish(upTo request: UInt64) { published = max(published, request) }

    /// Fills a payload with the bytes that request `number` writes to the sectors from `first` on.
    static func fill(_ payload: UnsafeMutableRawBufferPointer, first: Int, request number: UInt64) {
        for sector in 0..<(payload.count / Limits.sectorBytes) {
            for word in 0..<(Limits.sectorBytes / 8) {
                payload.storeBytes(
                    of: stampWord(sector: first + sector, request: number, word: word),
                    toByteOffset: sector * Limits.sectorBytes + word * 8, as: UInt64.self)
            }
        }
    }

    /// Word 0 is the sector, word 1 the request, the others follow from both.
    private static func stampWord(sector: Int, request: UInt64, word: Int) -> UInt64 {
        switch word {
        case 0: UInt64(sector) | 0xA5 << 56
        case 1: request
        default: (request &* 0x9E37_79B9_7F4A_7C15) ^ (UInt64(sector) << 16 | UInt64(word))
        }
    }

    /// What a sector's bytes say of themselves.
    enum Stamp: Equatable {
        case zeros
        case written(by: UInt64)
        case garbage
    }

    static func stamp(of bytes: UnsafeRawBufferPointer, sector: Int) -> Stamp {
        let first = bytes.loadUnaligned(as: UInt64.self)
        if first == 0 { return bytes.allSatisfy { $0 == 0 } ? .zeros : .garbage }
        let request = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        for word in 0..<(Limits.sectorBytes / 8)
        where bytes.loadUnaligned(fromByteOffset: word * 8, as: UInt64.self)
            != stampWord(sector: sector, request: request, word: word)
        {
            return .garbage
        }
        return .written(by: request)
    }

    /// The verdict on a whole disk's content.
    enum Verdict: Equatable {
        /// As it was after this many requests.
        case prefix(UInt64)
        case garbage(sector: Int)
        /// A request number that never wrote this sector.
        case foreign(sector: Int, request: UInt64)
        /// No index explains all sectors; two that contradict, or a bound that does.
        case torn(sector: Int, needs: ClosedRange<UInt64>, others: ClosedRange<UInt64>)
        case noIndex(among: ClosedRange<UInt64>, sector: Int)
    }

    /// Looks for the latest k in `bounds` that explains `content` (sectors in order, possibly fewer
    /// or more than the model has: those past its end must be zeros, and those that the disk lacks
    /// were never written, because the grow before it was lost too).
    func judge(_ content: [Stamp], bounds: ClosedRange<UInt64>) -> Verdict {
        var low = bounds.lowerBound
        var high = bounds.upperBound
        for (sector, stamp) in content.enumerated() {
            switch stamp {
            case .garbage: return .garbage(sector: sector)
            case .zeros: continue
            case .written(let request):
                guard sector < sectors, let interval = visible(request, in: sector) else {
                    return .foreign(sector: sector, request: request)
                }
                guard interval.lowerBound <= high, interval.upperBound >= low else {
                    return .torn(sector: sector, needs: interval, others: low...high)
                }
                low = max(low, interval.lowerBound)
                high = min(high, interval.upperBound)
            }
        }
        let zeros = content.indices.filter { content[$0] == .zeros && $0 < sectors }
        return latestIndex(low...high, zeros: zeros + Array(min(content.count, sectors)..<sectors))
    }

    private func latestIndex(_ range: ClosedRange<UInt64>, zeros: [Int]) -> Verdict {
        var index = range.upperBound
        var culprit = 0
        search: while index >= range.lowerBound {
            for sector in zeros where !isZero(sector, after: index) {
                culprit = sector
                // The sector was written by `index`: only before that write can it be zero.
                guard let written = newest(sector, upTo: index)?.request, written > 0 else { break }
                guard written - 1 >= range.lowerBound else {
                    return .noIndex(among: range, sector: culprit)
                }
                index = written - 1
                continue search
            }
            return .prefix(index)
        }
        return .noIndex(among: range, sector: culprit)
    }

    /// From which to which request count a sector shows what `request` wrote.
    private func visible(_ request: UInt64, in sector: Int) -> ClosedRange<UInt64>? {
        let list = versions[sector]
        guard let at = list.firstIndex(where: { $0.request == request && !$0.isZero }) else {
            return nil
        }
        let end = at + 1 < list.count ? list[at + 1].request - 1 : UInt64.max
        return request...end
    }

    private func newest(_ sector: Int, upTo index: UInt64) -> Version? {
        versions[sector].last { $0.request <= index }
    }

    private func isZero(_ sector: Int, after index: UInt64) -> Bool {
        newest(sector, upTo: index)?.isZero ?? true
    }

    /// What a read may find now, while nothing has crashed: the newest version.
    func expected(_ sector: Int) -> Stamp {
        guard let version = versions[sector].last else { return .zeros }
        return version.isZero ? .zeros : .written(by: version.request)
    }

    /// The same content, whatever led to it. The longer one ends in zeros.
    func looks(like other: GuestHistory) -> Bool {
        (0..<max(sectors, other.sectors)).allSatisfy { sector in
            let mine = sector < sectors ? expected(sector) : .zeros
            return mine == (sector < other.sectors ? other.expected(sector) : .zeros)
        }
    }

    /// The disk came back as it was after `index` requests: the later ones never happened. All that
    /// is left is durable, because recovery seals it.
    mutating func rewind(to index: UInt64) {
        for sector in versions.indices {
            while let last = versions[sector].last, last.request > index {
                versions[sector].removeLast()
            }
        }
        // Later requests are forgotten: an index past this one would explain the same disk.
        count = index
        acknowledged = index
        flushed = index
        published = min(published, index)
    }
}
