// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Which old commits stay although no ref names them: `10m:1h,1h:1d,1d:30d` keeps one for every ten
// minutes of the last hour, one for every hour of the last day, one for every day of the last
// thirty. By the commits' own labels: they decide what can be gone back to, never what is safe.

import Formats
public import Primitives

public struct Retention: Equatable, Sendable {
    public struct Rule: Equatable, Sendable {
        /// One commit is kept for each span of so many seconds.
        public let everySeconds: UInt64
        /// For commits that are not older than so many seconds.
        public let forSeconds: UInt64
    }

    public let rules: [Rule]

    private static let rulesMax = 16

    /// Keeps nothing.
    public init() { rules = [] }

    /// `EVERY:FOR,…` with times like `90s`, `10m`, `1h`, `1d`. Empty keeps nothing.
    public init(parsing text: String) throws(UserError) {
        var rules: [Rule] = []
        if !text.isEmpty {
            for part in text.split(separator: ",", omittingEmptySubsequences: false) {
                let times = part.split(separator: ":", omittingEmptySubsequences: false)
                guard times.count == 2, let every = parseDuration(times[0]),
                    let span = parseDuration(times[1]), every > 0, every <= span
                else {
                    throw Self.refusal(text, "\"\(part)\" is not EVERY:FOR with EVERY <= FOR")
                }
                rules.append(Rule(everySeconds: every, forSeconds: span))
            }
        }
        guard rules.count <= Self.rulesMax else {
            throw Self.refusal(text, "\(rules.count) rules, at most \(Self.rulesMax) are valid")
        }
        self.rules = rules
    }

    private static func refusal(_ text: String, _ why: String) -> UserError {
        UserError(
            .badRequest, what: "cannot read the retention \"\(text.prefix(200))\"", why: why,
            remedy: "write it like 10m:1h,1h:1d,1d:30d")
    }

    /// Those of one volume's commits, oldest first, that stay at the time `now`. The first of each
    /// span stays, so that what was kept once is kept until its rule ends.
    func kept(of commits: [Commit], now: UInt64) -> Set<CommitSequence> {
        var kept: Set<CommitSequence> = []
        for rule in rules {
            var last: UInt64?
            for commit in commits {
                let age = now > commit.labelSeconds ? now - commit.labelSeconds : 0
                let span = commit.labelSeconds / rule.everySeconds
                guard age <= rule.forSeconds, span != last else { continue }
                last = span
                kept.insert(commit.sequence)
            }
        }
        return kept
    }
}

/// `90s`, `10m`, `24h`, `30d`, or a bare number of seconds; nil for anything else.
public func parseDuration(_ text: some StringProtocol) -> UInt64? {
    let units: [Character: UInt64] = ["s": 1, "m": 60, "h": 3600, "d": 86400]
    guard let last = text.last else { return nil }
    let digits = units[last] == nil ? text[...] : text.dropLast()
    guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }),
        let number = UInt64(digits)
    else { return nil }
    let (seconds, isTooLarge) = number.multipliedReportingOverflow(by: units[last] ?? 1)
    return isTooLarge ? nil : seconds
}
