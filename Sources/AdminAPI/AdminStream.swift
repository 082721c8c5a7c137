// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Answers that are made while they are sent, and what the difference of two commits is asked with.

public import Primitives

/// Bytes that come as they are made. Who holds the last reference ends it by letting go.
public protocol AdminStream: AnyObject, Sendable {
    /// The next bytes, some at a time; nil after the last. One call at a time.
    func next() async throws(UserError) -> [UInt8]?
}

/// A body that begins with bytes that are there already: what can be refused was refused before.
public struct StreamedBody: Equatable, Sendable {
    let first: [UInt8]
    let rest: any AdminStream

    public static func == (left: StreamedBody, right: StreamedBody) -> Bool {
        left.first == right.first && left.rest === right.rest
    }
}

/// A difference between two commits of an export.
public struct DiffRequest: Equatable, Sendable {
    /// Nil: none; the diff stands for itself.
    public var from: UInt64?
    /// Nil: the last one.
    public var to: UInt64?
    /// Of the format, 1 or 2.
    public var version: Int

    public init(from: UInt64?, to: UInt64?, version: Int) {
        self.from = from
        self.to = to
        self.version = version
    }
}
