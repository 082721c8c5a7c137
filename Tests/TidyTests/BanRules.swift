// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What may not be written, and what to write instead. Time, chance and the environment enter
// through seams: one leak ends determinism. Bans look at code only, so a comment or a string may
// name them.

import Glibc

enum BanRules {
    struct Ban {
        /// What the code must not contain, at a word boundary.
        let text: String
        /// What to use.
        let instead: String
    }

    private static let clock = "take Primitives.Clock (HostIO's SystemClock in the product)"
    private static let chance =
        "take Primitives.RandomSource (HostIO's SystemRandom in the product)"
    private static let environment = "take HostIO's HostFacts, read once by the executable"
    private static let files = "take HostIO's StorageDirectory and BlockFile"
    private static let waiting = "park and be told by an event, or wait through the Clock seam"

    /// The ambient world.
    static let ambient: [Ban] = [
        Ban(text: "Date()", instead: clock), Ban(text: "Date.now", instead: clock),
        Ban(text: "ContinuousClock", instead: clock), Ban(text: "SuspendingClock", instead: clock),
        Ban(text: "DispatchTime", instead: clock), Ban(text: "clock_gettime", instead: clock),
        Ban(text: "gettimeofday", instead: clock), Ban(text: "time(", instead: clock),
        Ban(text: ".random(in:", instead: chance), Ban(text: ".randomElement()", instead: chance),
        Ban(text: ".shuffled()", instead: chance), Ban(text: ".shuffle()", instead: chance),
        Ban(text: "SystemRandomNumberGenerator", instead: chance),
        Ban(text: "getrandom(", instead: chance), Ban(text: "getentropy(", instead: chance),
        Ban(text: "UUID()", instead: chance),
        Ban(text: "getenv(", instead: environment), Ban(text: "setenv(", instead: environment),
        Ban(text: "ProcessInfo", instead: environment),
        Ban(text: "FileManager", instead: files),
        Ban(text: "Task.sleep", instead: waiting), Ban(text: "Thread.sleep", instead: waiting),
        Ban(text: "usleep(", instead: waiting), Ban(text: "nanosleep(", instead: waiting),
        Ban(text: "sleep(", instead: waiting),
    ]

    /// Modules that are the seam, or compose it.
    static let ambientAllowed: Set<String> = ["HostIO", "martlet", "martlet-sim"]

    /// Single files that may use one ambient call: "path: text", with the reason.
    static let ambientExceptions: [String: String] = [:]

    /// Ways to give up.
    static let giveUp: [Ban] = [
        Ban(text: "try!", instead: "throw: what comes from the world is not our bug"),
        Ban(text: "as!", instead: "a conditional cast and a thrown error"),
        Ban(text: "fatalError(", instead: "a precondition for our bugs, a throw for the world"),
    ]

    private static let lock =
        "take Primitives.Lock: the thread sanitizer does not know the toolchain's mutex"

    /// Locks past the one of the project, in `Sources` and `Tests`.
    static let locks: [Ban] = [
        Ban(text: "Mutex(", instead: lock), Ban(text: "Mutex<", instead: lock),
    ]
    static let lockFile = "Sources/Primitives/Lock.swift"

    /// Words that mark unfinished work, in pieces so that this file may hold them.
    static let unfinished = ["TO" + "DO", "FIX" + "ME", "X" + "XX"]

    static func check(_ source: SourceText) -> [Finding] {
        guard source.path.hasSuffix(".swift") else { return unfinishedMarks(source) }
        var findings = hits(of: giveUp, in: source)
        if let module = source.module, !ambientAllowed.contains(module) {
            findings += hits(of: ambient, in: source)
        }
        if source.path != lockFile { findings += hits(of: locks, in: source) }
        return findings + unfinishedMarks(source) + unconfined(source)
    }

    private static func hits(of bans: [Ban], in source: SourceText) -> [Finding] {
        let code = source.codeLines.joined(separator: "\n")
        // A cheap look first: nearly every file holds none of them.
        let candidates = bans.filter { ban in strstr(code, ban.text) != nil }
        if candidates.isEmpty { return [] }
        return source.codeLines.enumerated().flatMap { number, line in
            candidates.filter { ban in
                contains(line, ban.text) && ambientExceptions["\(source.path): \(ban.text)"] == nil
            }.map { ban in
                Finding(
                    path: source.path, line: number + 1,
                    message: "\(ban.text) is banned here: \(ban.instead)")
            }
        }
    }

    /// True if the line holds the text with no identifier running into it. A method of that name
    /// (`clock.time(`) and its declaration (`func sleep(`) are not the C function.
    static func contains(_ line: String, _ text: String) -> Bool {
        let line = Array(line.utf8)
        let text = Array(text.utf8)
        guard line.count >= text.count else { return false }
        return (0...(line.count - text.count)).contains { start in
            guard line[start..<(start + text.count)].elementsEqual(text) else { return false }
            let end = start + text.count
            if let last = text.last, isWord(last), end < line.count, isWord(line[end]) {
                return false
            }
            guard let first = text.first, isWord(first), start > 0 else { return true }
            let before = line[..<start]
            if let previous = before.last, isWord(previous) { return false }
            guard text.last == UInt8(ascii: "(") else { return true }
            if before.last == UInt8(ascii: ".") { return endsIn(before, "Glibc.") }
            return !endsIn(before, "func ")
        }
    }

    private static func endsIn(_ bytes: ArraySlice<UInt8>, _ suffix: String) -> Bool {
        bytes.suffix(suffix.utf8.count).elementsEqual(suffix.utf8)
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"): true
        default: false
        }
    }

    private static func unfinishedMarks(_ source: SourceText) -> [Finding] {
        let comments = source.commentLines.joined(separator: "\n")
        if unfinished.allSatisfy({ strstr(comments, $0) == nil }) { return [] }
        return source.commentLines.enumerated().flatMap { number, line in
            unfinished.filter { contains(line, $0) }.map { mark in
                Finding(
                    path: source.path, line: number + 1,
                    message: "\(mark): finish it, or put it on the roadmap")
            }
        }
    }

    private static func isOnlyComment(_ source: SourceText, _ index: Int) -> Bool {
        source.codeLines[index].allSatisfy(\.isWhitespace)
            && !source.commentLines[index].allSatisfy(\.isWhitespace)
    }

    /// `@unchecked Sendable` without a comment that says to whom the value is confined: on its
    /// line, before the declaration, or first in its body.
    private static func unconfined(_ source: SourceText) -> [Finding] {
        source.codeLines.indices.compactMap { index -> Finding? in
            guard source.codeLines[index].contains("@unchecked Sendable") else { return nil }
            var line = index
            var seen = source.commentLines[index].contains("Confined:")
            // Downwards over the comment that opens the body.
            var below = index + 1
            while !seen, below < source.codeLines.count, isOnlyComment(source, below) {
                seen = source.commentLines[below].contains("Confined:")
                below += 1
            }
            // Upwards over the declaration's other lines and its comment, not past a statement's
            // end.
            while !seen, line > 0 {
                line -= 1
                let code = source.codeLines[line].filter { !$0.isWhitespace }
                let comment = source.commentLines[line].filter { !$0.isWhitespace }
                if code.isEmpty, comment.isEmpty { break }
                if code.hasSuffix("}") || code.hasSuffix("{") { break }
                seen = source.commentLines[line].contains("Confined:")
            }
            return seen
                ? nil
                : Finding(
                    path: source.path, line: index + 1,
                    message:
                        "@unchecked Sendable without a `// Confined:` line that names its owner")
        }
    }
}
