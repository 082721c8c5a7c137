// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The way back for an export whose newest commit stays damaged: the newest commit of its volume of
// which every byte reads right.

public import Documents
import Formats
import ObjectStore
public import Primitives

/// An export that lost bytes, and where it can go back to.
public struct LastGood: Equatable, Sendable {
    public let name: RefName
    public let volume: VolumeID
    /// The newest commit, which is damaged.
    public let head: CommitSequence
    /// The newest one that can be read, whatever it lost: the head, unless that is unreadable.
    let readable: CommitSequence
    public let good: CommitSequence
    /// When that was made, by the clock of its host.
    public let labelSeconds: UInt64
}

/// How exports go back.
public struct FallBack {
    /// Has the daemon roll an export back; says what was done.
    public typealias RollBack = (LastGood) throws(UserError) -> String

    let rollBack: RollBack
    /// Fails if the daemon has the export open, and with it the newest commit.
    let checkClosed: (LastGood) throws(UserError) -> Void
    /// For commits that no daemon can make.
    let clock: any Clock
    let makeToken: () -> Token

    public init(
        clock: any Clock, makeToken: @escaping () -> Token,
        checkClosed: @escaping (LastGood) throws(UserError) -> Void, rollBack: @escaping RollBack
    ) {
        self.clock = clock
        self.makeToken = makeToken
        self.checkClosed = checkClosed
        self.rollBack = rollBack
    }
}

/// An export that lost bytes.
enum LostExport: Equatable {
    case hasGood(LastGood)
    /// Why it cannot go back.
    case hasNone(RefName, String)
}

extension Verifier {
    /// The exports of which a whole verification found that their newest commits lost bytes.
    func lostExports() -> [LostExport] {
        var lossy = Set<Int>()
        for entry in log.entries {
            for (subject, ranges) in entry.hits where !ranges.ranges.isEmpty {
                lossy.insert(subject)
            }
        }
        var found: [LostExport] = []
        for commits in history.values {
            guard let head = commits.first, lossy.contains(head) else { continue }
            let prefix = "export "
            let names = subjects[head].names.filter { $0.hasPrefix(prefix) }
            for name in names.compactMap({ RefName(String($0.dropFirst(prefix.count))) }) {
                found.append(lost(name, commits, lossy))
            }
        }
        return found
    }

    private func lost(_ name: RefName, _ commits: [Int], _ lossy: Set<Int>) -> LostExport {
        let head = subjects[commits[0]]
        let good = commits.dropFirst().first {
            !lossy.contains($0) && subjects[$0].weight > 0 && subjects[$0].state != .deleted
        }
        guard let good, let readable = commits.first(where: { subjects[$0].weight > 0 }) else {
            return .hasNone(name, "no commit of volume \(head.key.volume) is whole")
        }
        return .hasGood(
            LastGood(
                name: name, volume: head.key.volume, head: head.key.sequence,
                readable: subjects[readable].key.sequence, good: subjects[good].key.sequence,
                labelSeconds: subjects[good].labelSeconds))
    }
}

extension Repairer {
    /// Takes exports back that cannot be made whole. True if something moved.
    mutating func fallBackNames(
        _ verifier: Verifier<Store>, _ fallBack: FallBack
    ) throws(VerifyError) -> Bool {
        var hasMoved = try rebuildHistory(verifier, fallBack)
        for lost in verifier.lostExports() {
            switch lost {
            case .hasNone(let name, let why): note("export \(name)", .notRepaired, why)
            case .hasGood(let item):
                do throws(UserError) {
                    let done =
                        item.readable == item.head
                        ? try fallBack.rollBack(item)
                        : try replaceHead(of: item, verifier, fallBack)
                    note("export \(item.name)", .fellBack, done)
                    hasMoved = true
                } catch { note("export \(item.name)", .notRepaired, error.description) }
            }
        }
        return hasMoved
    }
}
