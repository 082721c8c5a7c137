// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The checked parameters of one request: path components, query flags, body fields.

internal import Primitives

struct AdminCall {
    let parameters: [String]
    /// Query keys that were `true`.
    let flags: Set<String>
    /// Query keys that have a number.
    let numbers: [String: UInt64]
    let body: [UInt8]

    /// The export's name.
    var name: String {
        get throws(UserError) {
            let name = parameters.first ?? ""
            guard ExportName.isValid(name) else { throw Self.badName("export", name) }
            return name
        }
    }

    /// The number behind `snapshots/`.
    func sequence() throws(UserError) -> UInt64 {
        guard let sequence = UInt64(parameters[1]) else {
            throw UserError(
                .badRequest, what: "cannot use the snapshot \(parameters[1].prefix(64))",
                why: "it is not a sequence number", remedy: "see the list of snapshots")
        }
        return sequence
    }

    /// The hash behind `blocks/`.
    func hash() throws(UserError) -> Hash128 {
        guard let hash = Hash128(hexadecimal: parameters[0]), !hash.isZero else {
            throw UserError(
                .badRequest, what: "cannot use the hash \(parameters[0].prefix(64))",
                why: "it is not 32 lower-case hexadecimal digits", remedy: "send such")
        }
        return hash
    }

    /// Which difference is asked for, and how it is to be written.
    func diffRequest() throws(UserError) -> DiffRequest {
        let version = numbers["version"] ?? 1
        guard version == 1 || version == 2 else {
            throw UserError(
                .badRequest, what: "cannot take the query", why: "version is \(version)",
                remedy: "send version=1 or version=2")
        }
        for (key, number) in numbers where number == 0 {
            throw UserError(
                .badRequest, what: "cannot take the query", why: "\(key) is 0",
                remedy: "commits are numbered from 1")
        }
        return DiffRequest(from: numbers["from"], to: numbers["to"], version: Int(version))
    }

    /// The body's one optional field `tag`.
    func tag() throws(UserError) -> String? {
        var body = try JSONBody(body)
        let tag = try body.text("tag")
        try body.finish()
        if let tag, !ExportName.isValid(tag) { throw Self.badName("tag", tag) }
        return tag
    }

    /// The number of a snapshot or commit, or a time.
    func rollbackPoint() throws(UserError) -> String {
        var body = try JSONBody(body)
        let sequence = try body.unsigned("snapshot_sequence")
        let time = try body.text("time")
        try body.finish()
        guard let point = sequence.map({ "\($0)" }) ?? time, sequence == nil || time == nil else {
            throw JSONBody.refusal(
                sequence == nil ? "snapshot_sequence is missing" : "it has a time as well",
                remedy: #"send {"snapshot_sequence":N} or {"time":"2026-11-22T10:00:00Z"}"#)
        }
        return point
    }

    func expectEmptyBody() throws(UserError) {
        try JSONBody(body).finish()
    }

    func putRequest() throws(UserError) -> PutExportRequest {
        var body = try JSONBody(body)
        var request = PutExportRequest()
        let gigabytes = try body.gigabytes("size_gb")
        let bytes = try body.unsigned("size_bytes")
        if let gigabytes, let bytes, gigabytes != bytes {
            throw JSONBody.refusal(
                "size_gb and size_bytes differ", remedy: "send one of them")
        }
        request.sizeBytes = bytes ?? gigabytes
        let blockSize = try body.unsigned("block_size")
        request.readonly = try body.boolean("readonly")
        request.transport = try body.text("transport")
        request.manifestName = try body.text("manifest_name")
        request.snapshotSequence = try body.unsigned("snapshot_sequence")
        request.from = try body.text("from")
        try body.finish()
        request.blockSize = try blockSize.map(Self.blockSize)
        try Self.checkSize(request.sizeBytes)
        try Self.checkTransport(request.transport)
        guard request.from == nil || request.manifestName == nil else {
            throw JSONBody.refusal("from and manifest_name both name a source", remedy: "send one")
        }
        guard request.snapshotSequence == nil || request.manifestName != nil else {
            throw JSONBody.refusal(
                "snapshot_sequence has no manifest_name", remedy: "send both, or from")
        }
        return request
    }

    private static func blockSize(_ bytes: UInt64) throws(UserError) -> Int {
        let range = UInt64(Limits.blockBytesMin)...UInt64(Limits.blockBytesMax)
        guard range.contains(bytes), bytes.nonzeroBitCount == 1 else {
            throw JSONBody.refusal(
                "block_size is \(bytes)",
                remedy: "give a power of two from \(range.lowerBound) to \(range.upperBound)")
        }
        return Int(bytes)
    }

    private static func checkSize(_ bytes: UInt64?) throws(UserError) {
        guard let bytes else { return }
        guard bytes > 0, bytes.isMultiple(of: UInt64(Limits.sectorBytes)),
            bytes <= Limits.volumeBytesMax
        else {
            throw JSONBody.refusal(
                "the size is \(bytes) bytes",
                remedy: "give a positive multiple of \(Limits.sectorBytes), at most "
                    + "\(Limits.volumeBytesMax)")
        }
    }

    private static func checkTransport(_ transport: String?) throws(UserError) {
        switch transport {
        case nil, "nbd", "none": return
        case "ublk":
            throw JSONBody.refusal(
                "transport \"ublk\" is not built yet", remedy: "use \"nbd\" or \"none\"")
        case .some(let other):
            throw JSONBody.refusal(
                "transport is \"\(other.prefix(32))\"", remedy: "use \"nbd\" or \"none\"")
        }
    }

    private static func badName(_ kind: String, _ name: String) -> UserError {
        UserError(
            .badRequest, what: "cannot use the \(kind) name \"\(name.prefix(140))\"",
            why: "it breaks the rule for names", remedy: ExportName.rule)
    }
}

/// A flat JSON object of counters, whose keys are kept as they are.
struct MetricTable: Encodable {
    private struct Key: CodingKey {
        let stringValue: String
        let intValue: Int? = nil
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { return nil }
    }

    private let values: [String: UInt64]
    init(_ values: [String: UInt64]) { self.values = values }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        for (name, value) in values { try container.encode(value, forKey: Key(stringValue: name)) }
    }
}
