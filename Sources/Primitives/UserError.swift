// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What a person reads when something failed: what, why, and what to do about it.

/// A failure as the command line and the API show it.
public struct UserError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The closed set of failure kinds that the API maps to status codes.
    public enum Kind: String, Sendable, CaseIterable {
        case badRequest = "bad_request"
        case notFound = "not_found"
        case conflict
        case fenced
        case tooLarge = "too_large"
        case storeAway = "store_away"
        case forbidden
        case failed
    }

    public let kind: Kind
    /// What could not be done, for example "cannot create export prod".
    public let what: String
    /// The cause, with the values that matter.
    public let why: String
    /// The next step for the reader.
    public let remedy: String

    public init(_ kind: Kind, what: String, why: String, remedy: String) {
        self.kind = kind
        self.what = what
        self.why = why
        self.remedy = remedy
    }

    public var description: String { "\(what) : \(why) : \(remedy)" }
}
