// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet inspect`: one object or file, decoded by the same code that serves it, as lines for
// people or JSON. Reads only, trusts nothing, and names the field and the offset of what is wrong.

import Committer
import ControlPlane
import Documents
import Formats
import HostIO
import ObjectStore
public import Primitives

/// What was seen.
public struct Inspection: Equatable, Sendable {
    public let lines: [String]
    /// One JSON value in one line.
    public let json: String

    init(lines: [String]) {
        self.lines = lines
        json = InspectJSON.value(of: lines).text
    }

    init(lines: [String], json: JSONValue) {
        self.lines = lines
        self.json = json.text
    }
}

public struct Inspector: Sendable {
    private static let commitBytesMax = 64 << 20
    private static let refsMax = 1000

    let source: OfflineSource

    public init(_ source: OfflineSource) { self.source = source }

    // MARK: Packs and commits

    /// Index and trailer, the hash of every member; with `members`, each of them decoded.
    public func pack(members: Bool) throws(UserError) -> Inspection {
        let bytes = try source.bytes(limit: Int(Limits.packBytesMax))
        let expected = source.isLocal ? nil : try PackID(checking: source)
        return Inspection(
            lines: try decode(bytes) { lent throws(FormatError) in
                let (trailer, index) = try PackIndex.read(lent, pack: expected)
                var lines = InspectText.inspectPack(trailer, index)
                for member in index.members {
                    let extent = Int(member.extent.offset)..<Int(member.extent.end)
                    let part = UnsafeRawBufferPointer(rebasing: lent[extent])
                    try Pack.verify(part, hash: member.hash, kind: member.kind)
                    let shown = try Self.lines(of: part, member.kind)
                    if members {
                        lines.append("\(member.kind) at \(member.extent.offset)")
                        lines += shown.map { "  " + $0 }
                    }
                }
                lines.append("verified: \(index.members.count) members")
                return lines
            })
    }

    private static func lines(
        of part: UnsafeRawBufferPointer, _ kind: PackMemberKind
    ) throws(FormatError) -> [String] {
        switch kind {
        case .frame: InspectText.inspectFrame(try FrameHeader(decoding: part))
        case .node: InspectText.inspectNode(try MapNode(decoding: part))
        case .chunkPage: InspectText.inspectChunkPage(try ChunkTablePage(decoding: part))
        case .packPage: InspectText.inspectPackPage(try PackTablePage(decoding: part))
        }
    }

    public func commit() throws(UserError) -> Inspection {
        let bytes = try source.bytes(limit: Self.commitBytesMax)
        let expected = source.isLocal ? nil : try CommitKey(checking: source)
        return Inspection(
            lines: try decode(bytes) { lent throws(FormatError) in
                InspectText.inspectCommit(try Commit(decoding: lent, key: expected))
            })
    }

    func decode<Value>(
        _ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws(FormatError) -> Value
    ) throws(UserError) -> Value {
        let result = bytes.withUnsafeBytes { lent -> Result<Value, FormatError> in
            do throws(FormatError) { return .success(try body(lent)) } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let value): return value
        case .failure(let error): throw source.refusal(error)
        }
    }

    // MARK: Refs

    private static let kinds: [any Document.Type] = [
        Repository.self, ExportRef.self, SnapshotRef.self, TagRef.self, BaseRef.self,
        ReaderRef.self, NodeBeat.self, CondemnedSet.self, CollectionPlan.self, Identity.self,
        FailedMark.self,
    ]

    /// A ref or another document; all under a key that ends in `/`.
    public func refs() throws(UserError) -> Inspection {
        if !source.isLocal, source.argument.hasSuffix("/") { return try series() }
        if !source.isLocal { try check(key: source.argument) }
        let value = try document(
            try source.bytes(limit: Limits.documentBytesMax), name: source.argument)
        return Inspection(lines: InspectJSON.lines(of: value), json: value)
    }

    private func series() throws(UserError) -> Inspection {
        let store = try source.store()
        var lines: [String] = []
        var values: [JSONValue] = []
        do {
            let page = try store.list(prefix: source.argument, after: nil, limit: Self.refsMax)
            for entry in page.entries {
                let bytes = try store.get(entry.key, limit: Limits.documentBytesMax)
                try check(key: entry.key)
                let value = try document(bytes, name: entry.key)
                lines.append("key \(entry.key)")
                lines += InspectJSON.lines(of: value).map { "  " + $0 }
                values.append(.object(["key": .string(entry.key), "ref": value]))
            }
        } catch let error as ObjectStoreError {
            throw UserError(source.what, error)
        } catch let error as UserError {
            throw error
        } catch { throw source.absent(store.url) }
        guard !values.isEmpty else { throw source.absent(store.url) }
        return Inspection(lines: lines, json: .array(values))
    }

    private func check(key: String) throws(UserError) {
        guard RefKey(parsing: key) != nil else {
            throw UserError(
                .failed, what: source.what, why: "\(key) is no key of a ref",
                remedy: "docs/formats/documents.md lists their keys")
        }
    }

    /// Strictly decoded, as its `kind` says.
    private func document(_ bytes: [UInt8], name: String) throws(UserError) -> JSONValue {
        do throws(DocumentError) {
            let value = try JSONValue(parsing: bytes)
            guard case .object(let members) = value, case .string(let kind) = members["kind"] else {
                throw .missingKey(kind: "document", key: "kind")
            }
            guard let type = Self.kinds.first(where: { $0.kind == kind }) else {
                throw .badValue(kind: "document", key: "kind")
            }
            let decoded = try type.init(decoding: bytes)
            return .object(
                decoded.members.merging([
                    "kind": .string(kind), "version": .number(type.version),
                ]) { $1 })
        } catch { throw UserError(source.what, name, error) }
    }
}

extension PackID {
    fileprivate init(checking source: OfflineSource) throws(UserError) {
        do throws(FormatError) { self = try PackID(key: source.argument) } catch {
            throw source.refusal(error)
        }
    }
}

extension CommitKey {
    fileprivate init(checking source: OfflineSource) throws(UserError) {
        do throws(FormatError) { self = try CommitKey(key: source.argument) } catch {
            throw source.refusal(error)
        }
    }
}

extension OfflineSource {
    func refusal(_ error: FormatError) -> UserError {
        UserError(
            .failed, what: what, why: error.explanation,
            remedy: "docs/formats has the table of each format")
    }
}
