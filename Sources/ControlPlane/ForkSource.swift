// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What to fork, as people spell it, and the refs that each spelling may mean, in the order of
// lookup.

import Documents
public import Primitives

/// A parsed source. Equal spellings are equal sources; what they resolve to is decided once.
public struct ForkSource: Equatable, Sendable {
    enum Candidate: Equatable, Sendable {
        case export(RefName)
        /// A snapshot of the name, or else a commit of its volume.
        case snapshot(RefName, CommitSequence)
        /// The last commit of the export's volume that was made by then.
        case moment(RefName, seconds: UInt64)
        case tag(RefName)
        case base(RefName)

        /// The one canonical spelling.
        var text: String {
            switch self {
            case .export(let name): "export:\(name)"
            case .snapshot(let name, let sequence): "snapshot:\(name)@\(sequence)"
            case .moment(let name, let seconds): "snapshot:\(name)@\(UTCTime.text(seconds))"
            case .tag(let name): "tag:\(name)"
            case .base(let name): "base:\(name)"
            }
        }
    }

    /// The requester's words.
    public let text: String
    /// Never empty; the first that exists is meant.
    let candidates: [Candidate]

    /// `export:NAME`, `snapshot:NAME@SEQ`, `tag:T`, `base:B`, `NAME@SEQ`, or a bare name, which is
    /// looked up as export, tag and base. For SEQ a time may stand, as `2026-11-22T10:00:00Z`.
    public init(from text: String) throws(UserError) {
        self.text = text
        // A time has colons too.
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2, !parts[0].contains("@") {
            switch parts[0] {
            case "export": candidates = [.export(try Self.name(parts[1], of: text))]
            case "tag": candidates = [.tag(try Self.name(parts[1], of: text))]
            case "base": candidates = [.base(try Self.name(parts[1], of: text))]
            case "snapshot": candidates = [try Self.snapshot(parts[1], of: text)]
            default: throw Self.refusal(text, "\(parts[0]): is not a kind of source")
            }
        } else if text.contains("@") {
            candidates = [try Self.snapshot(text[...], of: text)]
        } else {
            let name = try Self.name(text[...], of: text)
            candidates = [.export(name), .tag(name), .base(name)]
        }
    }

    /// `manifest_name` of the API: `bases/NAME` (a base, or a tag of that name), `tags/NAME`,
    /// `exports/NAME`, or what `init(from:)` takes; with a number: that snapshot of the export.
    public init(manifestName text: String, snapshotSequence: UInt64?) throws(UserError) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        if let snapshotSequence {
            let bare = text.hasPrefix("exports/") ? parts[1] : text[...]
            try self.init(from: "snapshot:\(bare)@\(snapshotSequence)")
            return
        }
        guard parts.count == 2 else {
            try self.init(from: text)
            return
        }
        let name = try Self.name(parts[1], of: text)
        let candidates: [Candidate]
        switch parts[0] {
        case "bases": candidates = [.base(name), .tag(name)]
        case "tags": candidates = [.tag(name)]
        case "exports": candidates = [.export(name)]
        default: throw Self.refusal(text, "\(parts[0])/ is not a kind of manifest")
        }
        self.init(text: text, candidates: candidates)
    }

    private init(text: String, candidates: [Candidate]) {
        self.text = text
        self.candidates = candidates
    }

    private static func name(_ text: Substring, of source: String) throws(UserError) -> RefName {
        guard let name = RefName(text) else {
            throw refusal(source, "\"\(text.prefix(140))\" is not a valid name")
        }
        return name
    }

    private static func snapshot(
        _ text: Substring, of source: String
    ) throws(UserError) -> Candidate {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        if parts.count == 2, let seconds = UTCTime.parse(parts[1]) {
            return .moment(try name(parts[0], of: source), seconds: seconds)
        }
        guard parts.count == 2, let number = UInt64(parts[1]), number > 0,
            String(number) == parts[1]
        else {
            throw refusal(
                source,
                "a snapshot is named NAME@SEQ with a number from 1, or NAME@2026-11-22T10:00:00Z")
        }
        return .snapshot(try name(parts[0], of: source), CommitSequence(number))
    }

    private static func refusal(_ text: String, _ why: String) -> UserError {
        UserError(
            .badRequest, what: "cannot fork from \"\(text.prefix(300))\"", why: why,
            remedy: "name it export:NAME, snapshot:NAME@SEQ, NAME@TIME, tag:T, base:B or NAME")
    }
}
